/* Patrol: see patrol.h. */
#include "storage/redis/bus/patrol.h"

#include "storage/redis/bus/bus_private.h"
#include "storage/redis/bus/ear.h"

#include <stdlib.h>

struct patrol {
    uint64_t next_at; /* when the next part of the round is due, by redis.turn_ms; 0: not known yet */
    uint64_t soon_at; /* when the next step of a look at all is */
    uint32_t next;    /* that part, of PATROL_STEPS */
    uint32_t soon;    /* steps of a look at all that are left */
};

int patrol_init(struct redis *r)
{
    r->bus->patrol = calloc(1, sizeof *r->bus->patrol);
    return r->bus->patrol ? 0 : ERR_NOMEM;
}

void patrol_fini(struct redis *r)
{
    free(r->bus->patrol);
    r->bus->patrol = NULL;
}

/* The i-th of n equal parts. Partitions of which news are missed right now are told of once they are whole. */
static void look(struct redis *r, unsigned i, unsigned n)
{
    uint8_t parts[BUS_PARTS] = {0};
    bool any = false;
    for (unsigned part = i * (PARTITIONS / n); part < (i + 1) * (PARTITIONS / n); part++) {
        if (!ears_whole(r, (uint16_t)part))
            continue;
        redis_bus_part_add(parts, part);
        any = true;
    }
    if (any)
        redis_bus_reset(r, parts);
}

void patrol_all(struct redis *r)
{
    if (!r->bus)
        return;
    r->bus->patrol->soon = PATROL_SOON;
    r->bus->patrol->soon_at = r->turn_ms;
}

void patrol_tick(struct redis *r)
{
    struct patrol *p = r->bus->patrol;
    if (!p->next_at)
        p->next_at = r->turn_ms + PATROL_ROUND / PATROL_STEPS;
    if (p->soon && r->turn_ms >= p->soon_at) {
        p->soon_at = r->turn_ms + PATROL_SOON_MS;
        look(r, --p->soon, PATROL_SOON);
    }
    if (r->turn_ms >= p->next_at) {
        p->next_at = r->turn_ms + PATROL_ROUND / PATROL_STEPS;
        look(r, p->next, PATROL_STEPS);
        p->next = (p->next + 1) % PATROL_STEPS;
    }
}
