/*
 * In which copies a change must be before it is answered. Engine's thread.
 *
 * In `cluster.copies` at least, and in each replica that could be elected. copies - 1 replicas alone would not do: of
 * those that hear each other, the one that is ahead is elected, but a network may part so that most masters are with a
 * replica that is behind.
 *
 * Who could be elected, its master says. A replica counts once it streams to it. It counts no more when most masters
 * hold it as failed, for so a master that is cut off from most of them never says it; or when its link has ended, and
 * most masters have been heard since, of whom none knows a newer epoch: it was not elected. Who is silent, and
 * neither, is waited for, for a while: a master that still serves then is not cut off.
 */
#ifndef MAGPIE_STORAGE_REDIS_COPIES_H
#define MAGPIE_STORAGE_REDIS_COPIES_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct master;
struct redis;
struct reply;

enum {
    COPIES_REFUSE = 1000, /* ms with fewer than copies - 1 replicas, after which changes are refused */
    COPIES_SURE = 4000,   /* ms after which a master that serves is not cut off: cluster-node-timeout is 2 s */
    COPIES_PROBE = 200,   /* ms between two looks whether copies are back */
    COPIES_GAP = 1500,    /* ms without a sign, after which nothing is known about copies */
    COPIES_LOOK = 100,    /* ms between two looks at the replicas while some do not count */
    COPIES_REPLIES = 4    /* of such a look */
};

/* Something is missing, and has been whenever it was looked for. Times by redis.turn_ms. */
struct shortage {
    uint64_t since; /* 0: nothing is missing */
    uint64_t seen;  /* when that was seen last */
    bool told;      /* it was logged */
};

/* Of one master. */
struct copies {
    struct shortage few;    /* fewer than copies - 1 replicas had what it changed */
    struct shortage silent; /* some replica did not that could be elected */
    uint64_t looked_at;     /* when it was asked for its replicas last; 0: never */
    uint16_t online;        /* replicas that it streamed to then */
    uint16_t followers;     /* the most that it ever had */
    uint16_t wanted;        /* those that must have its changes, by what it said then */
    bool leads;             /* it was a master then */
    bool serves;            /* it called the cluster's state good then, … */
    uint64_t epoch;         /* … and this the cluster's epoch */
    uint64_t time;          /* of its clock then, ms */
    uint64_t gone_at;       /* of its clock, when it streamed first to fewer than wanted; 0: it does to all */
    uint64_t gone_epoch;    /* the cluster's then */
};

/* What INFO replication says of a master's replicas. */
struct copies_info {
    uint32_t online; /* it streams to so many */
    uint64_t lag;    /* bytes by which the last of them is behind */
};

void copies_read(struct slice info, struct copies_info *out);

/* How many replicas must have what a master changes: copies - 1 at least; 0: cluster.copies is 1. */
uint32_t copies_wanted(const struct redis *r, const struct master *m);
/* The least of that: copies - 1. */
uint32_t copies_least(const struct redis *r);
/* Whether a master shall be asked for its replicas: some of them did not count, and may again. */
bool copies_look_due(const struct redis *r, const struct master *m);
/* Writes the questions, … */
void copies_look(struct buf *out);
/* … and takes the n-th of the replies, of COPIES_REPLIES. */
void copies_look_reply(struct redis *r, struct master *m, unsigned n, const struct reply *reply);

/* So many replicas have what a master changed. all: those that must have it were asked for, and not the fewest. */
void copies_seen(struct redis *r, struct master *m, uint32_t have, bool all);
/* What is known of its copies ends here: another process may be there now. */
void copies_forget(struct master *m);
/* How long a master has had fewer than copies - 1, ms, by what was seen lately; 0: it has enough, or nobody knows. */
uint64_t copies_few_ms(const struct redis *r, const struct master *m);
/* How long a replica has been silent that could be elected, likewise. */
uint64_t copies_silent_ms(const struct redis *r, const struct master *m);

#endif
