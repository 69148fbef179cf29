/* A run: loop, phases, signals, marks. See bench.h. */
#include "core/tools/bench.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/client/client_fields.h"
#include "core/tools/bench_options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    COMPLAINTS_SHOWN = 10,
    DESCRIPTORS_OWN = 32, /* besides the connections */
    STAMP = 16            /* hex digits at the start of a content */
};

/* ---- phases ---- */

static void phase_stop(struct bench *bench, enum bench_end end)
{
    if (bench->end == BENCH_RUNNING) {
        bench->end = end;
        ev_break(bench->loop, EVBREAK_ALL);
    }
}

static void on_signal(struct ev_loop *loop, struct ev_signal *watcher, int revents)
{
    struct bench *bench = watcher->data;

    (void)loop;
    (void)revents;
    if (bench->interrupted)
        _Exit(130); /* asked twice */
    bench->interrupted = true;
    phase_stop(bench, BENCH_INTERRUPTED);
}

static void on_deadline(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    phase_stop(timer->data, BENCH_TIME);
}

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    struct bench *bench = timer->data;
    struct buf line = BUF_INIT;

    (void)revents;
    buf_printf(&line, "%5.0f s  %-11s", ev_now(loop) - bench->phase_start, bench->phase);
    if (bench->progress)
        bench->progress(bench, &line);
    buf_byte(&line, '\n');
    if (buf_ok(&line) && !bench->options->quiet)
        fwrite(line.p, 1, line.n, stderr);
    buf_free(&line);
    bench->stalled_s = bench->steps == bench->steps_seen ? bench->stalled_s + 1 : 0;
    bench->steps_seen = bench->steps;
    if (bench->watched && bench->stalled_s >= bench->options->timeout) {
        fprintf(stderr, "magpie-bench: nothing has moved for %.0f s while %s\n", bench->stalled_s, bench->phase);
        bench->faulty = bench->interrupted = true;
        phase_stop(bench, BENCH_STALLED);
    }
}

enum bench_end bench_phase(struct bench *bench, const char *name, double seconds, bool watched)
{
    if (bench->interrupted)
        return BENCH_INTERRUPTED;
    ev_now_update(bench->loop);
    bench->phase = name;
    bench->phase_start = ev_now(bench->loop);
    bench->end = BENCH_RUNNING;
    bench->watched = watched;
    bench->stalled_s = 0;
    if (seconds > 0) {
        ev_timer_set(&bench->deadline, seconds, 0);
        ev_timer_start(bench->loop, &bench->deadline);
    }
    ev_timer_again(bench->loop, &bench->tick);
    ev_run(bench->loop, 0);
    ev_timer_stop(bench->loop, &bench->tick);
    ev_timer_stop(bench->loop, &bench->deadline);
    client_flush(bench->client);
    return bench->end;
}

void bench_phase_end(struct bench *bench)
{
    phase_stop(bench, BENCH_DONE);
}

/* ---- start and end ---- */

/* Descriptors, before anything is spent on a run that cannot succeed. */
static int descriptors_check(const struct bench_options *options, const struct bench_scenario *scenario)
{
    uint64_t have = bench_proc_descriptors();
    uint64_t need = scenario->descriptors(options) + DESCRIPTORS_OWN;

    if (need <= have)
        return 0;
    fprintf(
        stderr,
        "magpie-bench: %llu descriptors needed, but this process may have %llu (the hard limit): raise it (ulimit -Hn, "
        "limits.conf, LimitNOFILE) or measure at most %llu connections\n",
        (unsigned long long)need, (unsigned long long)have, (unsigned long long)(have - DESCRIPTORS_OWN));
    return ERR_FULL;
}

static int sources_choose(struct bench *bench)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&bench->target.address;
    bool ipv4 = bench->target.address.ss_family == AF_INET;
    struct in_addr source;

    if (bench->options->source) {
        if (!ipv4 || inet_pton(AF_INET, bench->options->source, &source) != 1) {
            fprintf(stderr, "magpie-bench: --source: expected an IPv4 address, for an IPv4 server, found \"%s\"\n",
                    bench->options->source);
            return ERR_INVALID;
        }
        bench->first_source = ntohl(source.s_addr);
    } else if (ipv4 && ntohl(in->sin_addr.s_addr) >> 24 == 127) {
        bench->first_source = 0x7f000002; /* 127.0.0.2 */
    }
    return 0;
}

static void server_find(struct bench *bench)
{
    struct bench_usage usage;

    bench->pid = bench->options->pid ? (pid_t)bench->options->pid
                                     : bench_proc_listener((const struct sockaddr *)&bench->target.address);
    if (bench->pid && bench_proc_usage(bench->pid, &usage, false) < 0) {
        fprintf(stderr, "magpie-bench: no process %d\n", (int)bench->pid);
        bench->pid = 0;
    } else if (!bench->pid) {
        fprintf(stderr, "magpie-bench: the server's process is not to be found here: no figures of its cost (--pid)\n");
    }
}

int bench_init(struct bench *bench, const struct bench_options *options, const struct bench_scenario *scenario)
{
    const char *why = "";

    *bench = (struct bench){.options = options, .scenario = scenario};
    int status = descriptors_check(options, scenario);
    if (status < 0)
        return status;
    status =
        client_target_set(&bench->target, options->websocket ? CLIENT_WEBSOCKET : CLIENT_TCP, options->address, &why);
    if (status < 0) {
        fprintf(stderr, "magpie-bench: --address: %s: %s\n", options->address, why);
        return status;
    }
    bench->target.path = options->path;
    bench->target.tls = options->tls || options->tls12;
    status = sources_choose(bench);
    if (status < 0)
        return status;
    bench->loop = ev_default_loop(EVFLAG_AUTO);
    bench->client = bench->loop ? client_new(bench->loop) : NULL;
    if (bench->client)
        client_accept_gzip(bench->client, bench->options->gzip);
    if (!bench->client) {
        fprintf(stderr, "magpie-bench: cannot start: %s\n", strerror(errno));
        return ERR_NOMEM;
    }
    if (bench->target.tls && client_secure(bench->client, NULL, options->tls12, &why) != 0) {
        fprintf(stderr, "magpie-bench: --tls: %s\n", why);
        return ERR_INVALID;
    }
    if (bench->target.tls && client_own_records(bench->client, options->resume) != 0) {
        fprintf(stderr, "magpie-bench: --tls: OpenSSL lacks what records need\n");
        return ERR_NOMEM;
    }
    server_find(bench);
    ev_signal_init(&bench->sigint, on_signal, SIGINT);
    ev_signal_init(&bench->sigterm, on_signal, SIGTERM);
    ev_timer_init(&bench->tick, on_tick, 1, 1);
    ev_timer_init(&bench->deadline, on_deadline, 1, 0);
    bench->sigint.data = bench->sigterm.data = bench->tick.data = bench->deadline.data = bench;
    ev_signal_start(bench->loop, &bench->sigint);
    ev_signal_start(bench->loop, &bench->sigterm);
    return 0;
}

void bench_fini(struct bench *bench)
{
    client_free(bench->client);
    if (bench->loop)
        ev_loop_destroy(bench->loop);
}

/* ---- complaints ---- */

void bench_complain(struct bench *bench, const char *format, ...)
{
    va_list args;

    bench->complaints++;
    if (bench->complaints > COMPLAINTS_SHOWN)
        return;
    fputs("magpie-bench: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs(bench->complaints == COMPLAINTS_SHOWN ? " (no more of these will be shown)\n" : "\n", stderr);
}

int64_t bench_refused(struct bench *bench, const char *what, struct slice body)
{
    struct client_error error;

    client_error_read(body, &error);
    bench->refused++;
    bench->faulty = true;
    if (strcmp(error.code, "rate_limited") != 0) {
        bench_complain(bench, "%s refused: %s: %s", what, error.code, error.message);
        return 0;
    }
    if (bench->limited++ == 0) {
        fprintf(stderr,
                "magpie-bench: %s refused: rate_limited: %s\n"
                "magpie-bench: hint: this measures the server's rate limits; run it with rate = { user = 0, channel = "
                "0 }\n",
                what, error.message);
    }
    return error.retry_after_ms > 0 ? error.retry_after_ms : 100;
}

/* ---- marks and common figures ---- */

void bench_mark_take(struct bench *bench, struct bench_mark *mark, bool memory)
{
    mark->us = clock_mono_us();
    mark->own_cpu_s = bench_proc_own_cpu();
    mark->known = bench->pid && bench_proc_usage(bench->pid, &mark->usage, memory) == 0;
}

double bench_mark_seconds(const struct bench_mark *from, const struct bench_mark *to)
{
    return (double)(to->us - from->us) / 1e6;
}

double bench_mark_cpu(const struct bench_mark *from, const struct bench_mark *to)
{
    return from->known && to->known ? to->usage.cpu_s - from->usage.cpu_s : NAN;
}

void bench_report_start(struct bench *bench)
{
    struct bench_report *r = &bench->report;
    char text[BENCH_REPORT_TEXT];

    snprintf(text, sizeof(text), "%s over %s%s to %s", bench->scenario->name,
             bench->options->websocket ? "WebSocket" : "TCP",
             bench->options->tls12 ? " and TLS 1.2"
             : bench->options->tls ? " and TLS"
                                   : "",
             bench->options->address);
    bench_report_text(r, "title", "scenario", text);
    bench_report_text(r, "scenario", NULL, bench->scenario->name);
    bool tls = bench->options->tls || bench->options->tls12;
    bench_report_text(r, "transport", NULL,
                      bench->options->websocket ? tls ? "wss" : "websocket"
                      : tls                     ? "tcps"
                                                : "tcp");
    bench_report_text(r, "address", NULL, bench->options->address);
    bench_report_number(r, "version", NULL, 1, 0, ""); /* of these figures' names and meanings */
}

void bench_report_cost(struct bench *bench, const struct bench_mark *from, const struct bench_mark *to)
{
    struct bench_report *r = &bench->report;
    double seconds = bench_mark_seconds(from, to);
    bool known = from->known && to->known;
    double system_s = known ? to->usage.system_s - from->usage.system_s : NAN;
    double user_s = known ? to->usage.user_s - from->usage.user_s : NAN;

    bench_report_number(r, "server_cpu_s", "server CPU", bench_mark_cpu(from, to), 3, "s");
    bench_report_number(r, "server_cpu_percent", "server CPU of a core", bench_mark_cpu(from, to) / seconds * 100, 1,
                        "%");
    bench_report_number(r, "server_cpu_system_share", "  of it in the kernel", system_s / (system_s + user_s) * 100, 0,
                        "%");
    bench_report_number(r, "bench_cpu_percent", "magpie-bench's own CPU",
                        (to->own_cpu_s - from->own_cpu_s) / seconds * 100, 1, "%");
}

void bench_report_memory(struct bench *bench, const struct bench_mark *mark)
{
    double rss = mark->known && mark->usage.rss ? (double)mark->usage.rss : NAN;

    bench_report_number(&bench->report, "server_rss_bytes", NULL, rss, 0, "bytes");
    bench_report_number(&bench->report, "server_rss_mib", "server memory (RSS)", rss / 1048576, 1, "MiB");
}

void bench_report_finish(struct bench *bench)
{
    struct bench_report *r = &bench->report;

    bench->faulty = bench->faulty || bench->lost || client_strays(bench->client);
    double resumed = (double)client_resumed(bench->client);
    bench_report_number(r, "resumed_handshakes", bench->options->resume ? "handshakes resumed" : NULL, resumed, 0, "");
    bench_report_number(r, "lost_connections", bench->lost ? "connections lost" : NULL, (double)bench->lost, 0, "");
    bench_report_number(r, "refused", bench->refused ? "requests refused" : NULL, (double)bench->refused, 0, "");
    bench_report_number(r, "rate_limited", bench->limited ? "  of them rate_limited" : NULL, (double)bench->limited, 0,
                        "");
    double strays = (double)client_strays(bench->client);
    bench_report_number(r, "stray_answers", strays > 0 ? "answers to no request" : NULL, strays, 0, "");
    bench_report_number(r, "interrupted", NULL, bench->interrupted, 0, "");
    bench_report_number(r, "faulty", NULL, bench->faulty, 0, "");
    const char *verdict = bench->faulty        ? "FAULTY: something was lost, doubled, refused or late"
                          : bench->interrupted ? "interrupted: results so far"
                                               : "nothing lost, doubled or refused";
    bench_report_text(r, "verdict", "verdict", verdict);
}

void bench_report_rate(struct bench *bench, const char *key, const char *label, uint64_t amount, double seconds)
{
    bench_report_number(&bench->report, key, label, seconds > 0 ? (double)amount / seconds : NAN, 0, "/s");
}

/* ---- contents ---- */

char *bench_content_new(const struct bench *bench)
{
    size_t n = (size_t)bench->options->size;
    char *content = malloc(n + 1);

    if (content) {
        for (size_t i = 0; i < n; i++)
            content[i] = "magpies chatter "[i % 16];
        content[n] = '\0';
    }
    return content;
}

void bench_content_stamp(char *content, uint64_t us)
{
    for (int i = STAMP - 1; i >= 0; i--, us >>= 4)
        content[i] = "0123456789abcdef"[us & 15];
}

uint64_t bench_content_time(struct slice message)
{
    struct client_field field = CLIENT_FIELD("content");
    uint64_t us = 0;

    if (client_fields_read(message, &field, 1) != 1 || field.value.n < STAMP + 2)
        return 0;
    for (int i = 1; i <= STAMP; i++) {
        int c = (unsigned char)field.value.p[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return 0;
        us = us << 4 | (uint64_t)digit;
    }
    return us;
}

/* ---- pauses ---- */

static void on_resume(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    struct bench_pacer *pacer = timer->data;

    (void)loop;
    (void)revents;
    pacer->resume(pacer->state);
}

void bench_pacer_init(struct bench_pacer *pacer, struct bench *bench, void (*resume)(void *state), void *state)
{
    *pacer = (struct bench_pacer){.bench = bench, .resume = resume, .state = state};
    ev_timer_init(&pacer->timer, on_resume, 0, 0);
    pacer->timer.data = pacer;
}

void bench_pacer_pause(struct bench_pacer *pacer, int64_t ms)
{
    if (!ev_is_active(&pacer->timer)) {
        ev_timer_set(&pacer->timer, (double)ms / 1e3, 0);
        ev_timer_start(pacer->bench->loop, &pacer->timer);
    }
}

bool bench_pacer_paused(const struct bench_pacer *pacer)
{
    return ev_is_active(&pacer->timer);
}
void bench_pacer_stop(struct bench_pacer *pacer)
{
    ev_timer_stop(pacer->bench->loop, &pacer->timer);
}
