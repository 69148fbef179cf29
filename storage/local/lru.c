/* A table with ages: see lru.h. */
#include "storage/local/lru.h"

#include <stdlib.h>

int lru_init(struct lru *l)
{
    *l = (struct lru){.bucket_count = 256};
    l->buckets = calloc(l->bucket_count, sizeof(l->buckets[0]));
    return l->buckets ? 0 : ERR_NOMEM;
}

void lru_fini(struct lru *l)
{
    free(l->buckets);
    *l = (struct lru){0};
}

static void list_push(struct lru *l, struct lru_node *n)
{
    n->newer = NULL;
    n->older = l->newest;
    if (l->newest)
        l->newest->newer = n;
    else
        l->oldest = n;
    l->newest = n;
}

static void list_cut(struct lru *l, struct lru_node *n)
{
    *(n->newer ? &n->newer->older : &l->newest) = n->older;
    *(n->older ? &n->older->newer : &l->oldest) = n->newer;
}

struct lru_node *lru_find(struct lru *l, uint64_t hash, struct slice key)
{
    for (struct lru_node *n = l->buckets[hash & (l->bucket_count - 1)]; n; n = n->chain) {
        if (n->hash == hash && slice_eq(n->key, key)) {
            if (n != l->newest) {
                list_cut(l, n);
                list_push(l, n);
            }
            return n;
        }
    }
    return NULL;
}

/* Doubles the buckets; without memory the chains just get longer. */
static void buckets_grow(struct lru *l)
{
    uint32_t count = l->bucket_count * 2;
    struct lru_node **buckets = calloc(count, sizeof(buckets[0]));
    if (!buckets)
        return;
    for (uint32_t i = 0; i < l->bucket_count; i++) {
        for (struct lru_node *n = l->buckets[i], *next; n; n = next) {
            next = n->chain;
            n->chain = buckets[n->hash & (count - 1)];
            buckets[n->hash & (count - 1)] = n;
        }
    }
    free(l->buckets);
    l->buckets = buckets;
    l->bucket_count = count;
}

void lru_add(struct lru *l, struct lru_node *n)
{
    if (l->count >= l->bucket_count)
        buckets_grow(l);
    struct lru_node **bucket = &l->buckets[n->hash & (l->bucket_count - 1)];
    n->chain = *bucket;
    *bucket = n;
    list_push(l, n);
    l->count++;
}

void lru_remove(struct lru *l, struct lru_node *n)
{
    struct lru_node **at = &l->buckets[n->hash & (l->bucket_count - 1)];
    while (*at != n)
        at = &(*at)->chain;
    *at = n->chain;
    list_cut(l, n);
    l->count--;
}
