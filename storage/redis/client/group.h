/*
 * Groups: calls that go to a master in one piece, with a WAIT behind them. Engine's thread.
 *
 * A group has up to 512 calls or 256 KiB. Its replies are held back until WAIT says that enough copies have what the
 * calls changed or have read. The first WAIT is for all replicas, 50 ms; where fewer have it, copies - 1 must, within
 * another 450 ms. README.md tells what becomes of a group that fails.
 */
#ifndef MAGPIE_STORAGE_REDIS_GROUP_H
#define MAGPIE_STORAGE_REDIS_GROUP_H

#include "storage/redis/client/queue.h"

enum {
    GROUP_CALLS_MAX = 512,
    GROUP_READS_MAX = 128, /* whose replies may be large */
    GROUP_BYTES = 256 << 10,
    GROUP_TURN = 32,        /* calls that one partition has in it before others have their turn */
    GROUP_WAIT_ALL = 50,    /* ms for all replicas */
    GROUP_WAIT_FEW = 450,   /* ms for copies - 1, then */
    GROUP_WAIT_PROBE = 150, /* ms when nothing but a sign of copies is asked for */
    GROUP_FEW_FOR = 1000    /* ms in which not all are asked for again */
};

extern const struct link_events group_link_events; /* of every lane's link */

/* Sends the next group, if the link is free and there is something to send. */
void group_run(struct redis *r, struct lane *lane);
/* What an error of Redis says of a call, by the table in README.md; what it says of the cluster is noted, or told. */
enum call_state group_error(struct redis *r, struct lane *lane, const struct call *c, struct slice error);
/* A lane's link is ready: its master is not lost. */
void group_ready(struct link *l);
/* How long a master has been short of copies, ms, by what was seen lately; 0: it has enough, or nobody knows. */
uint64_t group_short_ms(const struct redis *r, const struct master *m);

#endif
