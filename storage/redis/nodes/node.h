/*
 * This node among the others: it takes a number and an incarnation, beats once a second, and keeps its clock with
 * theirs. What it sees of them is in nodes.h.
 *
 * A start waits until the node has joined. On this machine a node that was killed is known to be dead at once; one
 * elsewhere, after its beat has stood still for some seconds. Engine's thread, where nothing else is said.
 */
#ifndef MAGPIE_STORAGE_REDIS_NODE_H
#define MAGPIE_STORAGE_REDIS_NODE_H

#include "storage/bus.h"
#include "storage/redis/nodes/nodes.h"
#include "storage/store.h"

struct redis;
struct node_self;

/* What the bus does for the node: redis.node_ears, set before the thread runs; NULL: there is none. Engine's thread. */
struct node_ears {
    bool (*listens)(const struct redis *r); /* it hears all that is told to our incarnation */
    void (*event)(struct redis *r, enum bus_event what, uint64_t node); /* for bus_ears.event */
    bool (*noted)(struct redis *r, struct bus_noted *n); /* for bus_ears.noted, which frees it; false: nobody hears */
    /* To the other nodes: a note's change is at that place of the log, as it stands there. */
    void (*tell_log)(struct redis *r, uint64_t place, struct slice body);
    void (*patrol)(struct redis *r); /* news may have died with a node: all is compared */
};

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
/* Our incarnation; 0: none now. */
uint64_t node_inc(const struct redis *r);
/* By which others know what we tell: our incarnation, or while there is none the one before. */
uint64_t node_origin(const struct redis *r);
/* Whether it is our incarnation, or the one before. */
bool node_is_own(const struct redis *r, uint64_t inc);
/* Whether an incarnation lives, as far as this node can tell. */
bool node_lives(const struct redis *r, uint64_t inc);
/* A beat is due now: what it says has changed, or what it shows is waited for. */
void node_beat_now(struct redis *r);
/* As bus_nodes(), bus_leads(), bus_drain(). Any thread. */
unsigned node_list(struct redis *r, struct bus_node *out, unsigned n);
bool node_leads(struct redis *r);
void node_drain(struct redis *r);
/* An operator says that the node of that number is dead. done: STORE_NOTFOUND, STORE_DENIED (it is this one), STORE_OK,
 * or as calls. ERR_AGAIN: another one is being buried. */
MUST_CHECK int node_bury_number(struct redis *r, uint16_t number,
                                void (*done)(struct redis *r, void *ctx, enum store_status status), void *ctx);
/* Of the nodes that have ended so far, those that were dead, as this node saw it. Any thread. */
uint64_t node_count_dead(const struct redis *r);
/* Whether there is no other node that serves. One that comes serves only once we know of it, or have been buried; and
 * nobody buries us within NODE_ALONE_MS of a beat that worked. So what is stored while this is true is read by whoever
 * comes, and need not be told. */
enum { NODE_ALONE_MS = 4000 };
bool node_is_alone(const struct redis *r);
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
