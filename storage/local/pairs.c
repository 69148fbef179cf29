/* Whom a user knows: by a private conversation, by a channel of both. */
#include "storage/local/local_private.h"
#include "storage/local/record.h"

#include <stdlib.h>

enum { PAIRS_MAX = 128 };

static bool id_sane(struct slice id)
{
    return id.n >= 1 && id.n <= 64;
}

/* The asker's channels: keys in the arena, ascending, as the database has them. */
struct channels {
    struct buf arena;
    uint32_t *at; /* where each begins, behind a byte with its length; owned */
    uint32_t n, cap;
};

static struct slice channel_at(const struct channels *c, uint32_t i)
{
    const char *p = c->arena.p + c->at[i];
    return slice_of(p + 1, (uint8_t)p[0]);
}

static int channels_add(struct channels *c, struct slice conv)
{
    if (c->n == c->cap) {
        uint32_t cap = c->cap ? c->cap * 2 : 16;
        uint32_t *at = realloc(c->at, cap * sizeof *at);
        if (!at)
            return ERR_NOMEM;
        c->at = at;
        c->cap = cap;
    }
    c->at[c->n++] = (uint32_t)c->arena.n;
    buf_byte(&c->arena, (uint8_t)conv.n);
    buf_slice_put(&c->arena, conv);
    return buf_ok(&c->arena) ? 0 : ERR_NOMEM;
}

static bool channels_have(const struct channels *c, struct slice conv)
{
    uint32_t low = 0, high = c->n;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        int r = slice_cmp(channel_at(c, mid), conv);
        if (r == 0)
            return true;
        if (r < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return false;
}

/* Walks over a user's subscriptions. With `into` they are collected; else it looks for one that is in `among`.
 * Returns 1 when there is one, 0, or an enum err. */
static int subscriptions_walk(struct local *s, struct slice user, struct channels *into, const struct channels *among)
{
    struct key from, to;
    struct slice prefix = key_sub(&from, user, SLICE_NONE);
    struct kv_iter *it = kv_iter_new(s->kv, KV_USER, prefix, key_after_prefix(&to, prefix));
    int r = it ? 0 : ERR_NOMEM;
    for (it ? kv_seek(it, prefix) : (void)0; !r && kv_valid(it); kv_next(it)) {
        struct slice conv = key_tail(kv_key(it));
        r = conv.n > CONV_KEY_MAX ? ERR_INVALID : into ? channels_add(into, conv) : channels_have(among, conv);
    }
    if (!r && it)
        r = kv_iter_error(it);
    kv_iter_free(it);
    return r;
}

static int channels_shared(struct local *s, struct store_pairs *p)
{
    struct channels own = {.n = 0};
    int r = subscriptions_walk(s, p->user, &own, NULL);
    for (uint32_t i = 0; !r && own.n && i < p->n; i++) {
        int shared = p->known[i] ? 0 : subscriptions_walk(s, p->ids[i], NULL, &own);
        r = shared < 0 ? shared : 0;
        p->known[i] |= shared == 1;
    }
    buf_free(&own.arena);
    free(own.at);
    return r;
}

enum store_status read_pairs(struct reader *by, struct store_op *op)
{
    struct local *s = by->store;
    struct store_pairs *p = (struct store_pairs *)op;
    struct slice names[PAIRS_MAX];
    struct key keys[PAIRS_MAX];
    struct kv_found found[PAIRS_MAX];
    int r = 0;
    uint32_t n = p->n = p->n < PAIRS_MAX ? p->n : PAIRS_MAX;
    memset(p->known, 0, sizeof(p->known));
    for (uint32_t i = 0; i < n; i++) {
        if (!id_sane(p->user) || !id_sane(p->ids[i]))
            return STORE_FATAL;
        struct conv_key conv = conv_key_pair(p->user, p->ids[i]);
        names[i] = key_mark(&keys[i], p->user, conv_key_slice(&conv));
    }
    kv_multi_get(s->kv, KV_USER, names, n, found);
    for (uint32_t i = 0; i < n; i++) {
        r = found[i].code < 0 ? found[i].code : r;
        p->known[i] = found[i].code == 1;
        kv_found_free(s->kv, &found[i]);
    }
    if (!r && p->channels)
        r = channels_shared(s, p);
    return status_of(r);
}
