/* Scenario channel: see bench_channel.c. */
#ifndef MAGPIE_TOOLS_BENCH_CHANNEL_H
#define MAGPIE_TOOLS_BENCH_CHANNEL_H

struct bench_scenario;

extern const struct bench_scenario bench_channel;

#endif
