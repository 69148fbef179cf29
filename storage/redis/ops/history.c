/* Reading a conversation: see history.h. */
#include "storage/redis/ops/history.h"

#include "storage/redis/client/broken.h"
#include "storage/redis/ops/known.h"
#include "storage/redis/ops/lost.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

#include <string.h>

enum {
    ROWS_MAX = 256,   /* asked for by one call */
    PROBES = 64,      /* rows looked at by one call in search of the first visible one */
    PROBES_OWN = 255, /* … for who has an id that was another's, and may have to pass over many */
    PLAIN_MAX = 64,   /* rows asked for without a function */
    PLAIN_AHEAD = 4   /* … of them above the newest that is known: others may just have been stored */
};
#define SEQ_MAX ((UINT64_C(1) << 48) - 1)

static void history_ask(struct redis *r, struct history *h);
static void history_function(struct redis *r, struct history *h);
static void history_go(struct redis *r, struct history *h);
static uint64_t history_base(const struct history *h);

static void history_end(struct redis *r, struct history *h, enum store_status status)
{
    if (status == STORE_OK && h->head.kind && h->head.seq < h->was && known_lost(r->known, h->conv))
        lost_tell(r, h->conv, h->was, h->head.seq);
    if (status == STORE_OK && h->head.kind) {
        known_put(r->known, h->conv, h->head.seq, h->until ? 0 : h->first);
        known_moving(r->known, h->conv, h->cold || history_base(h) > h->head.low);
    }
    if (status == STORE_OK && !h->up && h->limit) {
        page_reverse(&h->page);
        if (!h->has_after && h->page.n) /* in offsets still, but seqs are what they are */
            h->more = h->more || h->page.messages[0].seq > h->first;
    }
    h->done(r, h, status);
}

static struct store_message message_of(uint64_t seq, const struct layout_record *m)
{
    return (struct store_message){.seq = seq,
                                  .id = m->id,
                                  .created_ms = m->created_ms,
                                  .edited_ms = m->edited_ms,
                                  .recalled = m->recalled,
                                  .sender = m->sender,
                                  .sender_name = m->sender_name,
                                  .content = m->content};
}

/* Takes one row; what cannot be read leaves a gap. An enum err. */
static int row_take(struct redis *r, struct history *h, uint64_t seq, struct slice v)
{
    struct layout_record m;
    if (h->filled)
        return 0;
    int e = layout_record(v, &m);
    if (e) {
        broken_record(r, "message", h->conv, seq);
        return 0;
    }
    if (!h->up && m.id <= h->until) {
        h->filled = true; /* all below are of before, too */
        return 0;
    }
    if (m.id <= h->until || !rule_shows(&h->rule, &h->head, seq, &m))
        return 0;
    if (h->page.n == h->limit || page_is_full(&h->page, m.content.n, h->page_bytes)) {
        h->more = h->filled = true;
        return 0;
    }
    if (!h->page.n)
        page_expect(&h->page, h->limit, m.sender.n + m.sender_name.n + m.content.n + 16);
    struct store_message out = message_of(seq, &m);
    e = page_add(&h->page, &out);
    if (!h->up && h->page.n == h->limit && !h->has_after)
        h->filled = true; /* whether there is more, `first` tells */
    return e;
}

/* Below which nothing is visible, in whatever tier. */
static uint64_t history_base(const struct history *h)
{
    uint64_t base = UINT64_MAX;
    for (unsigned t = 0; t < TIER_COUNT; t++) {
        uint64_t low = h->head.used & 1u << t ? rule_low(&h->rule, &h->head, t) : UINT64_MAX;
        base = low < base ? low : base;
    }
    return base == UINT64_MAX ? h->head.low : base;
}

/* Takes the rows that were asked for: none of them means that there are no more. */
static int rows_take(struct redis *r, struct history *h, const struct reply *rows, uint32_t n)
{
    int e = 0;
    for (uint32_t i = 0; !e && i < n && !h->filled; i++) {
        uint64_t seq = h->next;
        h->next += h->up ? 1 : UINT64_MAX;
        if (rows[i].type == REPLY_STRING)
            e = row_take(r, h, seq, rows[i].text);
        else if (rows[i].type != REPLY_NIL)
            e = ERR_INVALID;
    }
    if (!n || (h->up ? h->next > h->head.seq : h->next < h->bound || h->next <= history_base(h)))
        h->filled = true;
    return e;
}

/* Looks for the first visible row among the beginnings of n rows from `probe` on. */
static int probes_take(struct history *h, const struct reply *metas, uint32_t n)
{
    struct layout_record m;
    for (uint32_t i = 0; i < n && !h->found; i++, h->probe++) {
        if (metas[i].type == REPLY_NIL)
            continue;
        if (metas[i].type != REPLY_STRING)
            return ERR_INVALID;
        if (layout_meta(metas[i].text, &m))
            continue; /* it is not shown, either */
        if (m.id > h->until && rule_shows(&h->rule, &h->head, h->probe, &m)) {
            h->found = true;
            h->first = h->probe;
            return 0;
        }
    }
    if (!h->found && h->probe > h->head.seq) {
        h->found = true;
        h->first = h->head.seq ? h->head.seq + 1 : 0;
    }
    return 0;
}

/* Where the archive's rows end, and what counts as gone. */
static void lows_take(struct redis *r, struct history *h, const struct layout_head *head)
{
    h->cold = cold_covers(r, head);
    h->hot = head->low;
    h->head.low = h->cold ? head->first - 1 : head->low;
    h->head.edits = head->edits;
    h->head.archived = head->archived;
}

/* Whether the row with which the page goes on is in the archive. */
static bool history_is_cold(const struct history *h)
{
    return h->cold && !h->filled && h->next <= h->hot && (h->up || h->next > history_base(h));
}

/* What a reply begins with. The head of the first one stands for all. */
static int head_take(struct redis *r, struct history *h, struct reply_in *in, uint64_t *start, uint64_t *probe,
                     uint8_t *probes)
{
    struct layout_head head;
    bool known = reply_u8(in) == 'N';
    *start = reply_u48(in);
    *probe = reply_u48(in);
    *probes = reply_u8(in);
    if (!known || !reply_ok(in) || layout_head(reply_rest(in), &head))
        return ERR_INVALID;
    bool first = !h->told;
    if (first) {
        h->head = head;
        rule_get(r, &h->rule);
    }
    h->told = true;
    lows_take(r, h, &head); /* rows may have gone meanwhile */
    if (!first || !h->cold)
        return 0;
    if (!h->up && h->next > h->head.seq)
        h->next = h->head.seq;
    if (!h->until) { /* what has ended is dropped from the archive within seconds: its first row is the first */
        h->found = true;
        h->first = history_base(h) + 1;
    }
    return 0;
}

/* What came without the function. 1: it must be asked after all; or an enum err. */
static int plain_take(struct redis *r, struct history *h, const struct reply *first, uint64_t *start, uint64_t *probe,
                      uint8_t *probes)
{
    struct layout_head head = {.kind = 0};
    if (first->type != REPLY_NIL && (first->type != REPLY_STRING || layout_head(first->text, &head)))
        return ERR_INVALID;
    bool newer = !h->up && h->next > h->start && head.seq > h->start; /* than what was asked for */
    if (!head.kind || newer || (h->up && h->start <= head.low) || cold_covers(r, &head))
        return 1;
    h->told = true;
    h->head = head;
    rule_get(r, &h->rule);
    *start = h->start;
    *probe = h->probe;
    *probes = 1;
    return 0;
}

/* The head, where rows begin and where the search for `first` stands. As plain_take(). */
static int reply_take(struct redis *r, struct history *h, const struct reply *reply, uint64_t *start, uint64_t *probe,
                      uint8_t *probes)
{
    if (reply->type != REPLY_LIST || !reply->n)
        return ERR_INVALID;
    struct reply_in in = reply_in(reply->list);
    int e = h->plain ? plain_take(r, h, reply->list, start, probe, probes) : head_take(r, h, &in, start, probe, probes);
    return !e && *probes > reply->n - 1 ? ERR_INVALID : e;
}

/* --- The archive's rows --- */

static int cold_row_take(struct cold_read *c, uint64_t seq, struct slice record)
{
    struct history *h = c->ctx;
    h->next = h->up ? seq + 1 : seq - 1;
    int e = row_take(h->read.r, h, seq, record);
    return e ? e : !h->filled;
}

static void cold_rows_read(struct redis *r, struct cold_read *c, enum store_status status)
{
    struct history *h = c->ctx;
    if (status != STORE_OK) {
        history_end(r, h, status);
        return;
    }
    if (h->up)
        h->next = c->to + 1;
    else
        h->filled = true;
    history_go(r, h);
}

static void cold_rows_ask(struct redis *r, struct history *h)
{
    uint64_t base = history_base(h);
    if (h->up && h->next <= base)
        h->next = base + 1;
    uint64_t from = h->up ? h->next : h->bound > base ? h->bound : base + 1;
    uint64_t to = !h->up ? h->next : h->hot;
    if (from > to) { /* nothing of it shows */
        h->next = h->up ? h->hot + 1 : h->next;
        h->filled = h->filled || !h->up;
        history_go(r, h);
        return;
    }
    h->read = (struct cold_read){.conv = h->conv,
                                 .edits = h->head.edits,
                                 .archived = h->head.archived,
                                 .from = from,
                                 .to = to,
                                 .up = h->up,
                                 .want = h->limit - h->page.n,
                                 .row = cold_row_take,
                                 .done = cold_rows_read,
                                 .ctx = h};
    cold_read(r, &h->read);
}

static void oldest_known(void *ctx, struct archive_req *req)
{
    struct history *h = ctx;
    struct redis *r = h->read.r;
    if (req->status != ARCHIVE_OK) {
        history_end(r, h, req->status == ARCHIVE_AWAY ? STORE_RETRY : STORE_FATAL);
        return;
    }
    if (h->oldest.seq && h->oldest.seq <= h->hot)
        h->first = h->oldest.seq;
    history_go(r, h);
}

/* For who has an id that was another's: the archive's first row that this one may see. */
static bool oldest_ask(struct redis *r, struct history *h)
{
    bool all = h->first <= h->hot + 1 || h->first > h->head.seq; /* Redis has none that it may not see */
    if (!h->cold || h->asked || !h->until || !all || r->cold->stopping)
        return false;
    h->asked = true;
    h->read.r = r;
    h->oldest = (struct archive_oldest){
        .req = {.done = oldest_known, .ctx = h, .patience_ms = cold_patience(r)},
        .conv = h->conv,
        .from = history_base(h) + 1,
        .above_id = h->until,
        .now_ms = h->rule.now_ms,
    };
    memcpy(h->oldest.born_ms, h->rule.born, sizeof h->oldest.born_ms);
    archive_oldest(r->cold->archive, &h->oldest);
    return true;
}

/* Asks for what is wanted still, or ends. */
static void history_go(struct redis *r, struct history *h)
{
    if (h->found && oldest_ask(r, h))
        return;
    if (h->filled && h->found)
        history_end(r, h, STORE_OK);
    else if (history_is_cold(h))
        cold_rows_ask(r, h);
    else
        history_ask(r, h);
}

static void history_replied(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct history *h = c->ctx;
    uint64_t start = 0, probe = 0;
    uint8_t probes = 0;
    if (status != STORE_OK) {
        history_end(r, h, status);
        return;
    }
    int e = reply_take(r, h, reply, &start, &probe, &probes);
    if (e > 0) {
        history_function(r, h);
        return;
    }
    if (!e && h->head.kind == 0) {
        history_end(r, h, STORE_OK);
        return;
    }
    if (!e && !h->found) {
        h->probe = probe;
        e = probes_take(h, reply->list + 1, probes);
    }
    if (!e && !h->filled && !history_is_cold(h)) {
        h->next = start;
        e = rows_take(r, h, reply->list + 1 + probes, reply->n - 1 - probes);
    }
    if (e) {
        if (e != ERR_NOMEM)
            broken_record(r, "head", h->conv, 0);
        history_end(r, h, e == ERR_NOMEM ? STORE_RETRY : STORE_FATAL);
    } else {
        history_go(r, h);
    }
}

/* Begins a call for head and rows without the function, if it is known well enough where those are. */
static bool history_plain(struct redis *r, struct history *h)
{
    struct known known = known_get(r->known, h->conv);
    uint64_t want = h->limit + (h->up || h->has_after ? 1 : 0), newest = known.seq + PLAIN_AHEAD, n = 0;
    if (h->ordered || h->told || h->until || h->filled || want > PLAIN_MAX || !known.seq || !known.first ||
        known.moving)
        return false;
    uint64_t lowest = h->up || h->bound < known.first ? known.first : h->bound;
    if (h->up) {
        h->start = h->next > lowest ? h->next : lowest;
        n = newest >= h->start ? newest - h->start + 1 : 0;
    } else {
        h->start = h->next < newest ? h->next : newest;
        n = h->start >= lowest ? h->start - lowest + 1 : 0;
        want += h->start == newest ? PLAIN_AHEAD : 0;
    }
    if (!n)
        return false;
    call_raw(r, &h->call, partition_of(h->conv), false, &SLICE_LIT("HMGET"), 1);
    call_key(r, &h->call, 'm', h->conv);
    call_arg(&h->call, SLICE_LIT("h"));
    call_arg_u64(&h->call, h->probe);
    for (uint64_t i = 0; i < n && i < want; i++)
        call_arg_u64(&h->call, h->up ? h->start + i : h->start - i);
    return true;
}

static void history_post(struct redis *r, struct history *h)
{
    h->call.about = task_about(h->conv);
    h->call.done = history_replied;
    h->call.ctx = h;
    call_post(r, &h->call);
}

/* One call for what is still wanted. */
static void history_ask(struct redis *r, struct history *h)
{
    h->plain = history_plain(r, h);
    if (h->plain)
        history_post(r, h);
    else
        history_function(r, h);
}

static void history_function(struct redis *r, struct history *h)
{
    char args[6 + 6 + 1 + 2 + 6 + 1 + 12];
    uint32_t left = h->limit - h->page.n + (h->up || h->has_after ? 1 : 0);
    uint32_t rows = h->filled ? 0 : left < ROWS_MAX ? left : ROWS_MAX;
    if (h->told && rows && rows < PROBES)
        rows = PROBES; /* the first call has met rows that have ended */
    uint8_t probes = h->found ? 0 : !h->told ? 1 : h->until ? PROBES_OWN : PROBES;
    uint64_t from = h->up ? h->next : h->bound, to = h->up ? h->bound : h->next;
    layout_put48(args, from);
    layout_put48(args + 6, to == SEQ_MAX ? 0 : to);
    args[12] = h->up;
    store_be16(args + 13, (uint16_t)rows);
    layout_put48(args + 15, h->probe);
    args[21] = (char)probes;
    for (unsigned t = 0; t < TIER_COUNT; t++)
        store_be32(args + 22 + 4 * t, r->options.tiers[t].max);
    call_begin(r, &h->call, h->ordered ? FN_LOOK : h->limit ? FN_RANGE : FN_HEAD, partition_of(h->conv));
    call_key(r, &h->call, 'm', h->conv);
    call_arg(&h->call, slice_of(args, sizeof args));
    h->plain = false;
    history_post(r, h);
}

void history_read(struct redis *r, struct history *h)
{
    h->head = (struct layout_head){0};
    h->first = 0;
    h->more = h->found = h->told = h->cold = h->asked = false;
    h->page = (struct page_builder){0};
    h->up = h->has_after && !h->has_before;
    struct known known = known_get(r->known, h->conv);
    h->was = known.seq;
    h->probe = h->until ? 0 : known.first;
    uint64_t above = !h->has_after ? 1 : h->after < SEQ_MAX ? h->after + 1 : SEQ_MAX;
    uint64_t below = h->has_before ? h->before - 1 : SEQ_MAX;
    below = below < SEQ_MAX ? below : SEQ_MAX;
    h->next = h->up ? above : below;
    h->bound = h->up ? SEQ_MAX : above;
    h->filled = !h->limit || (h->has_before && h->before <= above);
    history_ask(r, h);
}
