/* Second halves of joins and leaves: see member_half.h. */
#include "storage/redis/ops/member_half.h"

#include "storage/conv_key.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/ops/channels.h"
#include "storage/redis/ops/settle.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/rule.h"
#include "storage/redis/task.h"

enum { SET_NOTHING = 4 /* it was a member before: only what is missing is written */ };

/* --- Leaving ------------------------------------------------------------------------------------------------------ */

void member_leave(struct redis *r, struct call *c, struct slice conv, struct slice user)
{
    char rule[LAYOUT_RULE];
    call_begin(r, c, FN_LEAVE, partition_of(conv));
    call_key(r, c, 'm', conv);
    call_key(r, c, 'M', conv);
    call_key(r, c, 'o', SLICE_NONE);
    call_key(r, c, 'e', SLICE_NONE);
    call_key(r, c, 'A', SLICE_NONE);
    call_key(r, c, 'c', SLICE_NONE);
    call_arg(c, conv);
    call_arg_u64(c, time_now(r));
    call_arg(c, user);
    /* While the clock is in doubt nothing goes, since nobody knows what has ended. */
    call_arg_u64(c, r->options.keep_vacant || time_paused(r));
    rule_now(r, rule);
    call_arg(c, slice_of(rule, sizeof rule));
    c->about = task_about(conv);
}

enum store_status member_left_read(struct redis *r, const struct call *c, const struct reply *reply,
                                   struct member_left *out)
{
    struct reply_in in = reply_in(reply);
    enum store_status status = task_status(reply_u8(&in));
    *out = (struct member_left){.gone = false};
    if (status != STORE_OK)
        return status;
    out->existed = reply_u8(&in);
    out->gone = reply_u8(&in);
    out->members = reply_u32(&in);
    out->tier = reply_u8(&in);
    out->version = reply_u48(&in);
    uint32_t channels = reply_u32(&in);
    if (!reply_ok(&in))
        return STORE_FATAL;
    if (out->gone)
        channels_counted(r, c->part, channels);
    return STORE_OK;
}

void member_tell(struct redis *r, struct task *t, struct slice conv, const struct member_left *now, struct slice who,
                 struct slice name, uint8_t change)
{
    struct bus_news n = {.kind = NEWS_CHANNEL,
                         .conv = conv,
                         .members = now->members,
                         .tier = now->tier,
                         .version = now->version,
                         .gone = now->gone,
                         /* Each node sees for itself whether the channel is small enough to tell who came. */
                         .sender = who,
                         .name = who.n ? name : SLICE_NONE,
                         .change = who.n ? change : 0};
    tell_channel(r, t, &n);
}

/* --- The half ----------------------------------------------------------------------------------------------------- */

/* The intent of this version is known to be done. */
static void intent_settle(struct redis *r, const struct member_half *h, uint64_t version)
{
    char field[1 + CONV_KEY_MAX + 1 + 64];
    size_t n = 0;
    field[n++] = 'j';
    memcpy(field + n, h->what.conv.p, h->what.conv.n);
    n += h->what.conv.n;
    field[n++] = '\0';
    memcpy(field + n, h->what.user.p, h->what.user.n);
    settle_later(r, partition_of(h->what.conv), slice_of(field, n + h->what.user.n), version);
}

/* The user is gone, and with it the membership. Nothing stands at the user, so that this intent is done, too. */
static void taken_back(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct member_half *h = c->ctx;
    struct member_left left = {.version = 0};
    status = status == STORE_OK ? member_left_read(r, c, reply, &left) : status;
    if (status == STORE_OK && (left.existed || c->tried))
        member_tell(r, h->task, h->what.conv, &left, SLICE_NONE, SLICE_NONE, 0);
    status = status == STORE_NOTFOUND ? STORE_OK : status;
    if (status == STORE_OK)
        intent_settle(r, h, left.version ? left.version : h->what.version);
    h->gone = true;
    h->done(r, h, status);
}

/* The user's other nodes have another copy of it. Its version: which is also told where the half may have been done
 * before, without anybody having been told. */
static void half_tell(struct redis *r, struct member_half *h, bool changed, struct reply_in *in)
{
    uint64_t version = reply_u48(in);
    h->version = changed ? version : h->call.tried ? STORE_VERSION_UNKNOWN : 0;
    struct bus_news n = {.kind = NEWS_MEMBER,
                         .user = h->what.user,
                         .conv = h->what.conv,
                         .version = version,
                         .push = (uint8_t)h->push,
                         .events = h->events,
                         .seq = h->what.seq,
                         .members = h->members,
                         .gone = !h->what.put,
                         .change = h->change};
    if (reply_ok(in) && (changed || h->call.tried))
        tell_sessions(r, h->task, &n, in);
}

static void half_replied(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct member_half *h = c->ctx;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        status = task_status(reply_u8(&in));
        if (status == STORE_NOTFOUND && h->what.put) {
            member_leave(r, c, h->what.conv, h->what.user);
            c->done = taken_back;
            c->ctx = h;
            call_post(r, c);
            return;
        }
        uint8_t push = 0;
        if (h->what.put) {
            (void)reply_u8(&in); /* whether it is a member; it may have left again by now */
            push = reply_u8(&in);
            h->events = reply_u8(&in);
            h->push = (enum push_mode)push;
        }
        bool changed = reply_u8(&in);
        if (!reply_ok(&in) || push > MODE_NONE)
            status = STORE_FATAL;
        else
            half_tell(r, h, changed, &in);
    }
    if (status == STORE_OK && h->intent)
        intent_settle(r, h, h->what.version);
    h->done(r, h, status);
}

void member_half_run(struct redis *r, struct member_half *h)
{
    const struct layout_half *what = &h->what;
    struct call *c = &h->call;
    h->gone = h->events = false;
    h->version = 0;
    h->push = MODE_DEFAULT;
    call_begin(r, c, what->put ? FN_SUB_PUT : FN_SUB_DEL, partition_of_user(what->user));
    call_key(r, c, 'u', what->user);
    if (tell_is_wanted(r))
        call_key(r, c, 'S', what->user);
    call_arg(c, what->conv);
    if (what->put) {
        call_arg_u64(c, what->push);
        call_arg_u64(c, what->events);
        call_arg_u64(c, h->intent ? what->set : SET_NOTHING);
        call_arg_u64(c, what->seq);
        call_arg_u64(c, what->version);
        call_arg_u64(c, h->late);
    } else {
        call_arg_u64(c, time_now(r));
        call_arg_u64(c, what->version);
    }
    c->about = task_about(what->user);
    c->done = half_replied;
    c->ctx = h;
    call_post(r, c);
}
