/* A log-linear histogram: see bench_hist.h. */
#include "core/tools/bench_hist.h"

#include <math.h>
#include <string.h>

enum { LINEAR_BITS = 7 }; /* 2^7 = BENCH_HIST_LINEAR */

static uint32_t bucket_of(uint64_t us)
{
    if (us < BENCH_HIST_LINEAR)
        return (uint32_t)us;
    unsigned top = 63u - (unsigned)__builtin_clzll(us);
    if (top >= BENCH_HIST_TOP)
        return BENCH_HIST_BUCKETS - 1;
    /* The leading bit and the six below it say which of the 64 steps. */
    uint32_t step = (uint32_t)(us >> (top - 6u)) - BENCH_HIST_STEPS;
    return BENCH_HIST_LINEAR + (top - LINEAR_BITS) * BENCH_HIST_STEPS + step;
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_top(uint32_t bucket)
{
    if (bucket < BENCH_HIST_LINEAR)
        return bucket;
    uint32_t above = bucket - BENCH_HIST_LINEAR;
    unsigned shift = above / BENCH_HIST_STEPS + 1;
    uint64_t step = above % BENCH_HIST_STEPS + BENCH_HIST_STEPS;
    return ((step + 1) << shift) - 1;
}

void bench_hist_reset(struct bench_hist *h)
{
    memset(h, 0, sizeof(*h));
}

void bench_hist_record_n(struct bench_hist *h, uint64_t us, uint64_t n)
{
    if (n == 0)
        return;
    h->buckets[bucket_of(us)] += n;
    h->min = h->count == 0 || us < h->min ? us : h->min;
    h->max = us > h->max ? us : h->max;
    h->count += n;
    h->sum += us * n;
}

void bench_hist_record(struct bench_hist *h, uint64_t us)
{
    bench_hist_record_n(h, us, 1);
}

uint64_t bench_hist_percentile(const struct bench_hist *h, double percent)
{
    uint64_t rank = (uint64_t)ceil((double)h->count * percent / 100.0);
    uint64_t seen = 0;

    if (h->count == 0)
        return 0;
    if (rank == 0)
        return h->min;
    for (uint32_t i = 0; i < BENCH_HIST_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank) {
            uint64_t top = bucket_top(i);
            return top < h->max && i < BENCH_HIST_BUCKETS - 1 ? top : h->max;
        }
    }
    return h->max;
}

double bench_hist_mean(const struct bench_hist *h)
{
    return h->count ? (double)h->sum / (double)h->count : 0;
}
