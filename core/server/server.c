#include "core/server/server.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/log_security.h"
#include "core/base/notify.h"
#include "core/config/config.h"
#include "core/config/machine.h"
#include "core/hub/hub.h"
#include "core/hub/shard/figures.h"
#include "core/hub/shard/process.h"
#include "core/server/drain.h"
#include "core/server/parts.h"
#include "core/server/server_private.h"
#include "core/server/settings.h"
#include "core/server/signals.h"
#include "storage/store.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TELL_MS = 1000 };  /* that a failed start waits for a standard error that nobody reads */
#define BREATH_SECONDS 5. /* between two looks at whether memory is to be given back */

/* To the one who started the server, after what the log has said. A start that failed ends, whoever reads or not. */
static void tell(const char *lead, struct slice why, const char *tail)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    log_flush(TELL_MS);
    if (poll(&ready, 1, TELL_MS) > 0)
        fprintf(stderr, "%s%.*s%s", lead, (int)why.n, why.p, tail);
}

int server_fail(const struct server *s, const char *why)
{
    tell("magpied: ", slice_str(why), "\n");
    if (s->config && s->config->log.file)
        log_event(LOG_ERROR, "server.failed", LOG_STR("error", why));
    notify("STATUS=failed to start");
    return -1;
}

static void on_mail(struct ev_loop *loop, ev_async *w, int events)
{
    (void)loop, (void)events;
    struct server *s = w->data;
    mailbox_run(&s->mail, s);
}

static void wake_main(void *ctx)
{
    struct server *s = ctx;
    ev_async_send(s->loop, &s->mailed);
}

static void on_breath(struct ev_loop *loop, ev_timer *w, int events)
{
    struct server *s = w->data;
    struct hub_stats stats;
    (void)loop, (void)events;
    hub_get_stats(s->hub, &stats);
    (void)heap_breathe(&s->heap, stats.connections, process_resident());
}

static void watch(struct server *s)
{
    ev_timer_init(&s->breath, on_breath, BREATH_SECONDS, BREATH_SECONDS);
    s->breath.data = s;
    ev_timer_start(s->loop, &s->breath);
    signals_watch(s);
    drain_init(s);
    mailbox_init(&s->mail, wake_main, s);
    ev_async_init(&s->mailed, on_mail);
    s->mailed.data = s;
    ev_async_start(s->loop, &s->mailed);
}

/* libev has no other way to report these, and would abort(). `what`: "(libev) error creating …". */
static void libev_failed(const char *what)
{
    char why[WHY_MAX];
    snprintf(why, sizeof why, "%s: %s", what, strerror(errno));
    tell("magpied: ", slice_str(why), "\n");
    _exit(1);
}

static int serve(struct server *s)
{
    ev_set_syserr_cb(libev_failed);
    s->loop = ev_default_loop(EVFLAG_AUTO);
    if (!s->loop)
        return server_fail(s, "libev finds no way to wait for events");
    watch(s);
    int rc = parts_open(s);
    signals_unblock();
    if (rc != 0)
        return -1;
    ev_run(s->loop, 0);
    /* From here on nobody looks at signals: who cannot wait ends the process in the plain way. */
    signals_leave(s);
    return 0;
}

/* Where the log goes; not 0 after telling why that is not possible. */
static int begin_log(const struct config *c)
{
    char why[WHY_MAX];
    if (log_open(c->log.file, (enum log_format)c->log.format, (enum log_level)c->log.level) != 0) {
        snprintf(why, sizeof why, "log.file: %s cannot be opened for appending: %s", c->log.file, strerror(errno));
        tell("magpied: ", slice_str(why), "\n");
        return -1;
    }
    if (log_start() != 0) {
        tell("magpied: ", SLICE_LIT("the log's thread cannot be started"), "\n");
        return -1;
    }
    if (security_open(c->log.security, (enum log_format)c->log.format) != 0) {
        snprintf(why, sizeof why, "log.security: %s cannot be opened for appending: %s", c->log.security,
                 strerror(errno));
        tell("magpied: ", slice_str(why), "\n");
        return -1;
    }
    return 0;
}

int server_run(const char *config_path)
{
    struct server s = {.config_path = config_path};
    struct buf errors = BUF_INIT;
    signals_block();
    machine_widen_stacks();
    s.config = s.boot = settings_load(NULL, config_path, &errors);
    if (!s.config)
        tell("", buf_slice(&errors), "");
    buf_free(&errors);
    if (!s.config)
        return 1;
    if (begin_log(s.config) != 0) {
        config_free(s.config);
        return 1;
    }
    int rc = serve(&s);
    uint64_t began = s.drain_began;
    parts_close(&s);
    if (rc == 0)
        log_event(LOG_INFO, "server.stop", LOG_INT("drained_ms", clock_mono_ms() - began));
    security_close();
    log_stop();
    return rc == 0 ? 0 : 1;
}

int server_leave(int status)
{
    if (!store_left_behind())
        return status;
    fflush(NULL);
    _exit(status);
}
