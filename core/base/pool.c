#include "core/base/pool.h"

#include "core/base/err.h"

#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

struct pool_chunk {
    uint32_t live;       /* items in use */
    uint32_t prev, next; /* in the list of chunks with free items, by number; POOL_NONE: ends */
    uint64_t *used;      /* a bit per item; inside the allocation */
    char *items;
};

static uint32_t per_chunk(const struct pool *p)
{
    return 1u << p->chunk_shift;
}
static uint32_t words(const struct pool *p)
{
    return (per_chunk(p) + 63) / 64;
}

void pool_init(struct pool *p, uint32_t item_size, uint32_t chunk_items)
{
    ASSERT(item_size >= 8 && item_size % 8 == 0 && chunk_items >= 64 && (chunk_items & (chunk_items - 1)) == 0);
    *p = (struct pool){.item_size = item_size, .free_chunk = POOL_NONE};
    while (1u << p->chunk_shift < chunk_items)
        p->chunk_shift++;
}

void pool_fini(struct pool *p)
{
    for (uint32_t i = 0; i < p->chunk_count; i++)
        free(p->chunks[i]);
    free(p->chunks);
    p->chunks = NULL;
    p->chunk_count = p->live = 0;
    p->free_chunk = POOL_NONE;
}

static void list_add(struct pool *p, uint32_t number)
{
    struct pool_chunk *c = p->chunks[number];
    c->prev = POOL_NONE;
    c->next = p->free_chunk;
    if (c->next != POOL_NONE)
        p->chunks[c->next]->prev = number;
    p->free_chunk = number;
}

static void list_remove(struct pool *p, uint32_t number)
{
    struct pool_chunk *c = p->chunks[number];
    if (c->prev != POOL_NONE)
        p->chunks[c->prev]->next = c->next;
    else
        p->free_chunk = c->next;
    if (c->next != POOL_NONE)
        p->chunks[c->next]->prev = c->prev;
}

/* A number for a new chunk: the lowest that was given back, or a new one. */
static uint32_t chunk_number(struct pool *p)
{
    for (uint32_t i = 0; i < p->chunk_count; i++)
        if (!p->chunks[i])
            return i;
    if (p->chunk_count >= UINT32_MAX >> p->chunk_shift)
        return POOL_NONE;
    uint32_t count = p->chunk_count ? p->chunk_count * 2 : 4;
    struct pool_chunk **q = realloc(p->chunks, count * sizeof *q);
    if (!q)
        return POOL_NONE;
    memset(q + p->chunk_count, 0, (count - p->chunk_count) * sizeof *q);
    p->chunks = q;
    uint32_t number = p->chunk_count;
    p->chunk_count = count;
    return number;
}

static bool chunk_add(struct pool *p)
{
    uint32_t number = chunk_number(p);
    size_t bits = words(p) * sizeof(uint64_t), items = (size_t)per_chunk(p) * p->item_size;
    struct pool_chunk *c = number == POOL_NONE ? NULL : malloc(sizeof *c + bits + items);
    if (!c)
        return false;
    c->live = 0;
    c->used = (uint64_t *)(c + 1);
    c->items = (char *)c->used + bits;
    memset(c->used, 0, bits);
    ASAN_POISON_MEMORY_REGION(c->items, items);
    p->chunks[number] = c;
    list_add(p, number);
    return true;
}

uint32_t pool_alloc(struct pool *p)
{
    if (p->free_chunk == POOL_NONE && !chunk_add(p))
        return POOL_NONE;
    uint32_t number = p->free_chunk, w = 0;
    struct pool_chunk *c = p->chunks[number];
    while (c->used[w] == UINT64_MAX)
        w++;
    uint32_t bit = (uint32_t)__builtin_ctzll(~c->used[w]), at = w * 64 + bit;
    c->used[w] |= 1ull << bit;
    if (++c->live == per_chunk(p))
        list_remove(p, number);
    char *item = c->items + (size_t)at * p->item_size;
    ASAN_UNPOISON_MEMORY_REGION(item, p->item_size);
    memset(item, 0, p->item_size);
    uint32_t index = number << p->chunk_shift | at;
    p->live++;
    if (index >= p->peak)
        p->peak = index + 1;
    return index;
}

static bool in_use(const struct pool *p, uint32_t index)
{
    uint32_t number = index >> p->chunk_shift, at = index & (per_chunk(p) - 1);
    return number < p->chunk_count && p->chunks[number] && p->chunks[number]->used[at / 64] >> (at % 64) & 1;
}

void pool_free(struct pool *p, uint32_t index)
{
    ASSERT(in_use(p, index));
    uint32_t number = index >> p->chunk_shift, at = index & (per_chunk(p) - 1);
    struct pool_chunk *c = p->chunks[number];
    char *item = c->items + (size_t)at * p->item_size;
#ifndef NDEBUG
    memset(item, 0xDD, p->item_size);
#endif
    ASAN_POISON_MEMORY_REGION(item, p->item_size);
    c->used[at / 64] &= ~(1ull << (at % 64));
    p->live--;
    if (c->live-- == per_chunk(p))
        list_add(p, number);
    /* One empty chunk is kept, against thrashing. */
    if (c->live == 0 && p->live > 0 && (c->prev != POOL_NONE || c->next != POOL_NONE)) {
        list_remove(p, number);
        free(c);
        p->chunks[number] = NULL;
    }
}

void *pool_at(const struct pool *p, uint32_t index)
{
#ifndef NDEBUG
    ASSERT(in_use(p, index));
#endif
    return p->chunks[index >> p->chunk_shift]->items + (size_t)(index & (per_chunk(p) - 1)) * p->item_size;
}

void *pool_find(const struct pool *p, uint32_t index)
{
    return in_use(p, index) ? pool_at(p, index) : NULL;
}

uint32_t pool_next(const struct pool *p, uint32_t from)
{
    for (uint32_t number = from >> p->chunk_shift; number < p->chunk_count; number++, from = number << p->chunk_shift) {
        const struct pool_chunk *c = p->chunks[number];
        uint32_t at = from & (per_chunk(p) - 1);
        for (uint32_t w = at / 64; c && w < words(p); w++, at = w * 64) {
            uint64_t used = c->used[w] & UINT64_MAX << (at % 64);
            if (used)
                return number << p->chunk_shift | (w * 64 + (uint32_t)__builtin_ctzll(used));
        }
    }
    return POOL_NONE;
}

uint64_t pool_memory(const struct pool *p)
{
    uint64_t n = p->chunk_count * sizeof *p->chunks;
    for (uint32_t i = 0; i < p->chunk_count; i++)
        if (p->chunks[i])
            n += sizeof(struct pool_chunk) + words(p) * sizeof(uint64_t) + (uint64_t)per_chunk(p) * p->item_size;
    return n;
}
