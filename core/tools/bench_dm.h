/* Scenario dm: see bench_dm.c. */
#ifndef MAGPIE_TOOLS_BENCH_DM_H
#define MAGPIE_TOOLS_BENCH_DM_H

struct bench_scenario;

extern const struct bench_scenario bench_dm;

#endif
