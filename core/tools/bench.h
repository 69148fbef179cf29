/*
 * A run: the loop, the client, the server's process, and phases in which the loop runs until something is reached.
 * Scenarios are written as a sequence of phases; what happens in them is in callbacks. One thread.
 */
#ifndef MAGPIE_TOOLS_BENCH_H
#define MAGPIE_TOOLS_BENCH_H

#include "core/client/client.h"
#include "core/tools/bench_proc.h"
#include "core/tools/bench_report.h"

#include <ev.h>

struct bench_options;
struct bench_scenario;
struct buf;

/* Why a phase ended. */
enum bench_end {
    BENCH_RUNNING,
    BENCH_DONE,       /* bench_phase_end() */
    BENCH_TIME,       /* its time was over */
    BENCH_STALLED,    /* no progress for --timeout seconds; said so. Later phases end at once, too */
    BENCH_INTERRUPTED /* SIGINT or SIGTERM. Later phases end at once, too */
};

struct bench {
    const struct bench_options *options;   /* borrowed */
    const struct bench_scenario *scenario; /* borrowed */
    struct ev_loop *loop;                  /* owned */
    struct client *client;                 /* owned */
    struct client_target target;           /* the server; its source changes from connection to connection */
    struct bench_report report;            /* what will be printed */
    struct ev_signal sigint, sigterm;      /* end the run */
    struct ev_timer tick;                  /* once a second: progress, stalls */
    struct ev_timer deadline;              /* of the phase */
    void (*progress)(
        struct bench *bench,
        struct buf *out);  /* called once a second for its part of the line, also when that is not shown; may be NULL */
    void *state;           /* the scenario's */
    const char *phase;     /* its name */
    double phase_start;    /* ev_now() when it began, s */
    double stalled_s;      /* since there was progress */
    uint64_t steps;        /* raised by whatever counts as progress */
    uint64_t steps_seen;   /* at the last tick */
    uint64_t opened;       /* connections so far: chooses source addresses */
    uint64_t lost;         /* connections that could not be made or ended by themselves */
    uint64_t refused;      /* requests answered with an error */
    uint64_t limited;      /* of them, rate_limited */
    uint64_t complaints;   /* lines said by bench_complain(), shown or not */
    uint32_t first_source; /* IPv4, host order; 0: the kernel's choice */
    pid_t pid;             /* of the server; 0: unknown */
    enum bench_end end;    /* of the phase under way */
    bool watched;          /* the phase under way must make progress */
    bool interrupted;      /* a signal came, or a phase stalled */
    bool faulty;           /* something was lost, doubled or refused: exit status 1 */
};

/* 0, or a negative enum err after a message. bench_fini() is for both. */
int bench_init(struct bench *bench, const struct bench_options *options, const struct bench_scenario *scenario);
/* All connections must be closed. */
void bench_fini(struct bench *bench);

/* Runs the loop for at most `seconds` (0: no limit). A watched phase ends when bench->steps stands still for
 * --timeout. */
enum bench_end bench_phase(struct bench *bench, const char *name, double seconds, bool watched);
/* Ends the phase under way, as done; from callbacks. */
void bench_phase_end(struct bench *bench);

/* A line on stderr; after ten they are only counted. */
void bench_complain(struct bench *bench, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Counts a refused request and says why; returns the ms to wait before the next: 0 unless it was rate_limited. */
int64_t bench_refused(struct bench *bench, const char *what, struct slice body);

/* A moment of the run. */
struct bench_mark {
    uint64_t us;              /* CLOCK_MONOTONIC */
    double own_cpu_s;         /* our processor time */
    struct bench_usage usage; /* the server's */
    bool known;               /* usage is set */
};
/* Reading the memory takes the kernel some milliseconds a GiB: only where it is asked for, and last. */
void bench_mark_take(struct bench *bench, struct bench_mark *mark, bool memory);
double bench_mark_seconds(const struct bench_mark *from, const struct bench_mark *to);
/* The server's processor time between the marks, s; NaN when unknown. */
double bench_mark_cpu(const struct bench_mark *from, const struct bench_mark *to);

/* Figures that every report has: at its start, the costs between two marks, the memory at a mark that has it, and
 * at its end. */
void bench_report_start(struct bench *bench);
void bench_report_cost(struct bench *bench, const struct bench_mark *from, const struct bench_mark *to);
void bench_report_memory(struct bench *bench, const struct bench_mark *mark);
void bench_report_finish(struct bench *bench);
/* `amount` in `seconds`, as a rate. */
void bench_report_rate(struct bench *bench, const char *key, const char *label, uint64_t amount, double seconds);

/* A content: 16 hex digits of the time of sending, and filler up to --size. NULL: out of memory. */
char *bench_content_new(const struct bench *bench);
/* Writes the time (CLOCK_MONOTONIC, µs) into the content. */
void bench_content_stamp(char *content, uint64_t us);
/* The time of sending from a message (a push's body); 0 when it has none. */
uint64_t bench_content_time(struct slice message);

/* What goes on after a pause that a rate limit asked for. */
struct bench_pacer {
    struct ev_timer timer;       /* runs while paused */
    struct bench *bench;         /* borrowed */
    void (*resume)(void *state); /* called when the pause is over */
    void *state;                 /* its argument */
};
void bench_pacer_init(struct bench_pacer *pacer, struct bench *bench, void (*resume)(void *state), void *state);
void bench_pacer_pause(struct bench_pacer *pacer, int64_t ms);
bool bench_pacer_paused(const struct bench_pacer *pacer);
void bench_pacer_stop(struct bench_pacer *pacer);

#endif
