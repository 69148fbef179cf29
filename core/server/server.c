#include "core/server/server.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/notify.h"
#include "core/config/config.h"
#include "core/hub/shard/figures.h"
#include "core/hub/hub.h"
#include "core/server/server_private.h"
#include "core/server/settings.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define BREATH_SECONDS 5. /* between two looks at whether memory is to be given back */

int server_fail(const struct server *s, const char *why)
{
    fprintf(stderr, "magpied: %s\n", why);
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

int server_run(const char *config_path)
{
    struct server s = {.config_path = config_path};
    struct buf errors = BUF_INIT;
    s.config = s.boot = settings_load(NULL, config_path, &errors);
    if (!s.config) {
        fwrite(errors.p ? errors.p : "", 1, errors.n, stderr);
        buf_free(&errors);
        return 1;
    }
    buf_free(&errors);
    const struct config *c = s.config;
    if (log_open(c->log.file, (enum log_format)c->log.format, (enum log_level)c->log.level) != 0) {
        fprintf(stderr, "magpied: log.file: %s cannot be opened for appending\n",
                c->log.file ? c->log.file : "standard error");
        config_free(s.config);
        return 1;
    }
    int rc = serve(&s);
    uint64_t began = s.drain_began;
    parts_close(&s);
    if (rc == 0)
        log_event(LOG_INFO, "server.stop", LOG_INT("drained_ms", clock_mono_ms() - began));
    return rc == 0 ? 0 : 1;
}
