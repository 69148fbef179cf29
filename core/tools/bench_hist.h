/*
 * A log-linear histogram of times in µs, as HdrHistogram has it: exact below 128, then 64 buckets to each power of two,
 * so that any percentile is right within 1.6 %. Fixed size, no allocation, a few instructions a value. One thread.
 */
#ifndef MAGPIE_TOOLS_BENCH_HIST_H
#define MAGPIE_TOOLS_BENCH_HIST_H

#include <stdint.h>

enum {
    BENCH_HIST_LINEAR = 128, /* values below stand for themselves */
    BENCH_HIST_STEPS = 64,   /* buckets to a power of two above */
    BENCH_HIST_TOP = 40,     /* powers of two covered: 2^40 µs are 12 days; larger values count as that */
    BENCH_HIST_BUCKETS = (BENCH_HIST_LINEAR + (BENCH_HIST_TOP - 7) * BENCH_HIST_STEPS)
};

struct bench_hist {
    uint64_t count;                       /* values recorded */
    uint64_t sum;                         /* of them, µs */
    uint64_t min;                         /* smallest, µs; meaningless when count is 0 */
    uint64_t max;                         /* largest, µs, exact */
    uint64_t buckets[BENCH_HIST_BUCKETS]; /* values in each bucket */
};

void bench_hist_reset(struct bench_hist *h);
void bench_hist_record(struct bench_hist *h, uint64_t us);
/* `n` equal values. */
void bench_hist_record_n(struct bench_hist *h, uint64_t us, uint64_t n);
/* The value that `percent` (0 to 100) of the values do not exceed: the top of its bucket, never above max. 0 when
 * empty. */
uint64_t bench_hist_percentile(const struct bench_hist *h, double percent);
/* The mean, µs; 0 when empty. */
double bench_hist_mean(const struct bench_hist *h);

#endif
