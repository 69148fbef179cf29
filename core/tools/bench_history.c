/*
 * Scenario history: a channel is filled with M messages; then C clients read pages of it. Pages a second, their latency
 * and cost.
 */
#include "core/tools/bench_history.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/random.h"
#include "core/client/client_fields.h"
#include "core/tools/bench.h"
#include "core/tools/bench_crew.h"
#include "core/tools/bench_options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FILL_OUTSTANDING = 256, /* messages under way while filling */
    FILL_LIMITED = 8,       /* the same once the server has limited the rate: more would only be refused again */
    CHECK_EVERY = 64        /* pages of which one is looked at message by message */
};

struct history_run {
    struct bench *bench;       /* borrowed */
    struct bench_crew filler;  /* one connection that fills the channel and asks for its bounds */
    struct bench_crew readers; /* the clients */
    const char *channel;       /* its name */
    char *content;             /* what it is filled with; owned */
    uint64_t *cursors;         /* `before` of each reader's next page, for walking; owned */
    struct bench_pacer pacer;  /* rests after rate_limited */
    uint64_t to_fill;          /* messages to send yet */
    uint64_t filled;           /* messages accepted */
    uint64_t filling;          /* under way */
    uint64_t first, last;      /* seqs that are kept */
    uint64_t pages;            /* answered, since the start */
    uint64_t messages;         /* in the pages that were looked at; a sample */
    uint64_t checked;          /* pages looked at */
    uint64_t wrong;            /* of them, not what was asked for */
    uint64_t bytes;            /* of all pages' bodies */
    uint64_t asked;            /* pages under way */
    uint64_t at_start;         /* pages at the start of the measurement */
    uint64_t bytes_start;      /* bytes then */
    uint64_t at_tick;          /* pages at the last progress line */
    uint64_t budget;           /* pages that may still be asked for */
    uint64_t goal;             /* pages that end the phase */
    bool reading;              /* go on */
    struct bench_hist page_us; /* from the request to the page */
};

/* ---- filling ---- */

static void fill_pump(void *state);

static void fill_answered(struct client_conn *conn, void *arg, int status, struct slice body)
{
    struct history_run *run = arg;

    (void)conn;
    run->filling--;
    if (status == 0) {
        run->filled++;
        run->bench->steps++;
    } else if (status == ERR_INVALID) {
        run->to_fill++;
        run->bench->steps += run->bench->limited > 0;
        int64_t ms = bench_refused(run->bench, "a message", body);
        bench_pacer_pause(&run->pacer, ms > 0 ? ms : 100);
    }
    fill_pump(run);
    if (status == ERR_CLOSED || (run->to_fill == 0 && run->filling == 0))
        bench_phase_end(run->bench);
}

static void fill_pump(void *state)
{
    struct history_run *run = state;
    struct bench_member *member = run->filler.members;

    uint64_t most = run->bench->limited ? FILL_LIMITED : FILL_OUTSTANDING;

    while (run->to_fill > 0 && run->filling < most && member->ready && !bench_pacer_paused(&run->pacer)) {
        if (client_send_channel(member->conn, slice_str(run->channel), slice_str(run->content), SLICE_NONE,
                                fill_answered, run) < 0)
            return;
        run->to_fill--;
        run->filling++;
    }
}

static void fill_progress(struct bench *bench, struct buf *out)
{
    const struct history_run *run = bench->state;
    buf_printf(out, "%llu messages stored, %llu to go", (unsigned long long)run->filled,
               (unsigned long long)(run->to_fill + run->filling));
}

static void bounds_answered(struct client_conn *conn, void *arg, int status, struct slice body)
{
    struct history_run *run = arg;
    int64_t first = 0, last = 0;

    (void)conn;
    if (status == ERR_INVALID) {
        bench_refused(run->bench, "a page", body);
    } else if (status == 0 && client_field_int(body, SLICE_LIT("first"), &first) == 0 &&
               client_field_int(body, SLICE_LIT("last"), &last) == 0) {
        run->first = (uint64_t)first;
        run->last = (uint64_t)last;
    }
    bench_phase_end(run->bench);
}

/* Fills the channel and finds out what it keeps. */
static int history_fill(struct history_run *run)
{
    struct bench *bench = run->bench;

    bench->state = run;
    bench->progress = fill_progress;
    run->to_fill = (uint64_t)bench->options->fill;
    fill_pump(run);
    if (run->filling > 0)
        bench_phase(bench, "filling", 0, true);
    bench_pacer_stop(&run->pacer);
    if (run->filler.members->ready &&
        client_history(run->filler.members->conn, slice_str(run->channel), 0, 0, 1, bounds_answered, run) == 0)
        bench_phase(bench, "filling", 0, true);
    bench->progress = NULL;
    if (run->last == 0 || run->last < run->first) {
        if (!bench->interrupted)
            fprintf(stderr, "magpie-bench: the channel %s keeps no messages (--fill)\n", run->channel);
        return ERR_NOTFOUND;
    }
    return 0;
}

/* ---- reading ---- */

static void reader_pump(struct history_run *run, struct bench_member *member);

/* What a page asked for with `before` must be: consecutive, up to before - 1 (0: up to the newest), as full as can
 * be. */
static bool page_right(const struct history_run *run, uint64_t before, struct slice body, uint64_t *count)
{
    struct client_field messages = CLIENT_FIELD("messages");
    uint64_t top = before ? before - 1 : run->last;
    uint64_t want = top - run->first + 1;
    struct slice item;
    size_t at = 0;
    int64_t seq = 0, previous = 0;

    *count = 0;
    want = want < (uint64_t)run->bench->options->page ? want : (uint64_t)run->bench->options->page;
    if (client_fields_read(body, &messages, 1) != 1)
        return false;
    while (client_array_next(messages.value, &at, &item) == 1) {
        if (client_field_int(item, SLICE_LIT("seq"), &seq) < 0 || (previous && seq != previous + 1))
            return false;
        previous = seq;
        (*count)++;
    }
    return *count == want && (uint64_t)seq == top;
}

struct page_request {
    struct history_run *run; /* borrowed */
    uint64_t sent_us;        /* CLOCK_MONOTONIC */
    uint64_t before;         /* as asked for */
};

static void page_answered(struct client_conn *conn, void *arg, int status, struct slice body)
{
    struct page_request request = *(struct page_request *)arg;
    struct history_run *run = request.run;

    free(arg);
    run->asked--;
    if (status == ERR_CLOSED)
        return;
    run->pages++;
    run->bench->steps++;
    if (status == 0) {
        bench_hist_record(&run->page_us, client_read_us(run->bench->client) - request.sent_us);
        run->bytes += body.n;
        if (run->pages % CHECK_EVERY == 0 || run->pages < CHECK_EVERY) {
            uint64_t count;
            run->checked++;
            if (!page_right(run, request.before, body, &count)) {
                run->wrong++;
                bench_complain(run->bench, "a wrong page before %llu: %.*s", (unsigned long long)request.before,
                               (int)(body.n < 200 ? body.n : 200), body.p);
            }
            run->messages += count;
        }
    } else {
        bench_refused(run->bench, "a page", body);
    }
    if (run->pages >= run->goal || (!run->reading && run->asked == 0))
        bench_phase_end(run->bench);
    reader_pump(run, client_conn_user(conn));
}

/* The exclusive upper seq of the reader's next page; 0: the newest. */
static uint64_t page_before(struct history_run *run, struct bench_member *member)
{
    uint64_t page = (uint64_t)run->bench->options->page;
    uint64_t kept = run->last - run->first + 1;
    const char *position = run->bench->options->position;

    if (strcmp(position, "newest") == 0 || kept <= page)
        return 0;
    if (strcmp(position, "random") == 0) {
        uint64_t places = kept - page + 1;
        return run->first + page + random_below(places < UINT32_MAX ? (uint32_t)places : UINT32_MAX);
    }
    uint64_t before = run->cursors[member->index];
    bool more = before > run->first + page;
    run->cursors[member->index] = more ? before - page : run->last + 1;
    return before;
}

static void reader_pump(struct history_run *run, struct bench_member *member)
{
    while (run->reading && run->budget > 0 && member->ready &&
           client_conn_pending(member->conn) < (uint32_t)run->bench->options->outstanding) {
        struct page_request *request = malloc(sizeof(*request));
        if (!request)
            return;
        *request = (struct page_request){run, clock_mono_us(), page_before(run, member)};
        if (client_history(member->conn, slice_str(run->channel), request->before, 0,
                           (uint32_t)run->bench->options->page, page_answered, request) < 0) {
            free(request);
            return;
        }
        run->asked++;
        run->budget--;
    }
}

static void reader_lost(struct bench_member *member)
{
    if (member->crew->ready == 0)
        bench_phase_end(member->crew->bench);
}

static void readers_pump(struct history_run *run)
{
    for (uint32_t i = 0; i < run->readers.want; i++)
        reader_pump(run, &run->readers.members[i]);
}

static void history_progress(struct bench *bench, struct buf *out)
{
    struct history_run *run = bench->state;
    buf_printf(out, "%llu pages/s", (unsigned long long)(run->pages - run->at_tick));
    run->at_tick = run->pages;
}

static void history_measure(struct history_run *run, struct bench_mark *start, struct bench_mark *end)
{
    struct bench *bench = run->bench;
    const struct bench_options *options = bench->options;

    bench->state = run;
    bench->progress = history_progress;
    run->reading = true;
    run->budget = run->goal = UINT64_MAX;
    readers_pump(run);
    if (options->warmup > 0)
        bench_phase(bench, "warming up", options->warmup, true);
    bench_hist_reset(&run->page_us);
    run->at_start = run->pages;
    run->bytes_start = run->bytes;
    if (options->messages) {
        uint64_t n = (uint64_t)options->messages;
        run->goal = run->pages + n;
        run->budget = n > run->asked ? n - run->asked : 0;
    }
    bench_mark_take(bench, start, false);
    bench_phase(bench, "measuring", options->messages ? 0 : options->duration, true);
    bench_mark_take(bench, end, true);
    run->reading = false;
}

static void history_report(struct history_run *run, const struct bench_mark *start, const struct bench_mark *end)
{
    struct bench *bench = run->bench;
    struct bench_report *r = &bench->report;
    double seconds = bench_mark_seconds(start, end);
    uint64_t pages = run->pages - run->at_start;
    uint64_t bytes = run->bytes - run->bytes_start;

    bench_report_number(r, "clients", "clients", run->readers.ready, 0, "");
    bench_report_number(r, "outstanding", "  pages under way each", (double)bench->options->outstanding, 0, "");
    bench_report_number(r, "page", "  messages a page", (double)bench->options->page, 0, "");
    bench_report_text(r, "position", "  pages", bench->options->position);
    bench_report_number(r, "kept", "messages in the channel", (double)(run->last - run->first + 1), 0, "");
    bench_report_number(r, "seconds", "measured", seconds, 2, "s");
    bench_report_number(r, "pages", NULL, (double)pages, 0, "");
    bench_report_rate(bench, "pages_per_s", "pages", pages, seconds);
    bench_report_number(r, "bytes_per_page", "  size of one", pages ? (double)bytes / (double)pages : NAN, 0, "bytes");
    bench_report_times(r, "page_latency_us", "page latency", &run->page_us);
    bench_report_number(r, "server_cpu_us_per_page", "server CPU a page",
                        pages ? bench_mark_cpu(start, end) * 1e6 / (double)pages : NAN, 2, "µs");
    bench_report_cost(bench, start, end);
    bench_report_memory(bench, end);
    bench_report_number(r, "pages_checked", NULL, (double)run->checked, 0, "");
    bench_report_number(r, "messages_per_page", NULL, run->checked ? (double)run->messages / (double)run->checked : NAN,
                        1, "");
    bench_report_number(r, "pages_wrong", "wrong pages (of a sample)", (double)run->wrong, 0, "");
    bench->faulty = bench->faulty || run->wrong;
}

/* ---- the run ---- */

static int history_prepare(struct history_run *run)
{
    struct bench *bench = run->bench;
    uint32_t clients = (uint32_t)bench->options->connections;

    run->content = bench_content_new(bench);
    run->cursors = calloc(clients, sizeof(*run->cursors));
    if (!run->content || !run->cursors) {
        fprintf(stderr, "magpie-bench: out of memory\n");
        return ERR_NOMEM;
    }
    bench_content_stamp(run->content, 0);
    bench_pacer_init(&run->pacer, bench, fill_pump, run);
    run->filler = (struct bench_crew){.bench = bench,
                                      .state = run,
                                      .what = "filler",
                                      .channel = run->channel,
                                      .push = "none",
                                      .want = 1,
                                      .lost = reader_lost};
    run->readers = (struct bench_crew){.bench = bench,
                                       .state = run,
                                       .what = "client",
                                       .channel = run->channel,
                                       .push = "none",
                                       .want = clients,
                                       .lost = reader_lost};
    int status = bench_crew_muster(&run->filler, "connecting");
    if (status == 0)
        status = history_fill(run);
    for (uint32_t i = 0; status == 0 && i < clients; i++)
        run->cursors[i] = run->last + 1;
    return status < 0 ? status : bench_crew_muster(&run->readers, "connecting");
}

static int history_run(struct bench *bench)
{
    struct history_run *run = calloc(1, sizeof(*run));
    struct bench_mark start, end;
    char channel[64];

    if (!run)
        return ERR_NOMEM;
    snprintf(channel, sizeof(channel), "bench-history-%d-%llu", (int)getpid(),
             (unsigned long long)clock_wall_ms() % 1000000);
    run->bench = bench;
    run->channel = bench->options->channel ? bench->options->channel : channel;
    int status = history_prepare(run);
    if (status == 0) {
        history_measure(run, &start, &end);
        history_report(run, &start, &end);
    }
    bench->progress = NULL;
    run->reading = false;
    run->to_fill = 0;
    bench_crew_end(&run->readers);
    bench_crew_end(&run->filler);
    bench_pacer_stop(&run->pacer);
    free(run->cursors);
    free(run->content);
    free(run);
    return status;
}

static uint64_t history_descriptors(const struct bench_options *options)
{
    return (uint64_t)options->connections + 1;
}

const struct bench_scenario bench_history = {
    .name = "history",
    .summary = "pages of a channel's history: rate, latency and cost; the channel is filled first",
    .connections_mean = "-c N clients (10); -k pages of a client under way at once (1); -n pages, not messages",
    .bit = BENCH_HISTORY,
    .connections = 10,
    .outstanding = 1,
    .duration = 10,
    .descriptors = history_descriptors,
    .run = history_run,
};
