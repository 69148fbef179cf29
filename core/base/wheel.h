/*
 * A timing wheel over pool indexes (Varghese & Lauck, "Hashed and Hierarchical Timing Wheels", 1987, scheme 6).
 *
 * 8 bytes an item and O(1) to set or cancel. Ticks are the owner's unit (seconds for connections). An item further
 * ahead than the wheel is long stays in its slot for more than one turn. One thread.
 */
#ifndef MAGPIE_BASE_WHEEL_H
#define MAGPIE_BASE_WHEEL_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define WHEEL_NONE UINT32_MAX

struct wheel_node {
    uint32_t next,
        prev; /* indexes; next == WHEEL_NONE and prev == WHEEL_NONE: not set. Initialise with WHEEL_NODE_INIT */
};
#define WHEEL_NODE_INIT ((struct wheel_node){WHEEL_NONE, WHEEL_NONE})

struct wheel {
    uint32_t *slots;                                          /* head of each slot's list; owned */
    uint32_t slot_count;                                      /* power of two */
    uint64_t now;                                             /* last tick that was run */
    struct wheel_node *(*node_of)(void *ctx, uint32_t index); /* the node inside the item */
    /* The item is due (its node is unset already). Returns 0, or the tick at which it wants to be called again. It may
     * set or cancel any item and free this one (and then returns 0). */
    uint64_t (*due)(void *ctx, uint32_t index);
    void *ctx;
};

MUST_CHECK int wheel_init(struct wheel *w, uint32_t slot_count, uint64_t now,
                          struct wheel_node *(*node_of)(void *, uint32_t), uint64_t (*due)(void *, uint32_t),
                          void *ctx);
void wheel_fini(struct wheel *w);
/* Sets (or moves) an item to tick `when`; a tick that is past is taken as the next one. An item whose `when` is more
 * than a turn ahead is called early: `due` then returns its real tick again. So the item itself must know when it is
 * due. */
void wheel_set(struct wheel *w, uint32_t index, uint64_t when);
void wheel_cancel(struct wheel *w, uint32_t index);
/* Runs all ticks up to and including `now`, or `max` items of them. True: more are due. */
bool wheel_run(struct wheel *w, uint64_t now, uint32_t max);

#endif
