/* Iterators that a reader keeps: see kept.h. */
#include "storage/local/iter_cache.h"

#include "storage/local/local_private.h"

void iter_cache_begin(struct iter_cache *k, struct kv *kv)
{
    uint64_t version = kv_version(kv);
    if (version != k->version) {
        iter_cache_drop(k);
        k->version = version;
    }
}

struct kv_iter *iter_cache_iter(struct iter_cache *k, struct kv *kv, unsigned tier)
{
    if (!k->it[tier])
        k->it[tier] = kv_iter_new(kv, tier_family(tier), SLICE_NONE, SLICE_NONE);
    return k->it[tier];
}

void iter_cache_drop(struct iter_cache *k)
{
    for (unsigned t = 0; t < TIER_COUNT; t++) {
        kv_iter_free(k->it[t]);
        k->it[t] = NULL;
    }
}
