#include "storage/redis/client/call.h"

#include "core/base/err.h"
#include "storage/redis/client/queue.h"
#include "storage/redis/redis_private.h"

#include <stdlib.h>

/* Memory for bodies goes round: most calls need none of their own. */
static struct buf body_take(struct redis *r)
{
    if (!r->spare_count)
        return BUF_INIT;
    return r->spare[--r->spare_count];
}

static void body_give(struct redis *r, struct call *c)
{
    if (c->body.p && c->body.cap <= SPARE_SIZE && r->spare_count < SPARE_BODIES) {
        buf_reset(&c->body);
        r->spare[r->spare_count++] = c->body;
        c->body = BUF_INIT;
    } else {
        buf_free(&c->body);
    }
}

void call_begin(struct redis *r, struct call *c, enum fn fn, unsigned part)
{
    *c = (struct call){.part = (uint16_t)part, .fn = (uint8_t)fn, .body = body_take(r)};
}

void call_drop(struct redis *r, struct call *c)
{
    body_give(r, c);
}

/* --- Arguments --- */

void call_key(struct redis *r, struct call *c, char kind, struct slice rest)
{
    struct slice prefix = slice_str(r->options.cluster.prefix), tag = partition_tag(&r->tags, c->part);
    resp_bulk(&c->body, prefix.n + 1 + 1 + tag.n + 1 + (rest.p ? 1 + rest.n : 0));
    buf_slice_put(&c->body, prefix);
    buf_byte(&c->body, (uint8_t)kind);
    buf_byte(&c->body, '{');
    buf_slice_put(&c->body, tag);
    buf_byte(&c->body, '}');
    if (rest.p) {
        buf_byte(&c->body, ':');
        buf_slice_put(&c->body, rest);
    }
    buf_lit(&c->body, "\r\n");
    c->keys++;
    c->args++;
}

void call_arg(struct call *c, struct slice arg)
{
    resp_put(&c->body, arg);
    c->args++;
}

void call_arg_u64(struct call *c, uint64_t v)
{
    resp_put_u64(&c->body, v);
    c->args++;
}

void call_arg_open(struct call *c, size_t size)
{
    resp_bulk(&c->body, size);
    c->args++;
}

void call_arg_close(struct call *c)
{
    buf_lit(&c->body, "\r\n");
}

void call_raw(struct redis *r, struct call *c, unsigned part, bool writes, const struct slice *argv, unsigned n)
{
    call_begin(r, c, writes ? FN_RAW_WRITE : FN_RAW_READ, part);
    for (unsigned i = 0; i < n; i++)
        call_arg(c, argv[i]);
}

/* --- Its way --- */

void call_post(struct redis *r, struct call *c)
{
    if (!c->since)
        c->since = r->since ? r->since : r->turn_ms;
    queue_post(r, c);
}

void call_write(const struct redis *r, const struct call *c, struct buf *out)
{
    if (c->fn < FN_COUNT) {
        resp_open(out, 3 + c->args);
        buf_slice_put(out, library_head(&r->library, c->fn));
        resp_put_u64(out, c->keys);
    } else {
        resp_open(out, c->args);
    }
    buf_slice_put(out, buf_slice(&c->body));
}

void call_end(struct redis *r, struct call *c, enum store_status status)
{
    body_give(r, c);
    c->done(r, c, status, status == STORE_OK ? c->reply : NULL);
}
