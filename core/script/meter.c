#include "core/script/meter.h"

#include <time.h>

/* The first calls are all samples, later one of SAMPLE is: a prime, so that no pattern of hooks is always missed. The
 * mean follows the last MEMORY of them. */
enum { SAMPLES_FIRST = 100, SAMPLE = 101, MEMORY = 64 };
/* 2^24 ns, some 17 ms: longer than a step of the coarse clock, whatever the kernel's HZ. */
enum { TICK_SHIFT = 24 };

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Costs next to nothing. */
static uint64_t coarse_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void meter_init(struct meter *m)
{
    *m = (struct meter){.clock_cost_ns = UINT64_MAX, .until_sample = 1};
    for (int i = 0; i < 5; i++) {
        uint64_t began = cpu_ns(), cost = cpu_ns() - began;
        m->clock_cost_ns = cost < m->clock_cost_ns ? cost : m->clock_cost_ns;
    }
}

struct meter_call meter_begin(struct meter *m, struct meter_thread *t, bool always)
{
    struct meter_call c = {.tick = coarse_ns() >> TICK_SHIFT};
    if (!always && --m->until_sample == 0) {
        m->until_sample = m->samples < SAMPLES_FIRST ? 1 : SAMPLE;
        c.sample = true;
    }
    if (always || c.sample || c.tick != t->tick) {
        t->tick = c.tick;
        t->cpu_ns = c.cpu_ns = cpu_ns();
    }
    return c;
}

uint64_t meter_end(struct meter *m, const struct meter_thread *t, const struct meter_call *c, bool surely_long)
{
    uint64_t ticks = (coarse_ns() >> TICK_SHIFT) - c->tick;
    if (!c->cpu_ns && ticks < 2 && !surely_long)
        return (uint64_t)m->usual_ns;
    /* Of a long call that was not measured from its beginning the last one that was tells, and the time that has
     * passed. */
    uint64_t took = cpu_ns() - (c->cpu_ns ? c->cpu_ns : t->cpu_ns);
    took = took > m->clock_cost_ns ? took - m->clock_cost_ns : 0;
    if (!c->cpu_ns && took > (ticks + 1) << TICK_SHIFT)
        took = (ticks + 1) << TICK_SHIFT;
    /* Long ones are always measured: the mean is of the others. */
    if (c->sample && ticks < 2 && !surely_long) {
        m->samples += m->samples < SAMPLES_FIRST;
        m->usual_ns += ((double)took - m->usual_ns) / (m->samples < MEMORY ? m->samples : MEMORY);
    }
    return took;
}
