/*
 * Scenario channel: messages to one channel of R receivers. What does a delivery cost, and does every receiver get
 * every message, once, in order?
 *
 * With push "all" a message is under way until the last receiver has it; with "merged" and "none", where a receiver
 * need not get it, until its sender has the answer. A delivery is looked at only as far as its seq: what is known of a
 * message is kept in a ring by seq, filled when its first copy arrives.
 */
#include "core/tools/bench_channel.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/client/client_fields.h"
#include "core/tools/bench.h"
#include "core/tools/bench_crew.h"
#include "core/tools/bench_options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RING = 65536 }; /* messages known about; a power of two, above the largest --outstanding */
#define MERGED_S 1.0   /* slices may come this much later than the answers */
#define ANSWER_S 0.5   /* answers that come after the last delivery */

struct channel_message {
    uint64_t seq;     /* 0: the slot is free */
    uint64_t sent_us; /* by its content; 0: no copy has been read yet */
    uint64_t seen_us; /* when it was first heard of */
    uint32_t settled; /* receivers that have it, or have a later one instead */
    uint32_t expect;  /* receivers there were */
    bool done;        /* no longer under way */
};

struct channel_counts {
    uint64_t messages;   /* done */
    uint64_t answers;    /* good ones */
    uint64_t deliveries; /* copies received, duplicates not counted */
    uint64_t bytes;      /* of their bodies */
    uint64_t gaps;       /* messages that a receiver lacks, by its jumps in seq */
    uint64_t duplicates; /* copies whose seq was not above the receiver's newest */
    uint64_t omitted;    /* left out of merged slices, as those say */
    uint64_t expired;    /* messages given up after --timeout */
    uint64_t dropped;    /* answered with seq 0: accepted and thrown away by a script */
};

struct channel_run {
    struct bench *bench;            /* borrowed */
    struct bench_crew receivers;    /* subscribed with --push */
    struct bench_crew senders;      /* subscribed with "none" */
    const char *channel;            /* its name */
    char *content;                  /* what is sent; owned */
    struct channel_message *ring;   /* by seq modulo RING; owned */
    struct bench_pacer pacer;       /* rests after rate_limited */
    struct channel_counts counts;   /* since the start */
    struct channel_counts at_start; /* of the measurement */
    struct channel_counts at_end;   /* of the measurement */
    struct channel_counts at_tick;  /* of the progress line */
    uint64_t budget;                /* messages that may still be sent */
    uint64_t goal;                  /* counts.messages that end the phase */
    uint64_t newest;                /* largest seq answered */
    uint64_t swept;                 /* all below this seq are done */
    uint64_t top;                   /* largest seq in the ring */
    uint64_t paced_us;              /* when the first message was sent */
    uint64_t paced;                 /* messages sent since */
    uint32_t outstanding;           /* messages under way */
    uint32_t next_sender;           /* whose turn it is */
    bool sending;                   /* go on; also: record latencies */
    bool by_answer;                 /* the answer ends a message, not its deliveries */
    struct bench_hist delivery_us;  /* from sending to a receiver's having it */
    struct bench_hist complete_us;  /* to the last receiver's having it */
    struct bench_hist answer_us;    /* to the sender's having the answer */
};

static void channel_pump(struct channel_run *run);

/* ---- messages ---- */

static void message_ended(struct channel_run *run)
{
    run->counts.messages++;
    run->bench->steps++;
    if (run->outstanding > 0)
        run->outstanding--;
    if (run->counts.messages >= run->goal || (!run->sending && run->outstanding == 0))
        bench_phase_end(run->bench);
    channel_pump(run);
}

static void message_settled(struct channel_run *run, struct channel_message *message, uint64_t now)
{
    if (!message->done && message->settled >= message->expect && !run->by_answer) {
        message->done = true;
        if (message->sent_us && run->sending)
            bench_hist_record(&run->complete_us, now - message->sent_us);
        message_ended(run);
    }
}

/* What is known of the message; NULL when it is too long ago. */
static struct channel_message *message_get(struct channel_run *run, uint64_t seq)
{
    struct channel_message *message = &run->ring[seq % RING];

    if (message->seq == seq)
        return message;
    if (message->seq > seq)
        return NULL;
    if (message->seq && !message->done && !run->by_answer) {
        run->counts.expired++;
        message_ended(run);
    }
    *message = (struct channel_message){
        .seq = seq, .seen_us = client_read_us(run->bench->client), .expect = run->receivers.ready};
    run->top = seq > run->top ? seq : run->top;
    return message;
}

/* Gives up what has not reached everybody in time, so that one deaf receiver does not end the run. */
static void messages_sweep(struct channel_run *run)
{
    uint64_t limit = (uint64_t)(run->bench->options->timeout * 1e6 / 2);
    uint64_t now = clock_mono_us();

    if (run->by_answer)
        return;
    if (run->top >= RING && run->swept <= run->top - RING)
        run->swept = run->top - RING + 1;
    for (; run->swept <= run->top; run->swept++) {
        struct channel_message *message = &run->ring[run->swept % RING];
        if (message->seq != run->swept || message->done)
            continue;
        if (now - message->seen_us < limit)
            break; /* later ones are younger */
        message->done = true;
        run->counts.expired++;
        message_ended(run);
    }
}

/* ---- receiving ---- */

static void receiver_gap(struct channel_run *run, struct bench_member *member, uint64_t seq, uint64_t now)
{
    run->counts.gaps += seq - member->last_seq - 1;
    for (uint64_t lacking = member->last_seq + 1; lacking < seq; lacking++) {
        struct channel_message *message = message_get(run, lacking);
        if (message) {
            message->settled++;
            message_settled(run, message, now);
        }
    }
}

/* One copy for one receiver; `body` is read only if no other copy has been. */
static void receiver_take(struct channel_run *run, uint64_t seq, struct slice body, uint64_t now)
{
    struct channel_message *message = message_get(run, seq);

    run->counts.deliveries++;
    run->counts.bytes += body.n;
    if (!message)
        return;
    if (!message->sent_us) {
        uint64_t sent_us = bench_content_time(body);
        message->sent_us = sent_us <= now ? sent_us : 0; /* in a shared channel it need not be ours */
    }
    if (message->sent_us && run->sending)
        bench_hist_record(&run->delivery_us, now - message->sent_us);
    message->settled++;
    message_settled(run, message, now);
}

static void receiver_message(struct channel_run *run, struct bench_member *member, struct slice body)
{
    uint64_t now = client_read_us(run->bench->client);
    int64_t number;

    if (client_field_int(body, SLICE_LIT("seq"), &number) < 0 || number < 1) {
        bench_complain(run->bench, "a message without seq: %.*s", (int)body.n, body.p);
        run->bench->faulty = true;
        return;
    }
    uint64_t seq = (uint64_t)number;
    if (seq <= member->last_seq) {
        run->counts.duplicates++;
        return;
    }
    if (seq > member->last_seq + 1)
        receiver_gap(run, member, seq, now);
    member->last_seq = seq;
    receiver_take(run, seq, body, now);
}

/* A merged slice: from..to are its seqs, of which so many were left out. */
static void receiver_slice(struct channel_run *run, struct bench_member *member, struct slice body)
{
    struct client_field fields[] = {CLIENT_FIELD("messages"), CLIENT_FIELD("from"), CLIENT_FIELD("to"),
                                    CLIENT_FIELD("omitted")};
    uint64_t now = client_read_us(run->bench->client);
    int64_t from, to, omitted, seq;
    int64_t last = (int64_t)member->last_seq, got = 0;
    struct slice item;
    size_t at = 0;

    if (client_fields_read(body, fields, 4) != 4 || client_value_int(fields[1].value, &from) < 0 ||
        client_value_int(fields[2].value, &to) < 0 || client_value_int(fields[3].value, &omitted) < 0) {
        bench_complain(run->bench, "an unreadable slice: %.*s", (int)body.n, body.p);
        run->bench->faulty = true;
        return;
    }
    run->counts.gaps += from > last + 1 ? (uint64_t)(from - last - 1) : 0;
    while (client_array_next(fields[0].value, &at, &item) == 1) {
        if (client_field_int(item, SLICE_LIT("seq"), &seq) < 0 || seq <= last || seq < from || seq > to) {
            run->counts.duplicates++;
            continue;
        }
        last = seq;
        got++;
        receiver_take(run, (uint64_t)seq, item, now);
    }
    run->counts.omitted += (uint64_t)omitted;
    if (got + omitted != to - from + 1)
        run->counts.gaps += (uint64_t)llabs(to - from + 1 - got - omitted);
    member->last_seq = to > last ? (uint64_t)to : (uint64_t)last;
}

static void receiver_push(struct client_conn *conn, void *user, uint16_t action, struct slice body)
{
    struct bench_member *member = user;

    if (action == CLIENT_PUSH_CHANNEL)
        receiver_message(member->crew->state, member, body);
    else if (action == CLIENT_PUSH_MERGED)
        receiver_slice(member->crew->state, member, body);
    else
        bench_crew_push(conn, user, action, body);
}

static void receiver_joined(struct bench_member *member, struct slice body)
{
    int64_t seq;
    if (client_field_int(body, SLICE_LIT("seq"), &seq) == 0 && seq > 0)
        member->last_seq = (uint64_t)seq;
}

/* A receiver that is gone is waited for no more. */
static void receiver_lost(struct bench_member *member)
{
    struct channel_run *run = member->crew->state;
    uint64_t seq = member->last_seq + 1 > run->swept ? member->last_seq + 1 : run->swept;

    for (; seq <= run->top; seq++) {
        struct channel_message *message = &run->ring[seq % RING];
        if (message->seq == seq) {
            message->settled++;
            message_settled(run, message, clock_mono_us());
        }
    }
    if (member->crew->ready == 0)
        bench_phase_end(member->crew->bench);
}

/* ---- sending ---- */

static void send_answered(struct client_conn *conn, void *arg, int status, struct slice body)
{
    struct bench_member *member = client_conn_user(conn);
    struct channel_run *run = member->crew->state;
    uint64_t sent_us = (uintptr_t)arg;
    int64_t seq = 0;

    if (status == 0 && client_field_int(body, SLICE_LIT("seq"), &seq) == 0 && seq > 0) {
        if (run->sending)
            bench_hist_record(&run->answer_us, client_read_us(run->bench->client) - sent_us);
        run->counts.answers++;
        run->newest = (uint64_t)seq > run->newest ? (uint64_t)seq : run->newest;
        if (run->by_answer)
            message_ended(run);
        else
            (void)message_get(run, (uint64_t)seq); /* so that it can expire if no copy ever comes */
    } else {
        run->outstanding -= run->outstanding > 0;
        if (status == 0) {
            run->counts.dropped++;
        } else if (status == ERR_INVALID) {
            run->budget++;
            int64_t ms = bench_refused(run->bench, "a message", body);
            bench_pacer_pause(&run->pacer, ms > 0 ? ms : 100);
            run->bench->steps++;
        }
    }
    channel_pump(run);
}

/* With --rate: the next message is not due yet; then the pump runs again when it is. */
static bool channel_early(struct channel_run *run, uint64_t now)
{
    double rate = run->bench->options->rate;
    run->paced_us = run->paced_us ? run->paced_us : now;
    double due_us = rate > 0 ? (double)run->paced_us + (double)run->paced * 1e6 / rate : 0;

    if ((double)now >= due_us)
        return false;
    bench_pacer_pause(&run->pacer, 1 + (int64_t)((due_us - (double)now) / 1e3));
    return true;
}

static void channel_pump(struct channel_run *run)
{
    uint32_t tried = 0;

    while (run->sending && run->outstanding < (uint32_t)run->bench->options->outstanding && run->budget > 0 &&
           !bench_pacer_paused(&run->pacer) && tried < run->senders.want) {
        struct bench_member *sender = &run->senders.members[run->next_sender];
        run->next_sender = (run->next_sender + 1) % run->senders.want;
        uint64_t now = clock_mono_us();
        if (channel_early(run, now))
            break;
        if (!sender->ready) {
            tried++;
            continue;
        }
        bench_content_stamp(run->content, now);
        int status = client_send_channel(sender->conn, slice_str(run->channel), slice_str(run->content), SLICE_NONE,
                                         send_answered, (void *)(uintptr_t)now);
        if (status < 0) {
            tried++;
            continue;
        }
        tried = 0;
        run->outstanding++;
        run->paced++;
        run->budget--;
    }
    if (run->sending && run->senders.ready == 0)
        bench_phase_end(run->bench);
}

static void sender_lost(struct bench_member *member)
{
    channel_pump(member->crew->state);
}
static void channel_resume(void *state)
{
    channel_pump(state);
}

/* ---- the run ---- */

static void channel_progress(struct bench *bench, struct buf *out)
{
    struct channel_run *run = bench->state;
    const struct channel_counts *now = &run->counts, *then = &run->at_tick;

    buf_printf(out, "%llu messages/s, %llu deliveries/s, %u under way",
               (unsigned long long)(now->messages - then->messages),
               (unsigned long long)(now->deliveries - then->deliveries), run->outstanding);
    if (now->gaps || now->duplicates) {
        buf_printf(out, ", %llu missing, %llu doubled", (unsigned long long)now->gaps,
                   (unsigned long long)now->duplicates);
    }
    run->at_tick = *now;
    messages_sweep(run);
}

static void channel_measure(struct channel_run *run, struct bench_mark *start, struct bench_mark *end)
{
    struct bench *bench = run->bench;
    const struct bench_options *options = bench->options;

    if (options->hold > 0)
        bench_phase(bench, "holding", options->hold, false);
    run->sending = true;
    run->budget = run->goal = UINT64_MAX;
    channel_pump(run);
    if (options->warmup > 0)
        bench_phase(bench, "warming up", options->warmup, true);
    bench_hist_reset(&run->delivery_us);
    bench_hist_reset(&run->complete_us);
    bench_hist_reset(&run->answer_us);
    run->at_start = run->counts;
    if (options->messages) {
        uint64_t n = (uint64_t)options->messages;
        run->goal = run->counts.messages + n;
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
    bench_phase(bench, "draining", run->by_answer ? MERGED_S : ANSWER_S, false);
}

/* Messages that a receiver still lacks at the end, behind the newest it has. */
static uint64_t channel_tail(const struct channel_run *run)
{
    uint64_t lacking = 0;

    for (uint32_t i = 0; i < run->receivers.want && strcmp(run->bench->options->push, "none") != 0; i++) {
        const struct bench_member *member = &run->receivers.members[i];
        lacking += member->ready && member->last_seq < run->newest ? run->newest - member->last_seq : 0;
    }
    return lacking;
}

static void channel_report(struct channel_run *run, const struct bench_mark *start, const struct bench_mark *end)
{
    struct bench *bench = run->bench;
    struct bench_report *r = &bench->report;
    const struct bench_options *options = bench->options;
    double seconds = bench_mark_seconds(start, end);
    uint64_t messages = run->at_end.messages - run->at_start.messages;
    uint64_t deliveries = run->at_end.deliveries - run->at_start.deliveries;
    double cpu = bench_mark_cpu(start, end);
    uint64_t missing = run->counts.gaps + channel_tail(run);

    bench_report_number(r, "receivers", "receivers", run->receivers.ready, 0, "");
    bench_report_text(r, "push", "  pushed", options->push);
    bench_report_number(r, "senders", "senders", run->senders.ready, 0, "");
    bench_report_number(r, "outstanding", "  messages under way", (double)options->outstanding, 0, "");
    bench_report_number(r, "size", "  content", (double)options->size, 0, "bytes");
    bench_report_number(r, "seconds", "measured", seconds, 2, "s");
    bench_report_number(r, "messages", NULL, (double)messages, 0, "");
    bench_report_number(r, "deliveries", NULL, (double)deliveries, 0, "");
    bench_report_rate(bench, "messages_per_s", "messages", messages, seconds);
    bench_report_rate(bench, "deliveries_per_s", "deliveries", deliveries, seconds);
    bench_report_times(r, "delivery_latency_us", "delivery latency", &run->delivery_us);
    bench_report_times(r, "complete_latency_us", "  of a message's last", &run->complete_us);
    bench_report_times(r, "answer_latency_us", "answer latency", &run->answer_us);
    bench_report_number(r, "server_cpu_s_per_million", "server CPU a million",
                        deliveries ? cpu * 1e6 / (double)deliveries : NAN, 3, "s of deliveries");
    bench_report_number(r, "server_cpu_us_per_message", "server CPU a message",
                        messages ? cpu * 1e6 / (double)messages : NAN, 1, "µs");
    bench_report_cost(bench, start, end);
    bench_report_memory(bench, end);
    bench_report_number(r, "missing", "missing (gaps, tail)", (double)missing, 0, "");
    bench_report_number(r, "duplicates", "doubled or out of order", (double)run->counts.duplicates, 0, "");
    bench_report_number(r, "omitted", run->counts.omitted ? "left out of slices" : NULL, (double)run->counts.omitted, 0,
                        "");
    bench_report_number(r, "behind", run->receivers.behind ? "told to be behind (107)" : NULL,
                        (double)run->receivers.behind, 0, "");
    bench_report_number(r, "expired", run->counts.expired ? "not delivered in time" : NULL, (double)run->counts.expired,
                        0, "");
    bench_report_number(r, "dropped", run->counts.dropped ? "dropped by a script" : NULL, (double)run->counts.dropped,
                        0, "");
    bench->faulty = bench->faulty || missing || run->counts.duplicates || run->counts.expired;
}

static int channel_prepare(struct channel_run *run)
{
    const struct bench_options *options = run->bench->options;

    run->content = bench_content_new(run->bench);
    run->ring = calloc(RING, sizeof(*run->ring));
    if (!run->content || !run->ring) {
        fprintf(stderr, "magpie-bench: out of memory\n");
        return ERR_NOMEM;
    }
    run->swept = 1;
    run->by_answer = strcmp(options->push, "all") != 0;
    bench_pacer_init(&run->pacer, run->bench, channel_resume, run);
    run->receivers = (struct bench_crew){.bench = run->bench,
                                         .state = run,
                                         .what = "receiver",
                                         .channel = run->channel,
                                         .push = options->push,
                                         .want = (uint32_t)options->connections,
                                         .merge = strcmp(options->push, "merged") == 0,
                                         .joined = receiver_joined,
                                         .lost = receiver_lost,
                                         .push_handler = receiver_push};
    run->senders = (struct bench_crew){.bench = run->bench,
                                       .state = run,
                                       .what = "sender",
                                       .channel = run->channel,
                                       .push = "none",
                                       .want = (uint32_t)options->senders,
                                       .lost = sender_lost};
    int status = bench_crew_muster(&run->receivers, "connecting");
    return status < 0 ? status : bench_crew_muster(&run->senders, "connecting");
}

static int channel_run(struct bench *bench)
{
    struct channel_run *run = calloc(1, sizeof(*run));
    struct bench_mark start, end;
    char channel[64];

    if (!run)
        return ERR_NOMEM;
    snprintf(channel, sizeof(channel), "bench-channel-%d-%llu", (int)getpid(),
             (unsigned long long)clock_wall_ms() % 1000000);
    run->bench = bench;
    run->channel = bench->options->channel ? bench->options->channel : channel;
    int status = channel_prepare(run);
    if (status == 0) {
        bench->state = run;
        bench->progress = channel_progress;
        channel_measure(run, &start, &end);
        channel_report(run, &start, &end);
    }
    bench->progress = NULL;
    run->sending = false;
    bench_crew_end(&run->senders);
    bench_crew_end(&run->receivers);
    bench_pacer_stop(&run->pacer);
    free(run->content);
    free(run->ring);
    free(run);
    return status;
}

static uint64_t channel_descriptors(const struct bench_options *options)
{
    return (uint64_t)options->connections + (uint64_t)options->senders;
}

const struct bench_scenario bench_channel = {
    .name = "channel",
    .summary = "messages to one channel: deliveries, their latency and cost; order and completeness",
    .connections_mean = "-c N receivers (1000); -k messages under way at once: sent, and not yet delivered to all (4)",
    .bit = BENCH_CHANNEL,
    .connections = 1000,
    .outstanding = 4,
    .duration = 10,
    .descriptors = channel_descriptors,
    .run = channel_run,
};
