/* Pages of history. */
#include "storage/conv_key.h"
#include "storage/redis/ops/gone.h"
#include "storage/redis/ops/history.h"
#include "storage/redis/ops/op.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

struct ranging {
    struct history history;
    struct call call;
    struct gone_names names;
};

static void range_end(struct redis *r, struct task *t, enum store_status status)
{
    struct store_range *q = (struct store_range *)t->op;
    if (status != STORE_OK)
        store_page_free(&q->page);
    task_end(r, t, status);
}

static void range_named(struct redis *r, struct gone_names *n, enum store_status status)
{
    range_end(r, n->ctx, status);
}

static void range_read(struct redis *r, struct history *h, enum store_status status)
{
    struct task *t = h->ctx;
    struct store_range *q = (struct store_range *)t->op;
    struct ranging *w = t->own;
    if (status == STORE_OK && h->head.flags & LAYOUT_WIPING && h->head.kind == LAYOUT_CHANNEL)
        status = STORE_NOTFOUND;
    int e = page_finish(&h->page, status == STORE_OK ? 0 : ERR_IO, &q->page);
    if (status != STORE_OK || e) {
        task_end(r, t, status != STORE_OK ? status : STORE_RETRY);
        return;
    }
    q->first = h->first;
    q->last = h->head.seq;
    q->more = h->more;
    w->names = (struct gone_names){.page = &q->page, .done = range_named, .ctx = t};
    if (!gone_names(r, &w->names))
        task_end(r, t, STORE_OK);
}

static void range_begin(struct redis *r, struct task *t, uint64_t until)
{
    struct store_range *q = (struct store_range *)t->op;
    struct ranging *w = t->own;
    w->history = (struct history){.conv = q->conv,
                                  .has_after = q->has_after,
                                  .has_before = q->has_before,
                                  .after = q->after,
                                  .before = q->before,
                                  .limit = q->limit,
                                  .page_bytes = q->page_bytes,
                                  .until = until,
                                  .done = range_read,
                                  .ctx = t};
    history_read(r, &w->history);
}

static void reader_known(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct gone_user user;
    if (status == STORE_OK && !gone_read(reply, &user))
        status = STORE_FATAL;
    if (status != STORE_OK)
        task_end(r, t, status);
    else
        range_begin(r, t, user.until);
}

void begin_range(struct redis *r, struct task *t)
{
    struct store_range *q = (struct store_range *)t->op;
    struct ranging *w = task_own(t, sizeof *w);
    q->page = (struct store_page){0};
    q->first = q->last = 0;
    q->more = false;
    if (!w || !q->conv.n || q->conv.n > CONV_KEY_MAX || q->reader.n > 64)
        task_end(r, t, w ? STORE_FATAL : STORE_RETRY);
    else if (q->reader.n && gone_maybe(r, q->reader))
        gone_ask(r, &w->call, q->reader, reader_known, t);
    else
        range_begin(r, t, 0);
}
