#include "core/hub/turn.h"

#include "core/base/clock.h"
#include "core/base/random.h"
#include "core/hub/act/guest.h"
#include "core/hub/act/recover.h"
#include "core/hub/act/resync.h"
#include "core/hub/host/host_delete.h"
#include "core/hub/people/ban.h"
#include "core/hub/people/grant.h"
#include "core/hub/people/session.h"
#include "core/hub/people/watch.h"
#include "core/hub/shard/shard.h"
#include "core/hub/talk/conv.h"
#include "core/hub/talk/member_news.h"
#include "core/hub/talk/news.h"
#include "core/hub/talk/offline.h"
#include "core/hub/talk/walk.h"
#include "core/net/net.h"

static const double tick_seconds = 0.25;

/* A turn ends by the time that its mails have taken, which is looked at after each handful, and by how many connections
 * they have something for. */
enum { TURN_US = 1000, TURN_UNSENT = 128, HANDFUL = 16 };

static void on_wake(struct ev_loop *loop, ev_async *w, int events)
{
    (void)events;
    struct shard *s = w->data;
    uint64_t end = clock_mono_us() + TURN_US;
    bool more;
    do
        more = mailbox_run_some(&s->mailbox, s, HANDFUL);
    while (more && net_unsent(s->net) < TURN_UNSENT && clock_mono_us() < end);
    if (more)
        ev_async_send(loop, w);
}

void turn_wake(void *ctx)
{
    struct shard *s = ctx;
    ev_async_send(s->loop, &s->wake);
}

static void on_woke(struct ev_loop *loop, ev_check *w, int events)
{
    (void)loop, (void)events;
    struct shard *s = w->data;
    s->now_ms = clock_mono_ms();
    s->bunching = true;
    figures_turn(s);
}

static void on_busy(struct ev_loop *loop, ev_idle *w, int events)
{
    (void)loop, (void)w, (void)events;
}

/* Says goodbye to whoever has nothing under way; those who have, when they are answered. Some of them each turn, since
 * those answers must get out meanwhile. A node that is cut off goes on to listen: who has not logged in is told so at
 * the first frame, and who asks by HTTP is answered. */
static void drain_step(struct shard *s)
{
    enum { VISITS = 4096 };
    uint32_t i = net_next(s->net, s->drain_at);
    for (unsigned n = 0; i != CONN_NONE && n < VISITS && net_unsent(s->net) < TURN_UNSENT;
         n++, i = net_next(s->net, i + 1)) {
        struct conn *k = conn_at(s->net, i);
        struct session *x = k->session;
        if (k->flags & CONN_F_CLOSING || !(s->draining || k->flags & CONN_F_READY))
            continue;
        if (x && x->inflight)
            x->closing = true;
        else
            conn_close(s->net, i, CLOSE_SHUTDOWN, NULL, 1 + random_below(s->drain_spread_ms + 1));
    }
    s->drain_at = i == CONN_NONE ? 0 : i;
    if (s->draining && !s->drained && net_count(s->net) == 0 && s->reqs == 0 && s->ops == 0) {
        s->drained = true;
        if (atomic_fetch_add(&s->hub->drained, 1) + 1 == s->hub->shard_count)
            s->hub->drain_done(s->hub->drain_ctx);
    }
}

static void on_turn(struct ev_loop *loop, ev_prepare *w, int events)
{
    (void)events;
    struct shard *s = w->data;
    s->bunching = false;
    store_kick(s->store); /* before the walks, which take longer than the rest */
    if (s->drain_at)
        drain_step(s);
    bool left = s->watches && watch_step(s);
    if (chans_walk(s) || left || s->drain_at)
        ev_idle_start(loop, &s->busy);
    else
        ev_idle_stop(loop, &s->busy);
}

static void on_tick(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop, (void)events;
    struct shard *s = w->data;
    convs_sweep(s);
    bans_tick(s);
    grants_tick(s);
    figures_tick(s);
    guests_owed_tick(s);
    deletions_tick(s);
    member_news_tick(s);
    news_tick(s);
    missed_tick(s);
    watch_tick(s);
    if (s->index == 0)
        note_sweep_tick(s);
    resync_tick(s);
    recover_tick(s);
    if (s->index == 0)
        guests_tick(s);
    if (s->draining || s->halted & HALT_ISOLATED)
        drain_step(s);
    uint64_t memory = net_memory(s->net) + pool_memory(&s->users) + pool_memory(&s->subs) + pool_memory(&s->chans) +
                      pool_memory(&s->convs) + table_memory(&s->user_ids) + table_memory(&s->sub_keys) +
                      table_memory(&s->chan_names) + table_memory(&s->conv_keys);
    atomic_store_explicit(&s->memory, memory, memory_order_relaxed);
}

void turn_start(struct shard *s)
{
    ev_async_init(&s->wake, on_wake);
    ev_check_init(&s->woke, on_woke);
    ev_prepare_init(&s->turn, on_turn);
    ev_idle_init(&s->busy, on_busy);
    ev_timer_init(&s->tick, on_tick, tick_seconds, tick_seconds);
    s->wake.data = s->woke.data = s->turn.data = s->busy.data = s->tick.data = s;
    /* First of all the time; and walks before the net flushes what they queue. */
    ev_set_priority(&s->woke, EV_MAXPRI);
    ev_set_priority(&s->turn, EV_MAXPRI);
    ev_async_start(s->loop, &s->wake);
    ev_check_start(s->loop, &s->woke);
    ev_prepare_start(s->loop, &s->turn);
    ev_timer_start(s->loop, &s->tick);
}
