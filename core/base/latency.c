#include "core/base/latency.h"

const double latency_bounds[LATENCY_BUCKETS - 1] = {.0001, .00025, .0005, .001, .0025, .005, .01, .025,
                                                    .05,   .1,     .25,   .5,   1,     2.5,  5};

void latency_add(struct latency *l, uint64_t us)
{
    unsigned i = 0;
    while (i < LATENCY_BUCKETS - 1 && (double)us > latency_bounds[i] * 1e6)
        i++;
    atomic_fetch_add_explicit(&l->us, us, memory_order_relaxed);
    atomic_fetch_add_explicit(&l->buckets[i], 1, memory_order_relaxed);
}

void latency_read(const struct latency *l, struct latency_sum *sum)
{
    sum->us += atomic_load_explicit(&l->us, memory_order_relaxed);
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        uint64_t n = atomic_load_explicit(&l->buckets[i], memory_order_relaxed);
        sum->buckets[i] += n;
        sum->count += n;
    }
}
