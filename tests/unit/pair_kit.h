/*
 * Two engines as two servers on one Redis Cluster, with the same data and the same clock, in one process. Included by
 * test_redis_*.c alone.
 */
#ifndef MAGPIE_TESTS_PAIR_KIT_H
#define MAGPIE_TESTS_PAIR_KIT_H

#include "tests/unit/test_store_util.h"

#include "storage/bus.h"
#include "storage/redis/bus/bus_private.h"
#include "tests/unit/redis_raw.h"

static inline void pair_open(struct world *a, struct world *b)
{
    world_init(a, "redis");
    world_init(b, "redis");
    b->o.cluster.prefix = a->prefix;
    b->o.node = 6;
    b->redis_hooks.ctx = a;
    world_open(a);
    world_open(b);
}

/* What stands in Redis of theirs. */
static inline void pair_raw(struct raw *raw, const struct world *a)
{
    raw_init(raw);
    memcpy(raw->prefix, a->prefix, sizeof raw->prefix);
}

#define BUS(w, fn, x)                                                                                                  \
    (util_prepare((w), &(x)->op), fn(store_bus((w)->s), (x)), util_wait((w), &(x)->op), (x)->op.status)

/* Which incarnation an engine has. */
static inline uint64_t inc_of(struct world *w)
{
    struct bus_node list[8];
    unsigned n = bus_nodes(store_bus(w->s), list, 8);
    for (unsigned i = 0; i < n && i < 8; i++)
        if (list[i].self)
            return list[i].node;
    fail_msg("it is not in its own table");
    return 0;
}

#endif
