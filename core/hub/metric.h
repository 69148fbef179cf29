/*
 * Metrics: a table of counters and gauges with names and help by Prometheus's conventions. Counters have a slot a shard, so that counting costs
 * one relaxed add to memory of the shard's own.
 */
#ifndef MAGPIE_HUB_METRIC_H
#define MAGPIE_HUB_METRIC_H

#include "core/base/err.h"

#include <stdint.h>

struct hub;
struct shard;

enum { METRICS = 512 };
enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
    char name[64]; /* "magpie_messages_total"; [a-z0-9_] */
    char help[128];
    enum metric_kind kind;
    double (*read)(struct hub *hub, void *ctx); /* main thread; NULL: the sum of the shards' slots */
    void *ctx;
    const void *owner; /* who registered it; NULL: built in */
};

/* Main thread. Returns the number (slot) of the metric, the old one when the same owner registered that name before, or ERR_EXISTS, ERR_FULL,
 * ERR_INVALID (name). */
MUST_CHECK int metric_register(struct hub *hub, const struct metric *m);
void metrics_remove(struct hub *hub, const void *owner);
/* The shard's own thread. */
void metric_add(struct shard *s, int metric, int64_t n);
/* Main thread: calls `fn` for each with its value. */
void metrics_each(struct hub *hub, void (*fn)(void *ctx, const struct metric *m, double value), void *ctx);

#endif
