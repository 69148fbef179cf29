/*
 * The CPU time of calls into Lua. Asking the CPU clock costs more than most hooks, so of many calls a sample is
 * measured, and the others count as usual ones. Whatever is seldom, new or long is measured itself: the figures of a
 * few calls are right.
 *
 * On the thread that runs the calls.
 */
#ifndef MAGPIE_SCRIPT_METER_H
#define MAGPIE_SCRIPT_METER_H

#include <stdbool.h>
#include <stdint.h>

/* Of a thread. */
struct meter_thread {
    uint64_t tick;   /* of the last call that was measured because a tick had passed */
    uint64_t cpu_ns; /* CPU clock when a measured call began last: at most a tick before any other call */
};

/* Of a script's state. */
struct meter {
    uint64_t clock_cost_ns; /* of measuring itself */
    uint32_t until_sample;  /* calls until one is measured for the mean */
    uint32_t samples;       /* in the mean, up to its memory */
    double usual_ns;        /* mean of the samples */
};

/* One call. */
struct meter_call {
    uint64_t tick, cpu_ns; /* when it began; cpu_ns 0: not measured */
    bool sample;           /* counts for the mean */
};

void meter_init(struct meter *m);
/* always: this call is to be measured. */
struct meter_call meter_begin(struct meter *m, struct meter_thread *t, bool always);
/* The CPU time of the call, ns. surely_long: it was stopped for that. */
uint64_t meter_end(struct meter *m, const struct meter_thread *t, const struct meter_call *c, bool surely_long);

#endif
