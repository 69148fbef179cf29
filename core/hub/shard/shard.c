#include "core/hub/shard/shard.h"

#include "core/base/clock.h"
#include "core/base/frame.h"
#include "core/base/log.h"
#include "core/base/random.h"
#include "core/hub/people/ban.h"
#include "core/hub/registry/hook.h"
#include "core/hub/registry/route.h"
#include "core/hub/act/login.h"
#include "core/hub/registry/tables.h"
#include "core/hub/people/chan.h"
#include "core/hub/talk/conv.h"
#include "core/hub/act/guest.h"
#include "core/hub/people/session.h"
#include "core/hub/people/trace.h"
#include "core/hub/people/user.h"
#include "core/hub/talk/walk.h"
#include "core/hub/shard/why.h"

#include <stdio.h>
#include <stdlib.h>

static const double tick_seconds = 0.25;

void shard_post(struct shard *from, struct shard *to, struct mail *m)
{
    if (from && from == to)
        m->run(to, m);
    else
        mailbox_post(&to->mailbox, m);
}

struct shard *shard_of(const struct hub *hub, struct slice key)
{
    /* Not the hash that the tables use, or every table would see a part of its values only. */
    return hub->shards[(hash_stable(key) >> 20) % hub->shard_count];
}

void options_drop(struct options_box *box)
{
    if (box && atomic_fetch_sub(&box->users, 1) == 1)
        free(box);
}

/* --- What the net tells ------------------------------------------------------------------------------------------- */

static void on_opened(void *owner, uint32_t conn)
{
    struct shard *s = owner;
    figure_add(&s->figures.opened, 1);
    if (s->bans) {
        char ip[64];
        conn_peer(s->net, conn, ip, sizeof ip);
        if (ban_ip(s, ip)) {
            conn_close(s->net, conn, CLOSE_KICKED, "this address is banned", 0);
            return;
        }
    }
    if (conn_at(s->net, conn)->flags & CONN_F_RAW) {
        upgrades_opened(s, conn);
        return;
    }
    if (hooks_any(s, HOOK_CONNECT)) {
        char ip[64];
        conn_peer(s->net, conn, ip, sizeof ip);
        struct hook_call h = {.shard = s,
                              .conn = conn,
                              .ip = slice_str(ip),
                              .websocket = conn_at(s->net, conn)->transport == CONN_WEBSOCKET};
        uint32_t generation = conn_at(s->net, conn)->generation;
        if (hooks_run(HOOK_CONNECT, &h) == HOOK_REJECT)
            conn_close(s->net, conn, CLOSE_KICKED, h.message, 0);
        if (!conn_find(s->net, conn, generation))
            return;
    }
    if (s->draining)
        conn_close(s->net, conn, CLOSE_SHUTDOWN, NULL, 1 + random_below(s->drain_spread_ms + 1));
}

static enum conn_verdict on_message(void *owner, uint32_t conn, const struct net_message *m)
{
    struct shard *s = owner;
    if (__builtin_expect(conn_at(s->net, conn)->flags & CONN_F_RAW, 0)) {
        upgrades_message(s, conn, m->text, m->body);
        return CONN_CONTINUE;
    }
    atomic_fetch_add_explicit(&s->requests, 1, memory_order_relaxed);
    if (conn_at(s->net, conn)->flags & CONN_F_TRACE)
        trace_message(s, conn, m);
    return dispatch(s, conn, m);
}

static void on_closing(void *owner, uint32_t conn, enum close_reason reason)
{
    struct shard *s = owner;
    (void)reason;
    const struct conn *k = conn_at(s->net, conn);
    if (k->flags & CONN_F_RAW) {
        upgrades_closing(s, conn);
        return;
    }
    if (k->flags & CONN_F_TRACE)
        trace_close(s, conn);
    if (hooks_any(s, HOOK_CLOSE)) {
        struct hook_call h = {.shard = s, .conn = conn, .message = close_reason_name(reason)};
        if (k->user != NONE) {
            user_pin(s, k->user);
            h.user = user_id(user_at(s, k->user));
            h.user_name = user_name(user_at(s, k->user));
        }
        uint32_t user = k->user;
        hooks_run(HOOK_CLOSE, &h);
        if (user != NONE)
            user_unpin(s, user);
    }
    user_remove_conn(s, conn);
}

static void on_closed(void *owner, uint32_t conn, enum close_reason reason)
{
    struct shard *s = owner;
    (void)reason;
    user_remove_conn(s, conn);
    struct session *x = conn_at(s->net, conn)->session;
    if (x && x->login)
        login_abandon(x->login);
    session_free(x);
    conn_at(s->net, conn)->session = NULL;
}

/* Channel pushes were skipped and now there is room: tell the client where it stands, so that it pulls. */
static void on_drained(void *owner, uint32_t conn, const uint32_t *tags, uint32_t n)
{
    struct shard *s = owner;
    for (uint32_t i = 0; i < n; i++) {
        const struct chan *ch = pool_find(&s->chans, tags[i]);
        uint32_t user = conn_at(s->net, conn)->user;
        if (!ch || user == NONE || sub_find(s, user, tags[i]) == NONE)
            continue;
        struct buf *b = &s->scratch;
        buf_reset(b);
        buf_lit(b, "{\"channel\":");
        buf_json_string(b, chan_name(ch));
        buf_printf(b, ",\"seq\":%llu}", (unsigned long long)ch->last_seq);
        struct wire *w = buf_ok(b) ? wire_new(conn_at(s->net, conn)->form, 107, 0, buf_slice(b), tags[i]) : NULL;
        if (!w)
            continue;
        conn_send(s->net, conn, w, CONN_MUST);
        wire_unref(w);
    }
}

static const struct net_ops net_ops = {.opened = on_opened,
                                       .message = on_message,
                                       .closed = on_closed,
                                       .closing = on_closing,
                                       .claim = upgrades_claim,
                                       .claim_limit = upgrades_limit,
                                       .http_wanted = routes_wanted,
                                       .http = routes_serve,
                                       .drained = on_drained,
                                       .traced = trace_wire};

/* --- The loop ----------------------------------------------------------------------------------------------------- */

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

static void wake(void *ctx)
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
 * those answers must get out meanwhile. */
static void drain_step(struct shard *s)
{
    enum { VISITS = 4096 };
    uint32_t i = net_next(s->net, s->drain_at);
    for (unsigned n = 0; i != CONN_NONE && n < VISITS && net_unsent(s->net) < TURN_UNSENT;
         n++, i = net_next(s->net, i + 1)) {
        struct conn *k = conn_at(s->net, i);
        struct session *x = k->session;
        if (k->flags & CONN_F_CLOSING)
            continue;
        if (x && x->inflight)
            x->closing = true;
        else
            conn_close(s->net, i, CLOSE_SHUTDOWN, NULL, 1 + random_below(s->drain_spread_ms + 1));
    }
    s->drain_at = i == CONN_NONE ? 0 : i;
    if (!s->drained && net_count(s->net) == 0 && s->reqs == 0 && s->ops == 0) {
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
    if (chans_walk(s) || s->drain_at)
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
    figures_tick(s);
    if (s->index == 0)
        guests_tick(s);
    if (s->draining)
        drain_step(s);
    uint64_t memory = net_memory(s->net) + pool_memory(&s->users) + pool_memory(&s->subs) + pool_memory(&s->chans) +
                      pool_memory(&s->convs) + table_memory(&s->user_ids) + table_memory(&s->sub_keys) +
                      table_memory(&s->chan_names) + table_memory(&s->conv_keys);
    atomic_store_explicit(&s->memory, memory, memory_order_relaxed);
}

static void watchers_start(struct shard *s)
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

/* --- Life --------------------------------------------------------------------------------------------------------- */

struct shard *shard_new(struct hub *hub, unsigned index)
{
    struct shard *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->hub = hub;
    s->index = index;
    s->store = hub->store;
    s->box = hub->box;
    atomic_fetch_add(&hub->box->users, 1);
    s->opt = &hub->box->opt;
    s->tables = hub->tables;
    atomic_fetch_add(&hub->tables->users, 1);
    s->now_ms = clock_mono_ms();
    mailbox_init(&s->mailbox, wake, s);
    s->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOSIGMASK);
    claims_init(s);
    if (users_init(s) || chans_init(s) || convs_init(s) || token_key_set(&s->token_key, s->opt->secret) || !s->loop)
        goto fail;
    s->net = net_new(s->loop, hub->shared, &s->opt->net, &net_ops, s);
    if (!s->net)
        goto fail;
    watchers_start(s);
    return s;
fail:
    shard_free(s);
    return NULL;
}

void shard_free(struct shard *s)
{
    if (!s)
        return;
    if (s->net)
        net_free(s->net);
    pool_fini(&s->claims);
    bans_free(s);
    traces_free(s);
    why_free(s);
    chans_fini(s);
    convs_fini(s);
    users_fini(s);
    if (s->loop)
        ev_loop_destroy(s->loop);
    mailbox_fini(&s->mailbox);
    buf_free(&s->scratch);
    buf_free(&s->hook_content);
    buf_free(&s->hook_message);
    token_key_fini(&s->token_key);
    options_drop(s->box);
    tables_drop(s->tables);
    free(s);
}

static void *shard_main(void *arg)
{
    struct shard *s = arg;
    char name[16];
    snprintf(name, sizeof name, "shard-%u", s->index);
    pthread_setname_np(pthread_self(), name);
    ev_run(s->loop, 0);
    return NULL;
}

int shard_start(struct shard *s)
{
    s->running = pthread_create(&s->thread, NULL, shard_main, s) == 0;
    return s->running ? 0 : ERR_IO;
}
