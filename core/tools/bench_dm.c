/*
 * Scenario dm: P pairs of users, one of each writing to the other. How long until a private message is safe (the
 * answer), until it has arrived, and what does one cost?
 */
#include "core/tools/bench_dm.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/client/client_fields.h"
#include "core/tools/bench.h"
#include "core/tools/bench_crew.h"
#include "core/tools/bench_options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LAST_S 0.5    /* deliveries that come after the last answer */
enum { ID_MAX = 65 }; /* a user id and its NUL */

struct dm_pair {
    char receiver[ID_MAX]; /* id of the user that is written to; "" until it is logged in */
    uint32_t outstanding;  /* sent and not answered */
    uint64_t answered;     /* messages that are safe, by their largest seq */
};

struct dm_counts {
    uint64_t answers;    /* good ones */
    uint64_t deliveries; /* messages received, duplicates not counted */
    uint64_t gaps;       /* messages that a receiver lacks */
    uint64_t duplicates; /* messages whose seq was not above the newest */
    uint64_t dropped;    /* answered with seq 0 */
};

struct dm_run {
    struct bench *bench;          /* borrowed */
    struct bench_crew crew;       /* 2 P members: 2 i writes to 2 i + 1 */
    struct dm_pair *pairs;        /* P of them; owned */
    char *content;                /* what is sent; owned */
    struct bench_pacer pacer;     /* rests after rate_limited */
    struct dm_counts counts;      /* since the start */
    struct dm_counts at_start;    /* of the measurement */
    struct dm_counts at_end;      /* of the measurement */
    struct dm_counts at_tick;     /* of the progress line */
    uint64_t budget;              /* messages that may still be sent */
    uint64_t goal;                /* counts.answers that end the phase */
    uint64_t outstanding;         /* of all pairs */
    bool sending;                 /* go on; also: record latencies */
    struct bench_hist answer_us;  /* from sending to the sender's having the answer */
    struct bench_hist deliver_us; /* to the receiver's having the message */
};

static void pair_pump(struct dm_run *run, uint32_t index);

static void pairs_pump(void *state)
{
    struct dm_run *run = state;
    for (uint32_t i = 0; i < run->crew.want / 2; i++)
        pair_pump(run, i);
}

static void send_answered(struct client_conn *conn, void *arg, int status, struct slice body)
{
    struct bench_member *member = client_conn_user(conn);
    struct dm_run *run = member->crew->state;
    struct dm_pair *pair = &run->pairs[member->index / 2];
    int64_t seq = 0;

    pair->outstanding--;
    run->outstanding--;
    if (status == 0 && client_field_int(body, SLICE_LIT("seq"), &seq) == 0 && seq > 0) {
        if (run->sending)
            bench_hist_record(&run->answer_us, client_read_us(run->bench->client) - (uintptr_t)arg);
        run->counts.answers++;
        run->bench->steps++;
        pair->answered = (uint64_t)seq > pair->answered ? (uint64_t)seq : pair->answered;
    } else if (status == 0) {
        run->counts.dropped++;
    } else if (status == ERR_INVALID) {
        int64_t ms = bench_refused(run->bench, "a message", body);
        run->budget++;
        run->bench->steps++;
        bench_pacer_pause(&run->pacer, ms > 0 ? ms : 100);
    }
    if (run->counts.answers >= run->goal || (!run->sending && run->outstanding == 0))
        bench_phase_end(run->bench);
    pair_pump(run, member->index / 2);
}

static void pair_pump(struct dm_run *run, uint32_t index)
{
    struct bench_member *sender = &run->crew.members[2 * index];
    struct dm_pair *pair = &run->pairs[index];

    while (run->sending && run->budget > 0 && !bench_pacer_paused(&run->pacer) && sender->ready && sender[1].ready &&
           pair->outstanding < (uint32_t)run->bench->options->outstanding) {
        uint64_t now = clock_mono_us();
        bench_content_stamp(run->content, now);
        if (client_send_user(sender->conn, slice_str(pair->receiver), slice_str(run->content), SLICE_NONE,
                             send_answered, (void *)(uintptr_t)now) < 0)
            return;
        pair->outstanding++;
        run->outstanding++;
        run->budget--;
    }
}

/* ---- receiving ---- */

/* Empties the inbox up to the message at hand. */
static void inbox_acknowledge(struct bench_member *member, struct slice message)
{
    struct client_field id = CLIENT_FIELD("id");
    struct slice digits;
    char body[64];

    if (client_fields_read(message, &id, 1) == 1 && client_value_plain(id.value, &digits) == 0 && digits.n < 32) {
        int n = snprintf(body, sizeof(body), "{\"upTo\":\"%.*s\"}", (int)digits.n, digits.p);
        (void)client_request(member->conn, CLIENT_INBOX_ACK, slice_of(body, (size_t)n), NULL, NULL);
    }
}

static void member_push(struct client_conn *conn, void *user, uint16_t action, struct slice body)
{
    struct bench_member *member = user;
    struct dm_run *run = member->crew->state;
    int64_t number;

    if (action != CLIENT_PUSH_USER) {
        bench_crew_push(conn, user, action, body);
        return;
    }
    if (client_field_int(body, SLICE_LIT("seq"), &number) < 0 || (uint64_t)number <= member->last_seq) {
        run->counts.duplicates++;
        return;
    }
    uint64_t now = client_read_us(run->bench->client);
    uint64_t sent_us = bench_content_time(body);
    if (sent_us && sent_us <= now && run->sending)
        bench_hist_record(&run->deliver_us, now - sent_us);
    run->counts.gaps += (uint64_t)number - member->last_seq - 1;
    run->counts.deliveries++;
    member->last_seq = (uint64_t)number;
    if (run->bench->options->ack && number % run->bench->options->ack == 0)
        inbox_acknowledge(member, body);
}

static void member_logged_in(struct bench_member *member, struct slice body)
{
    struct dm_run *run = member->crew->state;
    struct client_field id = CLIENT_FIELD("id");
    struct slice text;

    if (member->index % 2 == 1 && client_fields_read(body, &id, 1) == 1 && client_value_plain(id.value, &text) == 0 &&
        text.n < ID_MAX)
        memcpy(run->pairs[member->index / 2].receiver, text.p, text.n);
}

static void member_lost(struct bench_member *member)
{
    if (member->crew->ready == 0)
        bench_phase_end(member->crew->bench);
}

/* ---- the run ---- */

static void dm_progress(struct bench *bench, struct buf *out)
{
    struct dm_run *run = bench->state;

    buf_printf(out, "%llu answers/s, %llu deliveries/s",
               (unsigned long long)(run->counts.answers - run->at_tick.answers),
               (unsigned long long)(run->counts.deliveries - run->at_tick.deliveries));
    run->at_tick = run->counts;
}

static void dm_measure(struct dm_run *run, struct bench_mark *start, struct bench_mark *end)
{
    struct bench *bench = run->bench;
    const struct bench_options *options = bench->options;

    run->sending = true;
    run->budget = run->goal = UINT64_MAX;
    pairs_pump(run);
    if (options->warmup > 0)
        bench_phase(bench, "warming up", options->warmup, true);
    bench_hist_reset(&run->answer_us);
    bench_hist_reset(&run->deliver_us);
    run->at_start = run->counts;
    if (options->messages) {
        uint64_t n = (uint64_t)options->messages;
        run->goal = run->counts.answers + n;
        run->budget = n > run->outstanding ? n - run->outstanding : 0;
    }
    bench_mark_take(bench, start, false);
    bench_phase(bench, "measuring", options->messages ? 0 : options->duration, true);
    bench_mark_take(bench, end, true);
    run->at_end = run->counts;
    run->sending = false;
    run->goal = UINT64_MAX;
    bench_pacer_stop(&run->pacer);
    if (run->outstanding > 0)
        bench_phase(bench, "draining", options->timeout, true);
    bench_phase(bench, "draining", LAST_S, false);
}

static void dm_report(struct dm_run *run, const struct bench_mark *start, const struct bench_mark *end)
{
    struct bench *bench = run->bench;
    struct bench_report *r = &bench->report;
    double seconds = bench_mark_seconds(start, end);
    uint64_t sends = run->at_end.answers - run->at_start.answers;
    uint64_t missing = run->counts.gaps;

    for (uint32_t i = 0; i < run->crew.want / 2; i++) {
        const struct bench_member *receiver = &run->crew.members[2 * i + 1];
        uint64_t safe = run->pairs[i].answered;
        missing += receiver->ready && receiver->last_seq < safe ? safe - receiver->last_seq : 0;
    }
    bench_report_number(r, "pairs", "pairs", run->crew.want / 2, 0, "");
    bench_report_number(r, "outstanding", "  messages under way each", (double)bench->options->outstanding, 0, "");
    bench_report_number(r, "size", "  content", (double)bench->options->size, 0, "bytes");
    bench_report_number(r, "seconds", "measured", seconds, 2, "s");
    bench_report_number(r, "sends", NULL, (double)sends, 0, "");
    bench_report_rate(bench, "sends_per_s", "messages answered", sends, seconds);
    bench_report_rate(bench, "deliveries_per_s", "deliveries", run->at_end.deliveries - run->at_start.deliveries,
                      seconds);
    bench_report_times(r, "answer_latency_us", "answer latency", &run->answer_us);
    bench_report_times(r, "delivery_latency_us", "delivery latency", &run->deliver_us);
    bench_report_number(r, "server_cpu_s_per_million", "server CPU a million",
                        sends ? bench_mark_cpu(start, end) * 1e6 / (double)sends : NAN, 2, "s of messages");
    bench_report_cost(bench, start, end);
    bench_report_memory(bench, end);
    bench_report_number(r, "missing", "missing", (double)missing, 0, "");
    bench_report_number(r, "duplicates", "doubled or out of order", (double)run->counts.duplicates, 0, "");
    bench_report_number(r, "dropped", run->counts.dropped ? "dropped by a script" : NULL, (double)run->counts.dropped,
                        0, "");
    bench->faulty = bench->faulty || missing || run->counts.duplicates;
}

static int dm_run(struct bench *bench)
{
    struct dm_run *run = calloc(1, sizeof(*run));
    struct bench_mark start, end;
    int status = ERR_NOMEM;

    if (!run)
        return ERR_NOMEM;
    run->bench = bench;
    run->pairs = calloc((size_t)bench->options->connections, sizeof(*run->pairs));
    run->content = bench_content_new(bench);
    bench_pacer_init(&run->pacer, bench, pairs_pump, run);
    run->crew = (struct bench_crew){.bench = bench,
                                    .state = run,
                                    .what = "user",
                                    .want = 2 * (uint32_t)bench->options->connections,
                                    .logged_in = member_logged_in,
                                    .lost = member_lost,
                                    .push_handler = member_push};
    if (run->pairs && run->content)
        status = bench_crew_muster(&run->crew, "connecting");
    if (status == 0) {
        bench->state = run;
        bench->progress = dm_progress;
        dm_measure(run, &start, &end);
        dm_report(run, &start, &end);
    }
    bench->progress = NULL;
    run->sending = false;
    bench_crew_end(&run->crew);
    bench_pacer_stop(&run->pacer);
    free(run->content);
    free(run->pairs);
    free(run);
    return status;
}

static uint64_t dm_descriptors(const struct bench_options *options)
{
    return 2 * (uint64_t)options->connections;
}

const struct bench_scenario bench_dm = {
    .name = "dm",
    .summary = "private messages between pairs: how soon they are safe and arrive, and their cost",
    .connections_mean =
        "-c P pairs (100), of two connections each; -k messages of a pair under way: sent, not answered (4)",
    .bit = BENCH_DM,
    .connections = 100,
    .outstanding = 4,
    .duration = 10,
    .descriptors = dm_descriptors,
    .run = dm_run,
};
