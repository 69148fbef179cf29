/*
 * The cluster that a store stands on, as this node knows it: for metrics, the console and /ready. A store of one server
 * alone has none.
 */
#ifndef MAGPIE_STORAGE_CLUSTER_H
#define MAGPIE_STORAGE_CLUSTER_H

#include "core/base/latency.h"
#include "storage/store.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    CLUSTER_MASTERS = 64, /* that are told one by one */
    CLUSTER_NODES = 64,
    CLUSTER_NAME = 64 /* bytes of an address or a host's name, with its NUL */
};

/* Nodes that have not said in time that something is done there: by their numbers, for people. */
enum { SILENT_NAMED = 4 };
struct silent_nodes {
    uint32_t n;                     /* so many */
    uint16_t numbers[SILENT_NAMED]; /* the first of them, each once; 0: its number is not known */
};
void silent_add(struct silent_nodes *s, uint16_t number);

enum cluster_node_state { CLUSTER_NODE_JOINING, CLUSTER_NODE_UP, CLUSTER_NODE_DRAINING };

struct cluster_figures {
    uint64_t asked_ms; /* how long ago the masters told of themselves; they are asked every 2 s */
    uint32_t copies;   /* processes that must have a change before its answer */
    uint32_t missing;  /* replicas that masters lack for that */
    uint32_t unserved; /* partitions of 1024 that no master has */
    uint32_t swept;    /* partitions of 1024 that this node sweeps */
    uint64_t lag;      /* bytes that the replica furthest behind has still to get */
    uint64_t away_ms;  /* how long a master has been out of reach, or partitions without one: the longest; 0: none is */
    bool isolated;     /* that is longer than cluster.isolated, or this node is cut off, or was taken for dead */
    uint64_t buried;   /* nodes that died, as this one saw it */
    uint64_t lost;     /* conversations of which something acknowledged was lost, as often as it was seen */
    uint64_t repeats;  /* groups of calls that were sent once more, for what became of them was not known */
    uint64_t unknown;  /* operations that may have been done, and could not be answered */
    uint64_t news_in, news_out; /* of other nodes; told to them, each to so many receivers as it was published to */
    uint64_t ear_resets;        /* how often news of a partition may have been missed */
    uint64_t intents; /* halves that were missing for more than 3 s, at the last look, of the partitions it sweeps */
    struct cluster_archive {
        bool used, connected;   /* there is one; it answers */
        uint64_t behind_ms;     /* how long the oldest message that this node has to write there has waited */
        uint64_t written, read; /* rows since the start */
        char why[256];          /* what keeps it from answering, or makes requests fail; empty: nothing */
    } archive;
    struct latency_sum group, wait; /* how long groups took, and of that, to have their copies */
    unsigned master_count, node_count;
    struct cluster_master {
        char address[CLUSTER_NAME];
        uint32_t partitions;         /* of 1024 */
        uint32_t replicas, in_step;  /* that follow it; that are connected and take what it sends */
        bool reachable;              /* from here */
        bool few_copies;             /* it has too few to acknowledge anything */
        uint64_t lag;                /* bytes */
        uint64_t memory, memory_max; /* bytes; 0: not known, or no limit */
        uint64_t waiting;            /* bytes of calls that wait for it here */
    } masters[CLUSTER_MASTERS];
    struct cluster_node {
        uint16_t number;
        uint64_t incarnation;
        enum cluster_node_state state;
        bool self;
        char host[CLUSTER_NAME];
    } nodes[CLUSTER_NODES];
};

/* False: the store is one server's alone, and *out is not set. Never waits. Any thread. */
bool store_get_cluster(struct store *s, struct cluster_figures *out);
/* Whether it would be true. */
bool store_is_shared(const struct store *s);

/* What an operator wants done to the cluster. */
enum cluster_work_kind {
    CLUSTER_BALANCE, /* moves Redis masters apart, until as few as can be are on one machine */
    CLUSTER_BURY     /* the node `number` is dead: its sessions count for nothing from now on */
};
struct cluster_work {
    struct store_op op; /* STORE_NOTFOUND: there is no such node; STORE_DENIED: the node is this one; STORE_RETRY */
    enum cluster_work_kind kind;
    uint16_t number;
    /* out */
    uint32_t moved; /* masters that were moved */
    char why[256];  /* not STORE_OK: a sentence */
};
/* As any operation of store.h; may take a minute. */
void store_cluster_work(struct store *s, struct cluster_work *w);

#endif
