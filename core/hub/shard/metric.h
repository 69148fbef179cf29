/*
 * Metrics: a table of counters, gauges and histograms with names and help by Prometheus's conventions. Counters have a
 * slot a shard, so that counting costs one relaxed add to memory of the shard's own.
 */
#ifndef MAGPIE_HUB_METRIC_H
#define MAGPIE_HUB_METRIC_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct hub;
struct shard;

enum {
    METRICS = 512,
    METRIC_NAME = 100,   /* bytes of a name, with its NUL */
    METRIC_LABELS = 400, /* the same of the labels of a value */
    METRIC_BUCKETS = 16
};
enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* What a histogram has seen. */
struct metric_histogram {
    const double *bounds; /* upper ones of the buckets, ascending; static */
    unsigned buckets;     /* at most METRIC_BUCKETS; beyond the last bound there is one more, which `count` tells */
    uint64_t at_most[METRIC_BUCKETS]; /* values at or below each bound */
    uint64_t count;                   /* all values */
    double sum;                       /* of all values */
};

struct metric;
struct metric_told;

struct metric {
    char name[METRIC_NAME]; /* "magpie_messages_total"; [a-z0-9_] */
    char help[128];
    enum metric_kind kind;
    double (*read)(struct hub *hub, void *ctx); /* main thread; NULL: the sum of the shards' slots */
    void (*histogram)(struct hub *hub, void *ctx,
                      struct metric_histogram *out); /* main thread; of METRIC_HISTOGRAM alone */
    /* main thread; NULL but for a metric with labels: calls metric_tell() for each of its values */
    void (*each)(struct hub *hub, void *ctx, const struct metric_told *told);
    void *ctx;
    const void *owner; /* who registered it; NULL: built in */
    bool yields;       /* gives way to another owner's of the same name: what a script counts stops no plugin */
};

/* Main thread. Returns the number (slot) of the metric, the old one when the same owner registered that name before, or
 * ERR_EXISTS, ERR_FULL, ERR_INVALID (name; a histogram without its function). */
MUST_CHECK int metric_register(struct hub *hub, const struct metric *m);
void metrics_remove(struct hub *hub, const void *owner);
/* The shard's own thread. */
void metric_add(struct shard *s, int metric, int64_t n);
/* Is told of one value of a metric, with its labels as Prometheus writes them between braces (`script="ratelimit"`);
 * empty: it has none. Values of one metric come one after the other. A histogram's value is how many values it has
 * seen, and `h` the rest; of others `h` is NULL. */
typedef void (*metric_fn)(void *ctx, const struct metric *m, const char *labels, double value,
                          const struct metric_histogram *h);
/* Main thread: calls `fn` for each with its value. */
void metrics_each(struct hub *hub, metric_fn fn, void *ctx);
/* Inside of metric.each: the value of the metric where this label has this text. */
void metric_tell(const struct metric_told *told, const char *label, const char *text, double value);

#endif
