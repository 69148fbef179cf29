/* Inboxes: pages of what waits, with messages of many conversations; acknowledgements. */
#include "storage/conv_key.h"
#include "storage/page.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/client/broken.h"
#include "storage/redis/cold/cold.h"
#include "storage/redis/layout.h"
#include "storage/redis/ops/gone.h"
#include "storage/redis/ops/op.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/rule.h"
#include "storage/redis/task.h"

#include <stdlib.h>

enum { CHUNK = 64 /* entries looked at, or removed, by one call */ };

/* One entry of the chunk that is being looked at. */
struct entry {
    struct conv_key conv;
    uint64_t id, seq;
    size_t row, row_n; /* its message in `rows`; row_n 0: it is not there, or not visible any more */
    bool asked;        /* it is among a fetch's */
    bool bad;          /* its message cannot be read: it is left out, and stays */
    bool cold;         /* its message has left Redis */
};

struct peeking;

/* The messages of one conversation that are in the chunk. */
struct fetch {
    struct call call;
    struct task *task;
    struct layout_head head; /* with `cold`: low is what counts as gone */
    bool cold;               /* messages of it have left Redis */
    struct cold_read read;
    uint8_t n, at;          /* entries; those that have been answered */
    uint8_t entries[CHUNK]; /* which of the chunk's */
};

struct peeking {
    struct call call;
    struct layout_rule rule;
    struct page_builder page;
    struct gone_names names;
    struct buf rows;       /* copies of messages */
    struct buf stale;      /* ids of entries whose message has ended, 8 bytes each */
    struct fetch *fetches; /* of this chunk; owned */
    uint32_t n, left;      /* entries; fetches that go on */
    uint64_t last;         /* place of the last entry looked at */
    bool more;             /* there are entries behind it */
    enum store_status status;
    struct entry entries[CHUNK];
};

static void peek_ask(struct redis *r, struct task *t);

static void cleaned(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    (void)status, (void)reply; /* whatever is still there is found again */
    r->background--;
    free(c);
}

static void ack_begin(struct redis *r, struct call *c, struct slice user, struct slice up_to, struct slice ids,
                      bool tell)
{
    char rule[LAYOUT_RULE];
    rule_now(r, rule);
    call_begin(r, c, FN_INBOX_ACK, partition_of_user(user));
    call_key(r, c, 'i', user);
    call_key(r, c, 'I', user);
    if (tell)
        call_key(r, c, 'S', user);
    call_arg(c, slice_of(rule, sizeof rule));
    call_arg(c, up_to);
    call_arg(c, ids);
    c->about = task_about(user);
}

/* Entries whose message has ended go; nobody waits for that. */
static void stale_remove(struct redis *r, struct slice user, const struct buf *ids)
{
    for (size_t at = 0; at < ids->n; at += CHUNK * 8) {
        struct call *c = malloc(sizeof *c);
        if (!c)
            return;
        size_t n = ids->n - at < CHUNK * 8 ? ids->n - at : CHUNK * 8;
        ack_begin(r, c, user, SLICE_NONE, slice_of(ids->p + at, n), false);
        c->done = cleaned;
        r->background++;
        call_post(r, c);
    }
}

static void peek_named(struct redis *r, struct gone_names *n, enum store_status status)
{
    struct task *t = n->ctx;
    if (status != STORE_OK)
        store_page_free(&((struct store_inbox_peek *)t->op)->page);
    task_end(r, t, status);
}

static void peek_end(struct redis *r, struct task *t, enum store_status status, bool more)
{
    struct peeking *w = t->own;
    struct store_inbox_peek *p = (struct store_inbox_peek *)t->op;
    int e = page_finish(&w->page, status == STORE_OK ? 0 : ERR_IO, &p->page);
    if (status == STORE_OK && e)
        status = STORE_RETRY;
    p->more = more;
    if (status == STORE_OK && w->stale.n && buf_ok(&w->stale))
        stale_remove(r, p->user, &w->stale);
    buf_free(&w->rows);
    buf_free(&w->stale);
    free(w->fetches);
    w->fetches = NULL;
    w->names = (struct gone_names){.page = &p->page, .done = peek_named, .ctx = t};
    if (status != STORE_OK || !gone_names(r, &w->names))
        task_end(r, t, status);
}

static void stale_note(struct peeking *w, uint64_t id)
{
    char raw[8];
    store_be64(raw, id);
    buf_put(&w->stale, raw, sizeof raw);
}

/* All messages of the chunk are there: those that are visible go into the page, in the order of arrival. */
static void chunk_end(struct redis *r, struct task *t)
{
    struct peeking *w = t->own;
    struct store_inbox_peek *p = (struct store_inbox_peek *)t->op;
    for (uint32_t i = 0; i < w->n && w->status == STORE_OK; i++) {
        struct entry *e = &w->entries[i];
        struct layout_record m;
        if (e->bad)
            continue;
        if (!e->row_n || layout_record(slice_of(w->rows.p + e->row, e->row_n), &m)) {
            stale_note(w, e->id);
            continue;
        }
        if (w->page.n == p->limit || page_is_full(&w->page, m.content.n, p->page_bytes)) {
            peek_end(r, t, STORE_OK, true);
            return;
        }
        if (page_add(&w->page, &(struct store_message){.conv = conv_key_slice(&e->conv),
                                                       .seq = e->seq,
                                                       .id = m.id,
                                                       .created_ms = m.created_ms,
                                                       .edited_ms = m.edited_ms,
                                                       .recalled = m.recalled,
                                                       .sender = m.sender,
                                                       .sender_name = m.sender_name,
                                                       .content = m.content}))
            w->status = STORE_RETRY;
    }
    if (w->status != STORE_OK || !w->more)
        peek_end(r, t, w->status, false);
    else
        peek_ask(r, t);
}

static void fetch_post(struct redis *r, struct fetch *f);

static void entry_keep(struct peeking *w, struct entry *e, struct slice row)
{
    e->row = w->rows.n;
    e->row_n = row.n;
    buf_slice_put(&w->rows, row);
}

/* Takes the rows that came, and keeps those that are visible. An enum err. */
static int fetch_take(struct redis *r, struct peeking *w, struct fetch *f, const struct reply *reply)
{
    struct layout_head head;
    struct layout_record m;
    struct reply_in in = reply->type == REPLY_LIST && reply->n ? reply_in(reply->list) : (struct reply_in){.bad = true};
    if (reply_u8(&in) != 'N' || !reply_ok(&in) || layout_head(reply_rest(&in), &head) || reply->n < 2)
        return ERR_INVALID;
    for (uint32_t i = 1; i < reply->n && f->at < f->n; i++, f->at++) {
        struct entry *e = &w->entries[f->entries[f->at]];
        struct slice row = reply->list[i].text;
        if (reply->list[i].type == REPLY_NIL) {
            e->cold = cold_covers(r, &head) && e->seq <= head.low && e->seq >= head.first;
            f->cold = f->cold || e->cold;
            f->head = head;
            f->head.low = head.first - 1;
            continue;
        }
        if (reply->list[i].type != REPLY_STRING)
            return ERR_INVALID;
        e->bad = layout_record(row, &m) != 0;
        if (e->bad)
            broken_record(r, "message", conv_key_slice(&e->conv), e->seq);
        else if (m.id == e->id && rule_shows(&w->rule, &head, e->seq, &m))
            entry_keep(w, e, row);
    }
    return buf_ok(&w->rows) ? 0 : ERR_NOMEM;
}

static void fetch_end(struct redis *r, struct fetch *f, enum store_status status)
{
    struct peeking *w = f->task->own;
    if (status != STORE_OK)
        w->status = status;
    if (--w->left == 0)
        chunk_end(r, f->task);
}

/* --- Messages that have left Redis --- */

static void cold_next(struct redis *r, struct fetch *f);

static int cold_take(struct cold_read *c, uint64_t seq, struct slice row)
{
    struct fetch *f = c->ctx;
    struct peeking *w = f->task->own;
    struct layout_record m;
    int code = layout_record(row, &m);
    for (unsigned i = 0; !code && i < f->n; i++) {
        struct entry *e = &w->entries[f->entries[i]];
        if (e->cold && e->seq == seq && m.id == e->id && rule_shows(&w->rule, &f->head, seq, &m))
            entry_keep(w, e, row);
    }
    return code ? code : buf_ok(&w->rows) ? 1 : ERR_NOMEM;
}

static void cold_taken(struct redis *r, struct cold_read *c, enum store_status status)
{
    struct fetch *f = c->ctx;
    struct peeking *w = f->task->own;
    if (status != STORE_OK) {
        fetch_end(r, f, status);
        return;
    }
    for (unsigned i = 0; i < f->n; i++) {
        struct entry *e = &w->entries[f->entries[i]];
        if (e->seq >= c->from && e->seq <= c->to)
            e->cold = false;
    }
    cold_next(r, f);
}

/* Reads those of the first block in which there are any. */
static void cold_next(struct redis *r, struct fetch *f)
{
    struct peeking *w = f->task->own;
    uint64_t from = 0, to = 0;
    for (unsigned i = 0; i < f->n; i++) {
        const struct entry *e = &w->entries[f->entries[i]];
        if (!e->cold || (from && (e->seq - 1) / COLD_BLOCK != (from - 1) / COLD_BLOCK))
            continue;
        from = !from || e->seq < from ? e->seq : from;
        to = e->seq > to ? e->seq : to;
    }
    if (!from) {
        fetch_end(r, f, STORE_OK);
        return;
    }
    f->read = (struct cold_read){.conv = conv_key_slice(&w->entries[f->entries[0]].conv),
                                 .edits = f->head.edits,
                                 .archived = f->head.archived,
                                 .from = from,
                                 .to = to,
                                 .up = true,
                                 .want = 1,
                                 .row = cold_take,
                                 .done = cold_taken,
                                 .ctx = f};
    cold_read(r, &f->read);
}

static void fetched(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct fetch *f = c->ctx;
    struct task *t = f->task;
    struct peeking *w = t->own;
    if (status == STORE_OK) {
        int e = fetch_take(r, w, f, reply);
        status = e == 0 ? STORE_OK : e == ERR_NOMEM ? STORE_RETRY : STORE_FATAL;
    }
    if (status == STORE_OK && f->at < f->n) {
        fetch_post(r, f); /* its reply would have grown too large */
        return;
    }
    if (status == STORE_OK && f->cold)
        cold_next(r, f);
    else
        fetch_end(r, f, status);
}

static void fetch_post(struct redis *r, struct fetch *f)
{
    struct peeking *w = f->task->own;
    struct slice conv = conv_key_slice(&w->entries[f->entries[0]].conv);
    call_begin(r, &f->call, FN_ROWS, partition_of(conv));
    call_key(r, &f->call, 'm', conv);
    call_arg_open(&f->call, 6u * (f->n - f->at));
    for (unsigned i = f->at; i < f->n; i++) {
        char seq[6];
        layout_put48(seq, w->entries[f->entries[i]].seq);
        buf_put(&f->call.body, seq, sizeof seq);
    }
    call_arg_close(&f->call);
    f->call.about = task_about(conv);
    f->call.done = fetched;
    f->call.ctx = f;
    call_post(r, &f->call);
}

/* Asks each conversation of the chunk for its messages. */
static void chunk_fetch(struct redis *r, struct task *t)
{
    struct peeking *w = t->own;
    uint32_t n = 0;
    if (!w->fetches)
        w->fetches = malloc(CHUNK * sizeof *w->fetches);
    if (!w->fetches) {
        peek_end(r, t, STORE_RETRY, false);
        return;
    }
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->entries[i].asked)
            continue;
        struct fetch *f = &w->fetches[n++];
        *f = (struct fetch){.task = t};
        for (uint32_t j = i; j < w->n; j++) {
            if (slice_eq(conv_key_slice(&w->entries[i].conv), conv_key_slice(&w->entries[j].conv))) {
                w->entries[j].asked = true;
                f->entries[f->n++] = (uint8_t)j;
            }
        }
    }
    w->left = n;
    for (uint32_t i = 0; i < n; i++)
        fetch_post(r, &w->fetches[i]);
    if (!n)
        chunk_end(r, t);
}

/* Takes a list of entries, but for those that have ended. An enum err. */
static int entries_take(struct redis *r, struct peeking *w, struct slice user, const struct reply *reply)
{
    struct reply_in in = reply->type == REPLY_LIST && reply->n ? reply_in(reply->list) : (struct reply_in){.bad = true};
    bool known = reply_u8(&in) == 'N';
    w->more = reply_u8(&in) == 1;
    w->last = reply_u48(&in);
    if (!known || !reply_ok(&in) || reply->n > CHUNK + 1)
        return ERR_INVALID;
    w->n = 0;
    for (uint32_t i = 1; i < reply->n; i++) {
        struct layout_entry entry;
        in = reply_in(&reply->list[i]);
        reply_u48(&in); /* its place */
        uint64_t id = reply_u64(&in);
        if (!reply_ok(&in) || layout_entry(reply_rest(&in), &entry) || !entry.peer.n || entry.peer.n > 64) {
            broken_record(r, "inbox", user, 0);
            continue;
        }
        if (!rule_alive(&w->rule, TIER_DM, entry.birth_ms, entry.ttl_ms)) {
            stale_note(w, id);
            continue;
        }
        w->entries[w->n++] = (struct entry){.conv = conv_key_pair(user, entry.peer), .id = id, .seq = entry.seq};
    }
    return 0;
}

static void peeked(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct peeking *w = t->own;
    if (status == STORE_OK && entries_take(r, w, ((struct store_inbox_peek *)t->op)->user, reply))
        status = STORE_FATAL;
    if (status != STORE_OK)
        peek_end(r, t, status, false);
    else
        chunk_fetch(r, t);
}

/* The next chunk. */
static void peek_ask(struct redis *r, struct task *t)
{
    struct peeking *w = t->own;
    struct store_inbox_peek *p = (struct store_inbox_peek *)t->op;
    char args[8], after[8];
    layout_put48(args, w->last);
    store_be16(args + 6, CHUNK);
    store_be64(after, p->after);
    w->rows.n = 0;
    rule_get(r, &w->rule);
    call_begin(r, &w->call, FN_INBOX_PEEK, partition_of_user(p->user));
    call_key(r, &w->call, 'i', p->user);
    call_key(r, &w->call, 'I', p->user);
    call_arg(&w->call, slice_of(args, sizeof args));
    call_arg(&w->call, p->after ? slice_of(after, sizeof after) : SLICE_NONE);
    w->call.about = task_about(p->user);
    w->call.done = peeked;
    w->call.ctx = t;
    call_post(r, &w->call);
}

void begin_inbox_peek(struct redis *r, struct task *t)
{
    struct store_inbox_peek *p = (struct store_inbox_peek *)t->op;
    struct peeking *w = task_own(t, sizeof *w);
    p->page = (struct store_page){0};
    p->more = false;
    if (w && p->user.n >= 1 && p->user.n <= 64)
        peek_ask(r, t);
    else
        task_end(r, t, w ? STORE_FATAL : STORE_RETRY);
}

/* --- Acknowledging ------------------------------------------------------------------------------------------------ */

struct acking {
    struct call call;
    uint32_t at; /* ids that have been removed */
    bool tried;  /* a first reply may have been lost, with what it said was removed */
};

static void ack_post(struct redis *r, struct task *t);

static void acked(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct acking *w = t->own;
    struct store_inbox_ack *a = (struct store_inbox_ack *)t->op;
    bool more = false;
    struct reply_in in = {.bad = true};
    w->tried = w->tried || c->tried;
    if (status == STORE_OK) {
        in = reply_in(reply);
        status = task_status(reply_u8(&in));
        more = reply_u8(&in) == 1;
        a->removed += reply_u32(&in);
        a->remaining = reply_u32(&in);
        status = reply_ok(&in) ? status : STORE_FATAL;
    } else if (w->at > CHUNK || a->removed) {
        status = STORE_UNKNOWN; /* some are removed */
    }
    if (status == STORE_OK && (a->up_to ? more : w->at < a->id_count)) {
        ack_post(r, t);
        return;
    }
    struct bus_news n = {.kind = NEWS_INBOX, .user = a->user, .count = a->remaining};
    if (status == STORE_OK && (a->removed || w->tried))
        tell_sessions(r, t, &n, &in);
    task_end(r, t, status);
}

static void ack_post(struct redis *r, struct task *t)
{
    struct acking *w = t->own;
    struct store_inbox_ack *a = (struct store_inbox_ack *)t->op;
    char up_to[8], ids[CHUNK * 8];
    size_t n = 0;
    store_be64(up_to, a->up_to);
    for (; !a->up_to && n < CHUNK && w->at < a->id_count; n++, w->at++)
        store_be64(ids + 8 * n, a->ids[w->at]);
    ack_begin(r, &w->call, a->user, a->up_to ? slice_of(up_to, sizeof up_to) : SLICE_NONE, slice_of(ids, 8 * n),
              tell_is_wanted(r));
    w->call.done = acked;
    w->call.ctx = t;
    call_post(r, &w->call);
}

void begin_inbox_ack(struct redis *r, struct task *t)
{
    struct store_inbox_ack *a = (struct store_inbox_ack *)t->op;
    struct acking *w = task_own(t, sizeof *w);
    a->removed = a->remaining = 0;
    if (!w || !a->user.n || a->user.n > 64) {
        task_end(r, t, w ? STORE_FATAL : STORE_RETRY);
        return;
    }
    if (a->up_to || a->id_count > CHUNK)
        task_hold(t); /* it may take several calls */
    ack_post(r, t);
}
