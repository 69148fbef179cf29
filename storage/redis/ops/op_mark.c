/* How far a user has read a conversation. */
#include "storage/conv_key.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/ops/history.h"
#include "storage/redis/ops/marks.h"
#include "storage/redis/ops/op.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

struct marking {
    struct history history;
    struct call call;
};

static void marked(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct store_mark_read *m = (struct store_mark_read *)t->op;
    const struct history *h = &((struct marking *)t->own)->history;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        status = task_status(reply_u8(&in));
        if (status == STORE_OK) {
            m->read = reply_u48(&in);
            m->moved = reply_u8(&in) == 1;
            status = reply_ok(&in) ? STORE_OK : STORE_FATAL;
            struct bus_news n = {.kind = NEWS_READ, .user = m->user, .conv = m->conv, .seq = m->read};
            if (m->moved || c->tried) /* tried: its own first reply may have been lost */
                tell_sessions(r, t, &n, &in);
        }
    }
    if (status == STORE_OK) {
        uint64_t seen = h->first > m->read + 1 ? h->first - 1 : m->read;
        m->unread = h->head.seq > seen ? h->head.seq - seen : 0;
    }
    task_end(r, t, status);
}

static void mark_head(struct redis *r, struct history *h, enum store_status status)
{
    struct task *t = h->ctx;
    struct store_mark_read *m = (struct store_mark_read *)t->op;
    struct marking *w = t->own;
    page_drop(&h->page); /* it has no messages */
    if (status == STORE_OK && (conv_is_channel(m->conv) ? !(h->head.flags & LAYOUT_MADE) : !h->head.seq))
        status = STORE_NOTFOUND;
    if (status != STORE_OK) {
        task_end(r, t, status);
        return;
    }
    marks_send(r, m->user, NULL); /* what it has sent comes first */
    marks_call(r, &w->call, m->user, m->conv, m->seq < h->head.seq ? m->seq : h->head.seq, tell_is_wanted(r));
    w->call.done = marked;
    w->call.ctx = t;
    call_post(r, &w->call);
}

void begin_mark_read(struct redis *r, struct task *t)
{
    struct store_mark_read *m = (struct store_mark_read *)t->op;
    struct marking *w = task_own(t, sizeof *w);
    bool sane = m->conv.n >= 2 && m->conv.n <= CONV_KEY_MAX && m->user.n >= 1 && m->user.n <= 64;
    m->moved = false;
    if (!w || !sane) {
        task_end(r, t, sane ? STORE_RETRY : STORE_FATAL);
        return;
    }
    w->history = (struct history){.conv = m->conv, .ordered = true, .done = mark_head, .ctx = t};
    history_read(r, &w->history);
}
