/* The messages of one sender, wherever they are: a walk over all conversations. */
#include "storage/conv_key.h"
#include "storage/redis/fan.h"
#include "storage/redis/op.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"
#include "storage/redis/walk.h"

enum {
    SENT_ROWS = 4096,                /* rows that one page looks at, or a little more */
    SENT_EACH = 512,                 /* … in one conversation, a call */
    SENT_KEYS = 32,                  /* conversations that are looked at at once */
    SENT_SCAN = 256,                 /* keys that one step of the walk looks at */
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
    struct walk walk;
    struct fan fan;
    uint64_t from;   /* the first seq to be looked at in the next conversation; 0: all */
    uint32_t in;     /* from the cursor: which conversation that is */
    uint32_t at;     /* the next of walk.keys */
    uint32_t looked; /* rows */
    struct heard heard[SENT_KEYS];
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
        struct slice key = s->walk.keys[s->at];
        for (uint32_t k = 0; k < h->n; k++) {
            if (q->n == STORE_SENT_MAX) {
                s->from = h->seqs[k];
                sent_stop(r, t);
                return;
            }
            struct store_sent_one *one = &q->list[q->n++];
            one->seq = h->seqs[k];
            one->conv_n = (uint8_t)key.n;
            memcpy(one->conv, key.p, key.n);
        }
        s->from = h->next;
        if (s->from) /* a long one: what was heard of those behind it is heard again */
            break;
        s->at++;
    }
    if (q->n == STORE_SENT_MAX || s->looked >= SENT_ROWS)
        sent_stop(r, t);
    else
        sent_ask(r, t);
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
            walk_ask(r, w, SENT_SCAN);
        return;
    }
    n = s->from ? 1 : rest < SENT_KEYS ? rest : SENT_KEYS;
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
    s->walk = (struct walk){.kind = 'm', .done = keys_found, .ctx = t};
    if (q->cursor_n) {
        walk_place_get(q->cursor, &s->walk.place);
        s->in = load_be32(q->cursor + WALK_PLACE);
        s->from = (uint64_t)load_be16(q->cursor + WALK_PLACE + 4) << 32 | load_be32(q->cursor + WALK_PLACE + 6);
    }
    walk_ask(r, &s->walk, SENT_SCAN);
}
