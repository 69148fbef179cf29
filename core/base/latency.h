/*
 * How long something took: a histogram with bounds from a tenth of a millisecond to some seconds, and the sum of all.
 * Any thread adds, any thread reads.
 */
#ifndef MAGPIE_BASE_LATENCY_H
#define MAGPIE_BASE_LATENCY_H

#include <stdatomic.h>
#include <stdint.h>

enum { LATENCY_BUCKETS = 16 /* the last one has no bound */ };

/* Upper bounds of the buckets, seconds, ascending. */
extern const double latency_bounds[LATENCY_BUCKETS - 1];

struct latency {
    _Atomic uint64_t us; /* all together */
    _Atomic uint64_t buckets[LATENCY_BUCKETS];
};

/* The same, read, of one or several. */
struct latency_sum {
    uint64_t us, count;
    uint64_t buckets[LATENCY_BUCKETS];
};

void latency_add(struct latency *l, uint64_t us);
/* Adds what it holds to *sum, which is all zero at first. */
void latency_read(const struct latency *l, struct latency_sum *sum);

#endif
