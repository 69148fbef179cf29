#include "core/server/drain.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/notify.h"
#include "core/console/console.h"
#include "core/hub/hub.h"
#include "core/hub/shard/figures.h"
#include "core/server/server_private.h"

/* How far the clients' retries are spread: a second, and for many clients so that no more than some 20,000 come back in
 * one. */
static uint32_t spread_of(uint32_t connections)
{
    return 1000 + connections / 20;
}

/* On a shard's thread. */
static void hub_is_drained(void *ctx)
{
    struct server *s = ctx;
    ev_async_send(s->loop, &s->drained);
}

static void on_drained(struct ev_loop *loop, ev_async *w, int events)
{
    (void)w, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void on_drain_limit(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)events;
    struct server *s = w->data;
    struct hub_stats stats;
    hub_get_stats(s->hub, &stats);
    log_event(LOG_WARN, "server.drain_timeout", LOG_INT("connections", stats.connections));
    ev_break(loop, EVBREAK_ALL);
}

void drain_begin(struct server *s, const char *because, double limit)
{
    struct hub_stats stats;
    hub_get_stats(s->hub, &stats);
    ev_timer_stop(s->loop, &s->drain_limit);
    if (limit > 0) {
        /* What is left after that (the threads, the store) must fit into the timeout too. */
        ev_timer_set(&s->drain_limit, limit > 5 ? limit - 1 : limit * 0.8, 0.);
        ev_timer_start(s->loop, &s->drain_limit);
    }
    if (s->draining)
        return;
    s->draining = true;
    console_set_state(s->console, "draining");
    s->drain_began = clock_mono_ms();
    log_event(LOG_INFO, "server.drain", LOG_STR("signal", because), LOG_INT("connections", stats.connections),
              LOG_INT("timeout_ms", limit * 1000));
    notify("STOPPING=1\nSTATUS=draining");
    hub_drain(s->hub, spread_of(stats.connections), hub_is_drained, s);
}

void drain_init(struct server *s)
{
    ev_async_init(&s->drained, on_drained);
    ev_init(&s->drain_limit, on_drain_limit);
    s->drained.data = s->drain_limit.data = s;
    ev_async_start(s->loop, &s->drained);
}
