/* Walks over all keys: see walk.h. */
#include "storage/redis/client/walk.h"

#include "core/base/hash.h"
#include "storage/redis/client/fan.h"
#include "storage/redis/redis_private.h"

#include <stdlib.h>

enum { MASTERS_MAX = 1024 };

void walk_place_put(char out[WALK_PLACE], const struct walk_place *p)
{
    store_be32(out, p->masters);
    store_be16(out + 4, p->master);
    store_be16(out + 6, (uint16_t)(p->at >> 32));
    store_be32(out + 8, (uint32_t)p->at);
    store_be32(out + 12, p->skip);
    out[16] = (char)p->size;
}

void walk_place_get(const char in[WALK_PLACE], struct walk_place *p)
{
    *p = (struct walk_place){.masters = load_be32(in),
                             .master = load_be16(in + 4),
                             .at = (uint64_t)load_be16(in + 6) << 32 | load_be32(in + 8),
                             .skip = load_be32(in + 12),
                             .size = (uint8_t)in[16] < WALK_SIZE_MAX ? (uint8_t)in[16] : WALK_SIZE_MAX};
}

uint32_t walk_hash(struct slice s)
{
    uint32_t h = (uint32_t)hash_stable(s);
    return h ? h : 1;
}

/* --- The masters -------------------------------------------------------------------------------------------------- */

struct seat {
    const char *id; /* the master's; borrowed */
    uint16_t part;  /* one of its partitions */
};

static int seat_cmp(const void *a, const void *b)
{
    return strcmp(((const struct seat *)a)->id, ((const struct seat *)b)->id);
}

/* The masters, by their ids. Returns how many there are. */
static unsigned seats_of(const struct redis *r, struct seat seats[MASTERS_MAX], uint32_t *hash)
{
    unsigned n = 0;
    *hash = 0;
    for (int part; n < MASTERS_MAX && (part = slots_part(r, n)) >= 0; n++) {
        seats[n] = (struct seat){r->parts[part].master->id, (uint16_t)part};
        *hash ^= walk_hash(slice_str(seats[n].id));
    }
    qsort(seats, n, sizeof *seats, seat_cmp);
    return n;
}

/* --- Keys --------------------------------------------------------------------------------------------------------- */

static void pattern_put(struct buf *b, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (memchr("*?[]\\^", s.p[i], 6))
            buf_byte(b, '\\');
        buf_byte(b, (uint8_t)s.p[i]);
    }
}

/* Takes what stands behind "}:" of a key, if that begins as wanted. False: there is no memory. */
static bool key_take(struct walk *w, struct slice key)
{
    const char *brace = memchr(key.p, '}', key.n);
    struct slice rest = brace ? slice_of(brace + 1, (size_t)(key.p + key.n - brace - 1)) : SLICE_NONE;
    if (rest.n < 2 || rest.p[0] != ':')
        return true;
    rest = slice_of(rest.p + 1, rest.n - 1);
    if (rest.n < w->prefix.n || (w->prefix.n && memcmp(rest.p, w->prefix.p, w->prefix.n) != 0))
        return true;
    if (w->n == w->cap) {
        uint32_t cap = w->cap ? w->cap * 2 : 64;
        struct slice *grown = realloc(w->keys, cap * sizeof *grown);
        if (!grown)
            return false;
        w->keys = grown;
        w->cap = cap;
    }
    w->keys[w->n++] = (struct slice){(const char *)(uintptr_t)w->arena.n, rest.n};
    buf_slice_put(&w->arena, rest);
    return true;
}

/* Passes over what was looked at before. When that key is not there any more, all is looked at again. */
static void keys_skip(struct walk *w)
{
    for (uint32_t i = 0; w->place.skip && i < w->n; i++) {
        if (walk_hash(w->keys[i]) == w->place.skip) {
            w->n -= i + 1;
            memmove(w->keys, w->keys + i + 1, w->n * sizeof *w->keys);
            return;
        }
    }
    w->place.skip = 0;
}

/* --- Steps -------------------------------------------------------------------------------------------------------- */

static void scanned(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct walk *w = c->ctx;
    const struct reply *list = status == STORE_OK && reply->type == REPLY_LIST && reply->n == 2 ? reply->list : NULL;
    if (status == STORE_OK && (!list || list[1].type != REPLY_LIST || !reply_decimal(&list[0], &w->next)))
        status = STORE_FATAL;
    bool room = true;
    for (uint32_t i = 0; status == STORE_OK && room && i < list[1].n; i++)
        room = key_take(w, list[1].list[i].text);
    if (status == STORE_OK && (!room || !buf_ok(&w->arena)))
        status = STORE_RETRY;
    if (status == STORE_OK) {
        for (uint32_t i = 0; i < w->n; i++)
            w->keys[i].p = w->arena.p + (uintptr_t)w->keys[i].p;
        keys_skip(w);
    } else {
        w->n = 0;
    }
    w->done(r, w, status);
}

void walk_ask(struct redis *r, struct walk *w)
{
    static const struct slice scan[] = {SLICE_LIT("SCAN")};
    struct seat seats[MASTERS_MAX];
    uint32_t hash;
    unsigned n = seats_of(r, seats, &hash);
    if (w->place.masters != hash)
        w->place = (struct walk_place){.masters = hash, .size = w->place.size};
    w->n = 0;
    buf_reset(&w->arena);
    unsigned at = w->place.master < n ? w->place.master : 0;
    call_raw(r, &w->call, n ? seats[at].part : 0, false, scan, 1);
    call_arg_u64(&w->call, w->place.at);
    call_arg(&w->call, SLICE_LIT("MATCH"));
    struct buf pattern = BUF_INIT;
    pattern_put(&pattern, slice_str(r->options.cluster.prefix));
    buf_byte(&pattern, (uint8_t)w->kind);
    buf_lit(&pattern, "{*}:");
    pattern_put(&pattern, w->prefix);
    buf_byte(&pattern, '*');
    call_arg(&w->call, buf_slice(&pattern));
    w->call.body.oom |= pattern.oom;
    buf_free(&pattern);
    call_arg(&w->call, SLICE_LIT("COUNT"));
    call_arg_u64(&w->call, 1u << w->place.size);
    w->looked += 1u << w->place.size;
    w->last = w->place.master + 1u >= n;
    w->call.done = scanned;
    w->call.ctx = w;
    call_post(r, &w->call);
}

bool walk_on(struct walk *w)
{
    w->place.skip = 0;
    w->place.at = w->next;
    if (w->next)
        return true;
    w->place.master++;
    return !w->last;
}

void walk_stop_behind(struct walk *w, struct slice key)
{
    w->place.skip = walk_hash(key);
}

void walk_fini(struct walk *w)
{
    buf_free(&w->arena);
    free(w->keys);
    w->keys = NULL;
    w->n = w->cap = 0;
}
