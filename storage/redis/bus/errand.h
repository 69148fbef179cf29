/*
 * Something that this node wants some other nodes to do, and to hear back of: orders and questions. Engine's thread.
 *
 * It is told over a master that is well, and again over another one, until each node has replied, is dead, or time is
 * over. Whoever gets it twice does it once (errand_in.h).
 */
#ifndef MAGPIE_STORAGE_REDIS_ERRAND_H
#define MAGPIE_STORAGE_REDIS_ERRAND_H

#include "core/base/err.h"
#include "storage/redis/bus/news.h"

struct redis;
struct task;

/* A node that is to do it. */
struct errand_to {
    uint64_t inc;
    uint16_t number;      /* the caller's */
    bool over;            /* it has replied, or is dead */
    bool replied;         /* it has */
    uint32_t connections; /* what it replied; of an order */
    size_t n;             /* bytes of body */
    char *body;           /* what it answered; of a question; owned */
};

struct errand {
    struct errand *next, **at; /* of its chain; errand.c's */
    struct news_more say;      /* what is told; its slices are the caller's, until `end` */
    struct errand_to *to;      /* n of them; owned */
    uint32_t n, left;          /* left: that are not over */
    uint64_t until_ms;         /* when it ends at the latest, by redis.turn_ms; 0: when all are over */
    uint64_t again_ms;         /* when it is told again */
    uint32_t tries;
    /* All are over, or time is. Once, and not inside errand_begin(). It is the caller's again, who frees `to` by
     * errand_free(). */
    void (*end)(struct redis *r, struct errand *e);
    void *ctx; /* the caller's */
};

/* ERR_NOMEM. */
MUST_CHECK int errands_init(struct redis *r);
void errands_fini(struct redis *r);
/* Now and then. */
void errands_tick(struct redis *r);
/* Whether one is under way, for which the tick is to come often. */
bool errands_busy(const struct redis *r);
/* The engine ends: so do all of them. */
void errands_rest(struct redis *r);

/* Room for n nodes, of which errand_add() names them; the rest of *e is 0. ERR_NOMEM. */
MUST_CHECK int errand_room(struct errand *e, uint32_t n);
void errand_add(struct errand *e, uint64_t inc);
void errand_free(struct errand *e);
/* Tells it, after `say` (all but number and origin), until_ms and end were set. There is at least one node. */
void errand_begin(struct redis *r, struct errand *e);
/* A receipt, or an answer, has come. */
void errand_reply(struct redis *r, const struct news_more *m);

/* A number that no other errand has, of any node. */
uint64_t errand_number(struct redis *r);
/* A partition whose master is well, for what goes to one node: part's, or another one for each further try. */
unsigned errand_part(const struct redis *r, unsigned part, uint32_t tries);

#endif
