#include "core/hub/host/deletion_steps.h"

#include "core/base/log.h"
#include "core/hub/act/login.h"
#include "core/hub/host/deletion.h"
#include "core/hub/host/host_member.h"
#include "core/hub/host/host_recall.h"
#include "core/hub/people/user.h"
#include "core/hub/people/user_news.h"
#include "core/hub/shard/op.h"
#include "core/hub/talk/conv.h"
#include "core/hub/talk/order.h"

#include <stdlib.h>

enum {
    PINS_MS = 50, /* while requests of the user are under way */
    LEAVES = 64   /* memberships that end at the same time */
};

static const char gone_text[] = "this user was deleted";

/* A membership that is ended. */
struct leave {
    struct host_member op;
    struct deletion *d;
    uint8_t n;     /* bytes of name */
    char name[64]; /* of the other side: a member's id, a channel */
};

/* A message that is recalled. */
struct unsay {
    struct host_recall op;
    struct deletion *d;
    char conv[CONV_KEY_MAX];
};

/* --- Several at a time -------------------------------------------------------------------------------------------- */

/* One of several that are under way together has come back. */
static void some_done(struct deletion *d)
{
    if (--d->left)
        return;
    free(d->some);
    d->some = NULL;
    if (d->failed)
        deletion_again(d);
    else if (d->step == STEP_LEAVE && !d->moved) /* rows that lead nowhere; what is left of them goes with the rest */
        deletion_next(d, d->channel ? STEP_BANS : STEP_FREE);
    else
        deletion_next(d, d->step);
}

/* --- Held back and free again ------------------------------------------------------------------------------------- */

void deletion_free_user(struct deletion *d)
{
    uint32_t user = d->user;
    if (user == NONE)
        return;
    d->user = NONE;
    if (d->loaded) /* nothing has happened */
        login_unhold(d->shard, user);
    else
        login_retry(d->shard, user);
    user_unpin(d->shard, user);
}

/* --- A user: nobody is it any more -------------------------------------------------------------------------------- */

void deletion_hold(struct deletion *d)
{
    struct shard *s = d->shard;
    uint32_t user = user_find(s, deletion_id(d));
    if (user != NONE && user_at(s, user)->state != USER_READY) {
        deletion_sleep(d, PINS_MS);
        return;
    }
    if (user == NONE)
        user = user_new(s, deletion_id(d));
    if (user == NONE) {
        deletion_again(d);
        return;
    }
    d->user = user;
    d->loaded = user_at(s, user)->state == USER_READY;
    user_pin(s, user);
    user_at(s, user)->state = USER_FORGETTING;
    deletion_next(d, STEP_BEGIN);
}

static void user_begun(void *owner, struct store_op *op)
{
    struct deletion *d = OP_END(owner, op, struct deletion, op.forget.op);
    if (op->status == STORE_OK) {
        atomic_fetch_add_explicit(&d->shard->hub->users_gone, 1, memory_order_relaxed);
        d->recall = d->op.forget.recall;
        d->loaded = false;
        deletion_next(d, STEP_KICK);
    } else if (op->status == STORE_NOTFOUND) {
        deletion_end(d, CODE_NOT_FOUND, "no such user");
    } else if (d->askers) { /* nothing has happened yet, so whoever asks may ask again */
        deletion_end(d, CODE_UNAVAILABLE, "the store cannot write now");
    } else {
        deletion_again(d);
    }
}

void deletion_begin_user(struct deletion *d)
{
    d->op.forget =
        (struct store_user_forget){.id = deletion_id(d), .force = true, .step = FORGET_BEGIN, .recall = d->recall};
    op_begin(d->shard, &d->op.forget.op, user_begun);
    store_user_forget(d->shard->store, &d->op.forget);
}

static void kicked_elsewhere(void *ctx, const struct order_end *e)
{
    struct deletion *d = ctx;
    d->connections += e->connections;
    if (e->status == STORE_OK)
        deletion_next(d, STEP_LEAVE);
    else
        deletion_again(d);
}

void deletion_kick(struct deletion *d)
{
    d->connections += login_kick(d->shard, d->user, slice_str(gone_text));
    if (!order_kick(d->shard, deletion_id(d), slice_str(gone_text), kicked_elsewhere, d))
        deletion_next(d, STEP_LEAVE);
}

/* Requests that are under way end first. Whoever logs in meanwhile waits. */
void deletion_let_go(struct deletion *d)
{
    const struct user *u = user_at(d->shard, d->user);
    uint32_t pins = u->pins - 1;
    for (const struct login *l = u->waiting; l; l = l->next)
        pins--;
    if (pins) {
        deletion_sleep(d, PINS_MS);
        return;
    }
    deletion_free_user(d);
    deletion_next(d, STEP_BANS);
}

/* --- A channel: nobody finds it any more -------------------------------------------------------------------------- */

struct closing {
    struct owned_req o;
    struct store_channel_close op;
    struct deletion *d;
};

static void closed_after(struct req *r)
{
    struct deletion *d = ((struct closing *)r)->d;
    if (r->code == CODE_OK)
        deletion_next(d, STEP_LEAVE);
    else if (r->code == CODE_NOT_FOUND || d->askers)
        deletion_end(d, r->code, r->message);
    else
        deletion_again(d);
}

static void closed(void *owner, struct store_op *op)
{
    struct closing *q = OP_END(owner, op, struct closing, op.op);
    if (op->status == STORE_OK)
        conv_gone(q->o.owner, q->o.conv);
    else
        req_fail_store(&q->o.r, op->status, "no such channel");
    owned_done(&q->o);
}

static void close_ready(struct owned_req *o)
{
    struct closing *q = (struct closing *)o;
    q->op.conv = conv_slice(conv_at(o->owner, o->conv));
    owned_op(o, &q->op.op, closed);
    store_channel_close(o->owner->store, &q->op);
}

void deletion_begin_channel(struct deletion *d)
{
    struct closing *q = calloc(1, sizeof *q);
    if (!q) {
        deletion_again(d);
        return;
    }
    q->d = d;
    q->o.r.home = d->shard;
    q->o.r.conn = q->o.r.user = NONE;
    q->o.r.after = closed_after;
    q->o.ready = close_ready;
    q->o.key = d->key;
    d->shard->reqs++;
    owned_post(d->shard, &q->o);
}

/* --- Memberships end ---------------------------------------------------------------------------------------------- */

static void left(void *owner, struct host_op *op)
{
    struct leave *v = CONTAINER_OF(op, struct leave, op.op);
    struct deletion *d = v->d;
    (void)owner;
    if (op->code == CODE_OK && v->op.existed) {
        d->members++;
        d->moved = true;
    } else if (op->code != CODE_OK && op->code != CODE_NOT_FOUND) {
        d->failed = true;
    }
    some_done(d);
}

/* `name` of each: the other side's. They are copied. */
static void leaves_begin(struct deletion *d, uint32_t n, struct slice (*name)(const struct deletion *d, uint32_t i))
{
    struct leave *list = calloc(n, sizeof *list);
    d->some = list;
    d->failed = list == NULL;
    d->moved = false;
    d->left = list ? n + 1 : 1;
    for (uint32_t i = 0; list && i < n; i++) {
        struct slice other = name(d, i);
        list[i].d = d;
        list[i].n = (uint8_t)other.n;
        memcpy(list[i].name, other.p, other.n);
    }
    for (uint32_t i = 0; list && i < n; i++) {
        struct slice other = slice_of(list[i].name, list[i].n), self = deletion_id(d);
        list[i].op = (struct host_member){.op = {.home = &d->shard->mailbox, .done = left},
                                          .user = d->channel ? other : self,
                                          .channel = d->channel ? self : other,
                                          .leave = true,
                                          .change = d->channel ? MEMBER_CLOSED : MEMBER_LEFT,
                                          .going = true};
        host_member(d->shard->hub, &list[i].op);
    }
}

static struct slice subscription_at(const struct deletion *d, uint32_t i)
{
    return d->op.load.subscriptions[i].channel;
}

static void subscriptions_read(void *owner, struct store_op *op)
{
    struct deletion *d = OP_END(owner, op, struct deletion, op.load.op);
    uint32_t n = op->status == STORE_OK ? d->op.load.subscription_count : 0;
    if (n)
        leaves_begin(d, n < LEAVES ? n : LEAVES, subscription_at);
    store_user_load_free(&d->op.load);
    if (n)
        some_done(d);
    else if (op->status == STORE_OK)
        deletion_next(d, STEP_FREE);
    else
        deletion_again(d);
}

static struct slice member_at(const struct deletion *d, uint32_t i)
{
    return d->op.members.people[i].id;
}

static void members_read(void *owner, struct store_op *op)
{
    struct deletion *d = OP_END(owner, op, struct deletion, op.members.op);
    uint32_t n = d->op.members.n;
    if (n)
        leaves_begin(d, n, member_at);
    free(d->op.members.people);
    free(d->op.members.arena);
    if (n)
        some_done(d);
    else if (op->status == STORE_OK || op->status == STORE_NOTFOUND)
        deletion_next(d, STEP_BANS);
    else
        deletion_again(d);
}

void deletion_leave(struct deletion *d)
{
    if (d->channel) {
        d->op.members = (struct store_members){.conv = conv_key_slice(&d->key), .going = true, .limit = LEAVES};
        op_begin(d->shard, &d->op.members.op, members_read);
        store_members(d->shard->store, &d->op.members);
    } else {
        d->op.load = (struct store_user_load){.id = deletion_id(d), .going = true};
        op_begin(d->shard, &d->op.load.op, subscriptions_read);
        store_user_load(d->shard->store, &d->op.load);
    }
}

/* --- Bans, mutes, the rule ---------------------------------------------------------------------------------------- */

static bool find_ban(void *ctx, const struct ban_snapshot *b)
{
    struct deletion *d = ctx;
    if (!slice_eq(d->channel ? b->channel : b->user, deletion_id(d)))
        return true;
    d->found.kind = b->kind;
    d->found.user_n = (uint8_t)b->user.n;
    d->found.channel_n = (uint8_t)b->channel.n;
    if (b->user.n)
        memcpy(d->found.user, b->user.p, b->user.n);
    if (b->channel.n)
        memcpy(d->found.channel, b->channel.p, b->channel.n);
    return false;
}

static void ban_lifted(void *owner, struct host_op *op)
{
    struct deletion *d = CONTAINER_OF(op, struct deletion, op.ban.op);
    (void)owner;
    if (op->code == CODE_OK || op->code == CODE_NOT_FOUND)
        deletion_next(d, d->step);
    else
        deletion_again(d);
}

void deletion_bans(struct deletion *d)
{
    d->found.user_n = d->found.channel_n = 0;
    d->from = snapshot_bans(d->shard, d->from, find_ban, d);
    if (d->found.user_n || d->found.channel_n) {
        d->op.ban = (struct ban_change){.op = {.home = &d->shard->mailbox, .done = ban_lifted},
                                        .kind = d->found.kind,
                                        .user = slice_of(d->found.user, d->found.user_n),
                                        .channel = slice_of(d->found.channel, d->found.channel_n),
                                        .lift = true};
        ban_change(d->shard->hub, &d->op.ban);
    } else if (d->from != NONE) {
        deletion_yield(d);
    } else {
        deletion_next(d, d->channel ? STEP_END : STEP_RECALL);
    }
}

/* --- Messages are recalled ---------------------------------------------------------------------------------------- */

static void unsaid(void *owner, struct host_op *op)
{
    struct unsay *u = CONTAINER_OF(op, struct unsay, op.op);
    struct deletion *d = u->d;
    (void)owner;
    if (op->code == CODE_OK)
        d->messages += !u->op.again;
    else if (op->code == CODE_UNAVAILABLE) /* else it was trimmed, or is past its time */
        d->failed = true;
    some_done(d);
}

static void unsay_all(struct deletion *d)
{
    const struct store_sent *sent = &d->op.sent;
    struct unsay *list = calloc(sent->n, sizeof *list);
    d->some = list;
    d->failed = list == NULL;
    d->left = list ? sent->n + 1 : 1;
    for (uint32_t i = 0; list && i < sent->n; i++) {
        struct unsay *u = &list[i];
        struct slice conv = slice_of(u->conv, sent->list[i].conv_n);
        memcpy(u->conv, sent->list[i].conv, conv.n);
        u->d = d;
        u->op = (struct host_recall){.seq = sent->list[i].seq, .op = {.home = &d->shard->mailbox, .done = unsaid}};
        if (conv_is_channel(conv))
            u->op.channel = conv_channel_name(conv);
        else
            conv_pair_users(conv, &u->op.users[0], &u->op.users[1]);
        host_recall(d->shard->hub, &u->op);
    }
}

static void sent_read(void *owner, struct store_op *op)
{
    struct deletion *d = OP_END(owner, op, struct deletion, op.sent.op);
    if (op->status != STORE_OK) {
        d->failed = true;
        deletion_again(d);
        return;
    }
    d->walked = !d->op.sent.more;
    if (!d->op.sent.n) {
        deletion_next(d, d->step);
        return;
    }
    unsay_all(d);
    some_done(d);
}

/* One page of the walk. After a failure it begins anew: what is recalled is passed over. */
void deletion_recall(struct deletion *d)
{
    struct store_sent *q = &d->op.sent;
    if (d->failed || !d->walking) {
        *q = (struct store_sent){.sender = deletion_id(d), .id_max = UINT64_MAX};
        d->failed = d->walked = false;
        d->walking = true;
    }
    if (!d->recall || d->walked) {
        deletion_next(d, STEP_END);
        return;
    }
    op_begin(d->shard, &q->op, sent_read);
    store_sent(d->shard->store, q);
}

/* --- What is left of it ------------------------------------------------------------------------------------------- */

static void user_ended(void *owner, struct store_op *op)
{
    struct deletion *d = OP_END(owner, op, struct deletion, op.forget.op);
    if (op->status != STORE_OK) {
        deletion_again(d);
    } else if (d->op.forget.more) {
        deletion_next(d, d->step);
    } else {
        atomic_fetch_add_explicit(&d->shard->hub->users_gone, 1, memory_order_relaxed);
        log_event(LOG_INFO, "user.deleted", LOG_SLICE("user", deletion_id(d)), LOG_INT("channels", d->members),
                  LOG_INT("recalled", d->messages));
        user_news_tell(d->shard, USER_DELETED, deletion_id(d), SLICE_NONE);
        deletion_end(d, CODE_OK, "");
    }
}

static void channel_ended(void *owner, struct store_op *op)
{
    struct deletion *d = OP_END(owner, op, struct deletion, op.wipe.op);
    if (op->status == STORE_OK || op->status == STORE_NOTFOUND) {
        log_event(LOG_INFO, "channel.deleted", LOG_SLICE("channel", deletion_id(d)), LOG_INT("members", d->members));
        deletion_end(d, CODE_OK, "");
    } else if (op->status == STORE_DENIED) { /* a membership that was under way when it was closed */
        deletion_next(d, STEP_LEAVE);
    } else {
        deletion_again(d);
    }
}

void deletion_end_user(struct deletion *d)
{
    d->op.forget = (struct store_user_forget){.id = deletion_id(d), .force = true, .step = FORGET_END};
    op_begin(d->shard, &d->op.forget.op, user_ended);
    store_user_forget(d->shard->store, &d->op.forget);
}

void deletion_end_channel(struct deletion *d)
{
    d->op.wipe = (struct store_channel_wipe){.conv = conv_key_slice(&d->key)};
    op_begin(d->shard, &d->op.wipe.op, channel_ended);
    store_channel_wipe(d->shard->store, &d->op.wipe);
}
