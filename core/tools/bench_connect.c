/*
 * Scenario connect: N connections log in, subscribe to one channel and hold still. What does one cost to make, and to
 * keep?
 */
#include "core/tools/bench_connect.h"

#include "core/base/buf.h"
#include "core/tools/bench.h"
#include "core/tools/bench_crew.h"
#include "core/tools/bench_options.h"

#include <math.h>
#include <unistd.h>

#define SETTLE_S 1.0 /* what the server does after the last of many things is let pass before memory is read */

struct connect_run {
    struct bench_crew first;  /* one connection, made before measuring: the channel exists, the paths are warm */
    struct bench_crew crew;   /* those that are measured */
    struct bench_mark before; /* memory, before the crew */
    struct bench_mark start;  /* processor time, before the crew */
    struct bench_mark ready;  /* all are connected */
    struct bench_mark hold;   /* the server has settled */
    struct bench_mark held;   /* after holding still, with memory */
    struct bench_mark closed; /* after all have gone, with memory */
    uint32_t made;            /* connections that became ready */
};

static double memory_growth(const struct bench_mark *from, const struct bench_mark *to)
{
    return from->known && to->known ? (double)to->usage.rss - (double)from->usage.rss : NAN;
}

static void connect_report(struct bench *bench, const struct connect_run *run)
{
    struct bench_report *r = &bench->report;
    double n = run->made;
    double seconds = bench_mark_seconds(&run->start, &run->ready);
    double hold_s = bench_mark_seconds(&run->hold, &run->held);
    double anonymous = run->before.known && run->held.known
                           ? (double)run->held.usage.anonymous - (double)run->before.usage.anonymous
                           : NAN;

    bench_report_number(r, "connections", "connections", n, 0, "");
    bench_report_number(r, "concurrency", "  being made at once", (double)bench->options->concurrency, 0, "");
    bench_report_rate(bench, "connections_per_s", "connections", run->made, seconds);
    bench_report_times(r, "login_latency_us", "connect + login", &run->crew.login_us);
    bench_report_times(r, "ready_latency_us", "connect + login + subscribe", &run->crew.ready_us);
    bench_report_number(r, "server_cpu_us_per_connection", "server CPU a connection",
                        bench_mark_cpu(&run->start, &run->ready) * 1e6 / n, 2, "µs");
    bench_report_number(r, "server_bytes_per_connection", "server memory a connection",
                        memory_growth(&run->before, &run->held) / n, 0, "bytes (RSS)");
    bench_report_number(r, "server_anonymous_bytes_per_connection", "  of it no file's", anonymous / n, 0, "bytes");
    bench_report_number(r, "hold_s", "held still", hold_s, 1, "s");
    bench_report_number(r, "server_idle_cpu_percent", "server CPU meanwhile",
                        bench_mark_cpu(&run->hold, &run->held) / hold_s * 100, 2, "% of a core");
    bench_report_number(r, "server_close_cpu_us_per_connection", "server CPU a close",
                        bench_mark_cpu(&run->held, &run->closed) * 1e6 / n, 2, "µs");
    bench_report_number(r, "server_bytes_left_per_connection", "server memory left after it",
                        memory_growth(&run->before, &run->closed) / n, 0, "bytes a connection");
    bench_report_cost(bench, &run->start, &run->ready);
    bench_report_memory(bench, &run->held);
}

static void hold_progress(struct bench *bench, struct buf *out)
{
    const struct connect_run *run = bench->state;
    buf_printf(out, "%u connections", run->crew.ready);
}

static int connect_run(struct bench *bench)
{
    const struct bench_options *options = bench->options;
    struct connect_run run = {0};
    char channel[64];

    snprintf(channel, sizeof(channel), "bench-connect-%d", (int)getpid());
    const char *name = options->no_subscribe ? NULL : options->channel ? options->channel : channel;
    run.first = (struct bench_crew){.bench = bench, .what = "first user", .channel = name, .want = 1};
    run.crew = (struct bench_crew){.bench = bench,
                                   .what = "connection",
                                   .channel = name,
                                   .want = (uint32_t)options->connections,
                                   .users = (uint32_t)options->users,
                                   .pipeline = options->pipeline,
                                   .leave = options->leave,
                                   .silent = options->silent};
    int status = bench_crew_muster(&run.first, "starting");
    if (status < 0)
        goto end;
    bench_mark_take(bench, &run.before, true);
    bench_mark_take(bench, &run.start, false);
    status = bench_crew_muster(&run.crew, "connecting");
    bench_mark_take(bench, &run.ready, false);
    if (status < 0)
        goto end;
    bench->state = &run;
    bench->progress = hold_progress;
    run.made = run.crew.ready + run.crew.left;
    bench_phase(bench, "settling", SETTLE_S, false);
    bench_mark_take(bench, &run.hold, false);
    if (options->duration > 0)
        bench_phase(bench, "holding", options->duration, false);
    bench_mark_take(bench, &run.held, true);
    bench_crew_end(&run.crew);
    bench_phase(bench, "closing", SETTLE_S, false);
    bench_mark_take(bench, &run.closed, true);
    connect_report(bench, &run);

end:
    bench->progress = NULL;
    bench_crew_end(&run.crew);
    bench_crew_end(&run.first);
    return status;
}

static uint64_t connect_descriptors(const struct bench_options *options)
{
    int64_t at_once =
        options->leave && options->concurrency < options->connections ? options->concurrency : options->connections;
    return (uint64_t)at_once + 1;
}

const struct bench_scenario bench_connect = {
    .name = "connect",
    .summary = "connections that log in, subscribe and hold still: rate, cost and memory of one",
    .connections_mean = "-c N connections (1000); -d seconds to hold them (3)",
    .bit = BENCH_CONNECT,
    .connections = 1000,
    .outstanding = 1,
    .duration = 3,
    .descriptors = connect_descriptors,
    .run = connect_run,
};
