#include "core/base/hash.h"

#include "core/base/random.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Written once before other threads start. */
static uint64_t seed;

void hash_init(void)
{
    random_bytes(&seed, sizeof seed);
}
uint64_t hash_bytes(struct slice s)
{
    return XXH3_64bits_withSeed(s.p, s.n, seed);
}
uint64_t hash_stable(struct slice s)
{
    return XXH3_64bits_withSeed(s.p, s.n, 0);
}
uint64_t hash_seeded(struct slice s, uint64_t own_seed)
{
    return XXH3_64bits_withSeed(s.p, s.n, own_seed);
}
