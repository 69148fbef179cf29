#include "core/net/tls/state.h"

#include "core/net/tls/handshake.h"
#include "core/net/tls/records.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNK = 1024,  /* descriptors */
    CHUNKS = 8192, /* 8 million of them */
    HOLD_MIN = 512 /* bytes: a usual ClientHello */
};

/* A descriptor that one thread closes may be another's at once: only the kernel orders that, so the slot is atomic. */
typedef _Atomic(struct tls_state *) slot;

struct tls_table {
    _Atomic(slot *) chunks[CHUNKS]; /* made on demand, by any thread; owned */
};

struct tls_table *tls_table_new(void)
{
    return calloc(1, sizeof(struct tls_table));
}

void tls_table_free(struct tls_table *t)
{
    for (unsigned i = 0; t && i < CHUNKS; i++)
        free(atomic_load(&t->chunks[i]));
    free(t);
}

struct tls_state *tls_table_get(const struct tls_table *t, int fd)
{
    slot *chunk = atomic_load_explicit(&t->chunks[(unsigned)fd / CHUNK], memory_order_acquire);
    return chunk ? atomic_load_explicit(&chunk[(unsigned)fd % CHUNK], memory_order_acquire) : NULL;
}

/* Replaces the state of a descriptor, whose chunk is there. */
static struct tls_state *put(struct tls_table *t, int fd, struct tls_state *s)
{
    slot *chunk = atomic_load_explicit(&t->chunks[(unsigned)fd / CHUNK], memory_order_acquire);
    atomic_store_explicit(&chunk[(unsigned)fd % CHUNK], s, memory_order_release);
    return s;
}

/* The chunk of a descriptor; another thread may make it at the same time. */
static slot *chunk_of(struct tls_table *t, unsigned i)
{
    slot *chunk = atomic_load_explicit(&t->chunks[i], memory_order_acquire), *fresh;
    if (chunk)
        return chunk;
    fresh = calloc(CHUNK, sizeof *fresh);
    if (!fresh || atomic_compare_exchange_strong(&t->chunks[i], &chunk, fresh))
        return fresh;
    free(fresh);
    return chunk;
}

struct tls_state *tls_table_add(struct tls_table *t, int fd)
{
    unsigned i = (unsigned)fd / CHUNK;
    if (i >= CHUNKS || !chunk_of(t, i) || !SURELY(!tls_table_get(t, fd)))
        return NULL;
    return put(t, fd, calloc(1, sizeof(struct tls_state)));
}

struct tls_state *tls_table_widen(struct tls_table *t, int fd, size_t room)
{
    struct tls_state *s = tls_table_get(t, fd);
    struct tls_state *wide = s ? realloc(s, sizeof *s + room) : NULL;
    if (!wide)
        return NULL;
    memset(wide + 1, 0, room);
    return put(t, fd, wide);
}

void tls_table_prefetch(const struct tls_table *t, int fd)
{
    enum { LINE = 64 /* of the cache, bytes; the state and the records have 160 at most with AES-128 */ };
    const struct tls_state *s = (unsigned)fd / CHUNK < CHUNKS ? tls_table_get(t, fd) : NULL;
    for (size_t i = 0; s && i < 3; i++)
        __builtin_prefetch((const uint8_t *)s + i * LINE);
}

void tls_table_remove(struct tls_table *t, int fd)
{
    struct tls_state *s = tls_table_get(t, fd);
    if (!s)
        return;
    put(t, fd, NULL);
    tls_hold_drop(s);
    if (s->phase == TLS_OWN)
        tls_records_wipe(s->records);
    else if (s->phase == TLS_KEPT)
        SSL_free(s->ssl);
    else
        tls_shaking_free(s->shaking);
    free(s);
}

/* --- What is held ------------------------------------------------------------------------------------------------- */

void tls_hold_drop(struct tls_state *s)
{
    if (s->hold && s->hold->plain)
        explicit_bzero(s->hold->data, s->hold->plain);
    free(s->hold);
    s->hold = NULL;
}

int tls_hold_append(struct tls_state *s, const uint8_t *p, size_t n)
{
    struct tls_hold *h = s->hold;
    size_t have = h ? h->n : 0, room = h ? h->room : HOLD_MIN;
    while (room < have + n)
        room *= 2;
    if (!h || room > h->room) {
        h = realloc(h, sizeof *h + room);
        if (!h)
            return ERR_NOMEM;
        if (!s->hold)
            *h = (struct tls_hold){.n = 0};
        h->room = (uint32_t)room;
        s->hold = h;
    }
    memcpy(h->data + have, p, n);
    h->n += (uint32_t)n;
    return 0;
}

int tls_hold_set(struct tls_state *s, const uint8_t *plain, size_t plain_n, const uint8_t *rest, size_t rest_n)
{
    size_t n = plain_n + rest_n;
    struct tls_hold *h = NULL;
    if (n && !(h = malloc(sizeof *h + n))) {
        tls_hold_drop(s);
        return ERR_NOMEM;
    }
    if (h) {
        *h = (struct tls_hold){.plain = (uint32_t)plain_n, .n = (uint32_t)n, .room = (uint32_t)n};
        if (plain_n)
            memcpy(h->data, plain, plain_n);
        if (rest_n)
            memcpy(h->data + plain_n, rest, rest_n);
    }
    tls_hold_drop(s);
    s->hold = h;
    return 0;
}

size_t tls_hold_take(struct tls_state *s, uint8_t *out, size_t n)
{
    struct tls_hold *h = s->hold;
    size_t there = h ? h->plain - h->at : 0;
    n = n < there ? n : there;
    if (n)
        memcpy(out, h->data + h->at, n);
    if (!h || n < there) {
        if (h)
            h->at += (uint32_t)n;
        return n;
    }
    /* All of them are given: what came behind them stays, if there is anything. */
    explicit_bzero(h->data, h->plain);
    h->n -= h->plain;
    memmove(h->data, h->data + h->plain, h->n);
    h->at = h->plain = 0;
    if (h->n == 0)
        tls_hold_drop(s);
    return n;
}
