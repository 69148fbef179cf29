/*
 * Cluster time: one clock for all nodes, which no machine's wall clock moves.
 *
 * A node's own is CLOCK_BOOTTIME plus an offset. The offset is set when the node takes its incarnation (node.c). From
 * then on it never jumps: it follows the leader's clock, and the leader's follows the median of the Redis masters'
 * clocks, a few milliseconds each second. Births, createdAt and expiry go by it.
 *
 * What outlives the nodes is kept in Redis: the largest time ever told, and struct clock_record. The first node after
 * all others have ended begins at the masters' median, but not before the largest time told. Where these two are more
 * than an hour apart backwards, or 30 days ahead, one of them is wrong. Then expiry pauses, for all nodes and over
 * restarts, until an operator accepts the clock.
 *
 * The *steady* time is for stamps (tokens, bans, mutes): cluster time without the leaps that were in doubt. How old a
 * stamp is, cluster_clock_age() tells. Once accepted, time in doubt has passed for what was stamped before it, and not
 * for what was stamped during it. Any thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_CLUSTER_CLOCK_H
#define MAGPIE_STORAGE_REDIS_CLUSTER_CLOCK_H

#include "core/base/err.h"
#include "core/base/slice.h"
#include "storage/clock_moves.h"
#include "storage/expiry.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define CLOCK_BACK_MS  (UINT64_C(3600) * 1000) /* so far back a start is believed, and a difference followed */
#define CLOCK_AHEAD_MS CLOCK_LEAP_MS           /* so far ahead a start is believed */

enum {
    CLOCK_FOLLOW_NODE = 10, /* ms in each second by which a node follows the leader */
    CLOCK_FOLLOW_LEAD = 1,  /* … the leader the masters */
    CLOCK_COUNTS = 3, /* raises of a count that are remembered for each tier; a lower count makes those needless */
    CLOCK_COUNT_SIZE = 4 + CLOCK_COUNTS * 12,
    CLOCK_RECORD_FIXED = 51 + (EXPIRY_CLASSES - 1) * 16 + (EXPIRY_CLASSES - 2) * CLOCK_COUNT_SIZE,
    CLOCK_RECORD_SIZE = CLOCK_RECORD_FIXED + CLOCK_MOVES * CLOCK_MOVE_SIZE /* bytes at most */
};

/* Where time comes from; tests put their own. */
struct clock_source {
    uint64_t (*boot_ms)(void *ctx);
    void *ctx;
};

/* What all nodes share of the clock and of times to live: field `time` of N{z}. */
struct clock_record {
    uint32_t version;         /* + 1 at each change; whoever changes it names the one before. 0: there is none yet */
    uint32_t era;             /* + 1 at each accepted clock: every node sets its own anew */
    bool paused;              /* expiry stands still at expiry_ms */
    uint64_t expiry_ms;       /* paused */
    uint64_t from_ms;         /* paused: steady time when the doubt began */
    int64_t steady_by_ms;     /* steady less cluster time */
    int64_t sure_by_ms;       /* the same before the doubt */
    int64_t date_by_ms;       /* paused: what the masters' clocks said, less cluster time */
    struct clock_moves moves; /* that were accepted */
    /* By class - 1: the time to live that was in force last, and what earlier ones have ended (expiry.h). */
    struct {
        uint64_t ttl_ms, ended_ms;
    } limits[EXPIRY_CLASSES - 1];
    /* By tier: the count that was in force last, and smaller ones of before, the newest first. One hides what it hid of
     * conversations whose newest message has a place (layout.h) up to `until`. max 0: none. */
    struct {
        uint32_t max;
        struct clock_count {
            uint64_t until;
            uint32_t max;
        } past[CLOCK_COUNTS];
    } counts[EXPIRY_CLASSES - 2];
};

/* Bytes of the record; its version stands in bytes 1 to 4. Returns its size. */
size_t clock_record_encode(const struct clock_record *r, char out[CLOCK_RECORD_SIZE]);
/* Empty: there is none yet. 0 or ERR_INVALID. */
MUST_CHECK int clock_record_decode(struct slice v, struct clock_record *r);
/* Puts times to live in force, by class - 1, at a time of the expiry clock. What has ended by those before stays ended.
 * Whether the record has changed; its version is the caller's. */
bool clock_record_limit(struct clock_record *r, const uint64_t ttl_ms[EXPIRY_CLASSES - 1], uint64_t now_ms);
/* Puts counts in force, by tier (0: all is kept). Those that they raise go on hiding what has a place up to `until`.
 * Whether the record has changed; *raised: also whether one was raised. */
bool clock_record_count(struct clock_record *r, const uint32_t max[EXPIRY_CLASSES - 2], uint64_t until, bool *raised);
/* Another node has written the record meanwhile: puts the times to live of `mine` into it, and nothing comes back that
 * either has seen ended. */
void clock_record_join(struct clock_record *theirs, const struct clock_record *mine);

struct cluster_clock {
    struct clock_source source;
    struct expiry *expiry; /* whose now_ms and ended_ms are driven; borrowed */
    pthread_mutex_t lock;  /* of what follows */
    uint64_t base_ms;      /* cluster time when boot time was boot0_ms */
    uint64_t boot0_ms, last_boot_ms;
    int64_t slew_ms;    /* spread over the second after boot0_ms */
    uint64_t steady_ms; /* the largest steady time told */
    struct clock_record record;
};

/* The clock stands at 1970 until it is set, by one of the functions below. source NULL: the system's. */
void cluster_clock_init(struct cluster_clock *t, const struct clock_source *source, struct expiry *expiry);
void cluster_clock_fini(struct cluster_clock *t);

/* Cluster time, ms since 1970. Drives expiry. */
uint64_t cluster_clock_now(struct cluster_clock *t);
/* The steady time: only ever runs. */
uint64_t cluster_clock_steady(struct cluster_clock *t);
/* How long ago that steady time was; 0 for one to come. */
uint64_t cluster_clock_age(struct cluster_clock *t, uint64_t stamp_ms);
/* What other machines' clocks say, as far as can be told. */
uint64_t cluster_clock_date(struct cluster_clock *t);
bool cluster_clock_paused(struct cluster_clock *t);

/* Own boot time, for measuring: ms. */
uint64_t cluster_clock_boot(struct cluster_clock *t);
/* Sets the clock: with an incarnation, or another era. */
void cluster_clock_set(struct cluster_clock *t, uint64_t now_ms);
/* The clock is `by_ms` behind the one that it follows (negative: ahead): follows by at most `most_ms` in the next
 * second. */
void cluster_clock_follow(struct cluster_clock *t, int64_t by_ms, uint32_t most_ms);
/* The same for the leader, by the masters' median. False: they are more than an hour apart, and it is not followed. */
bool cluster_clock_lead(struct cluster_clock *t, int64_t by_ms);
/* Puts a record in force, and with now_ms other than 0 sets the clock in the same moment: where the era is another,
 * both belong together. */
void cluster_clock_record_set(struct cluster_clock *t, const struct clock_record *record, uint64_t now_ms);
struct clock_record cluster_clock_record_get(struct cluster_clock *t);

/* The first node of all: begins at the masters' median, but not before told_ms, the largest time ever told (0: none).
 * Where they are too far apart, the record says so afterwards. Whether the record was changed. */
bool cluster_clock_first(struct cluster_clock *t, uint64_t median_ms, uint64_t told_ms);
/* An operator says that the masters' clocks are right: sets this clock to their median, and begins another era. False:
 * nothing was in doubt, nor more than an hour apart; all stays. */
bool cluster_clock_accept(struct cluster_clock *t, uint64_t median_ms);

#endif
