/*
 * The expiry rule: one function for all engines, for reads and for whatever removes rows, so that a row is gone for all
 * at the same moment.
 *
 * Every row that can expire says when it was born, by the store's guarded clock (a cluster's: by its time), and to
 * which class of lifetimes it belongs. A time to live of its own stands there too, if it has one. Any thread; all
 * fields are atomics, so that a reload takes effect at once.
 */
#ifndef MAGPIE_STORAGE_EXPIRY_H
#define MAGPIE_STORAGE_EXPIRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Classes 1-3 are the tiers + 1. The numbers are on disk. */
enum expiry_class { EXPIRY_NONE, EXPIRY_DM, EXPIRY_SMALL, EXPIRY_LARGE, EXPIRY_DEDUP, EXPIRY_CLASSES };

struct expiry {
    _Atomic uint64_t now_ms;                 /* the guarded clock; stands still while expiry is paused */
    _Atomic uint64_t ttl_ms[EXPIRY_CLASSES]; /* lifetimes by class; 0: for ever */
    /* By class: rows born before this ended by a shorter lifetime of before and stay ended (limits.h). */
    _Atomic uint64_t ended_ms[EXPIRY_CLASSES];
};

/* When a row ends, ms by the guarded clock; UINT64_MAX: never. */
static inline uint64_t expiry_end(const struct expiry *e, unsigned cls, uint64_t birth_ms, uint64_t own_ttl_ms)
{
    uint64_t ttl = own_ttl_ms;
    if (!ttl && cls < EXPIRY_CLASSES) {
        ttl =
            atomic_load_explicit(&e->ttl_ms[cls], memory_order_acquire); /* whoever sees it sees what ended before it */
        if (birth_ms < atomic_load_explicit(&e->ended_ms[cls], memory_order_relaxed))
            return birth_ms;
    }
    return ttl == 0 || ttl > UINT64_MAX - birth_ms ? UINT64_MAX : birth_ms + ttl;
}

static inline uint64_t expiry_now(const struct expiry *e)
{
    return atomic_load_explicit(&e->now_ms, memory_order_relaxed);
}

#endif
