/* The result of a run: see bench_report.h. */
#include "core/tools/bench_report.h"

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/tools/bench_hist.h"

#include <math.h>
#include <string.h>

enum { LABEL_WIDTH = 28 };

static struct bench_figure *figure_new(struct bench_report *r, const char *key, const char *label,
                                       enum bench_figure_kind kind)
{
    ASSERT(r->count < BENCH_REPORT_MAX);
    struct bench_figure *figure = &r->figures[r->count++];
    *figure = (struct bench_figure){.key = key, .label = label, .unit = "", .kind = kind};
    return figure;
}

void bench_report_text(struct bench_report *r, const char *key, const char *label, const char *text)
{
    struct bench_figure *figure = figure_new(r, key, label, BENCH_TEXT);
    snprintf(figure->text, sizeof(figure->text), "%s", text);
}

void bench_report_number(struct bench_report *r, const char *key, const char *label, double number, int decimals,
                         const char *unit)
{
    struct bench_figure *figure = figure_new(r, key, label, BENCH_NUMBER);
    figure->number = number;
    figure->decimals = decimals;
    figure->unit = unit;
}

void bench_report_times(struct bench_report *r, const char *key, const char *label, const struct bench_hist *hist)
{
    struct bench_figure *figure = figure_new(r, key, label, BENCH_TIMES);
    figure->times = (struct bench_times){
        .count = hist->count,
        .mean = bench_hist_mean(hist),
        .p50 = bench_hist_percentile(hist, 50),
        .p90 = bench_hist_percentile(hist, 90),
        .p99 = bench_hist_percentile(hist, 99),
        .p999 = bench_hist_percentile(hist, 99.9),
        .max = hist->max,
    };
}

/* 1234567.8 → "1,234,567.8". */
static void number_text(double number, int decimals, char *out, size_t cap)
{
    char plain[64];
    int n = snprintf(plain, sizeof(plain), "%.*f", decimals, number);
    const char *dot = strchr(plain, '.');
    int whole = dot ? (int)(dot - plain) : n;
    size_t at = 0;

    for (int i = 0; i < n && at + 2 < cap; i++) {
        if (i > 0 && i < whole && (whole - i) % 3 == 0 && plain[i - 1] != '-')
            out[at++] = ',';
        out[at++] = plain[i];
    }
    out[at] = '\0';
}

/* Three digits and the unit that suits. */
static void time_text(uint64_t us, char *out, size_t cap)
{
    double v = (double)us;
    if (us < 1000) {
        snprintf(out, cap, "%.0f µs", v);
    } else if (us < 1000000) {
        v /= 1e3;
        snprintf(out, cap, "%.*f ms", v < 10 ? 2 : v < 100 ? 1 : 0, v);
    } else {
        v /= 1e6;
        snprintf(out, cap, "%.*f s", v < 10 ? 2 : 1, v);
    }
}

static void times_line(const struct bench_times *t, struct buf *out)
{
    const struct {
        const char *name;
        uint64_t us;
    } parts[] = {{"p50", t->p50}, {"p90", t->p90}, {"p99", t->p99}, {"p99.9", t->p999}, {"max", t->max}};

    if (t->count == 0) {
        buf_lit(out, "n/a");
        return;
    }
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char text[32];
        time_text(parts[i].us, text, sizeof(text));
        buf_printf(out, "%s%s %s", i ? "   " : "", parts[i].name, text);
    }
}

static void figure_line(const struct bench_figure *f, struct buf *out)
{
    char text[64];

    buf_printf(out, "  %-*s", LABEL_WIDTH, f->label);
    if (f->kind == BENCH_TEXT) {
        buf_str(out, f->text);
    } else if (f->kind == BENCH_TIMES) {
        times_line(&f->times, out);
    } else if (isnan(f->number)) {
        buf_lit(out, "n/a");
    } else {
        number_text(f->number, f->decimals, text, sizeof(text));
        buf_printf(out, "%12s %s", text, f->unit);
    }
    buf_byte(out, '\n');
}

static void figure_json(const struct bench_figure *f, struct buf *out)
{
    buf_json_string(out, slice_str(f->key));
    buf_byte(out, ':');
    if (f->kind == BENCH_TEXT) {
        buf_json_string(out, slice_str(f->text));
    } else if (f->kind == BENCH_TIMES) {
        const struct bench_times *t = &f->times;
        buf_printf(out,
                   "{\"count\":%llu,\"mean\":%.1f,\"p50\":%llu,\"p90\":%llu,\"p99\":%llu,\"p999\":%llu,\"max\":%llu}",
                   (unsigned long long)t->count, t->mean, (unsigned long long)t->p50, (unsigned long long)t->p90,
                   (unsigned long long)t->p99, (unsigned long long)t->p999, (unsigned long long)t->max);
    } else if (isfinite(f->number)) {
        buf_printf(out, f->number == floor(f->number) && fabs(f->number) < 1e15 ? "%.0f" : "%.9g", f->number);
    } else {
        buf_lit(out, "null");
    }
}

bool bench_report_print(const struct bench_report *r, FILE *out, bool json)
{
    struct buf text = BUF_INIT;

    for (unsigned i = 0; i < r->count; i++) {
        const struct bench_figure *f = &r->figures[i];
        if (json) {
            buf_byte(&text, i ? ',' : '{');
            figure_json(f, &text);
        } else if (f->label) {
            figure_line(f, &text);
        }
    }
    if (json)
        buf_lit(&text, "}\n");
    bool written = buf_ok(&text) && fwrite(text.p, 1, text.n, out) == text.n && fflush(out) == 0;
    buf_free(&text);
    return written;
}
