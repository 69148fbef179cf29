/*
 * This node among the others: it takes a number and an incarnation, beats once a second, and keeps its clock with
 * theirs. What it sees of them is in nodes.h.
 *
 * A start waits until the node has joined. On this machine a node that was killed is known to be dead at once; one
 * elsewhere, after its beat has stood still for some seconds. Engine's thread, but for node_wait() and node_accept().
 */
#ifndef MAGPIE_STORAGE_REDIS_NODE_H
#define MAGPIE_STORAGE_REDIS_NODE_H

#include "storage/redis/nodes.h"
#include "storage/store.h"

struct redis;
struct node_self;

/* Before the engine's thread is there. ERR_NOMEM. */
MUST_CHECK int node_init(struct redis *r);
void node_fini(struct redis *r);
/* Begins to join. sweep_nodes() is called with each beat from then on. */
void node_start(struct redis *r);
/* Waits until the node has joined. ERR_IO, ERR_INVALID or ERR_EXISTS, and a sentence why not; then nothing but
 * redis_io_stop() is of use. Not the engine's thread. */
MUST_CHECK int node_wait(struct redis *r, char *why, size_t why_size);
/* The node serves from now on: for sweep.c, once it has looked at everything. */
void node_ready(struct redis *r);
/* Gives number and incarnation back. Called again and again: true once that is done, or cannot be. */
bool node_left(struct redis *r);
/* The others as the newest beat showed them; ours is among them. */
const struct nodes *node_others(const struct redis *r);
/* The options that are in force have changed. */
void node_configure(struct redis *r);
/* An operator says that the masters' clocks are right. Any thread. */
void node_accept(struct redis *r);

/* Keeps a constant of the whole cluster, if there is none of that name yet: in `value` (empty: it is only asked for).
 * done gets what stands, empty if there is none; borrowed. STORE_OK, or as calls. */
struct node_once {
    void (*done)(struct redis *r, struct node_once *o, enum store_status status, struct slice value);
    void *ctx; /* the caller's */
};
/* o: the caller's, until done. ERR_NOMEM: done is not called. */
MUST_CHECK int node_once(struct redis *r, struct node_once *o, struct slice name, struct slice value);

#endif
