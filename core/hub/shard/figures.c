#include "core/hub/shard/figures.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/hub/shard/metric.h"
#include "core/hub/shard/shard.h"
#include "core/net/net.h"
#include "core/net/net_shared.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

void hub_get_stats(struct hub *hub, struct hub_stats *out)
{
    *out = (struct hub_stats){.connections = net_shared_connections(hub->shared)};
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct shard *s = hub->shards[i];
        out->users += atomic_load_explicit(&s->user_count, memory_order_relaxed);
        out->channels += atomic_load_explicit(&s->chan_count, memory_order_relaxed);
        out->requests += atomic_load_explicit(&s->requests, memory_order_relaxed);
        out->messages += atomic_load_explicit(&s->messages, memory_order_relaxed);
        out->deliveries += atomic_load_explicit(&s->deliveries, memory_order_relaxed);
        out->memory += atomic_load_explicit(&s->memory, memory_order_relaxed);
    }
}

void figures_tick(struct shard *s)
{
    uint64_t in, out;
    net_traffic(s->net, &in, &out);
    atomic_store_explicit(&s->figures.bytes_in, in, memory_order_relaxed);
    atomic_store_explicit(&s->figures.bytes_out, out, memory_order_relaxed);
    struct net_packing packing;
    net_packing(s->net, &packing);
    atomic_store_explicit(&s->figures.deflate_in, packing.deflate_in, memory_order_relaxed);
    atomic_store_explicit(&s->figures.deflate_out, packing.deflate_out, memory_order_relaxed);
    atomic_store_explicit(&s->figures.inflate_in, packing.inflate_in, memory_order_relaxed);
    atomic_store_explicit(&s->figures.inflate_out, packing.inflate_out, memory_order_relaxed);
    atomic_store_explicit(&s->figures.cpu_us, clock_thread_cpu_us(), memory_order_relaxed);
}

/* Upper bounds of the buckets. What arrives waits for two turns at most, the one under way and its own: so those that
 * matter are about 5 ms, and the longer ones tell how bad it is. */
static const double turn_bounds[] = {.001, .002, .003, .005, .007, .01, .015, .02, .03, .05, .07, .1, .2, .5, 1.};
_Static_assert(sizeof turn_bounds / sizeof turn_bounds[0] == TURN_BUCKETS - 1, "and one bucket without a bound");

static unsigned turn_bucket(uint64_t us)
{
    unsigned i = 0;
    while (i < TURN_BUCKETS - 1 && (double)us > turn_bounds[i] * 1e6)
        i++;
    return i;
}

void figures_turn(struct shard *s)
{
    struct figures *f = &s->figures;
    bool next = f->turn_sample++ % FIGURE_SAMPLE == 0;
    if (!f->turn_began_us && !next)
        return;
    uint64_t now = clock_thread_cpu_us();
    if (f->turn_began_us) {
        uint64_t us = now - f->turn_began_us;
        figure_add(&f->turn_us, us);
        figure_add(&f->turns[turn_bucket(us)], 1);
    }
    f->turn_began_us = next ? now : 0;
}

uint64_t figures_append_begin(struct shard *s)
{
    return s->figures.sample++ % FIGURE_SAMPLE == 0 ? clock_mono_us() : 0;
}

void figures_append_end(struct shard *s, uint64_t began_us)
{
    if (!began_us)
        return;
    uint64_t us = clock_mono_us() - began_us;
    figure_add(&s->figures.append_us, us);
    figure_add(&s->figures.appends_timed, 1);
    if (us > atomic_load_explicit(&s->figures.append_max_us, memory_order_relaxed))
        atomic_store_explicit(&s->figures.append_max_us, us > UINT32_MAX ? UINT32_MAX : (uint32_t)us,
                              memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *figure)
{
    return atomic_load_explicit(figure, memory_order_relaxed);
}

void figures_get(struct hub *hub, struct figures_sum *out, int take_max)
{
    *out = (struct figures_sum){.bytes_in = 0};
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct figures *f = &hub->shards[i]->figures;
        out->bytes_in += get(&f->bytes_in);
        out->bytes_out += get(&f->bytes_out);
        out->deflate_in += get(&f->deflate_in);
        out->deflate_out += get(&f->deflate_out);
        out->inflate_in += get(&f->inflate_in);
        out->inflate_out += get(&f->inflate_out);
        out->opened += get(&f->opened);
        out->skipped += get(&f->skipped);
        out->append_us += get(&f->append_us);
        out->appends_timed += get(&f->appends_timed);
        out->cpu_us += get(&f->cpu_us);
        out->turn_us += get(&f->turn_us);
        for (unsigned k = 0; k < TURN_BUCKETS; k++)
            out->turns[k] += get(&f->turns[k]);
        uint32_t max = take_max ? atomic_exchange_explicit(&f->append_max_us, 0, memory_order_relaxed)
                                : atomic_load_explicit(&f->append_max_us, memory_order_relaxed);
        if (max > out->append_max_us)
            out->append_max_us = max;
    }
}

uint64_t figures_resident(void)
{
    unsigned long long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* --- Metrics ------------------------------------------------------------------------------------------------------ */

/* Where a metric's value is: which struct, at which offset, of which type, in which unit. */
struct source {
    enum { OF_HUB, OF_FIGURES, OF_STORE, OF_PROCESS } of;
    size_t offset;
    enum { U32, U64, FLAG } type;
    double unit; /* what one of it is in the metric's unit */
};

enum { RESIDENT, CPU_TIME, OUTPUT_QUEUED, LOG_LOST, LOG_SUPPRESSED }; /* what process_value() knows */

static double process_value(struct hub *hub, size_t which)
{
    struct timespec t;
    struct log_stats log;
    switch (which) {
    case RESIDENT:
        return (double)figures_resident();
    case CPU_TIME:
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
    case OUTPUT_QUEUED:
        return (double)net_shared_queued(hub->shared);
    default:
        log_get_stats(&log);
        return (double)(which == LOG_LOST ? log.lost : log.suppressed);
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
    {"magpie_shards_cpu_seconds_total", "CPU time of the shards' threads.", METRIC_COUNTER, FIGURE(cpu_us, 1e-6)},
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
    {"magpie_store_append_seconds_total", "Time that sampled messages took to be stored.", METRIC_COUNTER,
     FIGURE(append_us, 1e-6)},
    {"magpie_store_append_samples_total", "Messages in magpie_store_append_seconds_total.", METRIC_COUNTER,
     FIGURE(appends_timed, 1)},
    {"magpie_log_lost_total", "Log lines that could not be written in time.", METRIC_COUNTER, PROCESS(LOG_LOST)},
    {"magpie_log_suppressed_total", "Log lines left out because their event came too often.", METRIC_COUNTER,
     PROCESS(LOG_SUPPRESSED)},
    {"process_resident_memory_bytes", "Resident memory.", METRIC_GAUGE, PROCESS(RESIDENT)},
    {"process_cpu_seconds_total", "CPU time, user and system.", METRIC_COUNTER, PROCESS(CPU_TIME)},
};

static void turns(struct hub *hub, void *ctx, struct metric_histogram *out)
{
    struct figures_sum sum;
    (void)ctx;
    figures_get(hub, &sum, 0);
    *out = (struct metric_histogram){
        .bounds = turn_bounds, .buckets = TURN_BUCKETS - 1, .sum = (double)sum.turn_us * 1e-6};
    for (unsigned i = 0; i < TURN_BUCKETS; i++) {
        out->count += sum.turns[i];
        if (i < out->buckets)
            out->at_most[i] = out->count;
    }
}
_Static_assert((int)TURN_BUCKETS - 1 <= (int)METRIC_BUCKETS, "they fit");

int figures_register(struct hub *hub)
{
    static const struct metric turn = {.name = "magpie_turn_cpu_seconds",
                                       .help = "CPU time of turns of the shards' loops, of one turn in eight.",
                                       .kind = METRIC_HISTOGRAM,
                                       .histogram = turns};
    int made = metric_register(hub, &turn);
    if (made < 0)
        return made;
    for (size_t i = 0; i < sizeof built_in / sizeof built_in[0]; i++) {
        struct metric m = {
            .kind = built_in[i].kind, .read = read_source, .ctx = (void *)(uintptr_t)&built_in[i].source};
        snprintf(m.name, sizeof m.name, "%s", built_in[i].name);
        snprintf(m.help, sizeof m.help, "%s", built_in[i].help);
        int rc = metric_register(hub, &m);
        if (rc < 0)
            return rc;
    }
    return 0;
}
