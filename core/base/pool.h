/*
 * A pool of fixed-size items that are named by 32-bit indexes.
 *
 * Items live in chunks that never move, so that pointers stay valid until the item is freed; a chunk whose last item is
 * freed is given back to the system (all but one, against thrashing). Freed items are poisoned in debug builds and
 * known to AddressSanitizer. One thread.
 */
#ifndef MAGPIE_BASE_POOL_H
#define MAGPIE_BASE_POOL_H

#include <stdbool.h>
#include <stdint.h>

#define POOL_NONE UINT32_MAX

struct pool_chunk;

struct pool {
    uint32_t item_size;         /* bytes, multiple of 8 */
    uint32_t chunk_shift;       /* items in a chunk: 2^chunk_shift */
    struct pool_chunk **chunks; /* by index >> chunk_shift; NULL where given back; owned */
    uint32_t chunk_count;       /* length of chunks */
    uint32_t free_chunk;        /* a chunk with free items, head of a list by number; POOL_NONE: none */
    uint32_t live;              /* items in use */
    uint32_t peak;              /* highest index ever used + 1 */
};

/* item_size: bytes, at least 8. chunk_items: a power of two. Allocates nothing. */
void pool_init(struct pool *p, uint32_t item_size, uint32_t chunk_items);
/* Frees all chunks, whatever is in use. */
void pool_fini(struct pool *p);
/* A zeroed item; POOL_NONE when out of memory. */
uint32_t pool_alloc(struct pool *p);
void pool_free(struct pool *p, uint32_t index);
/* The item; the index must be in use (checked in debug builds). */
void *pool_at(const struct pool *p, uint32_t index);
/* The item, or NULL when the index is not in use: for handles from outside. */
void *pool_find(const struct pool *p, uint32_t index);
/* The first index in use at or after `from`; POOL_NONE at the end. For resumable walks. */
uint32_t pool_next(const struct pool *p, uint32_t from);
/* Bytes of memory held. */
uint64_t pool_memory(const struct pool *p);

#endif
