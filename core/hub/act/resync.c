#include "core/hub/act/resync.h"

#include "core/base/frame.h"
#include "core/base/push.h"
#include "core/hub/act/heard.h"
#include "core/hub/act/late_join.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/copy.h"
#include "core/hub/people/grant.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/hook.h"
#include "core/hub/shard/op.h"
#include "core/hub/talk/interest.h"
#include "core/hub/talk/member_news.h"
#include "storage/bus.h"

#include <stdlib.h>

/* --- One membership ----------------------------------------------------------------------------------------------- */

bool resync_admits(struct shard *s, uint32_t user, struct slice channel, const char *claims)
{
    if (!hooks_any(s, HOOK_SUBSCRIBE))
        return true;
    struct hook_call h = {.shard = s,
                          .conn = NONE,
                          .user = user_id(user_at(s, user)),
                          .user_name = user_name(user_at(s, user)),
                          .claims = slice_str(claims),
                          .channel = channel,
                          .restored = true};
    return hooks_run(HOOK_SUBSCRIBE, &h) != HOOK_REJECT;
}

bool resync_join(struct shard *s, uint32_t user, struct slice channel, enum push_mode push, bool events, uint64_t since,
                 bool fresh)
{
    uint32_t chan = chan_get(s, channel);
    if (chan == NONE)
        return false;
    interest_hold(s, chan);
    uint32_t sub = sub_find(s, user, chan);
    if (sub == NONE) {
        struct chan *ch = chan_at(s, chan);
        if (fresh && !ch->member_count)
            ch->last_seq = since;
        interest_await(s, chan);
        sub = sub_add(s, user, chan, push, events, since, fresh);
        if (sub == NONE)
            chan_at(s, chan)->awaited = 0;
    }
    interest_release(s, chan, 0);
    return sub != NONE;
}

void resync_change(struct shard *s, uint32_t user, uint32_t sub, enum push_mode push, bool events,
                   const uint64_t *since)
{
    const struct sub *b = pool_at(&s->subs, sub);
    bool begins = b->push == MODE_NONE && push != MODE_NONE;
    sub_set_push(s, sub, push, chan_at(s, b->chan)->last_seq);
    sub_set_events(s, sub, events);
    if (begins)
        late_join(s, user, sub, since ? LATE_KNOWN : LATE_UNKNOWN, since ? *since : 0);
}

bool resync_leave(struct shard *s, uint32_t user, struct slice channel)
{
    uint32_t chan = chan_find(s, channel);
    uint32_t sub = chan != NONE ? sub_find(s, user, chan) : NONE;
    if (sub != NONE)
        sub_remove(s, sub);
    return sub != NONE;
}

/* --- The first time ----------------------------------------------------------------------------------------------- */

bool resync_first(struct shard *s, uint32_t user, const struct store_user_load *r, const char *claims)
{
    struct user *u = user_at(s, user);
    if (user_set_name(s, user, r->name) != 0)
        return false;
    u->epoch = r->user.epoch;
    u->guest = r->user.guest;
    for (uint32_t i = 0; i < r->subscription_count; i++) {
        const struct store_subscription *b = &r->subscriptions[i];
        if (resync_admits(s, user, b->channel, claims) &&
            !resync_join(s, user, b->channel, b->push, b->events, 0, false))
            return false;
    }
    copy_begin(s, user, r->version);
    user_ready(s, user);
    return true;
}

/* --- Push 112 of one's own end, with the number of members -------------------------------------------------------- */

struct told {
    struct store_conv_load op;
    struct conv_key key;
    uint32_t user; /* pinned */
};

static void members_known(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct told *t = OP_END(owner, op, struct told, op.op);
    member_news_own(s, t->user, conv_channel_name(conv_key_slice(&t->key)), MEMBER_LEFT,
                    op->status == STORE_OK ? t->op.members : 0, NULL);
    user_unpin(s, t->user);
    free(t);
}

static void tell_left(struct shard *s, uint32_t user, struct slice channel)
{
    struct told *t = user_at(s, user)->first_conn != NONE ? calloc(1, sizeof *t) : NULL;
    if (!t)
        return;
    t->key = conv_key_channel(channel);
    t->user = user;
    t->op.conv = conv_key_slice(&t->key);
    user_pin(s, user);
    op_begin(s, &t->op.op, members_known);
    store_conv_load(s->store, &t->op);
}

/* --- Once more ---------------------------------------------------------------------------------------------------- */

/* Whether requests of its own connections are under way by which it becomes a member of something. */
static bool is_joining(const struct shard *s, const struct user *u)
{
    uint32_t n = 0;
    for (uint32_t i = u->first_sub; i != NONE; i = ((const struct sub *)pool_at(&s->subs, i))->next)
        n++;
    return u->sub_count > n;
}

/* joining: see is_joining(). *passed is set where it is not known yet what becomes of it. False: out of memory. */
static bool take_joined(struct shard *s, uint32_t user, const struct store_subscription *b, bool joining, bool *passed)
{
    uint32_t chan = chan_find(s, b->channel), sub = chan != NONE ? sub_find(s, user, chan) : NONE;
    if (sub != NONE) {
        resync_change(s, user, sub, b->push, b->events, NULL);
        return true;
    }
    if (joining && chan != NONE && chan_at(s, chan)->pending) {
        *passed = true; /* perhaps by this very request, whose answer comes before what it is told of the channel */
        return true;
    }
    if (!resync_admits(s, user, b->channel, grant_claims(s, user_at(s, user)->first_conn).p))
        return true;
    struct conv_key key = conv_key_channel(b->channel);
    struct bus_news *n = copy_last(s, user, conv_key_slice(&key));
    bool known = n && !n->gone;
    if (!resync_join(s, user, b->channel, b->push, b->events, known ? n->seq : 0, known))
        return false;
    if (known) { /* before push 107 */
        member_news_own(s, user, b->channel, MEMBER_JOINED, n->members, NULL);
        n->change = 0; /* so that it is not told once more */
    }
    chan = chan_find(s, b->channel);
    sub = chan != NONE ? sub_find(s, user, chan) : NONE;
    if (sub != NONE)
        late_join(s, user, sub, known ? LATE_KNOWN : LATE_JOINED, known ? n->seq : 0);
    return true;
}

/* Whether a younger one of those says what has become of the same membership. */
static bool is_overtaken(const struct bus_news *n)
{
    for (const struct bus_news *x = (const struct bus_news *)n->mail.next; x; x = (const struct bus_news *)x->mail.next)
        if (x->change && slice_eq(x->conv, n->conv))
            return true;
    return false;
}

/* Ends the subscriptions to channels that are not marked with the shard's stamp. */
static void drop_left(struct shard *s, uint32_t user)
{
    uint32_t next;
    for (uint32_t i = user_at(s, user)->first_sub; i != NONE; i = next) {
        const struct sub *b = pool_at(&s->subs, i);
        struct chan *ch = chan_at(s, b->chan);
        next = b->next;
        if (ch->stamp == s->stamp)
            continue;
        struct conv_key key = conv_key_channel(chan_name(ch));
        const struct bus_news *n = copy_last(s, user, conv_key_slice(&key));
        if (!n || !n->gone)
            tell_left(s, user, chan_name(ch));
        sub_remove(s, i);
    }
}

bool resync_take(struct shard *s, uint32_t user, const struct store_user_load *r, uint32_t changes)
{
    struct user_copy *c = user_copy(s, user);
    struct user *u = user_at(s, user);
    if (!c || c->changes != changes)
        return false;
    arrivals_expect(s, user, r->arrivals);
    if (r->version <= c->version && !c->changed && !c->news)
        return true; /* nothing is missing */
    if (r->version < c->version)
        return false;
    if (r->user.epoch > u->epoch)
        u->epoch = r->user.epoch;
    u->guest = r->user.guest;
    if (!slice_eq(r->name, user_name(u)) && user_set_name(s, user, r->name) != 0)
        return false;
    bool joining = is_joining(s, u), passed = false;
    for (uint32_t i = 0; i < r->subscription_count; i++)
        if (!take_joined(s, user, &r->subscriptions[i], joining, &passed))
            return false;
    s->stamp++;
    for (uint32_t i = 0; i < r->subscription_count; i++) {
        uint32_t chan = chan_find(s, r->subscriptions[i].channel);
        if (chan != NONE)
            chan_at(s, chan)->stamp = s->stamp;
    }
    drop_left(s, user);
    copy_begin(s, user, r->version);
    for (struct bus_news *n = copy_take_news(s, user), *next; n; n = next) {
        next = (struct bus_news *)n->mail.next; /* the mail comes first */
        if (is_overtaken(n))
            free(n);
        else
            member_heard_late(s, user, n);
    }
    if (passed) { /* once that has ended */
        copy_changed(s, user, STORE_VERSION_UNKNOWN);
        copy_retry(s, user);
    }
    return true;
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

/* What was heard of before a reading begins is read; but a store may be about to find out what it has lost. */
enum { OLDER_MAX = 2 };

struct reading {
    struct store_user_load op;
    uint32_t user; /* pinned */
    uint32_t changes;
    uint64_t newest; /* version that was heard of when it began */
    uint8_t older;   /* times that an older one was read */
    uint8_t id_len;
    char id[64];
};

static void push_inbox(struct shard *s, uint32_t user, uint32_t inbox)
{
    struct buf *b = &s->scratch;
    buf_reset(b);
    buf_printf(b, "{\"inbox\":%u}", inbox);
    struct frame *f = buf_ok(b) ? frame_new(PUSH_INBOX_WAITING, 0, buf_slice(b), WIRE_TAG_NONE) : NULL;
    if (!f)
        return;
    user_push(s, user, f, NONE);
    frame_unref(f);
}

static void read_again(struct shard *s, struct reading *q);

static void was_read(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct reading *q = OP_END(owner, op, struct reading, op.op);
    struct user_copy *c = user_copy(s, q->user);
    bool known = user_at(s, q->user)->state == USER_READY && c;
    bool older = known && op->status == STORE_OK && q->op.version < q->newest;
    if (older && q->older++ == OLDER_MAX) {
        /* The store has lost changes. What it has is what there is. */
        copy_forget(s, q->user);
        c->version = q->op.version;
        c->changed = true;
        older = false;
    }
    if (!older)
        q->older = 0;
    bool took = known && op->status == STORE_OK && !older && resync_take(s, q->user, &q->op, q->changes);
    if (took && c->inbox) {
        c->inbox = false;
        arrivals_settle(s, q->user, q->op.arrivals);
        if (q->op.inbox)
            push_inbox(s, q->user, q->op.inbox);
    }
    store_user_load_free(&q->op);
    if (known && op->status == STORE_OK && (!took || c->again)) {
        read_again(s, q);
        return;
    }
    if (c)
        c->reading = false;
    if (known && op->status != STORE_OK && op->status != STORE_NOTFOUND)
        copy_retry(s, q->user);
    user_unpin(s, q->user);
    free(q);
}

static void read_again(struct shard *s, struct reading *q)
{
    struct user_copy *c = user_copy(s, q->user);
    c->again = false;
    q->changes = c->changes;
    q->newest = copy_newest(c);
    q->op = (struct store_user_load){.id = slice_of(q->id, q->id_len)};
    op_begin(s, &q->op.op, was_read);
    store_user_load(s->store, &q->op);
}

void resync(struct shard *s, uint32_t user, bool inbox)
{
    struct user_copy *c = user_copy(s, user);
    if (!c || user_at(s, user)->state != USER_READY)
        return; /* a login is about to read it */
    c->inbox |= inbox;
    if (c->reading) {
        c->again = true;
        return;
    }
    struct reading *q = calloc(1, sizeof *q);
    if (!q) {
        copy_retry(s, user);
        return;
    }
    struct slice id = user_id(user_at(s, user));
    q->user = user;
    q->id_len = (uint8_t)id.n;
    memcpy(q->id, id.p, id.n);
    user_pin(s, user);
    c->reading = true;
    read_again(s, q);
}

void resync_overtaken(struct shard *s, uint32_t user)
{
    resync(s, user, false);
}

static void read_due(struct shard *s, uint32_t user)
{
    resync(s, user, true);
}

void resync_tick(struct shard *s)
{
    if (s->copies)
        copies_due(s, read_due);
}
