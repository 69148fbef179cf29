/*
 * Patrol: the hub compares what it knows with what is stored, partition by partition (bus_ears.reset), although no
 * subscription was lost. News can die with a node that had stored something and told nobody; and nothing is perfect.
 * Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_PATROL_H
#define MAGPIE_STORAGE_REDIS_PATROL_H

#include "core/base/err.h"

#include <stdint.h>

struct redis;

enum {
    PATROL_ROUND = 600000, /* ms in which each partition is looked at once */
    PATROL_STEPS = 32,     /* in so many parts */
    PATROL_SOON = 8,       /* steps of a look at all partitions at once … */
    PATROL_SOON_MS = 150   /* … one each so many ms */
};

/* ERR_NOMEM. */
MUST_CHECK int patrol_init(struct redis *r);
void patrol_fini(struct redis *r);
/* Now and then. */
void patrol_tick(struct redis *r);
/* A node was buried, or something else may have kept news back: all partitions are looked at, within two seconds.
 * Nothing happens without a bus. */
void patrol_all(struct redis *r);

#endif
