/* A plugin that holds a thread: nobody can take it away from it, but it can be named. Once a second, on the main
 * thread. */
#include "core/plugin/watch.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/plugin/plugin_private.h"

enum { SLOW_MS = 1000 };

static void on_watch(struct ev_loop *loop, ev_timer *w, int events)
{
    struct plugins *ps = w->data;
    (void)loop, (void)events;
    for (unsigned i = 1; i < ps->thread_count; i++) {
        struct mp_thread *t = &ps->threads[i];
        struct mp_self *p = atomic_load_explicit(&t->in, memory_order_acquire);
        uint64_t since = atomic_load_explicit(&t->since_ms, memory_order_acquire);
        uint64_t now = clock_mono_ms();
        if (!p || now - since < SLOW_MS || now < since)
            continue;
        /* Each second doubles: 1, 2, 4 … so that a hang is told of without flooding. */
        if (t->told_ms && now - since < 2 * t->told_ms)
            continue;
        t->told_ms = now - since;
        const char *doing = atomic_load_explicit(&t->doing, memory_order_relaxed);
        log_event(LOG_WARN, "plugin.slow", LOG_STR("plugin", p->name), LOG_INT("shard", t->index),
                  LOG_STR("in", doing ? doing : "?"), LOG_INT("ms", now - since));
    }
    for (unsigned i = 1; i < ps->thread_count; i++)
        if (!atomic_load_explicit(&ps->threads[i].in, memory_order_relaxed))
            ps->threads[i].told_ms = 0;
}

void watch_start(struct plugins *ps)
{
    ev_timer_init(&ps->watch, on_watch, 1., 1.);
    ps->watch.data = ps;
    ev_timer_start(ps->env.loop, &ps->watch);
    ev_unref(ps->env.loop); /* it alone is no reason to go on */
}

void watch_stop(struct plugins *ps)
{
    ev_ref(ps->env.loop);
    ev_timer_stop(ps->env.loop, &ps->watch);
}
