/* The messages of one sender, wherever they are: a walk over all conversations. */
#include "storage/conv_key.h"
#include "storage/redis/client/fan.h"
#include "storage/redis/client/walk.h"
#include "storage/redis/cold/cold.h"
#include "storage/redis/ops/op.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

enum {
    SENT_ROWS = 4096,                /* rows that one page looks at, or a little more */
    SENT_EACH = 512,                 /* … in one conversation, a call */
    SENT_KEYS = 32,                  /* conversations that are looked at at once */
    SENT_COLD = 256,                 /* rows of the archive at once */
    SENT_SIZE = 8,                   /* 2^8 keys are what one step of the walk looks at */
    SENT_CURSOR = WALK_PLACE + 4 + 6 /* the walk's place, hash of a conversation, a seq in it */
};

_Static_assert((int)SENT_CURSOR <= (int)STORE_SENT_CURSOR, "a cursor fits");

/* What one conversation has replied. */
struct heard {
    uint64_t next; /* where its look goes on; 0: that was all */
    uint32_t n;
    uint64_t seqs[STORE_SENT_MAX];
};

struct sending {
    struct redis *r;
    struct walk walk;
    struct fan fan;
    uint64_t from;   /* the first seq to be looked at in the next conversation; 0: all */
    uint32_t in;     /* from the cursor: which conversation that is */
    uint32_t at;     /* the next of walk.keys */
    uint32_t looked; /* rows */
    struct heard heard[SENT_KEYS];
    /* What has left Redis of a private conversation of the sender is looked at before the rest of it. */
    bool warm; /* that is done with the next conversation */
    uint64_t low;
    struct call call;
    struct archive_range range;
};

static void sent_end(struct redis *r, struct task *t, enum store_status status)
{
    struct store_sent *q = (struct store_sent *)t->op;
    struct sending *s = t->own;
    if (status == STORE_OK && q->more) {
        char *p = q->cursor;
        walk_place_put(p, &s->walk.place);
        store_be32(p + WALK_PLACE, s->from ? walk_hash(s->walk.keys[s->at]) : 0);
        store_be16(p + WALK_PLACE + 4, (uint16_t)(s->from >> 32));
        store_be32(p + WALK_PLACE + 6, (uint32_t)s->from);
        q->cursor_n = SENT_CURSOR;
    }
    walk_fini(&s->walk);
    task_end(r, t, status);
}

static void sent_ask(struct redis *r, struct task *t);

/* The page ends here: before the conversation s->at, or in it, at s->from. */
static void sent_stop(struct redis *r, struct task *t)
{
    struct sending *s = t->own;
    ((struct store_sent *)t->op)->more = true;
    if (s->at)
        walk_stop_behind(&s->walk, s->walk.keys[s->at - 1]);
    sent_end(r, t, STORE_OK);
}

static void sent_each(struct redis *r, struct fan *f, uint32_t i, const struct reply *reply)
{
    struct sending *s = f->task->own;
    struct heard *h = &s->heard[i];
    struct reply_in in = reply_in(reply);
    (void)r;
    enum store_status status = task_status(reply_u8(&in));
    h->next = reply_u48(&in);
    s->looked += reply_u32(&in);
    for (h->n = 0; reply_ok(&in) && reply_left(&in) && h->n < STORE_SENT_MAX; h->n++)
        h->seqs[h->n] = reply_u48(&in);
    if (status != STORE_OK || !reply_ok(&in) || reply_left(&in))
        fan_fail(f, STORE_FATAL);
}

/* Puts one into the page. False: it is full, and ends before this one. */
static bool sent_put(struct redis *r, struct task *t, uint64_t seq)
{
    struct store_sent *q = (struct store_sent *)t->op;
    struct sending *s = t->own;
    struct slice key = s->walk.keys[s->at];
    if (q->n == STORE_SENT_MAX) {
        s->from = seq;
        sent_stop(r, t);
        return false;
    }
    struct store_sent_one *one = &q->list[q->n++];
    one->seq = seq;
    one->conv_n = (uint8_t)key.n;
    memcpy(one->conv, key.p, key.n);
    return true;
}

/* Takes what the conversations have replied, one after the other, as long as there is room. */
static void sent_heard(struct redis *r, struct fan *f)
{
    struct task *t = f->task;
    struct store_sent *q = (struct store_sent *)t->op;
    struct sending *s = t->own;
    if (f->status != STORE_OK) {
        sent_end(r, t, f->status);
        return;
    }
    for (uint32_t i = 0; i < f->n; i++) {
        const struct heard *h = &s->heard[i];
        for (uint32_t k = 0; k < h->n; k++)
            if (!sent_put(r, t, h->seqs[k]))
                return;
        s->from = h->next;
        if (s->from) /* a long one: what was heard of those behind it is heard again */
            break;
        s->at++;
        s->warm = false;
    }
    if (q->n == STORE_SENT_MAX || s->looked >= SENT_ROWS)
        sent_stop(r, t);
    else
        sent_ask(r, t);
}

/* --- What has left Redis --- */

static void cold_ask(struct redis *r, struct task *t);

/* Whether messages of that sender may have left Redis. */
static bool may_be_cold(const struct redis *r, struct slice key, struct slice sender)
{
    struct slice lo, hi;
    if (!r->cold || key.n < 2 || key.p[0] != 'p')
        return false;
    conv_pair_users(key, &lo, &hi);
    return slice_eq(lo, sender) || slice_eq(hi, sender);
}

static void cold_rows(void *ctx, struct archive_req *req)
{
    struct task *t = ctx;
    struct store_sent *q = (struct store_sent *)t->op;
    struct sending *s = t->own;
    struct redis *r = s->r;
    if (req->status != ARCHIVE_OK) {
        sent_end(r, t, req->status == ARCHIVE_REFUSED ? STORE_FATAL : STORE_RETRY);
        return;
    }
    for (uint32_t i = 0; i < s->range.n; i++) {
        const struct archive_row *row = &s->range.rows[i];
        if (!row->recalled && row->id <= q->id_max && slice_eq(row->sender, q->sender) && !sent_put(r, t, row->seq))
            return;
    }
    s->looked += s->range.n;
    s->from = s->range.n == SENT_COLD ? s->range.rows[s->range.n - 1].seq + 1 : s->low + 1;
    if (s->from > s->low) {
        s->warm = true;
        sent_ask(r, t);
    } else if (s->looked >= SENT_ROWS) {
        sent_stop(r, t);
    } else {
        cold_ask(r, t);
    }
}

static void cold_ask(struct redis *r, struct task *t)
{
    struct sending *s = t->own;
    if (r->cold->stopping) {
        sent_end(r, t, STORE_RETRY);
        return;
    }
    s->r = r;
    s->range = (struct archive_range){
        .req = {.done = cold_rows, .ctx = t, .patience_ms = cold_patience(r)},
        .conv = s->walk.keys[s->at],
        .from = s->from,
        .to = s->low,
        .limit = SENT_COLD,
    };
    archive_range(r->cold->archive, &s->range);
}

static void head_read(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct sending *s = t->own;
    struct layout_head head;
    struct reply_in in = status == STORE_OK && reply->type == REPLY_LIST && reply->n ? reply_in(reply->list)
                                                                                     : (struct reply_in){.bad = true};
    bool right = reply_u8(&in) == 'N' && reply_ok(&in) && layout_head(reply_rest(&in), &head) == 0;
    if (!right) {
        sent_end(r, t, status == STORE_OK ? STORE_FATAL : status);
        return;
    }
    if (cold_covers(r, &head) && s->from <= head.low) {
        s->low = head.low;
        s->from = s->from < head.first ? head.first : s->from;
        cold_ask(r, t);
    } else {
        s->warm = true;
        sent_ask(r, t);
    }
}

static void head_ask(struct redis *r, struct task *t)
{
    struct sending *s = t->own;
    struct slice key = s->walk.keys[s->at];
    call_begin(r, &s->call, FN_ROWS, partition_of(key));
    call_key(r, &s->call, 'm', key);
    call_arg(&s->call, SLICE_NONE);
    s->call.done = head_read;
    s->call.ctx = t;
    call_post(r, &s->call);
}

static void keys_found(struct redis *r, struct walk *w, enum store_status status)
{
    struct sending *s = ((struct task *)w->ctx)->own;
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n; i++) /* channels and pairs: what else there is is the servers' own */
        if (w->keys[i].n >= 2 && w->keys[i].n <= CONV_KEY_MAX && (w->keys[i].p[0] == 'c' || w->keys[i].p[0] == 'p'))
            w->keys[n++] = w->keys[i];
    w->n = n;
    s->at = 0;
    s->warm = false;
    if (!n || walk_hash(w->keys[0]) != s->in)
        s->from = 0;
    if (status == STORE_OK)
        sent_ask(r, w->ctx);
    else
        sent_end(r, w->ctx, status);
}

/* Asks the next conversations; or the walk, for more of them. */
static void sent_ask(struct redis *r, struct task *t)
{
    struct store_sent *q = (struct store_sent *)t->op;
    struct sending *s = t->own;
    struct walk *w = &s->walk;
    uint32_t n = 0, rest = w->n - s->at;
    char top[8];
    if (!rest) {
        q->more = walk_on(w);
        s->from = 0;
        if (!q->more || w->looked >= SENT_ROWS)
            sent_end(r, t, STORE_OK);
        else
            walk_ask(r, w);
        return;
    }
    if (!s->warm && may_be_cold(r, w->keys[s->at], q->sender)) {
        head_ask(r, t);
        return;
    }
    n = s->from ? 1 : rest < SENT_KEYS ? rest : SENT_KEYS;
    for (uint32_t i = 1; i < n; i++)
        if (may_be_cold(r, w->keys[s->at + i], q->sender))
            n = i;
    if (fan_begin(&s->fan, t, n)) {
        sent_end(r, t, STORE_RETRY);
        return;
    }
    store_be64(top, q->id_max);
    for (uint32_t i = 0; i < n; i++) {
        struct call *c = &s->fan.calls[i];
        struct slice key = w->keys[s->at + i];
        call_begin(r, c, FN_SENT_IN, partition_of(key));
        call_key(r, c, 'm', key);
        call_arg_u64(c, s->from ? s->from : 1);
        call_arg_u64(c, SENT_EACH);
        call_arg_u64(c, STORE_SENT_MAX);
        call_arg(c, q->sender);
        call_arg(c, slice_of(top, sizeof top));
    }
    s->fan.each = sent_each;
    s->fan.end = sent_heard;
    fan_post(r, &s->fan);
}

void begin_sent(struct redis *r, struct task *t)
{
    struct store_sent *q = (struct store_sent *)t->op;
    q->n = 0;
    q->more = false;
    if ((q->cursor_n && q->cursor_n != SENT_CURSOR) || q->sender.n > 64) {
        task_end(r, t, STORE_FATAL);
        return;
    }
    struct sending *s = task_own(t, sizeof *s);
    if (!s) {
        task_end(r, t, STORE_RETRY);
        return;
    }
    s->walk = (struct walk){.kind = 'm', .place = {.size = SENT_SIZE}, .done = keys_found, .ctx = t};
    if (q->cursor_n) {
        walk_place_get(q->cursor, &s->walk.place);
        s->in = load_be32(q->cursor + WALK_PLACE);
        s->from = (uint64_t)load_be16(q->cursor + WALK_PLACE + 4) << 32 | load_be32(q->cursor + WALK_PLACE + 6);
    }
    walk_ask(r, &s->walk);
}
