/* All there is, page by page: users, channels, deletions under way, and the messages of one sender. */
#include "storage/local/page.h"
#include "storage/local/range.h"

#include <stdlib.h>

enum {
    LOOK_MAX = 4096, /* rows that one page looks at */
    LIMIT_MAX = 1000 /* … and has */
};

/* --- Users and channels ------------------------------------------------------------------------------------------- */

/* Where the rows of each are: family, and what stands before the id. */
static const struct {
    enum kv_family family;
    const char *before;
} places[] = {[STORE_SCAN_USERS] = {KV_USER, "u"},
              [STORE_SCAN_CHANNELS] = {KV_CHANNEL, "hc"},
              [STORE_SCAN_GOING_USERS] = {KV_META, "D"},
              [STORE_SCAN_GOING_CHANNELS] = {KV_META, "Wc"}};

/* What stands before the id, and `id`. */
static struct slice place_key(struct key *k, const char *before, struct slice id)
{
    k->n = strlen(before);
    memcpy(k->p, before, k->n);
    if (id.n)
        memcpy(k->p + k->n, id.p, id.n);
    k->n += id.n;
    return key_slice(k);
}

static bool scan_user(struct slice value, struct store_scanned *out, struct buf *arena)
{
    struct user_record u;
    if (user_decode(value, &u))
        return false;
    out->guest = u.guest;
    out->name = (struct slice){(const char *)(uintptr_t)arena->n, u.name.n};
    buf_slice_put(arena, u.name);
    return true;
}

/* 0: not a channel that is there; negative: it cannot be read. */
static int scan_channel(struct slice value, struct store_scanned *out)
{
    struct head_record h;
    if (head_decode(value, &h))
        return ERR_INVALID;
    out->tier = (enum store_tier)h.tier;
    out->members = h.members;
    out->seq = h.seq;
    return (h.flags & (HEAD_CHANNEL | HEAD_CLOSING)) == HEAD_CHANNEL;
}

static int scan_going(struct local *s, struct slice id, struct store_scanned *out)
{
    struct key k;
    struct deleted_record d;
    struct kv_found f = kv_get(s->kv, KV_USER, key_deleted(&k, id));
    int r = f.code;
    if (r == 1)
        r = deleted_decode(f.value, &d) ? ERR_INVALID : 1;
    kv_found_free(s->kv, &f);
    out->recall = r == 1 && d.flags & DELETED_RECALL;
    return r < 0 ? r : 1;
}

/* One row: 1 it is on the page, 0 it is not, negative: an enum err. Slices are offsets into the arena. */
static int scan_row(struct local *s, struct store_scan *q, struct slice id, struct slice value, struct buf *arena)
{
    struct store_scanned *out = &q->list[q->n];
    int r = 1;
    *out = (struct store_scanned){.tier = TIER_SMALL};
    if (q->what == STORE_SCAN_USERS)
        r = scan_user(value, out, arena) ? 1 : ERR_INVALID;
    else if (q->what == STORE_SCAN_CHANNELS)
        r = scan_channel(value, out);
    else if (q->what == STORE_SCAN_GOING_USERS)
        r = scan_going(s, id, out);
    if (r < 0)
        record_bad("scan", id);
    if (r != 1)
        return r;
    out->id = (struct slice){(const char *)(uintptr_t)arena->n, id.n};
    buf_slice_put(arena, id);
    q->n++;
    return 1;
}

static int scan_collect(struct local *s, struct store_scan *q, struct buf *arena)
{
    const char *before = places[q->what].before;
    struct key from, prefix_key, to;
    struct slice prefix = place_key(&prefix_key, before, q->prefix),
                 start = place_key(&from, before, q->cursor.n ? q->cursor : q->prefix);
    struct kv_iter *it = kv_iter_new(s->kv, places[q->what].family, prefix, key_after_prefix(&to, prefix));
    if (!it)
        return ERR_NOMEM;
    kv_seek(it, slice_cmp(start, prefix) < 0 ? prefix : start);
    if (q->cursor.n && kv_valid(it) && slice_eq(kv_key(it), start))
        kv_next(it);
    int r = 0;
    for (uint32_t looked = 0; r >= 0 && kv_valid(it); kv_next(it)) {
        if (q->n == q->limit || looked++ == LOOK_MAX) {
            q->more = true;
            break;
        }
        struct slice key = kv_key(it), id = slice_of(key.p + strlen(before), key.n - strlen(before));
        if (id.n < 1 || id.n > sizeof q->next) {
            record_bad("scan", key);
            r = ERR_INVALID;
            break;
        }
        r = scan_row(s, q, id, kv_value(it), arena);
        memcpy(q->next, id.p, id.n);
        q->next_n = (uint8_t)id.n;
    }
    r = r < 0 ? r : kv_iter_error(it);
    kv_iter_free(it);
    return r;
}

enum store_status read_scan(struct reader *by, struct store_op *op)
{
    struct store_scan *q = (struct store_scan *)op;
    struct buf arena = BUF_INIT;
    q->list = NULL;
    q->arena = NULL;
    q->n = q->next_n = 0;
    q->more = false;
    if ((unsigned)q->what > STORE_SCAN_GOING_CHANNELS || q->prefix.n > 64 || q->cursor.n > 64 || !q->limit)
        return STORE_FATAL;
    q->limit = q->limit < LIMIT_MAX ? q->limit : LIMIT_MAX;
    q->list = calloc(q->limit, sizeof *q->list);
    int r = q->list ? scan_collect(by->store, q, &arena) : ERR_NOMEM;
    r = r ? r : buf_ok(&arena) ? 0 : ERR_NOMEM;
    if (r) {
        free(q->list);
        buf_free(&arena);
        q->list = NULL;
        q->n = 0;
        q->more = false;
        return status_of(r);
    }
    q->arena = arena.p;
    for (uint32_t i = 0; i < q->n; i++) {
        q->list[i].id.p = arena.p + (uintptr_t)q->list[i].id.p;
        q->list[i].name.p = arena.p + (uintptr_t)q->list[i].name.p;
    }
    return STORE_OK;
}

/* --- Messages of one sender --------------------------------------------------------------------------------------- */

/* Looks at rows of a family from the cursor on. 0: the family is done; 1: stopped before its end; an enum err. */
static int sent_collect(struct local *s, struct store_sent *q, unsigned tier, struct slice from, uint32_t *looked)
{
    struct kv_iter *it = kv_iter_new(s->kv, tier_family(tier), SLICE_NONE, SLICE_NONE);
    int r = it ? 0 : ERR_NOMEM;
    uint64_t now = expiry_now(&s->expiry);
    for (it ? kv_seek(it, from) : (void)0; !r && kv_valid(it); kv_next(it)) {
        struct message_record m;
        struct slice key = kv_key(it);
        uint64_t seq;
        if (q->n == STORE_SENT_MAX || ++*looked > LOOK_MAX) {
            q->cursor[0] = (char)tier;
            memcpy(q->cursor + 1, key.p, key.n);
            q->cursor_n = (uint8_t)(1 + key.n);
            r = 1;
        } else if (!key_tail_u64(key, &seq) || key.n > CONV_KEY_MAX + 9 || message_decode(kv_value(it), &m)) {
            record_bad("message", key);
            r = ERR_INVALID;
        } else if (slice_eq(m.sender, q->sender) && m.id <= q->id_max && !(m.row.flags & ROW_RECALLED) &&
                   !row_expired(&m.row, &s->expiry, now)) {
            q->list[q->n].seq = seq;
            q->list[q->n].conv_n = (uint8_t)(key.n - 9);
            memcpy(q->list[q->n++].conv, key.p, key.n - 9);
        }
    }
    r = r ? r : it ? kv_iter_error(it) : 0;
    kv_iter_free(it);
    return r;
}

_Static_assert(1 + CONV_KEY_MAX + 9 <= STORE_SENT_CURSOR, "a tier and a message's key fit");

enum store_status read_sent(struct reader *by, struct store_op *op)
{
    struct store_sent *q = (struct store_sent *)op;
    char from[STORE_SENT_CURSOR];
    uint32_t looked = 0;
    unsigned tier = q->cursor_n ? (unsigned)q->cursor[0] : 0;
    q->n = 0;
    q->more = false;
    if (tier >= TIER_COUNT || q->cursor_n > sizeof from)
        return STORE_FATAL;
    size_t n = q->cursor_n ? q->cursor_n - 1u : 0;
    memcpy(from, q->cursor + 1, n);
    int r = 0;
    for (; r == 0 && tier < TIER_COUNT; tier++, n = 0)
        r = sent_collect(by->store, q, tier, slice_of(from, n), &looked);
    q->more = r == 1;
    return r < 0 ? status_of(r) : STORE_OK;
}
