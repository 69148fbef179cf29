#include "core/server/server.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/notify.h"
#include "core/config/config.h"
#include "core/hub/shard/figures.h"
#include "core/hub/hub.h"
#include "core/server/server_private.h"
#include "core/server/settings.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    TELL_MS = 1000,     /* that a failed start waits for a standard error that nobody reads */
    LAST_LINE_MS = 100, /* that a second signal waits for its line */
};
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

static void on_term(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)loop, (void)events;
    struct server *s = w->data;
    const char *name = w->signum == SIGTERM ? "SIGTERM" : "SIGINT";
    if (!s->draining) {
        drain_begin(s, name, s->config->timeouts.drain);
        return;
    }
    /* Meant: at once. Everything acknowledged is as safe as after kill -9. */
    log_event(LOG_WARN, "server.stop", LOG_STR("reason", "second signal"), LOG_STR("signal", name));
    log_flush(LAST_LINE_MS);
    _exit(1);
}

static void on_hup(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)loop, (void)events;
    struct server *s = w->data;
    if (s->draining)
        return;
    notify_reloading();
    reload_file(s);
    notify("READY=1\nSTATUS=serving");
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
    (void)heap_breathe(&s->heap, stats.connections, figures_resident());
}

static void watch(struct server *s)
{
    ev_signal_init(&s->term, on_term, SIGTERM);
    ev_signal_init(&s->intr, on_term, SIGINT);
    ev_signal_init(&s->hup, on_hup, SIGHUP);
    ev_timer_init(&s->breath, on_breath, BREATH_SECONDS, BREATH_SECONDS);
    s->term.data = s->intr.data = s->hup.data = s->breath.data = s;
    ev_timer_start(s->loop, &s->breath);
    ev_signal_start(s->loop, &s->term);
    ev_signal_start(s->loop, &s->intr);
    ev_signal_start(s->loop, &s->hup);
    drain_init(s);
    mailbox_init(&s->mail, wake_main, s);
    ev_async_init(&s->mailed, on_mail);
    s->mailed.data = s;
    ev_async_start(s->loop, &s->mailed);
}

static int serve(struct server *s)
{
    sigset_t ours, before;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is a full disk: the write fails, and the store deals with it */
    s->loop = ev_default_loop(EVFLAG_AUTO);
    if (!s->loop)
        return server_fail(s, "libev finds no way to wait for events");
    watch(s);
    /* Threads inherit the mask: signals are the main thread's, and none is lost while it starts. */
    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ours, &before);
    int rc = parts_open(s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return -1;
    ev_run(s->loop, 0);
    /* From here on nobody looks at signals: who cannot wait ends the process in the plain way. */
    ev_signal_stop(s->loop, &s->term);
    ev_signal_stop(s->loop, &s->intr);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
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
    if (log_start() == 0)
        return 0;
    tell("magpied: ", SLICE_LIT("the log's thread cannot be started"), "\n");
    return -1;
}

int server_run(const char *config_path)
{
    struct server s = {.config_path = config_path};
    struct buf errors = BUF_INIT;
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
    log_stop();
    return rc == 0 ? 0 : 1;
}
