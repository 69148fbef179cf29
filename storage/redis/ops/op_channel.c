/* Channels that are deleted: closed at once, wiped when the last member is out. */
#include "storage/conv_key.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/ops/channels.h"
#include "storage/redis/ops/op.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

static bool channel_key_sane(struct slice conv)
{
    return conv_is_channel(conv) && conv.n >= 2 && conv.n <= 65;
}

static void closed(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct store_channel_close *op = (struct store_channel_close *)t->op;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        status = task_status(reply_u8(&in));
        if (status == STORE_OK) {
            op->members = reply_u32(&in);
            uint64_t version = reply_u48(&in);
            status = reply_ok(&in) ? STORE_OK : STORE_FATAL;
            struct bus_news n = {
                .kind = NEWS_CHANNEL, .conv = op->conv, .members = op->members, .version = version, .gone = true};
            if (status == STORE_OK)
                tell_channel(r, t, &n);
        }
    }
    task_end(r, t, status);
}

void begin_channel_close(struct redis *r, struct task *t)
{
    struct store_channel_close *op = (struct store_channel_close *)t->op;
    struct call *c = channel_key_sane(op->conv) ? task_own(t, sizeof *c) : NULL;
    if (!c) {
        task_end(r, t, channel_key_sane(op->conv) ? STORE_RETRY : STORE_FATAL);
        return;
    }
    call_begin(r, c, FN_CLOSE, partition_of(op->conv));
    call_key(r, c, 'm', op->conv);
    call_key(r, c, 'e', SLICE_NONE);
    call_arg(c, op->conv);
    c->about = task_about(op->conv);
    c->done = closed;
    c->ctx = t;
    call_post(r, c);
}

static void wiped(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct store_channel_wipe *op = (struct store_channel_wipe *)t->op;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        status = task_status(reply_u8(&in));
        uint32_t n = status == STORE_OK || status == STORE_DENIED ? reply_u32(&in) : 0;
        uint64_t version = status == STORE_OK ? reply_u48(&in) : 0;
        op->members = status == STORE_DENIED ? n : 0;
        if (!reply_ok(&in)) {
            status = STORE_FATAL;
        } else if (status == STORE_OK) {
            struct bus_news gone = {.kind = NEWS_CHANNEL, .conv = op->conv, .version = version, .gone = true};
            channels_counted(r, c->part, n);
            tell_channel(r, t, &gone);
        }
    }
    task_end(r, t, status);
}

/* All of a channel goes in one step, whatever it holds: Redis frees it in the background. */
void begin_channel_wipe(struct redis *r, struct task *t)
{
    struct store_channel_wipe *op = (struct store_channel_wipe *)t->op;
    struct call *c = channel_key_sane(op->conv) ? task_own(t, sizeof *c) : NULL;
    if (!c) {
        task_end(r, t, channel_key_sane(op->conv) ? STORE_RETRY : STORE_FATAL);
        return;
    }
    call_begin(r, c, FN_WIPE, partition_of(op->conv));
    call_key(r, c, 'm', op->conv);
    call_key(r, c, 'M', op->conv);
    call_key(r, c, 'e', SLICE_NONE);
    call_key(r, c, 'A', SLICE_NONE);
    call_key(r, c, 'c', SLICE_NONE);
    call_arg(c, op->conv);
    c->about = task_about(op->conv);
    c->done = wiped;
    c->ctx = t;
    call_post(r, c);
}
