/*
 * What the clocks of both engines (guard.h, cluster_clock.h) hold to alike: leaps that move no time, and moves ahead
 * that an operator has accepted, by which older stamps have aged.
 */
#ifndef MAGPIE_STORAGE_CLOCK_MOVES_H
#define MAGPIE_STORAGE_CLOCK_MOVES_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_LEAP_MS (UINT64_C(30) * 24 * 3600 * 1000) /* so much at once is a month's sleep, or a trick */

enum {
    CLOCK_MOVES = 16, /* that are remembered */
    CLOCK_MOVE_SIZE = 16
};

/* `by_ms` have passed for all that was stamped before `from_ms` (steady). */
struct clock_move {
    uint64_t from_ms, by_ms;
};

struct clock_moves {
    struct clock_move list[CLOCK_MOVES]; /* n of them, the oldest first */
    uint32_t n;
};

/* Whether CLOCK_BOOTTIME, which never goes back, has leapt from the one to the other. */
static inline bool clock_leaps(uint64_t last_boot_ms, uint64_t boot_ms)
{
    return boot_ms < last_boot_ms || boot_ms - last_boot_ms > CLOCK_LEAP_MS;
}

/* Remembers that time has passed. */
void clock_moves_add(struct clock_moves *m, uint64_t from_ms, uint64_t by_ms);
/* How long ago that stamp was, by a steady clock of now; 0 for one to come, but for moves since. */
uint64_t clock_moves_age(const struct clock_moves *m, uint64_t now_ms, uint64_t stamp_ms);
/* As records have them: for each from u64, by u64. Returns how many bytes. */
size_t clock_moves_encode(const struct clock_moves *m, char out[CLOCK_MOVES * CLOCK_MOVE_SIZE]);
/* Takes as many as there are whole, and room for. */
void clock_moves_decode(struct clock_moves *m, struct slice v);

#endif
