#include "storage/redis/io.h"

#include "core/base/clock.h"
#include "core/base/container.h"
#include "storage/redis/bus/bus_private.h"
#include "storage/redis/cold/cold.h"
#include "storage/redis/nodes/balance.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/nodes/notes_log.h"
#include "storage/redis/ops/gone.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/report.h"
#include "storage/redis/sweep.h"
#include "storage/redis/task.h"

uint64_t redis_io_clock(const struct redis *r)
{
    return r->hooks.turn_ms ? r->hooks.turn_ms(r->hooks.ctx) : clock_boot_ms();
}

/* --- Turns of the loop -------------------------------------------------------------------------------------------- */

static bool something_waits(const struct redis *r)
{
    if (r->slots.doubt || !r->slots.viewed_at || r->slots.nobody.bytes || redis_bus_busy(r))
        return true;
    for (const struct master *m = r->slots.masters; m; m = m->next)
        if (m->bytes || m->lost || m->copies.few.since || m->lanes[LANE_WRITE].group.phase ||
            m->lanes[LANE_READ].group.phase || m->lanes[LANE_NEWS].group.sent.first)
            return true;
    return false;
}

/* The tick comes often while something is under way, and else seldom: who is idle costs nothing. One that is due soon
 * comes soon: what begins and ends all the time must not put it off for ever. */
static void tick_set(struct redis *r, uint32_t ms)
{
    if (r->tick_ms == ms)
        return;
    r->tick_ms = ms;
    r->tick.repeat = ms / 1000.0;
    if (!ev_is_active(&r->tick) || ev_timer_remaining(r->loop, &r->tick) > r->tick.repeat)
        ev_timer_again(r->loop, &r->tick);
}

static void on_turn_begin(struct ev_loop *loop, ev_check *w, int events)
{
    struct redis *r = CONTAINER_OF(w, struct redis, turn_begin);
    (void)loop, (void)events;
    r->turn_ms = redis_io_clock(r);
}

/* Nothing was sent during the turn: what it has made goes out now, with one call a link. */
static void on_turn_end(struct ev_loop *loop, ev_prepare *w, int events)
{
    struct redis *r = CONTAINER_OF(w, struct redis, turn_end);
    (void)events;
    queue_turn(r);
    if (r->ending) {
        redis_bus_rest(r);
        balance_rest(r);
    }
    tick_set(r, something_waits(r) ? TICK_BUSY : TICK_IDLE);
    if (r->ending && !atomic_load(&r->stats.queue) && tasks_rest(r) && node_left(r))
        ev_break(loop, EVBREAK_ALL);
}

void redis_io_tick(struct redis *r)
{
    uint64_t bytes = r->slots.nobody.bytes;
    uint32_t masters = 0, lost = 0, few = 0;
    slots_tick(r);
    queue_tick(r);
    redis_bus_tick(r);
    notes_log_tick(r);
    report_tick(r);
    balance_tick(r);
    for (struct master *m = r->slots.masters; m; m = m->next) {
        bytes += m->bytes;
        masters += m->parts != 0;
        lost += m->parts && m->lost;
        few += m->parts && m->copies.few.since;
    }
    atomic_store(&r->stats.bytes, bytes);
    atomic_store(&r->stats.masters, masters);
    atomic_store(&r->stats.masters_lost, lost);
    atomic_store(&r->stats.masters_short, few);
}

static void on_tick(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop, (void)events;
    redis_io_tick(CONTAINER_OF(w, struct redis, tick));
}

/* --- What others hand over ---------------------------------------------------------------------------------------- */

/* Takes the reloadable options into force. */
static void options_take(struct redis *r, const struct store_options *asked)
{
    struct store_options *o = &r->options;
    memcpy(o->tiers, asked->tiers, sizeof o->tiers);
    o->dedup_window_ms = asked->dedup_window_ms;
    o->inbox_max = asked->inbox_max;
    o->keep_vacant = asked->keep_vacant;
    o->cluster.copies = asked->cluster.copies;
    o->cluster.patience_ms = asked->cluster.patience_ms;
    o->cluster.isolated_ms = asked->cluster.isolated_ms;
    o->cluster.balance = asked->cluster.balance;
}

static void run_all(struct redis *r, struct mail *m)
{
    while (m) {
        struct mail *next = m->next;
        m->next = NULL;
        m->run(r, m);
        m = next;
    }
}

static void on_wake(struct ev_loop *loop, ev_async *w, int events)
{
    struct redis *r = CONTAINER_OF(w, struct redis, wake);
    (void)loop, (void)events;
    pthread_mutex_lock(&r->lock);
    struct mail *m = r->first, *run = r->run;
    r->first = NULL;
    r->last = &r->first;
    r->run = NULL;
    r->run_last = &r->run;
    r->woken = false;
    r->ending = r->closing;
    if (r->changed) {
        options_take(r, &r->asked);
        node_configure(r);
        r->changed = false;
        pthread_cond_broadcast(&r->taken);
    }
    pthread_mutex_unlock(&r->lock);
    run_all(r, run);
    while (m) {
        struct mail *next = m->next;
        m->next = NULL;
        task_begin(r, (struct store_op *)m); /* its first member */
        m = next;
    }
}

void redis_io_post(struct redis *r, struct store_op *op)
{
    bool wake;
    op->mail.next = NULL;
    atomic_fetch_add_explicit(&r->stats.queue, 1, memory_order_relaxed);
    pthread_mutex_lock(&r->lock);
    *r->last = &op->mail;
    r->last = &op->mail.next;
    wake = !op->lazy && !r->woken;
    r->woken |= wake;
    pthread_mutex_unlock(&r->lock);
    if (wake)
        ev_async_send(r->loop, &r->wake);
}

void redis_io_kick(struct redis *r)
{
    pthread_mutex_lock(&r->lock);
    bool wake = r->first && !r->woken;
    r->woken |= wake;
    pthread_mutex_unlock(&r->lock);
    if (wake)
        ev_async_send(r->loop, &r->wake);
}

void redis_io_run(struct redis *r, struct mail *m)
{
    m->next = NULL;
    pthread_mutex_lock(&r->lock);
    *r->run_last = m;
    r->run_last = &m->next;
    bool wake = !r->woken;
    r->woken = true;
    pthread_mutex_unlock(&r->lock);
    if (wake)
        ev_async_send(r->loop, &r->wake);
}

void redis_io_run_rest(struct redis *r)
{
    struct mail *m = r->run;
    r->run = NULL;
    run_all(r, m);
}

void redis_io_wake(struct redis *r)
{
    ev_async_send(r->loop, &r->wake);
}

void redis_io_answer(struct redis *r, struct store_op *op, int status)
{
    op->status = (enum store_status)status;
    if (status == STORE_UNKNOWN)
        atomic_fetch_add_explicit(&r->stats.unknown, 1, memory_order_relaxed);
    store_answer(op);
    atomic_fetch_sub_explicit(&r->stats.queue, 1, memory_order_relaxed);
}

/* --- Beginning and end -------------------------------------------------------------------------------------------- */

void redis_io_end(struct redis *r)
{
    r->ending = true;
    sweep_stop(r);
    redis_bus_rest(r);
    balance_rest(r);
    cold_stop(r);
    queue_stop(r);
}

static void *run(void *arg)
{
    struct redis *r = arg;
    pthread_setname_np(pthread_self(), "redis");
    r->turn_ms = redis_io_clock(r);
    node_start(r);
    slots_tick(r);
    gone_start(r);
    ev_run(r->loop, 0);
    redis_io_end(r);
    return NULL;
}

int redis_io_init(struct redis *r)
{
    r->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOSIGMASK);
    if (!r->loop)
        return ERR_NOMEM;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->taken, NULL);
    r->last = &r->first;
    r->run_last = &r->run;
    r->turn_ms = redis_io_clock(r);
    ev_async_init(&r->wake, on_wake);
    ev_async_start(r->loop, &r->wake);
    ev_prepare_init(&r->turn_end, on_turn_end);
    ev_prepare_start(r->loop, &r->turn_end);
    ev_check_init(&r->turn_begin, on_turn_begin);
    ev_set_priority(&r->turn_begin, EV_MAXPRI);
    ev_check_start(r->loop, &r->turn_begin);
    ev_init(&r->tick, on_tick);
    tick_set(r, TICK_BUSY);
    return 0;
}

void redis_io_fini(struct redis *r)
{
    if (!r->loop)
        return;
    ev_loop_destroy(r->loop);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->taken);
}

int redis_io_start(struct redis *r)
{
    r->started = pthread_create(&r->thread, NULL, run, r) == 0;
    return r->started ? 0 : ERR_NOMEM;
}

void redis_io_stop(struct redis *r)
{
    if (!r->started)
        return;
    pthread_mutex_lock(&r->lock);
    r->closing = true;
    pthread_mutex_unlock(&r->lock);
    redis_io_wake(r);
    pthread_join(r->thread, NULL);
    r->started = false;
}
