/* A bounded table of items by key that knows which was used longest ago. The items embed a node and stay the owner's.
 * One thread. */
#ifndef MAGPIE_STORAGE_LRU_H
#define MAGPIE_STORAGE_LRU_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdint.h>

struct lru_node {
    struct lru_node *chain; /* next in the bucket */
    struct lru_node *newer, *older;
    uint64_t hash;
    struct slice key; /* borrows from the item */
};

struct lru {
    struct lru_node **buckets;    /* malloc'd */
    uint32_t bucket_count, count; /* power of two; items */
    struct lru_node *newest, *oldest;
};

MUST_CHECK int lru_init(struct lru *l);
/* Frees the table, not the items. */
void lru_fini(struct lru *l);
/* The item with this key, now the newest; NULL when there is none. */
struct lru_node *lru_find(struct lru *l, uint64_t hash, struct slice key);
/* Adds an item (hash and key set) whose key is not there. */
void lru_add(struct lru *l, struct lru_node *n);
void lru_remove(struct lru *l, struct lru_node *n);

#endif
