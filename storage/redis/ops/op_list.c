/* A user's conversations by last activity, and whom it knows. */
#include "storage/conv_key.h"
#include "storage/redis/client/fan.h"
#include "storage/redis/layout.h"
#include "storage/redis/ops/gone.h"
#include "storage/redis/ops/history.h"
#include "storage/redis/ops/marks.h"
#include "storage/redis/ops/op.h"
#include "storage/redis/ops/subs.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

#include <stdlib.h>

/* --- Conversations ------------------------------------------------------------------------------------------------ */

enum { TIES = 16 /* pairs more than wanted that are asked for: some may be as old as the cursor's */ };

/* One of the user's conversations. */
struct entry {
    uint64_t last_id; /* of its newest message; 0: none */
    uint64_t read;
    uint8_t n; /* bytes of key */
    char key[CONV_KEY_MAX];
};

struct listing {
    struct marks_wait wait;
    struct subs subs;
    struct call pairs;
    struct fan fan;        /* heads of all entries */
    struct entry *entries; /* owned */
    uint32_t n, cap;
    struct entry after;        /* what the cursor names; n 0: none */
    uint32_t asked;            /* looks that are not answered yet */
    uint32_t at, shown;        /* entries[at … at + shown) are on the page, if they fit */
    struct history *looks;     /* `shown` of them; owned */
    struct store_page *newest; /* … and what they found; owned */
    struct gone_names names;
    enum store_status status;
    uint8_t under_way; /* subs, pairs */
};

static struct slice entry_key(const struct entry *e)
{
    return slice_of(e->key, e->n);
}

/* Newest activity first, then by key. */
static int entry_cmp(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    uint64_t x_place = layout_place(x->last_id), y_place = layout_place(y->last_id);
    if (x_place != y_place)
        return x_place > y_place ? -1 : 1;
    return slice_cmp(entry_key(x), entry_key(y));
}

static bool entry_add(struct listing *l, struct slice key, uint64_t read)
{
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 32;
        struct entry *grown = realloc(l->entries, cap * sizeof *grown);
        if (!grown)
            return false;
        l->entries = grown;
        l->cap = cap;
    }
    l->entries[l->n] = (struct entry){.read = read, .n = (uint8_t)key.n};
    memcpy(l->entries[l->n++].key, key.p, key.n);
    return true;
}

/* A cursor: hex of the last entry's last id and key. */
_Static_assert((8 + CONV_KEY_MAX) * 2 <= STORE_CURSOR_MAX, "a cursor must fit");

static void cursor_write(char *out, const struct entry *e)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t raw[8 + CONV_KEY_MAX];
    store_be64(raw, e->last_id);
    memcpy(raw + 8, e->key, e->n);
    for (size_t i = 0; i < 8u + e->n; i++) {
        *out++ = digits[raw[i] >> 4];
        *out++ = digits[raw[i] & 15];
    }
    *out = '\0';
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The entry that a cursor names; false: it is none of ours. */
static bool cursor_read(struct slice s, struct entry *e)
{
    uint8_t raw[8 + CONV_KEY_MAX];
    if (s.n % 2 || s.n < 20 || s.n > sizeof raw * 2)
        return false;
    for (size_t i = 0; i < s.n; i += 2) {
        int high = hex_value(s.p[i]), low = hex_value(s.p[i + 1]);
        if (high < 0 || low < 0)
            return false;
        raw[i / 2] = (uint8_t)(high << 4 | low);
    }
    *e = (struct entry){.last_id = load_be64(raw), .n = (uint8_t)(s.n / 2 - 8)};
    memcpy(e->key, raw + 8, e->n);
    return e->key[0] == 'c' || e->key[0] == 'p';
}

static void list_end(struct redis *r, struct task *t, enum store_status status)
{
    struct store_conversations *c = (struct store_conversations *)t->op;
    struct listing *l = t->own;
    for (uint32_t i = 0; l->newest && i < l->shown; i++)
        store_page_free(&l->newest[i]);
    free(l->newest);
    free(l->looks);
    free(l->entries);
    subs_fini(&l->subs);
    if (status != STORE_OK) {
        store_conversations_free(c);
        c->next_cursor[0] = '\0';
    }
    task_end(r, t, status);
}

/* --- The page --- */

/* How many of the conversations fit, by the bytes of their newest messages; and of what size the page is. */
static uint32_t page_fit(const struct listing *l, uint32_t bytes, size_t *size, uint32_t *messages)
{
    uint64_t content = 0;
    uint32_t i = 0;
    *size = *messages = 0;
    for (; i < l->shown; i++) {
        if (l->newest[i].n) {
            const struct store_message *m = l->newest[i].messages;
            if (bytes && *messages && content + m->content.n > bytes)
                break;
            content += m->content.n;
            *size += m->sender.n + m->sender_name.n + m->content.n;
            ++*messages;
        }
        *size += l->entries[l->at + i].n;
    }
    return i;
}

static struct slice arena_put(char **to, struct slice s)
{
    struct slice copy = slice_of(*to, s.n);
    if (s.n)
        memcpy(*to, s.p, s.n);
    *to += s.n;
    return copy;
}

static enum store_status page_make(struct listing *l, struct store_conversations *c)
{
    size_t size;
    uint32_t messages, n = page_fit(l, c->page_bytes, &size, &messages);
    char *to = c->page.arena = malloc(size + 1);
    c->page.messages = calloc(messages + 1, sizeof *c->page.messages);
    c->list = calloc(n + 1, sizeof *c->list);
    if (!c->page.arena || !c->page.messages || !c->list)
        return STORE_RETRY;
    for (c->n = 0; c->n < n; c->n++) {
        const struct entry *e = &l->entries[l->at + c->n];
        const struct history *h = &l->looks[c->n];
        uint64_t seen = h->first > e->read + 1 ? h->first - 1 : e->read;
        struct store_conversation *one = &c->list[c->n];
        *one = (struct store_conversation){.conv = arena_put(&to, entry_key(e)),
                                           .seq = h->head.seq,
                                           .read = e->read,
                                           .unread = h->head.seq > seen ? h->head.seq - seen : 0,
                                           .last = -1};
        if (!l->newest[c->n].n)
            continue;
        one->last = (int32_t)c->page.n;
        struct store_message *m = &c->page.messages[c->page.n++];
        *m = l->newest[c->n].messages[0];
        m->sender = arena_put(&to, m->sender);
        m->sender_name = arena_put(&to, m->sender_name);
        m->content = arena_put(&to, m->content);
    }
    if (n && l->at + n < l->n)
        cursor_write(c->next_cursor, &l->entries[l->at + n - 1]);
    return STORE_OK;
}

static void names_taken(struct redis *r, struct gone_names *n, enum store_status status)
{
    list_end(r, n->ctx, status);
}

static void looked(struct redis *r, struct history *h, enum store_status status)
{
    struct task *t = h->ctx;
    struct store_conversations *c = (struct store_conversations *)t->op;
    struct listing *l = t->own;
    int e = page_finish(&h->page, status == STORE_OK ? 0 : ERR_IO, &l->newest[h - l->looks]);
    if (status == STORE_OK && e)
        status = STORE_RETRY;
    if (l->status == STORE_OK)
        l->status = status;
    if (--l->asked)
        return;
    if (l->status == STORE_OK)
        l->status = page_make(l, c);
    l->names = (struct gone_names){.page = &c->page, .done = names_taken, .ctx = t};
    if (l->status != STORE_OK || !gone_names(r, &l->names))
        list_end(r, t, l->status);
}

/* Looks at those that come onto the page. */
static void looks_ask(struct redis *r, struct task *t)
{
    struct store_conversations *c = (struct store_conversations *)t->op;
    struct listing *l = t->own;
    if (l->n)
        qsort(l->entries, l->n, sizeof *l->entries, entry_cmp);
    while (l->after.n && l->at < l->n && entry_cmp(&l->entries[l->at], &l->after) <= 0)
        l->at++;
    l->shown = l->n - l->at < c->limit ? l->n - l->at : c->limit;
    l->looks = calloc(l->shown + 1, sizeof *l->looks);
    l->newest = calloc(l->shown + 1, sizeof *l->newest);
    if (!l->looks || !l->newest || !l->shown) {
        list_end(r, t, l->looks && l->newest ? page_make(l, c) : STORE_RETRY);
        return;
    }
    l->asked = l->shown;
    for (uint32_t i = 0; i < l->shown; i++) {
        l->looks[i] = (struct history){.conv = entry_key(&l->entries[l->at + i]), .limit = 1, .done = looked, .ctx = t};
        history_read(r, &l->looks[i]);
    }
}

/* --- Heads --- */

static void head_read(struct redis *r, struct fan *f, uint32_t i, const struct reply *reply)
{
    struct listing *l = f->task->own;
    struct layout_head h;
    (void)r;
    if (reply->type != REPLY_NIL && (reply->type != REPLY_STRING || layout_head(reply->text, &h))) {
        fan_fail(f, STORE_FATAL);
        return;
    }
    l->entries[i].last_id = reply->type == REPLY_STRING ? h.last_id : 0;
}

static void heads_read(struct redis *r, struct fan *f)
{
    if (f->status != STORE_OK)
        list_end(r, f->task, f->status);
    else
        looks_ask(r, f->task);
}

/* Channels and pairs are known: asks for the heads of all. */
static void heads_ask(struct redis *r, struct task *t)
{
    static const struct slice hget[] = {SLICE_LIT("HGET")};
    struct listing *l = t->own;
    for (uint32_t i = 0; l->status == STORE_OK && i < l->subs.n; i++)
        if (!entry_add(l, sub_key(&l->subs, i), l->subs.list[i].read))
            l->status = STORE_RETRY;
    if (l->status != STORE_OK) {
        list_end(r, t, l->status);
    } else if (!l->n) {
        looks_ask(r, t);
    } else if (fan_begin(&l->fan, t, l->n)) {
        list_end(r, t, STORE_RETRY);
    } else {
        for (uint32_t i = 0; i < l->n; i++) {
            struct slice key = entry_key(&l->entries[i]);
            call_raw(r, &l->fan.calls[i], partition_of(key), false, hget, 1);
            call_key(r, &l->fan.calls[i], 'm', key);
            call_arg(&l->fan.calls[i], SLICE_LIT("h"));
        }
        l->fan.each = head_read;
        l->fan.end = heads_read;
        fan_post(r, &l->fan);
    }
}

static void part_read(struct redis *r, struct task *t, enum store_status status)
{
    struct listing *l = t->own;
    if (l->status == STORE_OK)
        l->status = status;
    if (--l->under_way == 0)
        heads_ask(r, t);
}

static void channels_read(struct redis *r, struct subs *s, enum store_status status)
{
    part_read(r, s->ctx, status);
}

static void pairs_read(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct listing *l = t->own;
    struct slice user = ((struct store_conversations *)t->op)->user;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        status = task_status(reply_u8(&in));
        while (status == STORE_OK && reply_ok(&in) && reply_left(&in)) {
            struct slice peer = reply_slice8(&in);
            uint64_t read = reply_u48(&in);
            if (!reply_ok(&in) || peer.n < 1 || peer.n > 64)
                break;
            struct conv_key key = conv_key_pair(user, peer);
            if (!entry_add(l, conv_key_slice(&key), read))
                status = STORE_RETRY;
        }
        if (status == STORE_OK && (!reply_ok(&in) || reply_left(&in)))
            status = STORE_FATAL;
    }
    part_read(r, t, status);
}

/* Asks for channels and pairs. */
static void list_ask(struct redis *r, struct task *t)
{
    struct store_conversations *c = (struct store_conversations *)t->op;
    struct listing *l = t->own;
    l->under_way = 2;
    l->subs = (struct subs){.user = c->user, .done = channels_read, .ctx = t};
    subs_ask(r, &l->subs);
    call_begin(r, &l->pairs, FN_CONVS, partition_of_user(c->user));
    call_key(r, &l->pairs, 'p', c->user);
    call_key(r, &l->pairs, 'r', c->user);
    if (l->after.n)
        call_arg_u64(&l->pairs, layout_place(l->after.last_id));
    else
        call_arg(&l->pairs, SLICE_LIT("+inf"));
    call_arg_u64(&l->pairs, (uint64_t)c->limit + TIES);
    l->pairs.done = pairs_read;
    l->pairs.ctx = t;
    call_post(r, &l->pairs);
}

/* What the user has read by sending is known in Redis now. */
static void marks_sent(struct redis *r, struct marks_wait *w)
{
    list_ask(r, w->ctx);
}

void begin_conversations(struct redis *r, struct task *t)
{
    struct store_conversations *c = (struct store_conversations *)t->op;
    c->list = NULL;
    c->n = 0;
    c->page = (struct store_page){.n = 0};
    c->next_cursor[0] = '\0';
    if (c->user.n < 1 || c->user.n > 64) {
        task_end(r, t, STORE_FATAL);
        return;
    }
    struct listing *l = task_own(t, sizeof *l);
    if (!l || (c->cursor.n && !cursor_read(c->cursor, &l->after))) {
        task_end(r, t, l ? STORE_NOTFOUND : STORE_RETRY);
        return;
    }
    l->wait = (struct marks_wait){.done = marks_sent, .ctx = t};
    if (marks_send(r, c->user, &l->wait))
        list_ask(r, t);
}

/* --- Whom a user knows -------------------------------------------------------------------------------------------- */

enum { PAIRS_MAX = 128 };

struct knowing {
    struct call call;
    struct subs subs;
    struct fan fan;
    uint8_t asked[PAIRS_MAX]; /* which of the ids each call of `fan` is about */
};

static void knowing_end(struct redis *r, struct task *t, enum store_status status)
{
    subs_fini(&((struct knowing *)t->own)->subs);
    task_end(r, t, status);
}

static void share_read(struct redis *r, struct fan *f, uint32_t i, const struct reply *reply)
{
    struct store_pairs *p = (struct store_pairs *)f->task->op;
    struct reply_in in = reply_in(reply);
    (void)r;
    enum store_status status = task_status(reply_u8(&in));
    p->known[((struct knowing *)f->task->own)->asked[i]] |= reply_u8(&in) != 0;
    if (status != STORE_OK || !reply_ok(&in))
        fan_fail(f, STORE_FATAL);
}

static void shares_read(struct redis *r, struct fan *f)
{
    knowing_end(r, f->task, f->status);
}

/* The asker's channels are known: who is in one of them? */
static void shares_ask(struct redis *r, struct subs *s, enum store_status status)
{
    struct task *t = s->ctx;
    struct store_pairs *p = (struct store_pairs *)t->op;
    struct knowing *k = t->own;
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n; i++)
        if (!p->known[i])
            k->asked[n++] = (uint8_t)i;
    if (status != STORE_OK || !s->n || !n || fan_begin(&k->fan, t, n)) {
        knowing_end(r, t, status != STORE_OK || !s->n || !n ? status : STORE_RETRY);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct slice id = p->ids[k->asked[i]];
        call_begin(r, &k->fan.calls[i], FN_SHARES, partition_of_user(id));
        call_key(r, &k->fan.calls[i], 'u', id);
        for (uint32_t c = 0; c < s->n; c++)
            call_arg(&k->fan.calls[i], sub_key(s, c));
    }
    k->fan.each = share_read;
    k->fan.end = shares_read;
    fan_post(r, &k->fan);
}

static void known_read(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct store_pairs *p = (struct store_pairs *)t->op;
    struct knowing *k = t->own;
    if (status == STORE_OK && (reply->type != REPLY_LIST || reply->n != p->n))
        status = STORE_FATAL;
    for (uint32_t i = 0; status == STORE_OK && i < p->n; i++)
        p->known[i] = reply->list[i].type != REPLY_NIL;
    if (status != STORE_OK || !p->channels) {
        knowing_end(r, t, status);
        return;
    }
    k->subs = (struct subs){.user = p->user, .done = shares_ask, .ctx = t};
    subs_ask(r, &k->subs);
}

void begin_pairs(struct redis *r, struct task *t)
{
    static const struct slice zmscore[] = {SLICE_LIT("ZMSCORE")};
    struct store_pairs *p = (struct store_pairs *)t->op;
    p->n = p->n < PAIRS_MAX ? p->n : PAIRS_MAX;
    memset(p->known, 0, sizeof p->known);
    bool sane = p->user.n >= 1 && p->user.n <= 64;
    for (uint32_t i = 0; i < p->n; i++)
        sane = sane && p->ids[i].n >= 1 && p->ids[i].n <= 64;
    struct knowing *k = sane && p->n ? task_own(t, sizeof *k) : NULL;
    if (!k) {
        task_end(r, t, !p->n ? STORE_OK : sane ? STORE_RETRY : STORE_FATAL);
        return;
    }
    call_raw(r, &k->call, partition_of_user(p->user), false, zmscore, 1);
    call_key(r, &k->call, 'p', p->user);
    for (uint32_t i = 0; i < p->n; i++)
        call_arg(&k->call, p->ids[i]);
    k->call.done = known_read;
    k->call.ctx = t;
    call_post(r, &k->call);
}
