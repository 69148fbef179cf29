#include "storage/redis/cold/cold.h"

#include "core/base/clock.h"
#include "storage/cluster.h"
#include "storage/conv_key.h"
#include "storage/redis/cold/behind.h"
#include "storage/redis/cold/cold_block.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_MAX = 256 << 10 /* larger blocks are not kept */ };

enum { AWAY_MS = 3000 /* a database that is away for so long is not waited for */, AWAY_PATIENCE_MS = 100 };

/* --- The archive -------------------------------------------------------------------------------------------------- */

int cold_open(struct redis *r, char *why, size_t why_size)
{
    const char *url = r->options.cluster.archive.url;
    if (!url || !*url)
        return 0;
    struct cold *cold = calloc(1, sizeof *cold);
    char said[200] = "out of memory";
    struct archive_options options = {.url = url};
    int e = cold ? archive_open(&cold->archive, r->loop, &options, said, sizeof said) : ERR_NOMEM;
    e = e ? e : behind_open(r, &cold->behind);
    if (e) {
        (void)snprintf(why, why_size, "cluster.archive.url: %s", said);
        if (cold && cold->archive)
            archive_close(cold->archive);
        free(cold);
        return e;
    }
    r->cold = cold;
    return 0;
}

void cold_stop(struct redis *r)
{
    if (!r->cold || r->cold->stopping)
        return;
    r->cold->stopping = true;
    behind_stop(r->cold->behind);
    archive_close(r->cold->archive);
    r->cold->archive = NULL;
}

void cold_fini(struct redis *r)
{
    if (!r->cold)
        return;
    if (r->cold->archive) /* the thread never ran */
        archive_close(r->cold->archive);
    behind_close(r->cold->behind);
    free(r->cold);
    r->cold = NULL;
}

bool cold_covers(const struct redis *r, const struct layout_head *h)
{
    return r->cold && h->kind == LAYOUT_PAIR && h->first && h->first <= h->low;
}

void cold_tell(struct redis *r, struct cluster_archive *out)
{
    struct archive_stats st;
    *out = (struct cluster_archive){.used = r->cold && !r->cold->stopping};
    if (!out->used)
        return;
    archive_get_stats(r->cold->archive, &st);
    out->connected = st.connected;
    out->behind_ms = behind_ms(r);
    out->written = st.put;
    out->read = st.read;
    memcpy(out->why, st.why, sizeof out->why);
}

uint32_t cold_patience(struct redis *r)
{
    struct archive_stats st;
    archive_get_stats(r->cold->archive, &st);
    bool away = st.away_since_ms && clock_mono_ms() - st.away_since_ms > AWAY_MS;
    return away ? AWAY_PATIENCE_MS : r->options.cluster.patience_ms;
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static void span_ask(struct cold_read *c);

static void read_end(struct cold_read *c, enum store_status status)
{
    for (unsigned i = 0; i < COLD_SPAN; i++)
        buf_free(&c->blocks[i]);
    c->done(c->r, c, status);
}

static void read_failed(struct cold_read *c, int e)
{
    read_end(c, e == ERR_NOMEM ? STORE_RETRY : STORE_FATAL);
}

static uint64_t block_of(uint64_t seq)
{
    return (seq - 1) / COLD_BLOCK;
}

static uint64_t block_end(uint64_t block)
{
    return (block + 1) * COLD_BLOCK;
}

/* The last seq of a block that this read wants. */
static uint64_t block_wanted(const struct cold_read *c, uint64_t block)
{
    return block_end(block) < c->to ? block_end(block) : c->to;
}

/* Hands a row over if it is wanted. As `row` of cold_read. */
static int row_give(struct cold_read *c, uint64_t seq, struct slice record)
{
    if (seq < c->from || seq > c->to || (c->up ? seq < c->next : seq > c->next))
        return 1;
    c->any = true;
    return c->row(c, seq, record);
}

static int block_give(struct cold_read *c, const struct buf *block)
{
    struct cold_walk w;
    struct {
        uint64_t seq;
        struct slice record;
    } rows[COLD_BLOCK];
    int n = 0, more;
    cold_walk_begin(&w, buf_slice(block));
    while ((more = cold_walk_next(&w)) == 1) {
        if (n == COLD_BLOCK)
            return ERR_INVALID;
        rows[n].seq = w.seq;
        rows[n++].record = w.record;
    }
    for (int i = 0; !(more < 0) && i < n; i++) {
        int at = c->up ? i : n - 1 - i, code = row_give(c, rows[at].seq, rows[at].record);
        if (code <= 0)
            return code;
    }
    return more < 0 ? more : 1;
}

/* Where nothing more can be in this direction. */
static bool read_over(const struct cold_read *c)
{
    return c->up ? c->next > c->to : c->next < c->from || !c->next;
}

static void seek_done(void *ctx, struct archive_req *req)
{
    struct cold_read *c = ctx;
    if (req->status != ARCHIVE_OK || !c->range.n) {
        read_end(c, req->status == ARCHIVE_OK ? STORE_OK : req->status == ARCHIVE_REFUSED ? STORE_FATAL : STORE_RETRY);
        return;
    }
    c->next = c->range.rows[0].seq;
    span_ask(c);
}

static void range_post(struct cold_read *c, uint64_t from, uint64_t to, uint32_t limit,
                       void (*done)(void *, struct archive_req *))
{
    if (c->r->cold->stopping) {
        read_end(c, STORE_RETRY);
        return;
    }
    c->range = (struct archive_range){
        .req = {.done = done, .ctx = c, .patience_ms = cold_patience(c->r)},
        .conv = c->conv,
        .from = from,
        .to = to,
        .limit = limit,
        .newest = !c->up,
    };
    archive_range(c->r->cold->archive, &c->range);
}

/* The span is there: its rows are handed over, in order. */
static void span_give(struct cold_read *c)
{
    c->any = false;
    int code = 1;
    for (unsigned i = 0; code == 1 && i < c->n; i++)
        code = block_give(c, &c->blocks[c->up ? i : c->n - 1 - i]);
    uint64_t last = block_end(c->span + c->n - 1), first = c->span * COLD_BLOCK + 1;
    c->next = c->up ? last + 1 : first - 1;
    if (code < 0)
        read_failed(c, code);
    else if (code == 0 || read_over(c))
        read_end(c, STORE_OK);
    else if (c->any)
        span_ask(c);
    else /* a wide hole: the archive knows where it ends */
        range_post(c, c->up ? c->next : c->from, c->up ? c->to : c->next, 1, seek_done);
}

/* --- Keeping ------------------------------------------------------------------------------------------------------ */

static void keep_done(struct redis *r, struct call *call, enum store_status status, const struct reply *reply)
{
    (void)r;
    (void)status;
    (void)reply;
    free(call); /* whether it is kept does not matter */
}

static struct slice block_name(struct cold_read *c, uint64_t block, char name[CONV_KEY_MAX + 24])
{
    memcpy(name, c->conv.p, c->conv.n);
    int n = snprintf(name + c->conv.n, 24, ":%llu", (unsigned long long)block);
    return slice_of(name, c->conv.n + (size_t)n);
}

static void block_keep(struct cold_read *c, uint64_t block, const struct buf *b)
{
    char name[CONV_KEY_MAX + 24];
    struct call *call = NULL;
    if (!c->r->options.cluster.archive.cache_ms || b->n > BLOCK_MAX || !(call = malloc(sizeof *call)))
        return;
    call_begin(c->r, call, FN_KEEP, partition_of(c->conv));
    call_key(c->r, call, 'x', block_name(c, block, name));
    call_arg(call, buf_slice(b));
    call_arg_u64(call, c->r->options.cluster.archive.cache_ms);
    call->relaxed = true;
    call->done = keep_done;
    call_post(c->r, call);
}

/* Rows of the archive as a block. */
static void block_make(struct cold_read *c, uint64_t block, const struct archive_range *range)
{
    uint64_t upto = block_end(block) < c->archived ? block_end(block) : c->archived;
    cold_block_make(&c->blocks[block - c->span], c->edits, block * COLD_BLOCK + 1, upto, range->rows, range->n);
}

static void range_done(void *ctx, struct archive_req *req)
{
    struct cold_read *c = ctx;
    if (req->status != ARCHIVE_OK) {
        read_end(c, req->status == ARCHIVE_REFUSED ? STORE_FATAL : STORE_RETRY);
        return;
    }
    for (unsigned i = 0; i < c->n; i++) {
        if (c->blocks[i].n)
            continue;
        block_make(c, c->span + i, &c->range);
        if (!buf_ok(&c->blocks[i])) {
            read_end(c, STORE_RETRY);
            return;
        }
        if (!c->r->cold->stopping)
            block_keep(c, c->span + i, &c->blocks[i]);
    }
    span_give(c);
}

/* Takes a kept block if it has all that is wanted of it. */
static void block_take(struct cold_read *c, unsigned i, const struct reply *v)
{
    buf_reset(&c->blocks[i]);
    if (v->type != REPLY_STRING || !cold_block_right(v->text, c->edits, block_wanted(c, c->span + i)))
        return;
    buf_slice_put(&c->blocks[i], v->text);
    if (!buf_ok(&c->blocks[i]))
        buf_reset(&c->blocks[i]);
}

/* What the archive must be asked for: the blocks from the first to the last one that is missing. */
static void span_fill(struct cold_read *c)
{
    unsigned first = c->n, last = 0;
    for (unsigned i = 0; i < c->n; i++)
        if (!c->blocks[i].n) {
            first = first < c->n ? first : i;
            last = i;
        }
    if (first == c->n)
        span_give(c);
    else
        range_post(c, (c->span + first) * COLD_BLOCK + 1, block_end(c->span + last), (last - first + 1) * COLD_BLOCK,
                   range_done);
}

static void blocks_done(struct redis *r, struct call *call, enum store_status status, const struct reply *reply)
{
    struct cold_read *c = call->ctx;
    (void)r;
    bool right = status == STORE_OK && reply->type == REPLY_LIST && reply->n;
    for (unsigned i = 0; right && i < c->n && i + 1 < reply->n; i++)
        block_take(c, i, &reply->list[i + 1]);
    if (status == STORE_OK || status == STORE_FATAL)
        span_fill(c); /* what cannot be read is read anew */
    else
        read_end(c, status);
}

/* Asks for the blocks from `next` on. */
static void span_ask(struct cold_read *c)
{
    char name[CONV_KEY_MAX + 24], edits[4];
    uint64_t block = block_of(c->next), bound = block_of(c->up ? c->to : c->from);
    uint64_t n = c->want / COLD_BLOCK + 2, all = (c->up ? bound - block : block - bound) + 1;
    n = n < COLD_SPAN ? n : COLD_SPAN;
    c->n = (unsigned)(n < all ? n : all);
    c->span = c->up ? block : block + 1 - c->n;
    for (unsigned i = 0; i < c->n; i++)
        buf_reset(&c->blocks[i]);
    if (!c->r->options.cluster.archive.cache_ms) {
        span_fill(c);
        return;
    }
    call_begin(c->r, &c->call, FN_KEPT, partition_of(c->conv));
    for (unsigned i = 0; i < c->n; i++)
        call_key(c->r, &c->call, 'x', block_name(c, c->span + i, name));
    store_be32(edits, c->edits);
    call_arg(&c->call, slice_of(edits, sizeof edits));
    c->call.about = task_about(c->conv);
    c->call.done = blocks_done;
    c->call.ctx = c;
    call_post(c->r, &c->call);
}

void cold_read(struct redis *r, struct cold_read *c)
{
    c->r = r;
    memset(c->blocks, 0, sizeof c->blocks);
    c->from = c->from ? c->from : 1;
    c->next = c->up ? c->from : c->to;
    ASSERT(c->from <= c->to && c->conv.n <= CONV_KEY_MAX);
    span_ask(c);
}
