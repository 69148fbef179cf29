/*
 * Message ids: Snowflakes of 41 bits of ms since 2020, 10 bits node, 12 bits counter, strictly ascending whatever the
 * clock does.
 *
 * One thread (the writer). No id passes a limit that the store has synced before. After a restart ids begin beyond that
 * limit, so that they ascend over lost power too.
 */
#ifndef MAGPIE_STORAGE_IDGEN_H
#define MAGPIE_STORAGE_IDGEN_H

#include <stdint.h>

#define ID_EPOCH_MS UINT64_C(1577836800000) /* 2020-01-01T00:00:00Z */
#define ID_MS_MAX   ((UINT64_C(1) << 41) - 1)
enum { ID_COUNTER_MAX = 4095 };
#define ID_CLOCK_MAX                                                                                                   \
    (ID_MS_MAX - (UINT64_C(1) << 33)) /* what a clock gone mad can move ids to: 2^45 of them are left then */

struct idgen {
    uint64_t last_ms; /* since ID_EPOCH_MS, of the last id */
    uint32_t counter; /* of the last id */
    uint16_t node;
};

static inline void idgen_init(struct idgen *g, uint16_t node, uint64_t after_ms)
{
    *g = (struct idgen){.last_ms = after_ms, .counter = ID_COUNTER_MAX, .node = node & 1023};
}

/* The ms part that a time stands for. */
static inline uint64_t idgen_ms(uint64_t now_ms)
{
    uint64_t ms = now_ms > ID_EPOCH_MS ? now_ms - ID_EPOCH_MS : 0;
    return ms < ID_CLOCK_MAX ? ms : ID_CLOCK_MAX;
}

/* No id of that ms passes this, whatever the node. */
static inline uint64_t idgen_end(uint64_t ms)
{
    return (ms & ID_MS_MAX) << 22 | ((UINT64_C(1) << 22) - 1);
}

/* No id given out passes this, and all that come do. */
static inline uint64_t idgen_last(const struct idgen *g)
{
    if (g->counter == ID_COUNTER_MAX)
        return idgen_end(g->last_ms); /* another run's, of another node, among them */
    return (g->last_ms & ID_MS_MAX) << 22 | (uint64_t)g->node << 12 | g->counter;
}

/* The next id; now_ms: guarded clock. Its ms part is g->last_ms afterwards. */
static inline uint64_t idgen_next(struct idgen *g, uint64_t now_ms)
{
    uint64_t ms = idgen_ms(now_ms);
    if (ms > g->last_ms) {
        g->last_ms = ms;
        g->counter = 0;
    } else if (g->counter < ID_COUNTER_MAX) {
        g->counter++;
    } else {
        g->last_ms++;
        g->counter = 0;
    }
    return (g->last_ms & ID_MS_MAX) << 22 | (uint64_t)g->node << 12 | g->counter;
}

#endif
