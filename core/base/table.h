/*
 * A hash table of 32-bit indexes: open addressing, 4 bytes a slot, no stored keys or hashes.
 *
 * What an index stands for is known to the owner alone, who gives two callbacks. The table is cut into segments by the
 * hash's top bits. Each segment grows and shrinks on its own, so that no insertion copies more than a few thousand
 * slots, among millions. Linear probing with backward-shift deletion (no tombstones). One thread.
 */
#ifndef MAGPIE_BASE_TABLE_H
#define MAGPIE_BASE_TABLE_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define TABLE_NONE UINT32_MAX /* no index; never stored */

struct table_segment;

struct table {
    uint64_t (*hash_of)(void *ctx, uint32_t index);              /* hash of the item's key */
    bool (*matches)(void *ctx, uint32_t index, const void *key); /* whether the item has this key */
    void *ctx;                                                   /* of both */
    struct table_segment *segments;                              /* 2^segment_bits of them; owned */
    unsigned segment_bits;
    uint32_t count; /* items */
};

/* segment_bits: 0 for small tables (up to some thousands), 8 for those that may hold millions. ERR_NOMEM. */
MUST_CHECK int table_init(struct table *t, unsigned segment_bits, uint64_t (*hash_of)(void *, uint32_t),
                          bool (*matches)(void *, uint32_t, const void *), void *ctx);
void table_fini(struct table *t);
/* The index whose item matches `key`, or TABLE_NONE. */
uint32_t table_find(const struct table *t, uint64_t hash, const void *key);
/* Adds an index whose key is not in the table. ERR_NOMEM: nothing changed. */
MUST_CHECK int table_add(struct table *t, uint64_t hash, uint32_t index);
/* Removes this very index; false when it was not there. */
bool table_remove(struct table *t, uint64_t hash, uint32_t index);
/* Bytes of memory held. */
uint64_t table_memory(const struct table *t);

#endif
