/*
 * Channels that this node follows: bus_follow() and bus_unfollow(). Engine's thread.
 *
 * A channel's head is read only once the subscription to its news is confirmed: so whatever is stored later is told.
 * What cannot be answered within cluster.patience is answered STORE_RETRY. The subscription is tried for all the same,
 * and once it is there the channel's partition is reset: its followers look where the channel stands.
 */
#ifndef MAGPIE_STORAGE_REDIS_FOLLOW_H
#define MAGPIE_STORAGE_REDIS_FOLLOW_H

#include "core/base/err.h"

#include <stdint.h>

struct redis;
struct task;

/* ERR_NOMEM. */
MUST_CHECK int follows_init(struct redis *r);
void follows_fini(struct redis *r);
/* Now and then: answers what has waited for too long. */
void follows_tick(struct redis *r);
/* The engine ends: answers all that waits. */
void follows_rest(struct redis *r);

/* As those of op.h. */
void begin_bus_follow(struct redis *r, struct task *t);
void begin_bus_unfollow(struct redis *r, struct task *t);

#endif
