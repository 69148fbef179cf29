/* Scenario connect: see bench_connect.c. */
#ifndef MAGPIE_TOOLS_BENCH_CONNECT_H
#define MAGPIE_TOOLS_BENCH_CONNECT_H

struct bench_scenario;

extern const struct bench_scenario bench_connect;

#endif
