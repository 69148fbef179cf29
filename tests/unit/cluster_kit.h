/* For tests of the hub as a node among others: it has a bus (test_bus.h), which notes what it is told. */
#ifndef MAGPIE_TESTS_CLUSTER_KIT_H
#define MAGPIE_TESTS_CLUSTER_KIT_H

#include "hub_kit.h"

static inline void open_cluster(struct kit *k, unsigned shards)
{
    kit_open(k, shards);
    k->clustered = true;
    kit_start(k);
}

static inline void bus_hold(enum bus_op_kind kind)
{
    kit_bus.hold |= 1u << kind;
}

/* The next operation on the bus is this one. */
__attribute__((format(printf, 1, 2))) static inline void told(const char *fmt, ...)
{
    char line[TEST_BUS_LINE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    assert_string_equal(test_bus_line(&kit_bus), line);
}

static inline void told_nothing(void)
{
    assert_string_equal(test_bus_line(&kit_bus), "");
}

/* How many operations of the bus, since the last call, begin so; all of them are passed over. */
static inline unsigned told_times(const char *what)
{
    unsigned n = 0;
    for (const char *line = test_bus_line(&kit_bus); line[0]; line = test_bus_line(&kit_bus))
        n += strncmp(line, what, strlen(what)) == 0;
    return n;
}

/* Logs in, and passes over what the bus hears of that. */
static inline struct peer *newcomer(struct kit *k, const char *id)
{
    struct peer *p = peer_login(k, id, 0);
    told("session_put %s device=", id);
    return p;
}

/* As when a minute has passed. */
static inline void sweep_idle(struct kit *k)
{
    for (unsigned i = 0; i < k->shards; i++) {
        struct shard *s = kit_shard(k, i);
        for (uint32_t v = pool_next(&s->convs, 0); v != POOL_NONE; v = pool_next(&s->convs, v + 1))
            conv_at(s, v)->used_ms = 0;
        s->now_ms += 61000;
        convs_sweep(s);
        convs_sweep(s);
    }
    kit_settle(k);
}

#endif
