/*
 * The result of a run: named figures in order, printed as an aligned table for people or as one JSON object for
 * machines. One thread.
 */
#ifndef MAGPIE_TOOLS_BENCH_REPORT_H
#define MAGPIE_TOOLS_BENCH_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct bench_hist;

enum {
    BENCH_REPORT_MAX = 64, /* figures of one run */
    BENCH_REPORT_TEXT = 96 /* bytes of a text figure, with its NUL */
};

/* A histogram's summary; all times in µs. */
struct bench_times {
    uint64_t count;                    /* values */
    double mean;                       /* their mean */
    uint64_t p50, p90, p99, p999, max; /* percentiles and the largest */
};

enum bench_figure_kind { BENCH_TEXT, BENCH_NUMBER, BENCH_TIMES };

struct bench_figure {
    const char *key;              /* member of the JSON object; static */
    const char *label;            /* for people; static; NULL: only in JSON */
    const char *unit;             /* for people; static */
    enum bench_figure_kind kind;  /* which of the following is set */
    int decimals;                 /* of the number, for people */
    double number;                /* NaN: not known (null, n/a) */
    struct bench_times times;     /* of a histogram */
    char text[BENCH_REPORT_TEXT]; /* copied; cut to fit */
};

struct bench_report {
    unsigned count;                                /* figures in use */
    struct bench_figure figures[BENCH_REPORT_MAX]; /* in the order of printing */
};

void bench_report_text(struct bench_report *r, const char *key, const char *label, const char *text);
void bench_report_number(struct bench_report *r, const char *key, const char *label, double number, int decimals,
                         const char *unit);
void bench_report_times(struct bench_report *r, const char *key, const char *label, const struct bench_hist *hist);
/* True when all was written. */
bool bench_report_print(const struct bench_report *r, FILE *out, bool json);

#endif
