/*
 * The queues of the partitions, and the lanes that empty them. Engine's thread.
 *
 * A partition has three queues: of calls that change something, whose order is kept, of calls that only read, and of
 * news for other nodes. Each master has three lanes, one a kind, with a link each. A lane takes from the queues of its
 * master's partitions, in order, what makes one group (group.h), and takes the next when that group has ended. So all
 * changes of a partition are made in the order handed over. What was refused, or is not known to have been done, goes
 * back to the front. News wait for nothing (publish.h), so that nothing holds them up, and they hold up nothing.
 */
#ifndef MAGPIE_STORAGE_REDIS_QUEUE_H
#define MAGPIE_STORAGE_REDIS_QUEUE_H

#include "storage/redis/client/call.h"
#include "storage/redis/client/copies.h"
#include "storage/redis/client/link.h"
#include "storage/redis/client/partition.h"

enum lane_kind { LANE_WRITE, LANE_READ, LANE_NEWS, LANES };

enum {
    QUEUE_MAX = 64 << 20,    /* bytes waiting for one master: more is refused */
    QUEUE_HOLD = 50,         /* ms until what was refused is sent again */
    QUEUE_EXPIRE = 200,      /* ms between two looks for what has waited for too long */
    QUEUE_NONE = UINT16_MAX, /* no partition */
    DENIED_AGAIN = 60000,    /* ms between two lines about a master that refuses changes */
    NEWS_KEEP = 60000        /* ms that news are tried */
};

struct queue {
    struct call *first, **last; /* last: where the next one is put */
};

static inline void queue_init(struct queue *q)
{
    *q = (struct queue){NULL, &q->first};
}
static inline void queue_put(struct queue *q, struct call *c)
{
    c->next = NULL;
    *q->last = c;
    q->last = &c->next;
}
static inline struct call *queue_take(struct queue *q)
{
    struct call *c = q->first;
    if (c && !(q->first = c->next))
        q->last = &q->first;
    return c;
}
static inline void queue_put_front(struct queue *q, struct call *c)
{
    c->next = q->first;
    if (!q->first)
        q->last = &c->next;
    q->first = c;
}

struct ear;
struct master;

struct part {
    struct queue queue[LANES];
    uint64_t bytes[LANES];      /* of the bodies in it */
    uint16_t under[LANES];      /* its calls in groups under way */
    uint16_t next[LANES];       /* the next one in the lane's list; QUEUE_NONE: the last */
    bool listed[LANES];         /* it is in its master's list */
    bool blocked[LANES];        /* an earlier master has calls of it under way: their order comes first */
    uint64_t hold_until[LANES]; /* nothing is taken before, by redis.turn_ms */
    struct master *master;      /* whose lanes take from it; never NULL */
    uint64_t epoch;             /* of the claim by which the master has it */
};

enum group_phase {
    GROUP_NONE,
    GROUP_CALLS, /* calls are replied to, and then the WAIT behind them */
    GROUP_LOOK,  /* too few had it: the master is asked for its replicas */
    GROUP_AGAIN  /* another WAIT */
};

/* What is under way on a link: see group.h. */
struct group {
    struct queue sent;    /* not replied to yet, in the order sent */
    struct queue replied; /* waiting for the WAIT */
    uint32_t refused;     /* calls of `replied` that were */
    uint32_t before;      /* replies to come before those of calls: FUNCTION LOAD, TIME */
    uint32_t need;        /* replicas that must have it at least: copies - 1 */
    uint32_t asked;       /* how many the last WAIT asked for */
    uint32_t has;         /* how many it has returned */
    uint32_t left;        /* master.left when it was sent */
    uint8_t waits;        /* how many there were */
    uint8_t look;         /* replies to come of a look at the replicas: see copies.h */
    bool any;             /* `need` will do, though others could be elected */
    bool kept;            /* a call of it was done, and is answered when copies have it */
    uint64_t begun;       /* when it was sent, µs */
    uint64_t ran;         /* when the last of its calls was replied to, µs */
    uint8_t phase;        /* enum group_phase */
    bool loading;         /* the first reply is that of FUNCTION LOAD */
};

struct lane {
    struct link link; /* first */
    struct master *master;
    struct group group;
    struct call *fresh;   /* of LANE_NEWS: the first of group.sent that is not known to be with the kernel; or NULL */
    uint16_t first, last; /* list of partitions with something waiting; QUEUE_NONE: none */
    uint16_t count;       /* its length */
    uint8_t kind;         /* enum lane_kind */
};

/* A process that had partitions in the last view of the cluster. */
struct master {
    struct master *next; /* of slots.masters */
    char id[41];         /* of the cluster's; NUL-terminated; empty: nobody */
    char host[LINK_HOST_MAX];
    uint16_t port;
    uint16_t parts;       /* it has so many; 0: it goes once its groups have ended */
    uint32_t left;        /* how often one of them went to another master */
    uint16_t replicas;    /* that follow it, and are not known to have failed */
    uint16_t followers;   /* the same with those that have */
    bool well;            /* the member that was asked last calls it so */
    bool seen;            /* while a view is read: it is in it */
    bool library;         /* a function was not found: the library is loaded with the next group of changes */
    bool lost;            /* it was logged that it cannot be reached */
    uint64_t denied_told; /* when it was logged last that it refuses changes, by redis.turn_ms; 0: never */
    uint64_t ready_at;    /* when a lane was ready last; 0: never */
    struct copies copies; /* who must have its changes */
    uint64_t bytes;       /* of calls that wait for it */
    struct ear *ear;      /* ear.c's; NULL: none yet */
    struct lane lanes[LANES];
};

/* All partitions with `nobody` as their master. */
void queue_start(struct redis *r, struct master *nobody);
/* As call_post(). */
void queue_post(struct redis *r, struct call *c);
/* Turn's end: answers what is to be answered, forms groups where a link is free. */
void queue_turn(struct redis *r);
/* Now and then: answers what has waited for too long, opens links, looks for silence. */
void queue_tick(struct redis *r);
/* Gives a partition to a master. */
void queue_assign(struct redis *r, uint16_t part, struct master *m);
/* Takes the next partition that may be taken from, out of the lane's list; QUEUE_NONE: none. *looked counts those that
 * were looked at, from 0. */
uint16_t queue_next_part(struct redis *r, struct lane *lane, unsigned *looked);
/* A call is in a group no more. */
void queue_left(struct redis *r, const struct call *c, enum lane_kind kind);
/* Puts it back into its master's list, if anything waits. */
void queue_list(struct redis *r, uint16_t part, enum lane_kind kind);
/* Takes the partition's first call out of its queue; the caller counts it in `under`. */
struct call *queue_pull(struct redis *r, uint16_t part, enum lane_kind kind);
/* Likewise the first one that needs no copies and is about nobody, wherever it stands: a beat keeps no order with what
 * waits before it. NULL: there is none. */
struct call *queue_pull_beat(struct redis *r, uint16_t part, enum lane_kind kind);
/* Puts calls back to the fronts of their queues, in their order. *calls is empty then. hold: ms. */
void queue_return(struct redis *r, struct queue *calls, enum lane_kind kind, uint32_t hold);
/* Answers a call at the turn's end. */
void queue_fail(struct redis *r, struct call *c, enum store_status status);
/* Answers all that is left: the engine ends. */
void queue_stop(struct redis *r);

static inline enum lane_kind queue_kind(const struct call *c)
{
    return c->fn == FN_NEWS ? LANE_NEWS : library_reads(c->fn) ? LANE_READ : LANE_WRITE;
}
/* Until when it is tried, by redis.turn_ms. */
uint64_t queue_until(const struct redis *r, const struct call *c);
/* What a call is answered that will not be sent any more. */
static inline enum store_status queue_verdict(const struct call *c)
{
    return c->tried && queue_kind(c) == LANE_WRITE ? STORE_UNKNOWN : STORE_RETRY;
}

#endif
