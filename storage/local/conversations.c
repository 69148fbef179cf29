/* A user's conversations by last activity. */
#include "storage/local/deleted.h"
#include "storage/local/page.h"
#include "storage/local/range.h"

#include <stdlib.h>

enum { HEADS_CHUNK = 64 }; /* heads found by one multi-get */

/* One of the user's conversations. */
struct entry {
    uint64_t read;
    struct head_record head;
    uint8_t n; /* bytes of key */
    char key[CONV_KEY_MAX];
};

struct listing {
    struct local *store;
    struct iter_cache *iters; /* the reader's */
    struct store_conversations *op;
    struct entry *entries; /* malloc'd */
    uint32_t n, cap;
    struct page_builder page;
};

static struct slice entry_key(const struct entry *e)
{
    return slice_of(e->key, e->n);
}

static int listing_add(struct listing *l, struct slice conv, uint64_t read)
{
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 16;
        struct entry *entries = realloc(l->entries, cap * sizeof(*entries));
        if (!entries)
            return ERR_NOMEM;
        l->entries = entries;
        l->cap = cap;
    }
    struct entry *e = &l->entries[l->n++];
    *e = (struct entry){.read = read, .n = (uint8_t)conv.n};
    memcpy(e->key, conv.p, conv.n);
    return 0;
}

/* Walks read marks and subscriptions side by side: channels are those subscribed to, pairs those with a mark. */
static int listing_scan(struct listing *l)
{
    struct kv *kv = l->store->kv;
    struct key mark_from, mark_to, sub_from, sub_to;
    struct slice marks = key_mark(&mark_from, l->op->user, SLICE_NONE),
                 subs = key_sub(&sub_from, l->op->user, SLICE_NONE);
    struct kv_iter *mark = kv_iter_new(kv, KV_USER, marks, key_after_prefix(&mark_to, marks));
    struct kv_iter *sub = kv_iter_new(kv, KV_USER, subs, key_after_prefix(&sub_to, subs));
    int r = mark && sub ? 0 : ERR_NOMEM;
    if (!r) {
        kv_seek(mark, marks);
        kv_seek(sub, subs);
    }
    while (!r && (kv_valid(mark) || kv_valid(sub))) {
        uint64_t read = 0;
        int order = !kv_valid(sub)    ? -1
                    : !kv_valid(mark) ? 1
                                      : slice_cmp(key_tail(kv_key(mark)), key_tail(kv_key(sub)));
        struct slice conv = key_tail(order <= 0 ? kv_key(mark) : kv_key(sub));
        if (conv.n < 2 || conv.n > CONV_KEY_MAX || (order <= 0 && mark_decode(kv_value(mark), &read))) {
            record_bad("mark", conv);
            r = ERR_INVALID;
            break;
        }
        if (order >= 0 || !conv_is_channel(conv))
            r = listing_add(l, conv, read);
        if (order <= 0)
            kv_next(mark);
        if (order >= 0)
            kv_next(sub);
    }
    r = r ? r : !mark || !sub ? 0 : kv_iter_error(mark) ? kv_iter_error(mark) : kv_iter_error(sub);
    kv_iter_free(mark);
    kv_iter_free(sub);
    return r;
}

static int listing_heads(struct listing *l)
{
    struct key keys[HEADS_CHUNK];
    struct slice names[HEADS_CHUNK];
    struct kv_found found[HEADS_CHUNK];
    int r = 0;
    for (uint32_t at = 0; !r && at < l->n; at += HEADS_CHUNK) {
        uint32_t n = l->n - at < HEADS_CHUNK ? l->n - at : HEADS_CHUNK;
        for (uint32_t i = 0; i < n; i++)
            names[i] = key_head(&keys[i], entry_key(&l->entries[at + i]));
        kv_multi_get(l->store->kv, KV_CHANNEL, names, n, found);
        for (uint32_t i = 0; i < n; i++) {
            if (found[i].code < 0 || (found[i].code == 1 && head_decode(found[i].value, &l->entries[at + i].head))) {
                record_bad("head", names[i]);
                r = found[i].code < 0 ? found[i].code : ERR_INVALID;
            }
            kv_found_free(l->store->kv, &found[i]);
        }
    }
    return r;
}

/* Newest activity first, then by key. */
static int place_cmp(uint64_t a_id, struct slice a, uint64_t b_id, struct slice b)
{
    return a_id != b_id ? (a_id > b_id ? -1 : 1) : slice_cmp(a, b);
}

static int entry_cmp(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return place_cmp(x->head.last_id, entry_key(x), y->head.last_id, entry_key(y));
}

/* --- Cursors: hex of the last entry's last id and key. --- */

_Static_assert((8 + CONV_KEY_MAX) * 2 <= STORE_CURSOR_MAX, "a cursor must fit");

static void cursor_write(char *out, const struct entry *e)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t raw[8 + CONV_KEY_MAX];
    store_be64(raw, e->head.last_id);
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
    if (s.n % 2 || s.n < 20 || s.n > sizeof(raw) * 2)
        return false;
    for (size_t i = 0; i < s.n; i += 2) {
        int hi = hex_value(s.p[i]), lo = hex_value(s.p[i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        raw[i / 2] = (uint8_t)(hi << 4 | lo);
    }
    *e = (struct entry){.n = (uint8_t)(s.n / 2 - 8)};
    e->head.last_id = load_be64(raw);
    memcpy(e->key, raw + 8, e->n);
    return e->key[0] == 'c' || e->key[0] == 'p';
}

/* --- The page --- */

/* Adds one conversation with its newest message. 1: the page is full. */
static int listing_emit(struct listing *l, const struct entry *e)
{
    struct store_conversations *op = l->op;
    struct msgs m;
    uint64_t first = 0;
    int r = msgs_open(&m, l->store, l->iters, entry_key(e), &e->head);
    struct store_conversation *c = &op->list[op->n];
    *c = (struct store_conversation){
        .conv = {(const char *)(uintptr_t)l->page.arena.n, e->n}, .seq = e->head.seq, .read = e->read, .last = -1};
    if (!r) {
        msgs_down(&m, UINT64_MAX);
        if (m.valid && op->n && page_is_full(&l->page, m.row->content.n, op->page_bytes)) {
            r = 1;
        } else {
            buf_put(&l->page.arena, e->key, e->n);
            if (m.valid) {
                c->last = (int32_t)l->page.n;
                r = page_add_row(&l->page, SLICE_NONE, m.seq, m.row);
            }
            r = r ? r : m.error ? m.error : first_read(&m, &first);
        }
    }
    msgs_close(&m);
    if (!r) {
        uint64_t seen = first > e->read + 1 ? first - 1 : e->read;
        c->unread = c->seq > seen ? c->seq - seen : 0;
        op->n++;
    }
    return r;
}

static int listing_fill(struct listing *l)
{
    struct store_conversations *op = l->op;
    struct entry after;
    uint32_t at = 0;
    int r = 0;
    if (op->cursor.n) {
        if (!cursor_read(op->cursor, &after))
            return ERR_NOTFOUND;
        while (at < l->n && entry_cmp(&l->entries[at], &after) <= 0)
            at++;
    }
    uint32_t room = l->n - at < op->limit ? l->n - at : op->limit;
    op->list = calloc(room ? room : 1, sizeof(*op->list));
    if (!op->list)
        return ERR_NOMEM;
    for (; at < l->n && op->n < op->limit; at++) {
        r = listing_emit(l, &l->entries[at]);
        if (r)
            break;
    }
    if (r >= 0 && at < l->n && op->n)
        cursor_write(op->next_cursor, &l->entries[at - 1]);
    return r < 0 ? r : 0;
}

enum store_status read_conversations(struct reader *by, struct store_op *op)
{
    struct local *s = by->store;
    struct store_conversations *c = (struct store_conversations *)op;
    struct listing l = {.store = s, .iters = &by->iters, .op = c};
    c->list = NULL;
    c->n = 0;
    c->next_cursor[0] = '\0';
    int r = c->user.n >= 1 && c->user.n <= 64 ? listing_scan(&l) : ERR_INVALID;
    r = r ? r : listing_heads(&l);
    if (!r) {
        if (l.n)
            qsort(l.entries, l.n, sizeof(l.entries[0]), entry_cmp);
        r = listing_fill(&l);
    }
    free(l.entries);
    r = deleted_names(s, page_finish(&l.page, r, &c->page), &c->page);
    if (r) {
        free(c->list);
        c->list = NULL;
        c->n = 0;
        c->next_cursor[0] = '\0';
    }
    for (uint32_t i = 0; i < c->n; i++)
        c->list[i].conv.p = c->page.arena + (uintptr_t)c->list[i].conv.p;
    return status_of(r);
}
