#include "core/base/table.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS_MIN = 8 };

struct table_segment {
    uint32_t *slots; /* TABLE_NONE: free */
    uint32_t mask;   /* slots - 1; meaningless while slots is NULL */
    uint32_t count;
};

int table_init(struct table *t, unsigned segment_bits, uint64_t (*hash_of)(void *, uint32_t),
               bool (*matches)(void *, uint32_t, const void *), void *ctx)
{
    *t = (struct table){.hash_of = hash_of, .matches = matches, .ctx = ctx, .segment_bits = segment_bits};
    t->segments = calloc((size_t)1 << segment_bits, sizeof *t->segments);
    return t->segments ? 0 : ERR_NOMEM;
}

void table_fini(struct table *t)
{
    for (size_t i = 0; t->segments && i < (size_t)1 << t->segment_bits; i++)
        free(t->segments[i].slots);
    free(t->segments);
    t->segments = NULL;
    t->count = 0;
}

static struct table_segment *segment_of(const struct table *t, uint64_t hash)
{
    return &t->segments[t->segment_bits ? hash >> (64 - t->segment_bits) : 0];
}

uint32_t table_find(const struct table *t, uint64_t hash, const void *key)
{
    const struct table_segment *g = segment_of(t, hash);
    if (!g->slots)
        return TABLE_NONE;
    for (uint32_t i = (uint32_t)hash & g->mask; g->slots[i] != TABLE_NONE; i = (i + 1) & g->mask)
        if (t->matches(t->ctx, g->slots[i], key))
            return g->slots[i];
    return TABLE_NONE;
}

static void place(struct table_segment *g, uint64_t hash, uint32_t index)
{
    uint32_t i = (uint32_t)hash & g->mask;
    while (g->slots[i] != TABLE_NONE)
        i = (i + 1) & g->mask;
    g->slots[i] = index;
}

static int resize(struct table *t, struct table_segment *g, uint32_t slots)
{
    struct table_segment fresh = {.slots = malloc(slots * sizeof *fresh.slots), .mask = slots - 1, .count = g->count};
    if (!fresh.slots)
        return ERR_NOMEM;
    memset(fresh.slots, 0xFF, slots * sizeof *fresh.slots);
    for (uint32_t i = 0; g->slots && i <= g->mask; i++)
        if (g->slots[i] != TABLE_NONE)
            place(&fresh, t->hash_of(t->ctx, g->slots[i]), g->slots[i]);
    free(g->slots);
    *g = fresh;
    return 0;
}

int table_add(struct table *t, uint64_t hash, uint32_t index)
{
    struct table_segment *g = segment_of(t, hash);
    int rc = 0;
    if (!g->slots)
        rc = resize(t, g, SLOTS_MIN);
    else if ((uint64_t)(g->count + 1) * 5 > ((uint64_t)g->mask + 1) * 4)
        rc = resize(t, g, (g->mask + 1) * 2);
    if (rc != 0)
        return rc;
    place(g, hash, index);
    g->count++;
    t->count++;
    return 0;
}

/* Closes the gap at `hole` (Knuth, TAOCP 3, 6.4, algorithm R): whatever probed over it moves back. */
static void close_gap(const struct table *t, struct table_segment *g, uint32_t hole)
{
    for (uint32_t i = (hole + 1) & g->mask; g->slots[i] != TABLE_NONE; i = (i + 1) & g->mask) {
        uint32_t want = (uint32_t)t->hash_of(t->ctx, g->slots[i]) & g->mask;
        if (((i - want) & g->mask) >= ((i - hole) & g->mask)) {
            g->slots[hole] = g->slots[i];
            hole = i;
        }
    }
    g->slots[hole] = TABLE_NONE;
}

bool table_remove(struct table *t, uint64_t hash, uint32_t index)
{
    struct table_segment *g = segment_of(t, hash);
    if (!g->slots)
        return false;
    uint32_t i = (uint32_t)hash & g->mask;
    while (g->slots[i] != TABLE_NONE && g->slots[i] != index)
        i = (i + 1) & g->mask;
    if (g->slots[i] == TABLE_NONE)
        return false;
    close_gap(t, g, i);
    g->count--;
    t->count--;
    if (g->count == 0) {
        free(g->slots);
        *g = (struct table_segment){0};
    } else if (g->mask + 1 > SLOTS_MIN && g->count < (g->mask + 1) / 5) {
        /* Without memory it just stays large. */
        (void)!resize(t, g, (g->mask + 1) / 2);
    }
    return true;
}

uint64_t table_memory(const struct table *t)
{
    uint64_t n = ((uint64_t)1 << t->segment_bits) * sizeof *t->segments;
    for (size_t i = 0; i < (size_t)1 << t->segment_bits; i++)
        if (t->segments[i].slots)
            n += ((uint64_t)t->segments[i].mask + 1) * sizeof(uint32_t);
    return n;
}
