/*
 * Which process of the cluster is the master of which partition. Engine's thread.
 *
 * A link of its own, the scout, asks one member after another for CLUSTER NODES: now and then, and at once when
 * something does not fit. Members may be behind; a claim to a partition with an older epoch than the one known is not
 * believed, unless that master has been out of reach for long.
 */
#ifndef MAGPIE_STORAGE_REDIS_SLOTS_H
#define MAGPIE_STORAGE_REDIS_SLOTS_H

#include "storage/redis/client/link.h"
#include "storage/redis/client/queue.h"

enum {
    SLOTS_VIEW = 10000,     /* ms between two looks when all is well */
    SLOTS_DOUBT = 20,       /* ms between two looks at least */
    SLOTS_OLD_CLAIM = 10000 /* ms out of reach, after which a master loses its partitions to an older claim */
};

struct address {
    char host[LINK_HOST_MAX]; /* numeric */
    uint16_t port;
};

struct slots {
    struct master *masters; /* that have partitions, or calls under way; owned */
    struct master nobody;   /* has the partitions whose master is not known */
    struct address *seeds;  /* of the config; owned */
    struct address *known;  /* members of the last view; owned */
    uint32_t seed_count, known_count;
    uint32_t next;       /* which of seeds and known is asked next */
    uint16_t most;       /* replicas that any master has had, failed ones too */
    struct address hint; /* asked before those; port 0: none */
    struct link scout;
    bool asking;        /* a view is on its way */
    bool doubt;         /* something did not fit since the last view was asked for */
    bool doubted;       /* … before it was */
    bool changed;       /* the view that is read has moved something */
    bool lonely;        /* it was logged that no member answers */
    uint64_t asked_at;  /* when the last view was asked for, by redis.turn_ms */
    uint64_t viewed_at; /* when the last view came; 0: none yet */
};

/* seeds: taken over, to be freed by slots_stop(). */
void slots_start(struct redis *r, struct address *seeds, uint32_t count);
void slots_stop(struct redis *r);
/* Now and then: asks for a view when it is time. */
void slots_tick(struct redis *r);
/* Something does not fit. error: what a process has said: a MOVED names whom to ask; SLICE_NONE: nothing. */
void slots_doubt(struct redis *r, struct slice error);
/* Takes what CLUSTER NODES has said into force. from: the address that said it. */
void slots_view(struct redis *r, struct slice text, const struct address *from);
/* What a master's CLUSTER NODES says of its replicas, and of those who elect. */
struct slots_census {
    uint32_t followers; /* its replicas, … */
    uint32_t failed;    /* … and those of them that the cluster holds as failed */
    uint32_t masters;   /* those that elect, it too, … */
    uint32_t heard;     /* … and those that it has heard since */
};

/* since: of its clock, ms. */
void slots_count(struct slice text, const char *id, uint64_t since, struct slots_census *out);
/* A partition of the n-th master, for raw commands that go to each of them; -1: there are not so many. */
int slots_part(const struct redis *r, unsigned n);
/* Whether every partition has a master. */
bool slots_whole(const struct redis *r);
/* "HOST:PORT", the host numeric and without brackets. ERR_INVALID. */
MUST_CHECK int slots_address(struct slice text, struct address *out);

#endif
