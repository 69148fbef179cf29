/*
 * What is done in the background, partition by partition, each every two seconds by one of the nodes (nodes.h): second
 * halves that nobody is known to have done, rows that are past their time, channels that go, dedup windows that are
 * over. Two may sweep the same partition at once: everything here may be done twice.
 *
 * All of it goes by what stands in Redis. So whoever dies in the middle is followed by the next one. Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_SWEEP_H
#define MAGPIE_STORAGE_REDIS_SWEEP_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdint.h>

struct call;
struct redis;

/* ERR_NOMEM. */
MUST_CHECK int sweep_init(struct redis *r);
void sweep_fini(struct redis *r);
/* Nothing may be posted any more. */
void sweep_stop(struct redis *r);
/* The nodes' table came with a beat: this node sweeps what is its share. */
void sweep_nodes(struct redis *r);

/* Begins a call of `trim` of a conversation: its keys and the arguments that all have. `hot` and `warm` may follow. */
void sweep_trim(struct redis *r, struct call *c, struct slice conv);

/* Counters of the metrics. Any thread. */
struct sweep_stats {
    uint64_t intents; /* second halves that were done again */
    uint64_t trimmed; /* conversations that were looked at */
    uint64_t behind;  /* intents that were found old at the last look of each partition */
};
void sweep_get_stats(struct redis *r, struct sweep_stats *out);

#endif
