/*
 * Groups: calls that go to a master in one piece, with a WAIT behind them. Engine's thread.
 *
 * A group has up to 512 calls or 256 KiB. Its replies are held back until WAIT says that all copies have what the calls
 * changed or have read that must have it (copies.h). Where they do not, the master is asked for its replicas, and
 * another WAIT follows. README.md tells what becomes of a group that fails.
 */
#ifndef MAGPIE_STORAGE_REDIS_GROUP_H
#define MAGPIE_STORAGE_REDIS_GROUP_H

#include "storage/redis/client/queue.h"

enum {
    GROUP_CALLS_MAX = 512,
    GROUP_READS_MAX = 128, /* whose replies may be large */
    GROUP_BYTES = 256 << 10,
    GROUP_TURN = 32,        /* calls that one partition has in it before others have their turn */
    GROUP_WAIT_FIRST = 50,  /* ms of the first WAIT */
    GROUP_WAIT_AGAIN = 150, /* ms of the others */
    GROUP_WAIT_PROBE = 150, /* ms when nothing but a sign of copies is asked for */
    GROUP_WAITS = 4         /* after so many there must be copies - 1 */
};

extern const struct link_events group_link_events; /* of every lane's link */

/* Sends the next group, if the link is free and there is something to send. */
void group_run(struct redis *r, struct lane *lane);
/* What an error of Redis says of a call, by the table in README.md; what it says of the cluster is noted, or told. */
enum call_state group_error(struct redis *r, struct lane *lane, const struct call *c, struct slice error);
/* A lane's link is ready: its master is not lost. */
void group_ready(struct link *l);

#endif
