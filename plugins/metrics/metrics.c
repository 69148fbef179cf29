/* metrics: every figure of the server, its scripts and plugins, in Prometheus's text exposition format 0.0.4, on a path
 * of the WebSocket port. */
#include "plugins/magpie_plugin.h"

#include <math.h>
#include <stdlib.h>

struct metrics {
    mp_self *self;
    const struct mp_api *mp;
    mp_current *bearer; /* what a scraper must show: a text; empty: nothing */
};

/* One scrape on its way to the main thread, which alone may read all figures. */
struct scrape {
    struct metrics *m;
    mp_http *http;
    mp_out *out;        /* owned */
    const char *family; /* name of the metric whose values are being written; NULL: none yet */
};

/* HELP texts escape the backslash and the line feed. */
static void put_help(const struct mp_api *mp, mp_out *o, const char *help)
{
    for (const char *p = help; *p; p++)
        if (*p == '\\')
            mp->out_put(o, mp_str("\\\\"));
        else if (*p == '\n')
            mp->out_put(o, mp_str("\\n"));
        else
            mp->out_put(o, mp_str_of(p, 1));
}

static void put_value(const struct mp_api *mp, mp_out *o, double v)
{
    if (isnan(v))
        mp->out_put(o, mp_str("NaN"));
    else if (isinf(v))
        mp->out_put(o, mp_str(v > 0 ? "+Inf" : "-Inf"));
    else if (v == floor(v) && fabs(v) < 9007199254740992.0)
        mp->out_printf(o, "%.0f", v);
    else
        mp->out_printf(o, "%.17g", v);
}

/* `labels` as they stand between the braces; empty: none. */
static void put_sample(const struct mp_api *mp, mp_out *o, const char *name, const char *suffix, const char *labels,
                       double v)
{
    mp->out_printf(o, *labels ? "%s%s{%s} " : "%s%s%s ", name, suffix, labels);
    put_value(mp, o, v);
    mp->out_put(o, mp_str("\n"));
}

static void put_histogram(const struct mp_api *mp, mp_out *o, const struct mp_metric_value *v)
{
    for (uint32_t i = 0; i < v->bucket_count; i++)
        mp->out_printf(o, "%s_bucket{le=\"%g\"} %llu\n", v->name, v->buckets[i].le,
                       (unsigned long long)v->buckets[i].count);
    put_sample(mp, o, v->name, "_bucket", "le=\"+Inf\"", v->value);
    put_sample(mp, o, v->name, "_sum", "", v->sum);
    put_sample(mp, o, v->name, "_count", "", v->value);
}

static void put_metric(void *ctx, const struct mp_metric_value *v)
{
    static const char *const kinds[] = {[MP_COUNTER] = "counter", [MP_GAUGE] = "gauge", [MP_HISTOGRAM] = "histogram"};
    struct scrape *s = ctx;
    const struct mp_api *mp = s->m->mp;
    if ((unsigned)v->kind > MP_HISTOGRAM)
        return; /* of a newer server */
    if (!s->family || strcmp(s->family, v->name) != 0) {
        mp->out_printf(s->out, "# HELP %s ", v->name);
        put_help(mp, s->out, v->help);
        mp->out_printf(s->out, "\n# TYPE %s %s\n", v->name, kinds[v->kind]);
        s->family = v->name;
    }
    if (v->kind == MP_HISTOGRAM)
        put_histogram(mp, s->out, v);
    else
        put_sample(mp, s->out, v->name, "", v->labels, v->value);
}

static void answer_error(const struct mp_api *mp, mp_http *http, unsigned status, const char *text)
{
    static const struct mp_http_header challenge = {"WWW-Authenticate", "Bearer"};
    struct mp_http_answer a = {
        .size = sizeof a, .status = status, .content_type = "text/plain; charset=utf-8", .body = mp_str(text)};
    if (status == 401) {
        a.headers = &challenge;
        a.header_count = 1;
    }
    mp->http_answer(http, &a);
}

static void on_main(mp_thread *here, void *ctx)
{
    struct scrape *s = ctx;
    const struct mp_api *mp = s->m->mp;
    (void)here;
    mp->metrics_each(s->m->self, put_metric, s);
    struct mp_str body = mp->out_str(s->out);
    struct mp_http_answer a = {
        .size = sizeof a, .status = 200, .content_type = "text/plain; version=0.0.4; charset=utf-8", .body = body};
    if (body.p)
        mp->http_answer(s->http, &a);
    else
        answer_error(mp, s->http, 503, "Out of memory.\n");
    mp->out_free(s->out);
    free(s);
}

static void begin_scrape(struct metrics *m, mp_http *http)
{
    struct scrape *s = calloc(1, sizeof *s);
    if (s)
        *s = (struct scrape){.m = m, .http = http, .out = m->mp->out_new(m->self)};
    if (s && s->out && m->mp->post(m->self, m->mp->main_thread(m->self), on_main, s) == MP_OK)
        return;
    if (s && s->out)
        m->mp->out_free(s->out);
    free(s);
    answer_error(m->mp, http, 503, "The server cannot answer now.\n");
}

static void on_scrape(mp_http *http, const struct mp_http_request *q, mp_thread *shard, void *ctx)
{
    struct metrics *m = ctx;
    const char *bearer = m->mp->current_get(m->bearer, shard);
    if (*bearer && !mp_same_secret(mp_str(bearer), q->bearer))
        answer_error(m->mp, http, 401, "The metrics need a bearer token.\n");
    else if (!*bearer && q->metrics && q->foreign)
        answer_error(m->mp, http, 403,
                     "Without a bearer token: ask by IP address or localhost, or name this host's origin in the "
                     "server's config (origins).\n");
    else if (!*bearer && !q->metrics && !q->local)
        answer_error(
            m->mp, http, 403,
            "Without a bearer token the metrics are for this machine alone, by IP address or localhost, and not "
            "through a proxy: give the plugin a bearer, or the metrics an address (listen.metrics).\n");
    else
        begin_scrape(m, http);
}

static const struct mp_option options[] = {
    {.name = "path",
     .type = MP_OPT_TEXT,
     .min = 1,
     .max = 200,
     .flags = MP_OPT_F_RESTART,
     .fallback = "/metrics",
     .help = "Path where the figures are read, on listen.metrics or else on the WebSocket port."},
    {.name = "bearer",
     .type = MP_OPT_TEXT,
     .flags = MP_OPT_F_SECRET,
     .help = "What a scraper must send as \"Authorization: Bearer …\"; absent: anybody on listen.metrics may read, and "
             "elsewhere who asks from this machine and not through a proxy."},
};

static void bearer_free(void *value)
{
    explicit_bzero(value, strlen(value));
    free(value);
}

/* What is not given protects nothing; what is given, and empty, the server has refused. NULL: out of memory. */
static char *bearer_new(const struct mp_api *mp, const mp_options *o)
{
    const char *text = mp->option_text(o, "bearer");
    return strdup(text ? text : "");
}

static int check(const struct mp_api *mp, void *state, const mp_options *o, char *why, size_t why_size)
{
    struct metrics *m = state;
    const char *bearer = mp->option_text(o, "bearer");
    if (mp->option_text(o, "path")[0] != '/') {
        snprintf(why, why_size, "path: must begin with \"/\"");
        return MP_EINVALID;
    }
    if (bearer && !mp_bearer_good(bearer)) {
        snprintf(why, why_size, "bearer: expected no control characters, and no blanks at its ends");
        return MP_EINVALID;
    }
    char *fresh = m ? bearer_new(mp, o) : NULL;
    snprintf(why, why_size, "out of memory");
    return !m ? MP_OK : fresh ? mp->current_prepare(m->bearer, fresh) : MP_ENOMEM;
}

static void apply(void *state, const mp_options *o)
{
    struct metrics *m = state;
    (void)o;
    m->mp->current_commit(m->bearer); /* what check() prepared */
}

static void fini(void *state)
{
    free(state);
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    struct metrics *m = calloc(1, sizeof *m);
    if (!m)
        return MP_ENOMEM;
    *m = (struct metrics){.self = self, .mp = mp};
    m->bearer = mp->current_new(self, bearer_free);
    char *bearer = m->bearer ? bearer_new(mp, o) : NULL;
    int rc = bearer ? mp->current_prepare(m->bearer, bearer) : MP_ENOMEM;
    struct mp_route route = {
        .size = sizeof route,
        .method = "GET",
        .path = mp->option_text(o, "path"),
        .handle = on_scrape,
        .ctx = m,
        .flags = MP_ROUTE_F_ANY_HOST |
                 MP_ROUTE_F_METRICS}; /* on_scrape() looks: a reload may change whether a token is asked for */
    if (rc == MP_OK) {
        mp->current_commit(m->bearer);
        rc = mp->route(self, &route);
    }
    if (rc != MP_OK) {
        fini(m);
        return rc;
    }
    *state = m;
    return MP_OK;
}

MP_PLUGIN = {MP_PLUGIN_HEAD,
             MP_OPTIONS(options),
             .name = "metrics",
             .version = "1.0",
             .summary = "Figures for Prometheus over HTTP",
             .check = check,
             .init = init,
             .apply = apply,
             .fini = fini};
