#include "core/hub/act/heard.h"

#include "core/base/frame.h"
#include "core/base/push.h"
#include "core/hub/act/late_join.h"
#include "core/hub/act/login.h"
#include "core/hub/act/resync.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/copy.h"
#include "core/hub/people/user.h"
#include "core/hub/people/watch.h"
#include "core/hub/talk/channel_news.h"
#include "core/hub/talk/encode.h"
#include "core/hub/talk/member_news.h"
#include "storage/bus.h"

#include <stdlib.h>

/* --- What the copy follows ---------------------------------------------------------------------------------------- */

/* How the change stands to the copy; COPY_OLD: there is nothing to be done. Where one is missing all is read anew. */
static enum copy_order order_of(struct shard *s, uint32_t user, const struct bus_news *n)
{
    if (user_at(s, user)->state != USER_READY) {
        login_stale(s, user);
        return COPY_OLD;
    }
    enum copy_order order = copy_follow(s, user, n->version);
    if (order == COPY_GAP)
        resync(s, user, false);
    return order;
}

/* Without memory. */
static void read_later(struct shard *s, uint32_t user)
{
    copy_changed(s, user, STORE_VERSION_UNKNOWN);
    copy_retry(s, user);
}

static enum member_change change_heard(const struct bus_news *n)
{
    return n->change && n->change <= channel_news_code(MEMBER_JOINED) ? (enum member_change)(n->change - 1)
                                                                      : MEMBER_LEFT;
}

static uint32_t sub_of(const struct shard *s, uint32_t user, struct slice channel)
{
    uint32_t chan = chan_find(s, channel);
    return chan != NONE ? sub_find(s, user, chan) : NONE;
}

static void member_apply(struct shard *s, uint32_t user, const struct bus_news *n)
{
    struct slice channel = conv_channel_name(n->conv);
    uint32_t sub = sub_of(s, user, channel);
    enum push_mode push = (enum push_mode)(n->push & 3);
    if (n->gone) {
        /* Members of a channel that is closed may have heard of that from the channel. */
        bool left = resync_leave(s, user, channel);
        if (left || change_heard(n) != MEMBER_CLOSED)
            member_news_own(s, user, channel, change_heard(n), n->members, NULL);
    } else if (sub != NONE) {
        resync_change(s, user, sub, push, n->events, &n->seq);
    } else if (resync_join(s, user, channel, push, n->events, n->seq, true)) {
        member_news_own(s, user, channel, MEMBER_JOINED, n->members, NULL);
        sub = sub_of(s, user, channel); /* a push may have closed its last connection; the user is pinned */
        if (sub != NONE)
            late_join(s, user, sub, LATE_KNOWN, n->seq);
    } else {
        read_later(s, user);
    }
}

/* False: it is kept until the user has been read. */
static bool member_heard(struct shard *s, uint32_t user, struct bus_news *n)
{
    enum copy_order order = conv_is_channel(n->conv) ? order_of(s, user, n) : COPY_OLD;
    if (order == COPY_NEXT)
        member_apply(s, user, n);
    if (order == COPY_GAP)
        copy_keep(s, user, n);
    return order != COPY_GAP;
}

/* What was read has it already, or more; it is said, unless it is so no more. */
void member_heard_late(struct shard *s, uint32_t user, struct bus_news *n)
{
    const struct user_copy *c = user_copy(s, user);
    struct slice channel = conv_channel_name(n->conv);
    if (c && n->version > c->version) {
        if (member_heard(s, user, n))
            free(n);
        return;
    }
    bool member = sub_of(s, user, channel) != NONE, joined = change_heard(n) == MEMBER_JOINED;
    if (n->change && member == joined && member == !n->gone)
        member_news_own(s, user, channel, change_heard(n), n->members, NULL);
    free(n);
}

static uint64_t user_version(struct shard *s, uint32_t user)
{
    const struct user_copy *c = user_copy(s, user);
    return c ? c->version : 0;
}

/* Tokens of an older epoch are refused from now on; connections stay until an order closes them. */
static void user_changed(struct shard *s, uint32_t user, const struct bus_news *n)
{
    struct user *u = user_at(s, user);
    if (u->state == USER_READY && n->epoch > u->epoch)
        u->epoch = n->epoch;
    if (n->gone) /* what is known of its conversations may be wrong */
        atomic_fetch_add_explicit(&s->hub->users_gone, 1, memory_order_relaxed);
    if (u->state == USER_READY && u->guest && n->version > user_version(s, user)) {
        /* Its token was used elsewhere, which the news do not say: it is no guest, unless the store says so. */
        u->guest = false;
        copy_changed(s, user, STORE_VERSION_UNKNOWN);
    }
    if (n->gone || order_of(s, user, n) != COPY_NEXT || slice_eq(n->name, user_name(u)))
        return;
    if (n->name.n == 0 || n->name.n > 64 || user_set_name(s, user, n->name) != 0)
        read_later(s, user);
}

/* --- What connections are told ------------------------------------------------------------------------------------ */

static void push(struct shard *s, uint32_t user, uint16_t action, const struct buf *b)
{
    struct frame *f = buf_ok(b) ? frame_new(action, 0, buf_slice(b), WIRE_TAG_NONE) : NULL;
    if (!f)
        return;
    user_push(s, user, f, NONE);
    frame_unref(f);
}

static void read_heard(struct shard *s, uint32_t user, const struct bus_news *n)
{
    struct buf *b = &s->scratch;
    buf_reset(b);
    if (n->kind == NEWS_INBOX) {
        buf_printf(b, "{\"inbox\":%u}", n->count);
    } else {
        buf_byte(b, '{');
        encode_conversation(b, n->conv, user_id(user_at(s, user)));
        buf_printf(b, ",\"seq\":%llu}", (unsigned long long)n->seq);
    }
    push(s, user, PUSH_READ_ELSEWHERE, b);
}

void user_heard(struct shard *s, struct bus_news *n)
{
    uint32_t user = user_find(s, n->user);
    bool done = true;
    if (user != NONE)
        user_pin(s, user); /* a push may close its last connection */
    if (n->kind == NEWS_PRESENCE)
        watch_far(s, n->user, n->version, n->online);
    else if (user != NONE && n->kind == NEWS_MEMBER)
        done = member_heard(s, user, n);
    else if (user != NONE && n->kind == NEWS_USER)
        user_changed(s, user, n);
    else if (user != NONE && (n->kind == NEWS_READ || n->kind == NEWS_INBOX))
        read_heard(s, user, n);
    if (user != NONE)
        user_unpin(s, user);
    if (done)
        free(n);
}
