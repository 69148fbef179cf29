/* Who is where, and who wants to hear of it: see watch.h. */
#include "storage/redis/bus/watch.h"

#include "storage/conv_key.h"
#include "storage/redis/bus/bus_private.h"
#include "storage/redis/bus/news.h"
#include "storage/redis/bus/sessions.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/client/fan.h"
#include "storage/redis/layout.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/task.h"

#include <stdlib.h>

enum { USER_MAX = 64, CHANNEL_MAX = 64 }; /* bytes of an id, of a name */

/* --- Presence ----------------------------------------------------------------------------------------------------- */

static void survey_each(struct redis *r, struct fan *f, uint32_t i, const struct reply *reply)
{
    struct bus_presence *op = (struct bus_presence *)f->task->op;
    struct reply_in in = reply_in(reply);
    (void)reply_u8(&in);
    op->shared[i] = reply_u8(&in) == 1;
    op->online[i] = sessions_elsewhere(r, sessions_read(&in), op->ids[i]);
    if (!reply_ok(&in))
        fan_fail(f, STORE_FATAL);
}

static void survey_end(struct redis *r, struct fan *f)
{
    task_end(r, f->task, f->status);
}

/* The channels' keys as arguments, which all calls have alike; *n: how many. False: they are not as bus.h says. */
static bool channels_put(struct buf *b, struct slice names, uint32_t *n)
{
    *n = 0;
    while (names.n) {
        size_t size = (uint8_t)names.p[0];
        if (!size || size > CHANNEL_MAX || size >= names.n)
            return false;
        struct conv_key key = conv_key_channel(slice_of(names.p + 1, size));
        resp_put(b, conv_key_slice(&key));
        names = slice_of(names.p + 1 + size, names.n - 1 - size);
        ++*n;
    }
    return buf_ok(b);
}

void begin_bus_presence(struct redis *r, struct task *t)
{
    struct bus_presence *op = (struct bus_presence *)t->op;
    struct fan *f = task_own(t, sizeof *f);
    struct buf channels = BUF_INIT;
    uint32_t n = 0;
    bool sane = channels_put(&channels, op->channels, &n);
    for (uint32_t i = 0; i < op->n; i++)
        sane = sane && op->ids[i].n >= 1 && op->ids[i].n <= USER_MAX;
    if (!sane || !op->n || !f || fan_begin(f, t, op->n)) {
        buf_free(&channels);
        task_end(r, t, !sane ? STORE_FATAL : op->n ? STORE_RETRY : STORE_OK);
        return;
    }
    for (uint32_t i = 0; i < op->n; i++) {
        struct call *c = &f->calls[i];
        call_begin(r, c, FN_PRESENCE, partition_of_user(op->ids[i]));
        call_key(r, c, 'u', op->ids[i]);
        call_key(r, c, 'S', op->ids[i]);
        buf_slice_put(&c->body, buf_slice(&channels));
        c->args += n;
    }
    buf_free(&channels);
    f->each = survey_each;
    f->end = survey_end;
    fan_post(r, f);
}

/* --- Watching ----------------------------------------------------------------------------------------------------- */

static void watched(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct bus_watch *op = (struct bus_watch *)t->op;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        status = task_status(reply_u8(&in));
        op->changes = reply_u48(&in);
        op->online = sessions_elsewhere(r, sessions_read(&in), op->user);
        status = reply_ok(&in) ? status : STORE_FATAL;
    }
    task_end(r, t, status);
}

void begin_bus_watch(struct redis *r, struct task *t)
{
    struct bus_watch *op = (struct bus_watch *)t->op;
    bool sane = op->user.n >= 1 && op->user.n <= USER_MAX;
    uint64_t inc = node_others(r)->inc;
    struct call *c = sane && inc ? task_own(t, sizeof *c) : NULL;
    op->online = false;
    op->changes = 0;
    if (!c) { /* without an incarnation it watches again once it has one */
        task_end(r, t, sane ? STORE_RETRY : STORE_FATAL);
        return;
    }
    call_begin(r, c, FN_WATCH, partition_of_user(op->user));
    call_key(r, c, 'u', op->user);
    call_key(r, c, 'S', op->user);
    call_key(r, c, 'W', op->user);
    call_arg_u64(c, inc);
    call_arg_u64(c, op->on);
    c->about = task_about(op->user);
    c->done = watched;
    c->ctx = t;
    call_post(r, c);
}

/* --- News --------------------------------------------------------------------------------------------------------- */

bool watch_tell(struct redis *r, struct task *t, struct slice user, uint64_t s, struct reply_in *in)
{
    struct sessions nodes = sessions_read(in), watchers = sessions_read(in);
    if (!reply_ok(in))
        return false;
    struct bus_news n = {.kind = NEWS_PRESENCE,
                         .origin = node_origin(r),
                         .user = user,
                         .version = s,
                         .online = nodes.n > 0,
                         .advice = slice_of(nodes.p, (size_t)nodes.n * 6)};
    for (uint16_t i = 0; i < watchers.n && tell_is_wanted(r); i++) {
        uint64_t inc = sessions_other(r, watchers, i, user);
        struct buf *b = inc ? tell_node(r, t, partition_of_user(user), inc) : NULL;
        if (b)
            news_put(b, &n);
    }
    return true;
}

void watch_heard(struct redis *r, struct bus_news *n)
{
    const struct nodes *ns = node_others(r);
    n->online = false;
    for (size_t at = 0; at + 6 <= n->advice.n && !n->online; at += 6) {
        uint64_t inc = layout_u48(n->advice.p + at);
        n->online = inc != ns->inc && nodes_may_live(ns, inc);
    }
    n->advice = SLICE_NONE;
    redis_bus_heard(r, n);
}
