/*
 * The bus of a Redis engine: what its files share, and how a part of it is added. Nobody else includes this, but its
 * tests. Engine's thread, unless it says otherwise.
 *
 *     ear.c     subscriptions: what other nodes publish
 *     follow.c  bus_follow(), bus_unfollow()
 *     patrol.c  looks at partitions of which news may have been missed
 *     session.c, watch.c    who is connected where, and who watches it
 *     order.c, errand.c     orders and questions to other nodes; errand_in.c: those of others
 *     bus.c     the doors, who is told what, and the three tables by which all else is found:
 *                   begin[]  an operation of BUS_OPS → begin_bus_NAME(r, task), as of op.h; it ends in task_end()
 *                   more[]   a kind of news that no hub hears → who takes it
 *                   the functions of struct bus_ops
 */
#ifndef MAGPIE_STORAGE_REDIS_BUS_PRIVATE_H
#define MAGPIE_STORAGE_REDIS_BUS_PRIVATE_H

#include "storage/bus_engine.h"
#include "storage/redis/bus/news.h"
#include "storage/redis/redis_private.h"

struct task;

/* --- For redis.c, io.c and task.c --------------------------------------------------------------------------------- */

/* Gives the store its bus. ERR_NOMEM. */
MUST_CHECK int redis_bus_init(struct redis *r);
void redis_bus_fini(struct redis *r);
/* Now and then. */
void redis_bus_tick(struct redis *r);
/* Whether something is under way for which the tick is to come often. */
bool redis_bus_busy(const struct redis *r);
/* The engine ends: answers operations that wait for something that may not come. */
void redis_bus_rest(struct redis *r);

/* Kinds of operations above enum store_op_kind, in the engine's mailbox and its tasks. */
static inline bool redis_bus_is_op(const struct store_op *op)
{
    return op->kind >= OP_KINDS;
}
static inline enum bus_op_kind redis_bus_kind(const struct store_op *op)
{
    return (enum bus_op_kind)(op->kind - OP_KINDS);
}
/* As store_op_rows[op->kind]. Lines of their own: whoever waits for the ear holds up no message. */
enum { WHOSE_FOLLOWED = WHOSE_USER + 1, WHOSE_CONNECTED };
extern const struct store_op_row redis_bus_rows[BUS_OP_KINDS];
/* As task.c's begin[op->kind]. */
void redis_bus_begin(struct redis *r, struct task *t);

/* --- Who is told -------------------------------------------------------------------------------------------------- */

/* Each does nothing, but free what it is given, while nobody listens. Takes n. */
void redis_bus_heard(struct redis *r, struct bus_news *n);
void redis_bus_reset(struct redis *r, const uint8_t parts[BUS_PARTS]);
void redis_bus_event(struct redis *r, enum bus_event what, uint64_t node);
/* False: nobody listens, and it is the caller's still. */
bool redis_bus_ordered(struct redis *r, struct bus_order *o);
bool redis_bus_called(struct redis *r, struct bus_called *c);
bool redis_bus_noted(struct redis *r, struct bus_noted *n);

static inline void redis_bus_part_add(uint8_t parts[BUS_PARTS], unsigned part)
{
    parts[part / 8] |= (uint8_t)(1u << part % 8);
}
static inline bool redis_bus_part_in(const uint8_t parts[BUS_PARTS], unsigned part)
{
    return parts[part / 8] >> part % 8 & 1;
}

/* --- Names of channels -------------------------------------------------------------------------------------------- */

enum { BUS_CHANNEL_MAX = 192 }; /* bytes */

/* PREFIX n{t}:INC: what is told to one node, over the master of that partition. Writes into out, which it returns. */
struct slice redis_bus_to_node(const struct redis *r, char out[BUS_CHANNEL_MAX], unsigned part, uint64_t inc);
/* PREFIX b{t}:K: what is told to those who follow a channel. */
struct slice redis_bus_to_followers(const struct redis *r, char out[BUS_CHANNEL_MAX], struct slice conv);
/* PREFIX b{z}:!log: the changes of notes, NEWS_LOG, which each node follows. */
struct slice redis_bus_to_all(const struct redis *r, char out[BUS_CHANNEL_MAX]);
/* Its key. */
static inline struct slice redis_bus_log(void)
{
    return SLICE_LIT("!log");
}

/* --- The bus ------------------------------------------------------------------------------------------------------ */

struct drops;
struct ears;
struct errands;
struct errands_in;
struct follows;
struct patrol;

struct redis_bus {
    struct bus base; /* first: what the doors know of it */
    struct redis *r;
    struct ears *ears;             /* ear.c */
    struct follows *follows;       /* follow.c */
    struct patrol *patrol;         /* patrol.c */
    struct drops *drops;           /* session.c */
    struct errands *errands;       /* errand.c */
    struct errands_in *errands_in; /* errand_in.c */
    uint64_t refused_told_ms;      /* when it was logged last that news cannot be read, by redis.turn_ms; 0: never */

    pthread_mutex_t lock;  /* of what follows; held while somebody is told, so that bus_listen(NULL) waits for it */
    struct bus_ears heard; /* who is told */
    bool listening;        /* somebody is */
};

static inline struct redis *redis_of_bus(struct bus *b)
{
    return ((struct redis_bus *)b)->r; /* its first member */
}
/* This node's incarnation; 0: it has none yet. */
uint64_t redis_bus_inc(const struct redis *r);
/* A message that has come: each news goes to the hub, or to whoever more[] says; this node's own are dropped. */
void redis_bus_message(struct redis *r, struct slice message);

#endif
