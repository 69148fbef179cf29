#include "core/script/world_hub.h"

#include "core/base/clock.h"
#include "core/hub/host/host.h"
#include "core/hub/host/host_send.h"
#include "core/hub/shard/nodes.h"
#include "core/hub/shard/shard.h"
#include "core/script/scripts_private.h"
#include "core/script/timer.h"

#include <stdlib.h>
#include <string.h>

static struct hub_world *hub_world(struct world *w)
{
    return (struct hub_world *)w;
}

static uint64_t shard_mono_ms(struct world *w)
{
    return hub_world(w)->shard->now_ms;
}

static uint64_t mono_ms(struct world *w)
{
    (void)w;
    return clock_mono_ms();
}

static uint64_t wall_ms(struct world *w)
{
    (void)w;
    return clock_wall_ms();
}

static void write_log(struct world *w, enum log_level level, const char *id, const struct log_field *fields)
{
    (void)w;
    if (log_enabled(level))
        log_write(level, id, fields);
}

/* --- Operations that are answered --------------------------------------------------------------------------------- */

/* Owns copies of all its texts. */
struct order {
    union {
        struct host_op op;
        struct host_send send;
        struct host_kick kick;
    } u;
    struct hub_world *world;
    char script[SCRIPT_NAME_MAX];
    char data[];
};

static void order_done(void *owner, struct host_op *op)
{
    struct order *o = (struct order *)op;
    (void)owner;
    o->world->sends--;
    if (op->code != CODE_OK)
        log_event(LOG_WARN, "script.refused", LOG_STR("script", o->script), LOG_STR("code", code_name(op->code)),
                  LOG_STR("error", op->message));
    free(o);
}

static struct slice keep_text(char **at, struct slice s)
{
    struct slice kept = slice_of(*at, s.n);
    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return kept;
}

static struct order *order_new(struct hub_world *w, const struct state *st, size_t bytes)
{
    struct order *o = w->sends < SENDS_MAX ? calloc(1, sizeof *o + bytes) : NULL;
    if (!o)
        return NULL;
    w->sends++;
    o->world = w;
    memcpy(o->script, st->name, sizeof o->script);
    o->u.op.home = &w->shard->mailbox;
    o->u.op.done = order_done;
    return o;
}

static int do_send(struct world *world, struct state *st, struct slice user, struct slice channel, struct slice content)
{
    struct hub_world *w = hub_world(world);
    struct order *o = order_new(w, st, user.n + channel.n + content.n);
    if (!o)
        return w->sends < SENDS_MAX ? ERR_NOMEM : ERR_AGAIN;
    char *at = o->data;
    o->u.send.receiver = keep_text(&at, user);
    o->u.send.channel = keep_text(&at, channel);
    o->u.send.content = keep_text(&at, content);
    host_send(w->shard->hub, &o->u.send);
    return 0;
}

static int do_kick(struct world *world, struct state *st, struct slice user, struct slice reason)
{
    struct hub_world *w = hub_world(world);
    struct order *o = order_new(w, st, user.n + reason.n);
    if (!o)
        return w->sends < SENDS_MAX ? ERR_NOMEM : ERR_AGAIN;
    char *at = o->data;
    o->u.kick.user = keep_text(&at, user);
    o->u.kick.message = keep_text(&at, reason);
    host_kick(w->shard->hub, &o->u.kick);
    return 0;
}

/* As from another thread: by mail, so that nothing happens inside the script's call (a connection may close, and its
 * hooks run). */
static int do_push(struct world *world, struct slice user, uint16_t action, struct slice body, struct slice from)
{
    if (from.n)
        return hub_world_push_from(world, user, action, body, from);
    return host_push(hub_world(world)->shard->hub, NULL, user, action, body);
}

static int do_announce(struct world *world, struct slice text)
{
    return host_announce(hub_world(world)->shard->hub, NULL, text);
}

static int do_metric(struct world *world, const char *name, double n)
{
    return scripts_count(hub_world(world)->host, name, n);
}

/* --- Timers ------------------------------------------------------------------------------------------------------- */

enum { TURN_US = 5000 };                /* a timer that took longer is the last one of its turn */
static const double NEXT_TURN_S = 1e-3; /* after which the rest is due again */

struct hub_timer {
    ev_timer ev;
    struct timer *timer;
};

static void on_timer(struct ev_loop *loop, ev_timer *ev, int events)
{
    (void)events;
    struct timer *t = ((struct hub_timer *)ev)->timer;
    struct hub_world *w = hub_world(t->st->shard_set->env->world);
    /* libev runs all that is due at once. When that takes too long the rest waits for the next turn, with the sockets
     * in between. */
    if (w->busy_turn == ev_iteration(loop)) {
        ev_timer_stop(loop, ev);
        ev_timer_set(ev, NEXT_TURN_S, ev->repeat);
        ev_timer_start(loop, ev);
        return;
    }
    uint64_t began_us = clock_mono_us();
    timer_fire(t); /* which may free it */
    if (clock_mono_us() - began_us > TURN_US)
        w->busy_turn = ev_iteration(loop);
}

static int timer_begin(struct world *world, struct timer *t, double after_ms, double every_ms)
{
    struct hub_timer *h = calloc(1, sizeof *h);
    if (!h)
        return ERR_NOMEM;
    h->timer = t;
    t->world = h;
    ev_timer_init(&h->ev, on_timer, after_ms / 1000, every_ms / 1000);
    ev_timer_start(hub_world(world)->shard->loop, &h->ev);
    return 0;
}

static void timer_end(struct world *world, struct timer *t)
{
    struct hub_timer *h = t->world;
    ev_timer_stop(hub_world(world)->shard->loop, &h->ev);
    free(h);
}

static bool do_lead(struct world *w)
{
    return hub_leads(hub_world(w)->shard->hub);
}

void hub_world_init(struct hub_world *w, struct scripts *host, struct shard *shard, uint32_t content_max)
{
    *w = (struct hub_world){.world = {.mono_ms = shard_mono_ms,
                                      .wall_ms = wall_ms,
                                      .send = do_send,
                                      .push = do_push,
                                      .kick = do_kick,
                                      .announce = do_announce,
                                      .order = hub_world_order,
                                      .user_token = hub_world_token,
                                      .leads = do_lead,
                                      .metric = do_metric,
                                      .log = write_log,
                                      .timer_start = timer_begin,
                                      .timer_stop = timer_end,
                                      .members = hub_world_members,
                                      .history = hub_world_history,
                                      .fetch = hub_world_fetch,
                                      .content_max = content_max},
                            .host = host,
                            .shard = shard};
}

/* --- While loading ------------------------------------------------------------------------------------------------ */

static int no_metric(struct world *w, const char *name, double n)
{
    (void)w, (void)name, (void)n;
    return ERR_AGAIN;
}

void main_world_init(struct world *w, uint32_t content_max)
{
    /* What is left out is refused by the functions themselves while a script loads. */
    *w = (struct world){
        .mono_ms = mono_ms, .wall_ms = wall_ms, .metric = no_metric, .log = write_log, .content_max = content_max};
}
