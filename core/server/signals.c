/*
 * Which signal does what. Any that has no meaning here is logged and ignored: by default it would end the process
 * without a drain, and a stray one (a `kill -USR1` meant for another program) must not cost anybody a connection.
 */
#include "core/server/signals.h"

#include "core/base/log.h"
#include "core/base/notify.h"
#include "core/config/config.h"
#include "core/server/drain.h"
#include "core/server/reload.h"
#include "core/server/server_private.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { LAST_LINE_MS = 100 }; /* that a second signal waits for its line */

enum meaning {
    MEANS_END,  /* drain; a second one ends the process at once */
    MEANS_LAST, /* drain; more of them change nothing: the system repeats SIGXCPU each second */
    MEANS_RELOAD,
    MEANS_NOTHING
};

static const struct {
    int number;
    enum meaning meaning;
    const char *name;
} known[] = {
    {SIGTERM, MEANS_END, "SIGTERM"},         {SIGINT, MEANS_END, "SIGINT"},       {SIGQUIT, MEANS_END, "SIGQUIT"},
    {SIGPWR, MEANS_LAST, "SIGPWR"},          {SIGXCPU, MEANS_LAST, "SIGXCPU"},    {SIGHUP, MEANS_RELOAD, "SIGHUP"},
    {SIGUSR1, MEANS_NOTHING, "SIGUSR1"},     {SIGUSR2, MEANS_NOTHING, "SIGUSR2"}, {SIGALRM, MEANS_NOTHING, "SIGALRM"},
    {SIGVTALRM, MEANS_NOTHING, "SIGVTALRM"}, {SIGPROF, MEANS_NOTHING, "SIGPROF"}, {SIGIO, MEANS_NOTHING, "SIGIO"},
    {SIGSTKFLT, MEANS_NOTHING, "SIGSTKFLT"},
};
_Static_assert(sizeof known / sizeof known[0] == SIGNALS_KNOWN, "server_private.h counts them");

static void on_end(struct server *s, const char *name, bool again)
{
    if (!s->draining) {
        drain_begin(s, name, s->config->timeouts.drain);
    } else if (again) {
        /* Meant: at once. Everything acknowledged is as safe as after kill -9. */
        log_event(LOG_WARN, "server.stop", LOG_STR("reason", "second signal"), LOG_STR("signal", name));
        log_flush(LAST_LINE_MS);
        _exit(1);
    }
}

static void on_hup(struct server *s)
{
    if (s->draining)
        return;
    notify_reloading();
    reload_file(s);
    notify("READY=1\nSTATUS=serving");
}

static void on_signal(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)loop, (void)events;
    struct server *s = w->data;
    size_t i = (size_t)(w - s->signals);
    switch (known[i].meaning) {
    case MEANS_END:
    case MEANS_LAST:
        on_end(s, known[i].name, known[i].meaning == MEANS_END);
        break;
    case MEANS_RELOAD:
        on_hup(s);
        break;
    case MEANS_NOTHING:
        log_event(LOG_INFO, "signal.ignored", LOG_STR("signal", known[i].name));
        break;
    }
}

void signals_block(void)
{
    sigset_t ours;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is a full disk: the write fails, and the store deals with it */
    for (int n = SIGRTMIN; n <= SIGRTMAX; n++)
        signal(n, SIG_IGN);
    sigemptyset(&ours);
    for (size_t i = 0; i < SIGNALS_KNOWN; i++)
        sigaddset(&ours, known[i].number);
    pthread_sigmask(SIG_BLOCK, &ours, NULL);
}

bool signals_end_waits(void)
{
    sigset_t pending;
    bool waits = false;
    for (size_t i = 0; sigpending(&pending) == 0 && i < SIGNALS_KNOWN; i++)
        waits |= known[i].meaning <= MEANS_LAST && sigismember(&pending, known[i].number) == 1;
    return waits;
}

void signals_watch(struct server *s)
{
    for (size_t i = 0; i < SIGNALS_KNOWN; i++) {
        ev_signal_init(&s->signals[i], on_signal, known[i].number);
        s->signals[i].data = s;
        ev_signal_start(s->loop, &s->signals[i]);
    }
}

void signals_unblock(void)
{
    sigset_t ours;
    sigemptyset(&ours);
    for (size_t i = 0; i < SIGNALS_KNOWN; i++)
        sigaddset(&ours, known[i].number);
    pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
}

void signals_leave(struct server *s)
{
    for (size_t i = 0; i < SIGNALS_KNOWN; i++) {
        ev_signal_stop(s->loop, &s->signals[i]);
        signal(known[i].number, known[i].meaning == MEANS_END ? SIG_DFL : SIG_IGN);
    }
}
