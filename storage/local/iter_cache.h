/*
 * Iterators over the tiers' messages that a reader keeps from one page to the next: to make one costs as much as to
 * read some rows.
 *
 * A kept iterator is as good as a new one while nothing was written since it was made. The database's own number tells
 * that. It holds on to files and memtables, so it is dropped before the reader rests. One thread.
 */
#ifndef MAGPIE_STORAGE_ITER_CACHE_H
#define MAGPIE_STORAGE_ITER_CACHE_H

#include "storage/kv/kv.h"
#include "storage/store.h"

struct iter_cache {
    struct kv_iter *it[TIER_COUNT]; /* over the whole family; NULL: not made */
    uint64_t version;               /* kv_version() before the first of them was made */
};

/* Drops what is not up to date. Before a walk asks for its first iterator, and after it knows the head. */
void iter_cache_begin(struct iter_cache *k, struct kv *kv);
/* The iterator of a tier, for this walk; not positioned. NULL: out of memory. */
struct kv_iter *iter_cache_iter(struct iter_cache *k, struct kv *kv, unsigned tier);
void iter_cache_drop(struct iter_cache *k);

#endif
