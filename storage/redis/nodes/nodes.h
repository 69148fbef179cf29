/*
 * The nodes of the cluster, as each reply to a beat shows them: who lives, who leads, who sweeps which partition.
 *
 * A node has a number, for people, and an incarnation, which is never given twice. It beats once a second. One whose
 * beat has been the same at six successive beats of ours, at least 0.9 s apart, is taken for dead: counted in beats
 * that worked, so that an outage of Redis buries nobody. Engine's thread; nothing here talks to Redis.
 */
#ifndef MAGPIE_STORAGE_REDIS_NODES_H
#define MAGPIE_STORAGE_REDIS_NODES_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "storage/redis/client/resp.h"
#include "storage/redis/nodes/cluster_clock.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    NODES_MAX = 1023,    /* numbers from 1 on */
    NODES_SAME = 6,      /* looks with the same beat after which a node is dead */
    NODES_LOOK_MS = 900, /* between two looks that count */
    NODES_HOST = 64,     /* bytes of a host's name at most */
    NODES_MASTER = 16,   /* bytes of the id of a Redis process that are kept */
    NODES_TOKEN = 8      /* bytes of the token by which a repeat of taking is known */
};

enum node_state {
    NODE_JOINING, /* has no time yet */
    NODE_UP,
    NODE_DRAINING, /* takes no clients any more */
    NODE_STATES
};

/* Which process of which machine a node is: whoever is on the same machine can tell that it has ended. */
struct node_process {
    uint64_t machine; /* hash of the boot and of the namespace that pid is of; 0: not known */
    uint64_t started; /* when it was started, in the kernel's ticks since the boot */
    uint32_t pid;
};

/* What a node says of itself with each beat, and other nodes alone read. */
struct node_about {
    uint8_t state;             /* enum node_state */
    uint8_t host_n;            /* bytes of host */
    char host[NODES_HOST];     /* for people */
    uint32_t era;              /* of its clock: clock_record.era */
    int64_t behind_ms;         /* a master's clock less its cluster time, as it measured it last */
    char master[NODES_MASTER]; /* which master; all zero: it has not measured */
    uint64_t log;              /* the newest place of the notes' log that it has applied, + 1; 0: none of it yet */
    struct node_process process;
    uint64_t known; /* the newest incarnation of a table that it has read: it tells that one what it changes from then
                     * on. UINT64_MAX: it does not say, and tells all */
};

struct node {
    uint64_t inc;
    uint64_t beat;
    uint16_t number;
    struct node_about about;
    /* Ours. */
    uint8_t same;       /* looks that found the same beat */
    uint32_t moves;     /* how often its beat has moved since we saw it first */
    uint64_t looked_ms; /* boot time of the last look that counted */
    bool seen;          /* in the newest reply */
};

struct nodes {
    struct node *list; /* by incarnation; owned. Behind the first `n`: those that live no more */
    unsigned n, room;
    unsigned gone;             /* that were in the table before the newest reply, and are not any more */
    uint64_t inc;              /* our own; 0: none */
    uint64_t newest;           /* the largest incarnation that was ever in it; 0: none */
    uint16_t number;           /* our own */
    uint64_t time_ms;          /* of the newest reply: that master's clock */
    char master[NODES_MASTER]; /* which master that is */
    uint64_t told_ms;          /* the largest cluster time ever told */
    uint64_t log;              /* the newest place of the notes' log, then */
    struct clock_record record;
};

void nodes_fini(struct nodes *ns);
/* Reads a reply to a beat that says N, at boot_ms of our own clock. 0; ERR_NOMEM; ERR_INVALID: it cannot be read, and
 * nothing is changed but the list's memory. */
MUST_CHECK int nodes_read(struct nodes *ns, const struct reply *reply, uint64_t boot_ms);
/* NULL: not there. */
const struct node *nodes_find(const struct nodes *ns, uint64_t inc);
/* Whether an incarnation may live: it is in the table, or newer than all that ever were, and so not known yet. One that
 * may not has been buried, for good. */
bool nodes_may_live(const struct nodes *ns, uint64_t inc);
/* Ours is gone, and all is looked at anew. */
void nodes_again(struct nodes *ns);
/* Whether each other node that lives knows of ours, and so tells it what it changes. */
bool nodes_know(const struct nodes *ns);
/* The lowest incarnation that is up; NULL: none. Each sees it for itself, and two for a moment do no harm. */
const struct node *nodes_leader(const struct nodes *ns);
/* Whether our node sweeps a partition: of the nodes that are up, the one with the highest hash does. */
bool nodes_sweeps(const struct nodes *ns, uint16_t part);
/* Of another node: its beat has stood still. */
bool node_is_dead(const struct node *n);
/* Whose clock ours may follow (CLOCK_LEADER: the leader's), or be set by: that of a node whose beat has moved under our
 * eyes (CLOCK_FRESH), or of any (CLOCK_ANY). It was measured against the master that has just answered, and is of the
 * record's era. NULL: there is none. Ours is never meant. */
enum nodes_clock { CLOCK_LEADER, CLOCK_FRESH, CLOCK_ANY };
const struct node *nodes_clock(const struct nodes *ns, enum nodes_clock which);
/* Cluster time by that node's clock, at the moment of the newest reply. */
static inline uint64_t nodes_time(const struct nodes *ns, const struct node *n)
{
    return ns->time_ms - (uint64_t)n->about.behind_ms;
}
/* Whether we wait for another node before we take ourselves for the first: it is up, or joins and was before us. */
bool nodes_wait(const struct nodes *ns);

void node_about_put(struct buf *b, const struct node_about *a);
MUST_CHECK int node_about_read(struct slice v, struct node_about *a);

/* This process. */
struct node_process node_process_own(void);
/* Whether a process was on this machine, in this boot and namespace, and has ended. False where that cannot be told. */
bool node_process_ended(const struct node_process *p);

#endif
