/*
 * Masters are moved apart (balance_plan.h): by the leader, once all has been well for ten seconds, or because an
 * operator says so. One replica that is in step takes over at a time: CLUSTER FAILOVER, for which its master waits, so
 * that nothing is lost. Engine's thread, where nothing else is said.
 */
#ifndef MAGPIE_STORAGE_REDIS_BALANCE_H
#define MAGPIE_STORAGE_REDIS_BALANCE_H

#include "core/base/err.h"
#include "storage/cluster.h"

struct redis;

/* ERR_NOMEM. */
MUST_CHECK int balance_init(struct redis *r);
void balance_fini(struct redis *r);
/* Now and then. */
void balance_tick(struct redis *r);
/* What an operator waits for is answered: the engine ends. */
void balance_rest(struct redis *r);
/* store_cluster_work(), of either kind. Any thread. */
void balance_work(struct redis *r, struct cluster_work *w);

#endif
