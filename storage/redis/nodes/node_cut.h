/*
 * Whether this node is cut off from Redis, as no other is: then it cannot serve, and its clients are better off at
 * another one. What is everybody's (a master that is dead, or refuses changes) is no reason to send anybody away.
 */
#ifndef MAGPIE_STORAGE_REDIS_NODE_CUT_H
#define MAGPIE_STORAGE_REDIS_NODE_CUT_H

#include <stdbool.h>
#include <stdint.h>

struct redis;

/* A master, as this node sees it. */
struct cut_master {
    uint64_t away_ms; /* how long it has been out of reach; 0: it is not */
    bool well;        /* the members that this node reaches say so */
    bool zero;        /* it has the table of nodes */
};

/* Why it is cut off; NULL: it is not. Static. */
const char *node_cut_why(const struct cut_master *masters, unsigned n, uint64_t isolated_ms);
/* Once a second: tells the bus. Engine's thread. */
void node_cut_tick(struct redis *r);
/* Whether clients are to go elsewhere: it is cut off, or was taken for dead and is not back yet. Engine's thread. */
bool node_is_cut(const struct redis *r);

#endif
