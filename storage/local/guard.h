/*
 * The guarded clock: persisted time plus CLOCK_BOOTTIME, which expiry and ids go by, so that no jump of the wall clock
 * can wipe data.
 *
 * Over a restart the wall clock says how long the store was closed, unless it disagrees with the persisted time by more
 * than 30 days, back or ahead; while running, only CLOCK_BOOTTIME counts and a wall clock that jumps by more than an
 * hour is taken for an accident. In both cases expiry pauses (expiry.now_ms stands still; the guarded clock itself runs
 * on) until guard_accept(). Any thread.
 */
#ifndef MAGPIE_STORAGE_GUARD_H
#define MAGPIE_STORAGE_GUARD_H

#include "storage/kv/expiry.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define GUARD_RUN_JUMP_MS     (UINT64_C(3600) * 1000)
#define GUARD_RESTART_JUMP_MS (UINT64_C(30) * 24 * 3600 * 1000)

/* Where time comes from; tests put their own. */
struct guard_source {
    uint64_t (*wall_ms)(void *ctx);
    uint64_t (*boot_ms)(void *ctx);
    void *ctx;
};

struct guard {
    struct guard_source source;
    struct expiry *expiry; /* whose now_ms is driven; borrowed */
    pthread_mutex_t lock;  /* of what follows */
    uint64_t base_ms;      /* guarded time when boot time was boot0_ms */
    uint64_t boot0_ms;
    uint64_t last_boot_ms; /* at the last reading */
    uint64_t last_wall_ms;
    bool paused;
};

/* persisted_ms: guarded time as last stored; 0: a new store. source NULL: the system's clocks. */
void guard_init(struct guard *g, const struct guard_source *source, struct expiry *expiry, uint64_t persisted_ms);
void guard_fini(struct guard *g);
/* The guarded time, ms since 1970; looks for jumps and drives expiry. */
uint64_t guard_now(struct guard *g);
/* The wall clock, for people. */
uint64_t guard_wall(const struct guard *g);
/* After a jump: the wall clock is right; the guarded clock is set to it and expiry goes on. False when it was not
 * paused. */
bool guard_accept(struct guard *g);
bool guard_paused(struct guard *g);

#endif
