/*
 * What the engine asks of time: cluster time, what is past its time, and what an operator says of the clock.
 *
 * cluster_clock.h has the clock itself, and node.c keeps it with the other nodes'.
 */
#ifndef MAGPIE_STORAGE_REDIS_TIME_H
#define MAGPIE_STORAGE_REDIS_TIME_H

#include "storage/expiry.h"
#include "storage/redis/client/call.h"
#include "storage/redis/nodes/cluster_clock.h"

enum { TIME_MASTERS = 64 /* so many masters' clocks are asked at most */ };

struct redis;

struct cluster_time {
    struct expiry expiry; /* the times to live in force */
    struct cluster_clock clock;
    /* The masters' clocks: under way while `waits`. */
    struct call asks[TIME_MASTERS];
    uint64_t asked_ms;                                    /* cluster time when they were asked */
    uint32_t waits;                                       /* answers that have not come */
    uint32_t n;                                           /* of by_ms */
    int64_t by_ms[TIME_MASTERS];                          /* what came: their clocks less cluster time */
    void (*asked)(struct redis *r, const int64_t *by_ms); /* NULL: nobody is asking */
};

MUST_CHECK int time_init(struct redis *r);
void time_fini(struct redis *r);
/* Cluster time, ms since 1970, as all nodes have it: births, createdAt, what functions are given. Any thread. */
uint64_t time_now(struct redis *r);
/* What the doors of store.h ask. Any thread. */
uint64_t time_steady(struct redis *r);
uint64_t time_age(struct redis *r, uint64_t stamp_ms);
uint64_t time_date(struct redis *r);
bool time_paused(struct redis *r);

/* --- Engine's thread ---------------------------------------------------------------------------------------------- */

/* The rule's clock and times to live, as they are now. */
const struct expiry *time_expiry(struct redis *r);
/* Puts the options' times to live in force, as from a time of the expiry clock. What had ended then by those before
 * stays ended. Whether they are others than the nodes' record says. */
bool time_limit(struct redis *r, uint64_t since_ms);
/* A clock that a Redis process told: in tests that of the test. */
uint64_t time_told(const struct redis *r, uint64_t ms);
/* Asks all masters for their clocks. done gets the median of them less cluster time, or NULL where none has answered;
 * later. False: somebody is asking already. */
bool time_ask(struct redis *r, void (*done)(struct redis *r, const int64_t *by_ms));

#endif
