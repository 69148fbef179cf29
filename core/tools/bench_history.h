/* Scenario history: see bench_history.c. */
#ifndef MAGPIE_TOOLS_BENCH_HISTORY_H
#define MAGPIE_TOOLS_BENCH_HISTORY_H

struct bench_scenario;

extern const struct bench_scenario bench_history;

#endif
