/*
 * The store's clocks, which no jump of the wall clock moves. Any thread.
 *
 * The *guarded* clock is persisted time plus CLOCK_BOOTTIME; expiry and ids go by it. Over a restart the wall clock
 * says how long the store was closed. It is not believed when it differs from the persisted time by more than 30 days,
 * back or ahead. While running, only CLOCK_BOOTTIME counts, and a wall clock that jumps by more than an hour is not
 * believed. In both cases expiry pauses (expiry.now_ms stands still; the guarded clock itself runs on) until
 * guard_accept(), which sets it to the wall clock.
 *
 * The *steady* clock is for stamps: of tokens, bans, mutes. It only ever runs, also where guard_accept() sets the
 * guarded one. How old a stamp is, guard_age() tells. An operator may have accepted that the wall clock is ahead. Then
 * the time between has passed for what was stamped before the pause, and not for what was stamped during it.
 *
 * Within one boot of the machine CLOCK_BOOTTIME goes on over restarts: then it tells how long the store was closed, for
 * the steady clock always, for the guarded one where the wall clock differs by two hours at most.
 */
#ifndef MAGPIE_STORAGE_GUARD_H
#define MAGPIE_STORAGE_GUARD_H

#include "core/base/clock.h"
#include "core/base/slice.h"
#include "storage/clock_moves.h"
#include "storage/expiry.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define GUARD_RUN_JUMP_MS     (UINT64_C(3600) * 1000)
#define GUARD_SMALL_JUMP_MS   (UINT64_C(2) * 3600 * 1000)
#define GUARD_RESTART_JUMP_MS CLOCK_LEAP_MS

enum {
    GUARD_SIZE = 4 * 8 + CLOCK_BOOT_ID_SIZE + 8 + CLOCK_MOVES * CLOCK_MOVE_SIZE /* bytes of the record at most */
};

/* Where time comes from; tests put their own. */
struct guard_source {
    uint64_t (*wall_ms)(void *ctx);
    uint64_t (*boot_ms)(void *ctx);
    void *ctx;
    const uint8_t *boot_id; /* CLOCK_BOOT_ID_SIZE bytes; NULL: not known. Borrowed for guard_init() */
};

/* What a clock needs to go on from. */
struct guard_state {
    uint64_t guarded_ms, steady_ms;
    uint64_t boot_ms;                    /* CLOCK_BOOTTIME at that moment, of the boot that boot_id says */
    uint8_t boot_id[CLOCK_BOOT_ID_SIZE]; /* all zero: not known */
    uint64_t paused_from_ms;
    bool paused, unsure;      /* as in struct guard */
    struct clock_moves moves; /* that guard_accept() has made */
};

struct guard {
    struct guard_source source;
    uint8_t boot_id[CLOCK_BOOT_ID_SIZE]; /* all zero: not known */
    struct expiry *expiry;               /* whose now_ms is driven; borrowed */
    pthread_mutex_t lock;                /* of what follows */
    uint64_t base_ms;                    /* guarded time when boot time was boot0_ms */
    uint64_t boot0_ms;
    uint64_t last_boot_ms; /* at the last reading */
    uint64_t last_wall_ms;
    uint64_t steady_by_ms; /* steady time less guarded time, modulo 2^64 */
    bool paused;
    bool unsure;              /* paused, since a start of the machine: the wall clock is as likely right */
    uint64_t paused_from_ms;  /* steady time when the pause began, over restarts */
    struct clock_moves moves; /* that guard_accept() has made */
};

/* persisted: what guard_encode() gave last; empty: a new store. source NULL: the system's clocks. */
void guard_init(struct guard *g, const struct guard_source *source, struct expiry *expiry, struct slice persisted);
void guard_fini(struct guard *g);
/* The guarded time, ms since 1970; looks for jumps and drives expiry. */
uint64_t guard_now(struct guard *g);
/* The steady time. */
uint64_t guard_steady(struct guard *g);
/* How long ago that steady time was; 0 for one to come. */
uint64_t guard_age(struct guard *g, uint64_t stamp_ms);
/* What others' clocks say now, as far as can be told: the guarded time, and the wall clock where that is as likely
 * right. */
uint64_t guard_date(struct guard *g);
/* The wall clock, for people. */
uint64_t guard_wall(const struct guard *g);
/* After a jump: the wall clock is right; the guarded clock is set to it and expiry goes on. False when it was not
 * paused. */
bool guard_accept(struct guard *g);
bool guard_paused(struct guard *g);
/* Where it stands now. */
void guard_read(struct guard *g, struct guard_state *out);
/* The record of such a state, for guard_init(). Returns how many bytes. */
size_t guard_state_encode(const struct guard_state *s, char out[GUARD_SIZE]);
/* What a start needs to go on from now; its first 8 bytes are the guarded time. Returns how many bytes. */
size_t guard_encode(struct guard *g, char out[GUARD_SIZE]);

#endif
