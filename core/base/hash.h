/*
 * Hashing of untrusted keys (user ids, channel names), by xxHash's XXH3 with a secret seed.
 *
 * hash_bytes() is seeded per process, so that names cannot be chosen to collide. hash_stable() has a fixed seed: the
 * same on every machine and in every run; what is on disk or shared by nodes uses it.
 */
#ifndef MAGPIE_BASE_HASH_H
#define MAGPIE_BASE_HASH_H

#include "core/base/slice.h"

#include <stdint.h>

/* Draws the seed. Once, before other threads start; without it the seed is 0. */
void hash_init(void);
uint64_t hash_bytes(struct slice s);
uint64_t hash_stable(struct slice s);
/* With a seed of the caller's: secret, and the same for all who are to get the same. */
uint64_t hash_seeded(struct slice s, uint64_t own_seed);

#endif
