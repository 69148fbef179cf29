/*
 * Iterators over the tiers' messages that a reader keeps from one page to the next: to make one costs as much as to
 * read some rows.
 *
 * One that is kept is as good as a new one as long as nothing was written since it was made, which the database's own
 * number tells. It holds on to files and memtables, so it is dropped before the reader rests. One thread.
 */
#ifndef MAGPIE_STORAGE_KEPT_H
#define MAGPIE_STORAGE_KEPT_H

#include "storage/kv/kv.h"
#include "storage/store.h"

struct kept {
    struct kv_iter *it[TIER_COUNT]; /* over the whole family; NULL: not made */
    uint64_t version;               /* kv_version() before the first of them was made */
};

/* Drops what is not up to date. Before a walk asks for its first iterator, and after it knows the head. */
void kept_begin(struct kept *k, struct kv *kv);
/* The iterator of a tier, for this walk; not positioned. NULL: out of memory. */
struct kv_iter *kept_iter(struct kept *k, struct kv *kv, unsigned tier);
void kept_drop(struct kept *k);

#endif
