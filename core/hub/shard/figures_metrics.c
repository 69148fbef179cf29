/* The built-in metrics: names, help, and where each value is. */
#include "core/base/log.h"
#include "core/hub/shard/figures.h"
#include "core/hub/shard/metric.h"
#include "core/hub/shard/process.h"
#include "core/hub/shard/shard.h"
#include "core/net/conn.h"
#include "core/net/net_shared.h"

#include <stdio.h>

/* Where a metric's value is: which struct, at which offset, of which type, in which unit. */
struct source {
    enum { OF_HUB, OF_FIGURES, OF_STORE, OF_PROCESS } of;
    size_t offset;
    enum { U32, U64, FLAG } type;
    double unit; /* what one of it is in the metric's unit */
};

/* What process_value() knows. */
enum {
    RESIDENT,
    VIRTUAL,
    OPEN_FDS,
    MAX_FDS,
    START_TIME,
    CPU_TIME,
    OUTPUT_QUEUED,
    LOG_LOST,
    LOG_SUPPRESSED,
    DATA_SIZE,
    DATA_FREE
};

static double log_value(size_t which)
{
    struct log_stats log;
    log_get_stats(&log);
    return (double)(which == LOG_LOST ? log.lost : log.suppressed);
}

static double disk_value(struct hub *hub, size_t which)
{
    struct store_disk disk;
    store_get_disk(hub->store, &disk);
    return (double)(which == DATA_SIZE ? disk.size : disk.free);
}

static double process_value(struct hub *hub, size_t which)
{
    switch (which) {
    case RESIDENT:
        return (double)process_resident();
    case VIRTUAL:
        return (double)process_virtual();
    case OPEN_FDS:
        return process_open_fds();
    case MAX_FDS:
        return process_max_fds();
    case START_TIME:
        return process_start_time();
    case CPU_TIME:
        return process_cpu_seconds();
    case OUTPUT_QUEUED:
        return (double)net_shared_queued(hub->shared);
    case LOG_LOST:
    case LOG_SUPPRESSED:
        return log_value(which);
    default:
        return disk_value(hub, which);
    }
}

static double read_source(struct hub *hub, void *ctx)
{
    const struct source *s = ctx;
    union {
        struct hub_stats hub;
        struct figures_sum figures;
        struct store_stats store;
    } u;
    switch (s->of) {
    case OF_HUB:
        hub_get_stats(hub, &u.hub);
        break;
    case OF_FIGURES:
        figures_get(hub, &u.figures, 0);
        break;
    case OF_STORE:
        store_get_stats(hub->store, &u.store);
        break;
    case OF_PROCESS:
        return process_value(hub, s->offset);
    }
    const char *at = (const char *)&u + s->offset;
    double v = s->type == U32   ? *(const uint32_t *)at
               : s->type == U64 ? (double)*(const uint64_t *)at
                                : *(const bool *)at;
    return v * s->unit;
}

#define HUB(member, t)                                                                                                 \
    {                                                                                                                  \
        OF_HUB, offsetof(struct hub_stats, member), t, 1                                                               \
    }
#define FIGURE(member, u)                                                                                              \
    {                                                                                                                  \
        OF_FIGURES, offsetof(struct figures_sum, member), U64, u                                                       \
    }
#define STORE(member, t)                                                                                               \
    {                                                                                                                  \
        OF_STORE, offsetof(struct store_stats, member), t, 1                                                           \
    }
#define PROCESS(which)                                                                                                 \
    {                                                                                                                  \
        OF_PROCESS, which, U64, 1                                                                                      \
    }

static const struct built_in {
    const char *name, *help;
    enum metric_kind kind;
    struct source source;
} built_in[] = {
    {"magpie_connections", "Connections now.", METRIC_GAUGE, HUB(connections, U32)},
    {"magpie_users", "Users with a connection now.", METRIC_GAUGE, HUB(users, U32)},
    {"magpie_channels", "Channels with members online now, counted once on each shard.", METRIC_GAUGE,
     HUB(channels, U32)},
    {"magpie_connections_opened_total", "Connections opened.", METRIC_COUNTER, FIGURE(opened, 1)},
    {"magpie_logins_total", "Logins that were accepted.", METRIC_COUNTER, FIGURE(logins, 1)},
    {"magpie_requests_total", "Frames received from clients.", METRIC_COUNTER, HUB(requests, U64)},
    {"magpie_messages_total", "Messages stored.", METRIC_COUNTER, HUB(messages, U64)},
    {"magpie_deliveries_total", "Pushes queued to connections.", METRIC_COUNTER, HUB(deliveries, U64)},
    {"magpie_skipped_total", "Channel pushes left out for receivers that were too slow.", METRIC_COUNTER,
     FIGURE(skipped, 1)},
    {"magpie_received_bytes_total", "Bytes read from clients.", METRIC_COUNTER, FIGURE(bytes_in, 1)},
    {"magpie_sent_bytes_total", "Bytes written to clients.", METRIC_COUNTER, FIGURE(bytes_out, 1)},
    {"magpie_deflate_in_bytes_total", "Bytes of messages that were compressed, each once for all its receivers.",
     METRIC_COUNTER, FIGURE(deflate_in, 1)},
    {"magpie_deflate_out_bytes_total", "The same once they were.", METRIC_COUNTER, FIGURE(deflate_out, 1)},
    {"magpie_inflate_in_bytes_total", "Bytes of compressed messages from clients.", METRIC_COUNTER,
     FIGURE(inflate_in, 1)},
    {"magpie_inflate_out_bytes_total", "The same inflated.", METRIC_COUNTER, FIGURE(inflate_out, 1)},
    {"magpie_output_queued_bytes", "Bytes that wait for slow receivers.", METRIC_GAUGE, PROCESS(OUTPUT_QUEUED)},
    {"magpie_hub_memory_bytes", "Memory of connections, users, channels and queues.", METRIC_GAUGE, HUB(memory, U64)},
    {"magpie_store_appends_total", "Messages that the store has written.", METRIC_COUNTER, STORE(appended, U64)},
    {"magpie_store_groups_total", "Groups of writes committed together.", METRIC_COUNTER, STORE(groups, U64)},
    {"magpie_store_syncs_total", "Times that the store made sure of the disk.", METRIC_COUNTER, STORE(syncs, U64)},
    {"magpie_store_duplicates_total", "Sends that were repeats of earlier ones.", METRIC_COUNTER,
     STORE(duplicates, U64)},
    {"magpie_store_errors_total", "Groups that could not be written.", METRIC_COUNTER, STORE(errors, U64)},
    {"magpie_store_reopens_total", "Recoveries from a failed disk.", METRIC_COUNTER, STORE(reopens, U64)},
    {"magpie_store_queue", "Operations that wait for the writer now.", METRIC_GAUGE, STORE(queue, U64)},
    {"magpie_store_memory_bytes", "Memory of the database: memtables, caches, indexes.", METRIC_GAUGE,
     STORE(memory, U64)},
    {"magpie_store_failing", "1 while writes are refused.", METRIC_GAUGE, STORE(failing, FLAG)},
    {"magpie_store_clock_paused", "1 while expiry waits for `storage clock accept`.", METRIC_GAUGE,
     STORE(clock_paused, FLAG)},
    {"magpie_data_size_bytes", "Size of the file system that the data directory is on.", METRIC_GAUGE,
     PROCESS(DATA_SIZE)},
    {"magpie_data_free_bytes", "What of it the server may still use.", METRIC_GAUGE, PROCESS(DATA_FREE)},
    {"magpie_log_lost_total", "Log lines that could not be written in time.", METRIC_COUNTER, PROCESS(LOG_LOST)},
    {"magpie_log_suppressed_total", "Log lines left out because their event came too often.", METRIC_COUNTER,
     PROCESS(LOG_SUPPRESSED)},
    {"process_resident_memory_bytes", "Resident memory.", METRIC_GAUGE, PROCESS(RESIDENT)},
    {"process_virtual_memory_bytes", "Virtual memory.", METRIC_GAUGE, PROCESS(VIRTUAL)},
    {"process_open_fds", "Open file descriptors.", METRIC_GAUGE, PROCESS(OPEN_FDS)},
    {"process_max_fds", "File descriptors that may be open.", METRIC_GAUGE, PROCESS(MAX_FDS)},
    {"process_start_time_seconds", "When the process began, since 1970.", METRIC_GAUGE, PROCESS(START_TIME)},
    {"process_cpu_seconds_total", "CPU time, user and system.", METRIC_COUNTER, PROCESS(CPU_TIME)},
};

/* --- Histograms --------------------------------------------------------------------------------------------------- */

static void turns(struct hub *hub, void *ctx, struct metric_histogram *out)
{
    struct figures_sum sum;
    (void)ctx;
    figures_get(hub, &sum, 0);
    *out = (struct metric_histogram){
        .bounds = figures_turn_bounds, .buckets = TURN_BUCKETS - 1, .sum = (double)sum.turn_us * 1e-6};
    for (unsigned i = 0; i < TURN_BUCKETS; i++) {
        out->count += sum.turns[i];
        if (i < out->buckets)
            out->at_most[i] = out->count;
    }
}
_Static_assert((int)TURN_BUCKETS - 1 <= (int)METRIC_BUCKETS && (int)LATENCY_BUCKETS - 1 <= (int)METRIC_BUCKETS,
               "they fit");

static void latency_out(const struct latency_sum *sum, struct metric_histogram *out)
{
    *out = (struct metric_histogram){
        .bounds = latency_bounds, .buckets = LATENCY_BUCKETS - 1, .count = sum->count, .sum = (double)sum->us * 1e-6};
    uint64_t n = 0;
    for (unsigned i = 0; i < out->buckets; i++)
        out->at_most[i] = n += sum->buckets[i];
}

static void appends(struct hub *hub, void *ctx, struct metric_histogram *out)
{
    struct figures_sum sum;
    (void)ctx;
    figures_get(hub, &sum, 0);
    latency_out(&sum.append, out);
}

static void deliveries(struct hub *hub, void *ctx, struct metric_histogram *out)
{
    struct figures_sum sum;
    (void)ctx;
    figures_get(hub, &sum, 0);
    latency_out(&sum.delivery, out);
}

static void syncs(struct hub *hub, void *ctx, struct metric_histogram *out)
{
    struct store_stats sum;
    (void)ctx;
    store_get_stats(hub->store, &sum);
    latency_out(&sum.sync, out);
}

/* --- Metrics with labels ------------------------------------------------------------------------------------------ */

static void build_info(struct hub *hub, void *ctx, const struct metric_told *told)
{
    (void)hub, (void)ctx;
    metric_tell(told, "version", MAGPIE_VERSION, 1);
}

static void shard_cpu(struct hub *hub, void *ctx, const struct metric_told *told)
{
    (void)ctx;
    for (unsigned i = 0; i < hub->shard_count; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        uint64_t us = atomic_load_explicit(&hub->shards[i]->figures.cpu_us, memory_order_relaxed);
        metric_tell(told, "shard", name, (double)us * 1e-6);
    }
}

static void shard_users(struct hub *hub, void *ctx, const struct metric_told *told)
{
    (void)ctx;
    for (unsigned i = 0; i < hub->shard_count; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        metric_tell(told, "shard", name, atomic_load_explicit(&hub->shards[i]->user_count, memory_order_relaxed));
    }
}

static void closes(struct hub *hub, void *ctx, const struct metric_told *told)
{
    struct figures_sum sum;
    (void)ctx;
    figures_get(hub, &sum, 0);
    for (unsigned i = 0; i < NET_CLOSES; i++)
        metric_tell(told, "reason", close_reason_name((enum close_reason)i), (double)sum.net.closed[i]);
}

static void refused(struct hub *hub, void *ctx, const struct metric_told *told)
{
    struct figures_sum sum;
    (void)ctx;
    figures_get(hub, &sum, 0);
    for (unsigned i = 0; i < NET_LIMITS; i++)
        metric_tell(told, "limit", net_limit_name((enum net_limit)i), (double)sum.net.refused[i]);
}

static void lost(struct hub *hub, void *ctx, const struct metric_told *told)
{
    struct figures_sum sum;
    (void)ctx;
    figures_get(hub, &sum, 0);
    for (unsigned i = 0; i < NET_STAGES; i++)
        metric_tell(told, "stage", net_stage_name((enum net_stage)i), (double)sum.net.lost[i]);
}

static void disk(struct hub *hub, void *ctx, const struct metric_told *told)
{
    struct store_disk sum;
    (void)ctx;
    store_get_disk(hub->store, &sum);
    for (unsigned i = 0; i < sum.count; i++)
        metric_tell(told, "family", sum.families[i].name, (double)sum.families[i].bytes);
}

static const struct metric others[] = {
    {.name = "magpie_build_info", .help = "1, of the version that runs.", .kind = METRIC_GAUGE, .each = build_info},
    {.name = "magpie_turn_cpu_seconds",
     .help = "CPU time of turns of the shards' loops, of one turn in eight.",
     .kind = METRIC_HISTOGRAM,
     .histogram = turns},
    {.name = "magpie_store_append_seconds",
     .help = "How long messages took to be stored, of one in eight.",
     .kind = METRIC_HISTOGRAM,
     .histogram = appends},
    {.name = "magpie_store_sync_seconds",
     .help = "How long the disk took each time the store made sure of it.",
     .kind = METRIC_HISTOGRAM,
     .histogram = syncs},
    {.name = "magpie_delivery_seconds",
     .help = "From stored, or its slice's end, until all receivers on a shard have it queued, of one in eight.",
     .kind = METRIC_HISTOGRAM,
     .histogram = deliveries},
    {.name = "magpie_shard_cpu_seconds_total",
     .help = "CPU time of the shard's thread.",
     .kind = METRIC_COUNTER,
     .each = shard_cpu},
    {.name = "magpie_shard_users",
     .help = "Users of the shard with a connection now.",
     .kind = METRIC_GAUGE,
     .each = shard_users},
    {.name = "magpie_closes_total",
     .help = "Connections that have ended, by the reason.",
     .kind = METRIC_COUNTER,
     .each = closes},
    {.name = "magpie_connections_refused_total",
     .help = "Connections not taken, or not kept before login, by the limit that was reached.",
     .kind = METRIC_COUNTER,
     .each = refused},
    {.name = "magpie_connections_lost_total",
     .help = "Connections that ended before they became a client, by how far they had come.",
     .kind = METRIC_COUNTER,
     .each = lost},
    {.name = "magpie_store_disk_bytes",
     .help = "Size of the tables of a column family.",
     .kind = METRIC_GAUGE,
     .each = disk},
};

int figures_register(struct hub *hub)
{
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < sizeof built_in / sizeof built_in[0]; i++) {
        struct metric m = {
            .kind = built_in[i].kind, .read = read_source, .ctx = (void *)(uintptr_t)&built_in[i].source};
        snprintf(m.name, sizeof m.name, "%s", built_in[i].name);
        snprintf(m.help, sizeof m.help, "%s", built_in[i].help);
        rc = metric_register(hub, &m);
    }
    for (size_t i = 0; rc >= 0 && i < sizeof others / sizeof others[0]; i++)
        rc = metric_register(hub, &others[i]);
    return rc < 0 ? rc : figures_cluster_register(hub);
}
