/*
 * The key of a conversation: what orders it in the store and picks its owner shard.
 *
 *     channel:  'c' name
 *     pair:     'p' lower-id 0x00 higher-id        (bytewise; both the same when a user writes to itself)
 *
 * User ids and channel names hold no control characters. So no key followed by 0x00 is how another one begins.
 */
#ifndef MAGPIE_STORAGE_CONV_KEY_H
#define MAGPIE_STORAGE_CONV_KEY_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum { CONV_KEY_MAX = 130 }; /* 1 + 64 + 1 + 64 */

struct conv_key {
    uint8_t n;            /* bytes in p */
    char p[CONV_KEY_MAX]; /* not NUL-terminated */
};

static inline struct slice conv_key_slice(const struct conv_key *k)
{
    return slice_of(k->p, k->n);
}
static inline bool conv_is_channel(struct slice key)
{
    return key.n > 0 && key.p[0] == 'c';
}

/* name: 1-64 bytes, valid (value_channel). */
static inline struct conv_key conv_key_channel(struct slice name)
{
    struct conv_key k = {.n = (uint8_t)(name.n + 1), .p = {'c'}};
    memcpy(k.p + 1, name.p, name.n);
    return k;
}

/* a, b: valid user ids, in any order. */
static inline struct conv_key conv_key_pair(struct slice a, struct slice b)
{
    struct conv_key k = {.n = (uint8_t)(a.n + b.n + 2), .p = {'p'}};
    bool swap = slice_cmp(a, b) > 0;
    struct slice lo = swap ? b : a, hi = swap ? a : b;
    memcpy(k.p + 1, lo.p, lo.n);
    k.p[1 + lo.n] = '\0';
    memcpy(k.p + 2 + lo.n, hi.p, hi.n);
    return k;
}

/* The name of a channel's key. */
static inline struct slice conv_channel_name(struct slice key)
{
    return slice_of(key.p + 1, key.n - 1);
}

/* The two users of a pair's key. */
static inline void conv_pair_users(struct slice key, struct slice *lo, struct slice *hi)
{
    const char *zero = (const char *)memchr(key.p, '\0', key.n);
    size_t n = zero ? (size_t)(zero - key.p) : key.n;
    *lo = slice_of(key.p + 1, n - 1);
    *hi = n < key.n ? slice_of(key.p + n + 1, key.n - n - 1) : SLICE_NONE;
}

/* The other user of a pair; `self` itself when it writes to itself. */
static inline struct slice conv_pair_peer(struct slice key, struct slice self)
{
    struct slice lo, hi;
    conv_pair_users(key, &lo, &hi);
    return slice_eq(lo, self) ? hi : lo;
}

#endif
