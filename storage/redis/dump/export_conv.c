/* Conversations of a cluster's export: heads, messages in Redis and in the archive, blocks. */
#include "storage/conv_key.h"
#include "storage/redis/dump/export_private.h"
#include "storage/redis/redis_private.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    CONVS = 32,             /* asked together */
    ROWS = 64,              /* rows of one ask */
    ASKS = 8,               /* of one conversation, together */
    ARCHIVE_PAGE = 200,     /* rows of one page of the archive */
    ARCHIVE_WAIT_MS = 10000 /* that a page may take */
};

/* A conversation that is being put. */
struct conv {
    struct exporter *e;
    struct slice key;
    struct layout_head head;
    uint64_t low;  /* nothing at or below is visible, as far as the head tells */
    uint64_t next; /* the row that is looked for next */
    bool begun;    /* its CONV is put */
};

/* --- Records ------------------------------------------------------------------------------------------------------ */

static int put_conv(struct conv *c, uint64_t low)
{
    const struct layout_head *h = &c->head;
    bool channel = h->kind == LAYOUT_CHANNEL, made = channel && h->flags & LAYOUT_MADE;
    c->begun = true;
    if (!made && !h->seq)
        return 0; /* blocks alone, or a channel that never had a message */
    struct dump_conv d = {.key = c->key,
                          .seq = h->seq,
                          .given = h->seq,
                          .low = channel && !made ? h->seq : low,
                          .last_id = channel && !made ? 0 : h->last_id,
                          .gone_ms = channel && !made ? c->e->clock_ms : 0,
                          .max = h->flags & LAYOUT_OWN ? h->max : 0,
                          .tier = made ? h->tier : 0};
    d.flags = (uint8_t)(made      ? DUMP_CONV_MADE | (h->flags & LAYOUT_WIPING ? DUMP_CONV_CLOSING : 0)
                        : channel ? DUMP_CONV_GONE
                                  : 0);
    struct dump_record r = {.kind = DUMP_CONV, .conv = d};
    return dump_put(c->e->out, &r);
}

static int put_message(struct conv *c, struct dump_message *m)
{
    int r = c->begun ? 0 : put_conv(c, m->seq - 1);
    if (m->flags & DUMP_RECALLED) {
        m->flags = DUMP_RECALLED;
        m->edited_ms = 0;
        m->content = SLICE_NONE;
    }
    struct dump_record rec = {.kind = DUMP_MESSAGE, .message = *m};
    return r ? r : dump_put(c->e->out, &rec);
}

/* A row of Redis, if it is there and visible. */
static int put_row(struct conv *c, uint64_t seq, struct slice value)
{
    struct layout_record m;
    if (!value.p)
        return 0;
    if (layout_record(value, &m))
        return ERR_INVALID;
    if (!rule_shows(&c->e->rule, &c->head, seq, &m))
        return 0;
    struct dump_message d = {.sender = m.sender,
                             .name = m.sender_name,
                             .content = m.content,
                             .seq = seq,
                             .id = m.id,
                             .created_ms = m.created_ms,
                             .birth_ms = m.birth_ms,
                             .ttl_ms = m.ttl_ms,
                             .edited_ms = m.edited_ms,
                             .tier = m.tier,
                             .flags = (uint8_t)((m.recalled ? DUMP_RECALLED : 0) | (m.edited_ms ? DUMP_EDITED : 0))};
    return put_message(c, &d);
}

static int put_blocks(struct conv *c)
{
    struct slice lo, hi;
    int r = 0;
    if (c->head.kind != LAYOUT_PAIR)
        return 0;
    conv_pair_users(c->key, &lo, &hi);
    struct dump_record low = {.kind = DUMP_BLOCK, .block = {lo, hi}}, high = {.kind = DUMP_BLOCK, .block = {hi, lo}};
    if (c->head.flags & LAYOUT_LOW_BLOCKS)
        r = dump_put(c->e->out, &low);
    if (!r && c->head.flags & LAYOUT_HIGH_BLOCKS)
        r = dump_put(c->e->out, &high);
    return r;
}

/* --- The archive -------------------------------------------------------------------------------------------------- */

int export_open_archive(struct exporter *e, char *why, size_t why_size)
{
    const struct archive_options o = {.url = e->s->r->options.cluster.archive.url};
    return o.url ? archive_open(&e->archive, e->s->r->loop, &o, why, why_size) : 0;
}

void export_close_archive(struct exporter *e)
{
    if (e->archive)
        archive_close(e->archive);
    e->archive = NULL;
}

/* A page of the archive, put while its rows are there. */
struct page {
    struct archive_range range;
    struct conv *c;
    bool done;
    int code;
};

static int put_archived(struct conv *c, const struct archive_row *row)
{
    const struct layout_record m = {.tier = row->tier, .birth_ms = row->birth_ms, .ttl_ms = row->ttl_ms};
    const struct layout_rule *rule = &c->e->rule;
    uint32_t max = c->head.flags & LAYOUT_OWN ? c->head.max : rule->max[m.tier];
    if (!rule_alive(rule, m.tier, m.birth_ms, m.ttl_ms) || (max && row->seq + max <= c->head.seq))
        return 0;
    struct dump_message d = {.sender = row->sender,
                             .name = row->name,
                             .content = row->content,
                             .seq = row->seq,
                             .id = row->id,
                             .created_ms = row->created_ms,
                             .birth_ms = row->birth_ms,
                             .ttl_ms = row->ttl_ms,
                             .edited_ms = row->edited_ms,
                             .tier = row->tier,
                             .flags =
                                 (uint8_t)((row->recalled ? DUMP_RECALLED : 0) | (row->edited_ms ? DUMP_EDITED : 0))};
    return put_message(c, &d);
}

static void page_done(void *ctx, struct archive_req *req)
{
    struct page *p = ctx;
    p->done = true;
    p->code = req->status == ARCHIVE_OK ? 0 : ERR_CLOSED;
    for (uint32_t i = 0; !p->code && i < p->range.n; i++)
        p->code = put_archived(p->c, &p->range.rows[i]);
    if (p->range.n && !p->code)
        p->c->next = p->range.rows[p->range.n - 1].seq + 1;
}

/* What has left Redis: from the archive's first row up to the head's low. */
static int put_cold(struct conv *c)
{
    uint64_t low = c->head.low;
    c->next = c->head.first;
    if (!c->e->archive || c->head.kind != LAYOUT_PAIR || !c->head.first || c->head.first > low)
        return 0;
    while (c->next <= low) {
        struct page p = {.range = {.req = {.done = page_done, .ctx = &p, .patience_ms = ARCHIVE_WAIT_MS},
                                   .conv = c->key,
                                   .from = c->next,
                                   .to = low,
                                   .limit = ARCHIVE_PAGE},
                         .c = c};
        archive_range(c->e->archive, &p.range);
        while (!p.done)
            ev_run(c->e->s->r->loop, EVRUN_ONCE);
        if (p.code || !p.range.n)
            return p.code;
    }
    return 0;
}

/* --- Rows in Redis ------------------------------------------------------------------------------------------------ */

static void rows_ask(struct conv *c, struct still_ask *a, uint64_t from)
{
    still_begin(c->e->s, a, "HMGET", partition_of(c->key), false);
    call_key(c->e->s->r, &a->call, 'm', c->key);
    for (uint64_t seq = from; seq < from + ROWS && seq <= c->head.seq; seq++)
        call_arg_u64(&a->call, seq);
    still_post(c->e->s, a);
}

static int rows_put(struct conv *c, struct still_ask *a, uint64_t from)
{
    struct slice value;
    int r = 0;
    for (uint64_t seq = from; !r && seq < from + ROWS && seq <= c->head.seq; seq++)
        r = still_next(&a->left, &value) ? put_row(c, seq, value) : ERR_INVALID;
    return r;
}

/* All rows above c->low; `first` has the first of them. */
static int put_hot(struct conv *c, struct still_ask *first)
{
    int r = c->low < c->head.seq ? rows_put(c, first, c->low + 1) : 0;
    uint64_t at = c->low + 1 + ROWS;
    while (!r && at <= c->head.seq) {
        struct still_ask asks[ASKS];
        unsigned n = 0;
        for (; n < ASKS && at + n * ROWS <= c->head.seq; n++)
            rows_ask(c, &asks[n], at + n * ROWS);
        r = still_wait(c->e->s);
        for (unsigned i = 0; i < n; i++) {
            r = r ? r : rows_put(c, &asks[i], at + i * ROWS);
            still_free(&asks[i]);
        }
        at += n * ROWS;
    }
    return r;
}

static int put_all(struct conv *c, struct still_ask *first)
{
    bool shown = c->head.kind == LAYOUT_PAIR || c->head.flags & LAYOUT_MADE;
    int r = shown ? put_cold(c) : 0;
    r = r || !shown ? r : put_hot(c, first);
    r = r || c->begun ? r : put_conv(c, c->head.seq);
    return r ? r : put_blocks(c);
}

/* The lowest row of Redis that any tier may show. */
static uint64_t conv_low(const struct conv *c)
{
    uint64_t low = c->head.seq;
    for (unsigned t = 0; t < TIER_COUNT; t++) {
        uint64_t here = c->head.used & 1u << t ? rule_low(&c->e->rule, &c->head, t) : low;
        low = here < low ? here : low;
    }
    return low;
}

static void head_ask(struct exporter *e, struct still_ask *a, struct slice key)
{
    still_begin(e->s, a, "HGET", partition_of(key), false);
    call_key(e->s->r, &a->call, 'm', key);
    call_arg(&a->call, SLICE_LIT("h"));
    still_post(e->s, a);
}

/* Reads heads, asks for the first rows of each, and puts them one after the other. */
static int put_some(struct exporter *e, const struct still_key *keys, uint32_t n)
{
    struct still_ask heads[CONVS], rows[CONVS];
    struct conv convs[CONVS];
    struct slice value;
    for (uint32_t i = 0; i < n; i++)
        head_ask(e, &heads[i], keys[i].rest);
    int r = still_wait(e->s);
    for (uint32_t i = 0; i < n; i++) {
        convs[i] = (struct conv){.e = e, .key = keys[i].rest};
        value = SLICE_NONE;
        if (!r && still_next(&heads[i].left, &value) && value.p)
            r = layout_head(value, &convs[i].head);
        still_free(&heads[i]);
        convs[i].low = conv_low(&convs[i]);
        rows[i] = (struct still_ask){.out = BUF_INIT};
    }
    for (uint32_t i = 0; !r && i < n; i++)
        if (convs[i].low < convs[i].head.seq)
            rows_ask(&convs[i], &rows[i], convs[i].low + 1);
    r = r ? r : still_wait(e->s);
    for (uint32_t i = 0; i < n; i++) {
        r = r || !convs[i].head.kind ? r : put_all(&convs[i], &rows[i]);
        still_free(&rows[i]);
    }
    return r;
}

int export_convs(void *ctx, const struct still_key *keys, uint32_t n)
{
    int r = 0;
    for (uint32_t at = 0; !r && at < n; at += CONVS)
        r = put_some(ctx, keys + at, n - at < CONVS ? n - at : CONVS);
    return r;
}
