/*
 * What the hub counts of itself, written by each shard's own thread, read by anybody.
 * The built-in metrics are made from it.
 */
#ifndef MAGPIE_HUB_FIGURES_H
#define MAGPIE_HUB_FIGURES_H

#include "core/base/err.h"
#include "core/base/latency.h"
#include "core/net/counts.h"

#include <stdatomic.h>
#include <stdint.h>

struct hub;
struct shard;

enum {
    FIGURE_SAMPLE = 8, /* one append, and one turn of the loop, in so many is timed */
    TURN_BUCKETS = 16, /* of the histogram of turns; the last one has no bound */
    CODES_MAX = 16     /* error codes of the protocol, at most */
};

/* Upper bounds of the buckets of turns, seconds, ascending. */
extern const double figures_turn_bounds[TURN_BUCKETS - 1];

struct figures {
    _Atomic uint64_t cpu_us;              /* of the shard's thread */
    _Atomic uint64_t bytes_in, bytes_out; /* of clients' sockets */
    /* what was compressed and inflated (net.h) */
    _Atomic uint64_t deflate_in, deflate_out, inflate_in, inflate_out;
    _Atomic uint64_t opened;        /* connections */
    _Atomic uint64_t skipped;       /* channel pushes left out for slow receivers */
    struct latency append;          /* from asking the store to its answer */
    struct latency delivery;        /* from the store's answer, or a slice's end, to the last receiver on a shard */
    _Atomic uint32_t append_max_us; /* longest since somebody took it */
    _Atomic uint64_t sliced;        /* channel messages over the limit that were stored, and go by slices */
    _Atomic uint64_t gaps_filled;   /* with a bus: messages that were read, because news of them did not come */
    _Atomic uint64_t logins;
    _Atomic uint64_t refusals[CODES_MAX]; /* errors that clients were answered with, by enum code */
    _Atomic uint64_t net[sizeof(struct net_counts) / sizeof(uint64_t)]; /* struct net_counts */
    _Atomic uint64_t turn_us;             /* CPU time of timed turns of the loop together */
    _Atomic uint64_t turns[TURN_BUCKETS]; /* how many took how long */
    uint64_t turn_began_us; /* the shard's: its CPU time when the timed turn began; 0: the present one is not timed */
    uint32_t sample, turn_sample, delivery_sample; /* the shard's: count appends, turns, publications */
};

static inline void figure_add(_Atomic uint64_t *figure, uint64_t n)
{
    atomic_store_explicit(figure, atomic_load_explicit(figure, memory_order_relaxed) + n, memory_order_relaxed);
}
/* The shard's thread, a few times a second. */
void figures_tick(struct shard *s);
/* The shard's thread, each time the loop has polled. */
void figures_turn(struct shard *s);
/* Around an append: 0 when this one is not timed. */
uint64_t figures_append_begin(struct shard *s);
void figures_append_end(struct shard *s, uint64_t began_us);
/* Around a delivery, on two shards perhaps: the monotonic time when it began; 0 when this one is not timed. */
uint64_t figures_delivery_begin(struct shard *s);
void figures_delivery_end(struct shard *s, uint64_t began_us);

struct hub_stats {
    uint32_t connections, users, channels; /* now, on this machine */
    uint64_t requests, messages,
        deliveries;  /* since start: frames received; messages stored; pushes queued to connections */
    uint64_t memory; /* bytes of the hub's and nets' own structures */
};
/* Any thread. */
void hub_get_stats(struct hub *hub, struct hub_stats *out);

struct figures_sum {
    uint64_t deflate_in, deflate_out, inflate_in, inflate_out;
    uint64_t bytes_in, bytes_out, opened, skipped, sliced, logins, cpu_us, turn_us, turns[TURN_BUCKETS];
    struct latency_sum append, delivery;
    uint64_t refusals[CODES_MAX];
    struct net_counts net;
    uint32_t append_max_us;
};
/* All shards together. take_max: the longest append begins anew. Any thread. */
void figures_get(struct hub *hub, struct figures_sum *out, int take_max);
/* Registers the built-in metrics. Before hub_start(). */
MUST_CHECK int figures_register(struct hub *hub);
/* The same of the cluster, where the store stands on one. */
MUST_CHECK int figures_cluster_register(struct hub *hub);

#endif
