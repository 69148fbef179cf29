#include "core/server/secure.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/config/config.h"
#include "core/console/console.h"
#include "core/hub/hub.h"
#include "core/hub/shard/metric.h"
#include "core/net/listener.h"
#include "core/net/stream.h"
#include "core/net/tls/context.h"
#include "core/net/tls/rows.h"
#include "core/net/tls/tickets.h"
#include "core/net/tls/tls.h"
#include "core/server/server_private.h"
#include "core/server/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TURN_SECONDS = 600 }; /* how often it is looked whether new ticket keys are due */

static struct tls_context_options options_of(const struct config *c)
{
    return (struct tls_context_options){.certificates = (const char *const *)c->tls.certificate.v,
                                        .keys = (const char *const *)c->tls.key.v,
                                        .count = c->tls.certificate.n,
                                        .own_records = c->tls.records == RECORDS_OWN};
}

/* What the clients' ports get. */
static struct tls_context *for_clients(const struct config *c, struct tls_tickets *tickets, struct buf *errors)
{
    struct tls_context_options o = options_of(c);
    return tls_context_new(&o, tickets, errors);
}

/* What consoles get: a session is not resumed, so that a new authority counts at once. */
static struct tls_context *for_consoles(const struct config *c, struct buf *errors)
{
    struct tls_context_options o = options_of(c);
    o.client_ca = c->tls.client_ca;
    o.own_records = false;
    return tls_context_new(&o, NULL, errors);
}

static bool has_certificate(const struct config *c)
{
    return c->tls.certificate.n && c->tls.certificate.n == c->tls.key.n;
}

void secure_check(const struct config *c, const char *name, struct buf *errors)
{
    struct buf lines = BUF_INIT;
    if (!has_certificate(c))
        return;
    struct tls_context *one = c->tls.client_ca ? for_consoles(c, &lines) : for_clients(c, NULL, &lines);
    tls_context_unref(one);
    for (size_t at = 0; at < lines.n;) {
        const char *end = memchr(lines.p + at, '\n', lines.n - at);
        size_t n = end ? (size_t)(end - lines.p) - at : lines.n - at;
        buf_printf(errors, "%s: %.*s\n", name, (int)n, lines.p + at);
        at += n + 1;
    }
    buf_free(&lines);
}

/* --- Opening ------------------------------------------------------------------------------------------------------ */

static void on_turn(struct ev_loop *loop, ev_timer *w, int events)
{
    struct server *s = w->data;
    (void)loop, (void)events;
    int rc = tls_tickets_turn(s->secure.tickets, (int64_t)(clock_wall_ms() / 1000));
    if (rc == 0)
        log_event(LOG_INFO, "tls.tickets", LOG_STR("keys", "turned"));
    else if (rc != 1)
        log_event(LOG_WARN, "tls.tickets", LOG_STR("because", strerror(errno)),
                  LOG_STR("kept", "new keys in memory only"));
}

/* Whether the config has a listener that speaks TLS. */
static bool is_wanted(const struct config *c)
{
    bool console = false;
    for (uint32_t i = 0; i < c->listen.console.n; i++)
        console = console || listener_is_tls(c->listen.console.v[i]);
    return console || c->listen.tcps.n || c->listen.wss.n;
}

/* --- Figures ------------------------------------------------------------------------------------------------------ */

static double read_full(struct hub *hub, void *ctx)
{
    struct tls_figures f;
    (void)hub;
    tls_figures(ctx, &f);
    return (double)f.full;
}

static double read_resumed(struct hub *hub, void *ctx)
{
    struct tls_figures f;
    (void)hub;
    tls_figures(ctx, &f);
    return (double)f.resumed;
}

static double read_failed(struct hub *hub, void *ctx)
{
    struct tls_figures f;
    (void)hub;
    tls_figures(ctx, &f);
    return (double)f.failed;
}

static double read_days(struct hub *hub, void *ctx)
{
    (void)hub;
    struct tls_context *c = tls_context_of(ctx);
    double days = tls_context_days(c);
    tls_context_unref(c);
    return days;
}

static int register_figures(struct server *s)
{
    const struct metric metrics[] = {
        {"magpie_tls_handshakes_full_total", "TLS handshakes that began a session", METRIC_COUNTER, .read = read_full},
        {"magpie_tls_handshakes_resumed_total", "TLS handshakes that resumed a session by its ticket", METRIC_COUNTER,
         .read = read_resumed},
        {"magpie_tls_handshakes_failed_total", "TLS handshakes that came to nothing", METRIC_COUNTER,
         .read = read_failed},
        {"magpie_tls_certificate_days", "Days until the first certificate expires; negative: it has", METRIC_GAUGE,
         .read = read_days}};
    for (unsigned i = 0; i < sizeof metrics / sizeof *metrics; i++) {
        struct metric m = metrics[i];
        m.ctx = s->secure.tls;
        int rc = metric_register(s->hub, &m);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int give_streams(struct server *s)
{
    s->secure.rows = calloc(s->shards, sizeof *s->secure.rows);
    for (unsigned i = 0; s->secure.rows && i < s->shards; i++) {
        struct tls_rows *rows = s->secure.rows[i] = tls_rows_new(s->secure.tls);
        if (!rows || hub_set_stream(s->hub, i, STREAM_TLS, tls_rows_stream(rows, false)) != 0 ||
            hub_set_stream(s->hub, i, STREAM_TLS_WEB, tls_rows_stream(rows, true)) != 0)
            return ERR_NOMEM;
    }
    return s->secure.rows ? 0 : ERR_NOMEM;
}

int secure_open(struct server *s)
{
    const struct config *c = s->config;
    struct buf errors = BUF_INIT;
    char why[WHY_MAX] = "";
    if (!is_wanted(c))
        return 0;
    s->secure.tickets =
        tls_tickets_new(settings_secret_directory(c), (int64_t)(clock_wall_ms() / 1000), why, sizeof why);
    if (!s->secure.tickets)
        return server_fail(s, why);
    int rc = secure_prepare(s, c, &errors);
    if (rc == 0) {
        tls_context_ref(s->secure.fresh);
        s->secure.tls = tls_new(s->secure.fresh);
        rc = s->secure.tls ? give_streams(s) : ERR_NOMEM;
        rc = rc == 0 ? register_figures(s) : rc;
    }
    if (rc != 0) {
        while (errors.n && errors.p[errors.n - 1] == '\n')
            errors.n--;
        buf_byte(&errors, '\0');
        server_fail(s, errors.n > 1 && buf_ok(&errors) ? errors.p : "tls: out of memory");
    }
    buf_free(&errors);
    if (rc != 0)
        return -1;
    secure_commit(s);
    ev_timer_init(&s->secure.turner, on_turn, TURN_SECONDS, TURN_SECONDS);
    s->secure.turner.data = s;
    ev_timer_start(s->loop, &s->secure.turner);
    ev_unref(s->loop); /* it is no reason to stay */
    return 0;
}

int secure_prepare(struct server *s, const struct config *c, struct buf *errors)
{
    secure_abandon(s);
    if (!s->secure.tickets) /* no listener speaks TLS, and none comes by a reload */
        return 0;
    if (!has_certificate(c)) {
        buf_str(errors, "tls.certificate: cannot be taken away while listeners speak TLS; restart\n");
        return ERR_INVALID;
    }
    s->secure.fresh = for_clients(c, s->secure.tickets, errors);
    if (s->secure.fresh)
        s->secure.fresh_console = for_consoles(c, errors);
    if (s->secure.fresh_console)
        return 0;
    secure_abandon(s);
    return ERR_INVALID;
}

void secure_abandon(struct server *s)
{
    tls_context_unref(s->secure.fresh);
    tls_context_unref(s->secure.fresh_console);
    s->secure.fresh = s->secure.fresh_console = NULL;
}

void secure_commit(struct server *s)
{
    if (!s->secure.fresh)
        return;
    tls_context_log(s->secure.fresh);
    tls_use(s->secure.tls, s->secure.fresh);
    console_set_tls(s->console, s->secure.fresh_console);
    s->secure.fresh = s->secure.fresh_console = NULL;
}

void secure_close(struct server *s)
{
    secure_abandon(s);
    if (ev_is_active(&s->secure.turner)) {
        ev_ref(s->loop);
        ev_timer_stop(s->loop, &s->secure.turner);
    }
    for (unsigned i = 0; s->secure.rows && i < s->shards; i++)
        tls_rows_free(s->secure.rows[i]);
    free(s->secure.rows);
    tls_free(s->secure.tls);
    tls_tickets_free(s->secure.tickets);
}
