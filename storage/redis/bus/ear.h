/*
 * The ear: what other nodes publish, heard over a link of its own to each master. Engine's thread.
 *
 * A subscription is of one channel, which is of one partition, and so at that partition's master. This node's own
 * channel is subscribed to in all partitions, so that news about a user need no other master than the user's.
 *
 * A subscription ends unasked: the link is lost, the slot moves, its master is one no more. It is asked for again, for
 * as long as somebody wants it. Once all those of a partition are there again, the hub is told that it may have missed
 * news of that partition (bus_ears.reset). A slow receiver whom Redis throws out is no other case.
 */
#ifndef MAGPIE_STORAGE_REDIS_EAR_H
#define MAGPIE_STORAGE_REDIS_EAR_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct redis;
struct master;

enum {
    EAR_SILENCE = 3000, /* ms without a word until a link is ended */
    EAR_AGAIN = 50      /* ms until what was refused is asked for again */
};

enum ear_state {
    EAR_OFF,
    EAR_ASKED,  /* SSUBSCRIBE is under way */
    EAR_ON,     /* it is subscribed to */
    EAR_LEAVING /* SUNSUBSCRIBE is under way */
};

/* A subscription: a member of its owner's struct. */
struct ear_sub {
    struct slice name; /* of the channel; the owner's memory */
    uint16_t part;
    bool wanted;
    /* It is subscribed to: each time that it is. May be NULL, as the next one. */
    void (*on)(struct redis *r, struct ear_sub *s);
    /* It was wanted no more, and nothing refers to it now: the owner may free it. Called at the engine's end, too. */
    void (*gone)(struct redis *r, struct ear_sub *s);
    /* ear.c's. */
    struct ear_sub *chain; /* in the table */
    struct ear_sub *next;  /* of its partition */
    uint64_t hash;         /* of its name */
    uint32_t asked;        /* number of the command under way, of its link */
    uint8_t state;         /* enum ear_state */
};

/* ERR_NOMEM. */
MUST_CHECK int ears_init(struct redis *r);
void ears_fini(struct redis *r);
/* Now and then: opens links, asks for signs of life, tells which partitions are whole again. */
void ears_tick(struct redis *r);
/* Whether something is not subscribed to yet that should be. */
bool ears_busy(const struct redis *r);
/* Whether everything is subscribed to, for this node's incarnation as it is now. */
bool ears_listen(const struct redis *r);
/* For slots.c and queue.c, with or without a bus: a partition has another master; a master is about to be freed, or has
 * another address. */
void ears_moved(struct redis *r, uint16_t part);
void ears_master_gone(struct master *m);

/* Whether all that is wanted of a partition is subscribed to. */
bool ears_whole(const struct redis *r, uint16_t part);
/* NULL: nobody wants it, nor did until now. */
struct ear_sub *ears_find(const struct redis *r, struct slice name);
/* Wants it from now on. s: zeroed but for name, part, on, gone. */
void ears_add(struct redis *r, struct ear_sub *s);
/* Wants it, or no more: then it may be gone when this returns. */
void ears_want(struct redis *r, struct ear_sub *s, bool wanted);
/* Somebody could not be told where a conversation of the partition stands: it is reset once it is whole, or now. */
void ears_owe(struct redis *r, uint16_t part);

#endif
