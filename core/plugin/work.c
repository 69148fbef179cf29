/*
 * Worker threads, where plugins may block. Made when there is work and none is idle, at most WORKERS; they stay until
 * the end. No plugin gets more than EACH of them, so that one whose remote service hangs does not stop the others.
 */
#include "core/plugin/work.h"

#include "core/plugin/plugin_private.h"
#include "core/plugin/threads.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORKERS = 8, EACH = 4 };
_Static_assert(sizeof((struct plugins *)0)->threads_of_work / sizeof(pthread_t) == WORKERS, "a place each");

struct work {
    struct mail mail; /* for the way home */
    struct work *next;
    struct mp_self *plugin;
    void (*run)(void *ctx);
    struct mp_thread *home;
    mp_thread_fn done;
    void *ctx;
};

static void work_home(void *owner, struct mail *m)
{
    struct work *w = (struct work *)m;
    struct mp_self *p = w->plugin;
    (void)owner;
    if (w->done) {
        struct visit v = visit_begin(w->home, p, "the end of work");
        w->done(w->home, w->ctx);
        visit_end(w->home, &v);
    }
    free(w);
    plugin_end(p, PENDING_WORKS);
}

/* The first work whose plugin may have another worker; out of the queue. Under the lock. */
static struct work *take(struct plugins *ps)
{
    for (struct work **at = &ps->first; *at; at = &(*at)->next) {
        struct work *w = *at;
        if (w->plugin->working >= EACH || atomic_load(&w->plugin->holding))
            continue;
        *at = w->next;
        if (!w->next)
            ps->last = at;
        w->next = NULL;
        w->plugin->working++;
        return w;
    }
    return NULL;
}

static void *worker(void *arg)
{
    struct plugins *ps = arg;
    pthread_setname_np(pthread_self(), "plugin-work");
    pthread_mutex_lock(&ps->lock);
    for (;;) {
        struct work *w = take(ps);
        if (!w && ps->ending)
            break;
        if (!w) {
            ps->idle++;
            pthread_cond_wait(&ps->wake, &ps->lock);
            ps->idle--;
            continue;
        }
        pthread_mutex_unlock(&ps->lock);
        struct running before = running_set((struct running){"plugin", w->plugin->name, "work"});
        w->run(w->ctx);
        running_set(before);
        pthread_mutex_lock(&ps->lock);
        w->plugin->working--;
        if (ps->first) /* one that was held back by its plugin's share may go now */
            pthread_cond_signal(&ps->wake);
        bool lost = ps->abandoned;
        w->mail.run = work_home;
        if (!lost) /* else there may be no mailbox any more */
            mailbox_post(w->home->mailbox, &w->mail);
    }
    pthread_mutex_unlock(&ps->lock);
    return NULL;
}

/* Under the lock. False: there is no worker at all. */
static bool staff(struct plugins *ps)
{
    if (ps->idle == 0 && ps->workers < WORKERS) {
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (pthread_create(&ps->threads_of_work[ps->workers], NULL, worker, ps) == 0)
            ps->workers++;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    return ps->workers > 0;
}

int work_start(mp_self *p, void (*run)(void *ctx), mp_thread *home, mp_thread_fn done, void *ctx)
{
    struct plugins *ps = p->plugins;
    if (!run)
        return MP_EINVALID;
    struct work *w = calloc(1, sizeof *w);
    if (!w)
        return MP_ENOMEM;
    *w = (struct work){.plugin = p, .run = run, .home = home ? home : &ps->threads[0], .done = done, .ctx = ctx};
    if (!plugin_begin(p, PENDING_WORKS)) {
        free(w);
        return MP_ECLOSED;
    }
    pthread_mutex_lock(&ps->lock);
    bool staffed = staff(ps);
    if (staffed) {
        *ps->last = w;
        ps->last = &w->next;
        pthread_cond_signal(&ps->wake);
    }
    pthread_mutex_unlock(&ps->lock);
    if (staffed)
        return 0;
    free(w);
    plugin_end(p, PENDING_WORKS);
    return MP_EIO;
}

void work_release(struct mp_self *p)
{
    struct plugins *ps = p->plugins;
    pthread_mutex_lock(&ps->lock);
    pthread_cond_broadcast(&ps->wake);
    pthread_mutex_unlock(&ps->lock);
}

void work_cancel(struct mp_self *p)
{
    struct plugins *ps = p->plugins;
    pthread_mutex_lock(&ps->lock);
    for (struct work **at = &ps->first; *at;) {
        struct work *w = *at;
        if (w->plugin != p) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        free(w);
        plugin_end(p, PENDING_WORKS);
    }
    ps->last = &ps->first;
    while (*ps->last)
        ps->last = &(*ps->last)->next;
    pthread_mutex_unlock(&ps->lock);
}

void workers_end(struct plugins *ps)
{
    pthread_mutex_lock(&ps->lock);
    ps->ending = true;
    pthread_cond_broadcast(&ps->wake);
    pthread_mutex_unlock(&ps->lock);
    for (unsigned i = 0; i < ps->workers; i++)
        pthread_join(ps->threads_of_work[i], NULL);
    ps->workers = 0;
}
