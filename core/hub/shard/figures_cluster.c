/* Metrics of the cluster that the store stands on; a server alone has none of them. */
#include "core/hub/shard/figures.h"
#include "core/hub/shard/metric.h"
#include "core/hub/shard/shard.h"
#include "storage/cluster.h"
#include "storage/store.h"

#include <stdio.h>
#include <stdlib.h>

/* The figures, to be freed; NULL: no memory. */
static struct cluster_figures *told(struct hub *hub)
{
    struct cluster_figures *c = malloc(sizeof *c);
    if (c && store_get_cluster(hub->store, c))
        return c;
    free(c);
    return NULL;
}

static const struct cluster_metric {
    const char *name, *help;
    enum metric_kind kind;
    size_t offset; /* in struct cluster_figures */
    enum { U32, U64, FLAG } type;
    double unit; /* what one of it is in the metric's unit */
} metrics[] = {
#define FIGURE(member, t, u) offsetof(struct cluster_figures, member), t, u
    {"magpie_cluster_nodes", "Nodes of the cluster, this one included.", METRIC_GAUGE, FIGURE(node_count, U32, 1)},
    {"magpie_cluster_masters", "Redis masters that have partitions.", METRIC_GAUGE, FIGURE(master_count, U32, 1)},
    {"magpie_cluster_copies_missing", "Replicas that masters lack for cluster.copies.", METRIC_GAUGE,
     FIGURE(missing, U32, 1)},
    {"magpie_cluster_lag_bytes", "What the replica furthest behind has still to get.", METRIC_GAUGE,
     FIGURE(lag, U64, 1)},
    {"magpie_cluster_away_seconds", "How long some master has been out of reach; 0: none is.", METRIC_GAUGE,
     FIGURE(away_ms, U64, 1e-3)},
    {"magpie_cluster_isolated", "1 when that is longer than cluster.isolated, or this node is cut off.", METRIC_GAUGE,
     FIGURE(isolated, FLAG, 1)},
    {"magpie_cluster_partitions_unserved", "Partitions of 1024 that no master has.", METRIC_GAUGE,
     FIGURE(unserved, U32, 1)},
    {"magpie_cluster_partitions_swept", "Partitions of 1024 that this node sweeps.", METRIC_GAUGE,
     FIGURE(swept, U32, 1)},
    {"magpie_cluster_repeats_total", "Groups of calls sent once more, for what became of them was not known.",
     METRIC_COUNTER, FIGURE(repeats, U64, 1)},
    {"magpie_cluster_unknown_total", "Operations that may have been done, and could not be answered.", METRIC_COUNTER,
     FIGURE(unknown, U64, 1)},
    {"magpie_cluster_news_in_total", "News that came from other nodes.", METRIC_COUNTER, FIGURE(news_in, U64, 1)},
    {"magpie_cluster_news_out_total", "News told to other nodes, each to so many receivers as it was published to.",
     METRIC_COUNTER, FIGURE(news_out, U64, 1)},
    {"magpie_cluster_ear_resets_total", "How often news of a partition of 1024 may have been missed.", METRIC_COUNTER,
     FIGURE(ear_resets, U64, 1)},
    {"magpie_cluster_intents", "Second halves that had been missing for more than 3 s at the last look.", METRIC_GAUGE,
     FIGURE(intents, U64, 1)},
    {"magpie_cluster_buried_total", "Nodes that died, as this one saw it.", METRIC_COUNTER, FIGURE(buried, U64, 1)},
    {"magpie_cluster_lost_total", "Conversations of which Redis has lost what it had acknowledged.", METRIC_COUNTER,
     FIGURE(lost, U64, 1)},
    {"magpie_cluster_archive_connected", "1 when PostgreSQL answers; 0: it does not, or there is none.", METRIC_GAUGE,
     FIGURE(archive.connected, FLAG, 1)},
    {"magpie_cluster_archive_behind_seconds", "How long the oldest message has waited to be written to PostgreSQL.",
     METRIC_GAUGE, FIGURE(archive.behind_ms, U64, 1e-3)},
    {"magpie_cluster_archive_written_total", "Messages written to PostgreSQL, changed ones again.", METRIC_COUNTER,
     FIGURE(archive.written, U64, 1)},
    {"magpie_cluster_archive_read_total", "Messages read back from PostgreSQL.", METRIC_COUNTER,
     FIGURE(archive.read, U64, 1)},
#undef FIGURE
};

static double read_figure(struct hub *hub, void *ctx)
{
    const struct cluster_metric *m = ctx;
    struct cluster_figures *c = told(hub);
    if (!c)
        return 0;
    const char *at = (const char *)c + m->offset;
    double v = m->type == U32   ? *(const uint32_t *)at
               : m->type == U64 ? (double)*(const uint64_t *)at
                                : *(const bool *)at;
    free(c);
    return v * m->unit;
}

/* In milliseconds, as these names say. */
static void put_ms(const struct latency_sum *sum, struct metric_histogram *out)
{
    static const double bounds_ms[LATENCY_BUCKETS - 1] = {0.1, 0.25, 0.5, 1,   2.5,  5,    10,  25,
                                                          50,  100,  250, 500, 1000, 2500, 5000};
    *out = (struct metric_histogram){
        .bounds = bounds_ms, .buckets = LATENCY_BUCKETS - 1, .count = sum->count, .sum = (double)sum->us * 1e-3};
    uint64_t n = 0;
    for (unsigned i = 0; i < out->buckets; i++)
        out->at_most[i] = n += sum->buckets[i];
}

static void groups(struct hub *hub, void *ctx, struct metric_histogram *out)
{
    struct cluster_figures *c = told(hub);
    (void)ctx;
    put_ms(c ? &c->group : &(struct latency_sum){.count = 0}, out);
    free(c);
}

static void waits(struct hub *hub, void *ctx, struct metric_histogram *out)
{
    struct cluster_figures *c = told(hub);
    (void)ctx;
    put_ms(c ? &c->wait : &(struct latency_sum){.count = 0}, out);
    free(c);
}

static double gaps_filled(struct hub *hub, void *ctx)
{
    uint64_t sum = 0;
    (void)ctx;
    for (unsigned i = 0; i < hub->shard_count; i++)
        sum += atomic_load_explicit(&hub->shards[i]->figures.gaps_filled, memory_order_relaxed);
    return (double)sum;
}

static void memory(struct hub *hub, void *ctx, const struct metric_told *tell)
{
    struct cluster_figures *c = told(hub);
    (void)ctx;
    for (unsigned i = 0; c && i < c->master_count; i++)
        metric_tell(tell, "master", c->masters[i].address, (double)c->masters[i].memory);
    free(c);
}

static void memory_max(struct hub *hub, void *ctx, const struct metric_told *tell)
{
    struct cluster_figures *c = told(hub);
    (void)ctx;
    for (unsigned i = 0; c && i < c->master_count; i++)
        metric_tell(tell, "master", c->masters[i].address, (double)c->masters[i].memory_max);
    free(c);
}

static void in_step(struct hub *hub, void *ctx, const struct metric_told *tell)
{
    struct cluster_figures *c = told(hub);
    (void)ctx;
    for (unsigned i = 0; c && i < c->master_count; i++)
        metric_tell(tell, "master", c->masters[i].address, (double)c->masters[i].in_step);
    free(c);
}

int figures_cluster_register(struct hub *hub)
{
    static const struct metric others[] = {
        {.name = "magpie_cluster_gaps_filled_total",
         .help = "Messages of other nodes that were read from the store, because news of them did not come.",
         .kind = METRIC_COUNTER,
         .read = gaps_filled},
        {.name = "magpie_cluster_group_ms",
         .help = "How long groups of calls took, from sending to their copies; milliseconds.",
         .kind = METRIC_HISTOGRAM,
         .histogram = groups},
        {.name = "magpie_cluster_wait_ms",
         .help = "Of that, from the last reply to the copies; milliseconds.",
         .kind = METRIC_HISTOGRAM,
         .histogram = waits},
        {.name = "magpie_cluster_memory_bytes",
         .help = "What a Redis master holds.",
         .kind = METRIC_GAUGE,
         .each = memory},
        {.name = "magpie_cluster_memory_max_bytes",
         .help = "Its maxmemory; 0: none.",
         .kind = METRIC_GAUGE,
         .each = memory_max},
        {.name = "magpie_cluster_replicas_in_step",
         .help = "Replicas of a Redis master that are connected and take what it sends.",
         .kind = METRIC_GAUGE,
         .each = in_step},
    };
    int rc = 0;
    if (!store_is_shared(hub->store))
        return 0;
    for (size_t i = 0; rc >= 0 && i < sizeof metrics / sizeof metrics[0]; i++) {
        struct metric m = {.kind = metrics[i].kind, .read = read_figure, .ctx = (void *)(uintptr_t)&metrics[i]};
        snprintf(m.name, sizeof m.name, "%s", metrics[i].name);
        snprintf(m.help, sizeof m.help, "%s", metrics[i].help);
        rc = metric_register(hub, &m);
    }
    for (size_t i = 0; rc >= 0 && i < sizeof others / sizeof others[0]; i++)
        rc = metric_register(hub, &others[i]);
    return rc < 0 ? rc : 0;
}
