#include "core/net/net.h"

#include "core/base/clock.h"
#include "core/net/accept_private.h"
#include "core/net/conn_private.h"
#include "core/net/input_private.h"
#include "core/net/net_private.h"
#include "core/net/net_shared.h"
#include "core/net/net_shared_private.h"
#include "core/net/send_private.h"
#include "core/net/shake_private.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CHUNK_CONNS = 1024, WHEEL_SLOTS = 512, WORK_MIN = 64, WORK_KEPT = 65536 };

/* --- Work lists --------------------------------------------------------------------------------------------------- */

bool work_grow(struct work *w)
{
    uint32_t cap = w->cap ? w->cap * 2 : WORK_MIN;
    uint32_t *p = realloc(w->items, cap * sizeof *p);
    if (!p)
        return false;
    w->items = p;
    w->cap = cap;
    return true;
}

/* Work was added after ev_prepare ran: without this the loop would sleep on it. */
void net_wake(struct net *net)
{
    net->asleep = false;
    ev_feed_event(net->loop, &net->prepare, EV_PREPARE);
}

static void work_reset(struct work *w)
{
    w->n = 0;
    w->scan = false;
    if (w->cap > WORK_KEPT) {
        free(w->items);
        *w = (struct work){.items = NULL};
    }
}

static void work_item(struct net *net, uint32_t idx, uint16_t flag)
{
    struct conn *c = pool_find(&net->conns, idx);
    if (!c || !(c->flags & flag))
        return;
    c->flags &= (uint16_t)~flag;
    if (flag == CONN_F_RESUME)
        conn_go_on(net, idx, c);
    else
        conn_flush(net, idx, c);
}

/* Connections far apart in memory are the rule in a fan-out: fetch them ahead. */
enum { AHEAD = 8 };

static void prefetch(const struct net *net, const struct work *w, uint32_t i)
{
    if (i + AHEAD < w->n) {
        const void *p = pool_find(&net->conns, w->items[i + AHEAD]);
        __builtin_prefetch(p);
    }
    if (i + AHEAD / 2 < w->n) {
        const struct conn *c = pool_find(&net->conns, w->items[i + AHEAD / 2]);
        if (c && c->out)
            __builtin_prefetch(c->out);
    }
}

/* One pass over a list; what is added meanwhile waits on the other one. */
static void work_run(struct net *net, struct work *w, struct work *spare, uint16_t flag)
{
    struct work now = *w;
    *w = *spare;
    for (uint32_t i = 0; i < now.n; i++) {
        prefetch(net, &now, i);
        work_item(net, now.items[i], flag);
    }
    if (now.scan)
        for (uint32_t i = net_next(net, 0); i != CONN_NONE; i = net_next(net, i + 1))
            work_item(net, i, flag);
    work_reset(&now);
    *spare = now;
}

static bool work_left(const struct work *w)
{
    return w->n || w->scan;
}

static void publish_queued(struct net *net)
{
    if (net->queued != net->published || net->blocked != net->blocked_published) {
        shared_queued_add(net->shared, (int64_t)(net->queued - net->published),
                          (int32_t)(net->blocked - net->blocked_published));
        net->published = net->queued;
        net->blocked_published = net->blocked;
    }
}

void net_flush(struct net *net)
{
    if (net->flushing)
        return;
    net->flushing = true;
    for (int i = 0; i < WORK_ROUNDS && work_left(&net->dirty); i++)
        work_run(net, &net->dirty, &net->dirty_spare, CONN_F_DIRTY);
    gather_clear(&net->gather);
    publish_queued(net);
    net->flushing = false;
}

void net_work(struct net *net)
{
    if (work_left(&net->resume))
        net->turn_end_us = clock_mono_us() + TURN_US;
    for (int i = 0; i < WORK_ROUNDS && (work_left(&net->resume) || work_left(&net->dirty)); i++) {
        work_run(net, &net->resume, &net->resume_spare, CONN_F_RESUME);
        net_flush(net);
    }
    publish_queued(net); /* what went to full sockets only made nothing dirty */
}

static void on_prepare(struct ev_loop *loop, ev_prepare *w, int events)
{
    struct net *net = w->data;
    (void)events;
    net->called = false;
    if (net->overdue)
        net->overdue = wheel_run(&net->wheel, net->tick, DUE_BATCH);
    shake_run(net);
    net_work(net);
    /* The owner was called: its own work may have been due before this ran. */
    if (net->called || net->overdue || shake_ready(net) || work_left(&net->resume) || work_left(&net->dirty))
        ev_idle_start(loop, &net->busy);
    else
        ev_idle_stop(loop, &net->busy);
    net->asleep = true;
}

static void on_check(struct ev_loop *loop, ev_check *w, int events)
{
    (void)loop, (void)events;
    ((struct net *)w->data)->asleep = false;
}

static void on_busy(struct ev_loop *loop, ev_idle *w, int events)
{
    (void)loop, (void)w, (void)events;
}

/* --- Events ------------------------------------------------------------------------------------------------------- */

static void on_event(struct net *net, const struct epoll_event *e)
{
    uint32_t idx = (uint32_t)e->data.u64, generation = (uint32_t)(e->data.u64 >> 32);
    if (generation == 0) {
        accept_ready(net, idx);
        return;
    }
    struct conn *c = conn_find(net, idx, generation);
    if (!c)
        return;
    if (c->flags & CONN_F_WRITABLE && e->events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
        conn_dirty(net, idx, c);
    if (e->events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        conn_readable(net, idx, e->events);
}

static void on_io(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop, (void)revents;
    struct net *net = w->data;
    struct epoll_event events[EVENTS];
    int n;
    /* When thousands leave or ask at once, what they cause is written and others' mail is read in between: so a turn
     * ends by the time that it has taken, and by what it has caused. The events come in small helpings, because those
     * that were taken must be dealt with. */
    net->turn_end_us = clock_mono_us() + TURN_US;
    do {
        n = epoll_wait(net->epoll_fd, events, EVENTS, 0);
        for (int i = 0; i < n; i++)
            on_event(net, &events[i]);
    } while (n == EVENTS && net_unsent(net) < TURN_DIRTY && clock_mono_us() < net->turn_end_us);
}

uint32_t net_unsent(const struct net *net)
{
    return net->dirty.n;
}

void net_tick(struct net *net)
{
    net->tick++;
    net->overdue = wheel_run(&net->wheel, net->tick, DUE_BATCH);
    outq_trim(&net->outqs);
    deflater_trim(&net->deflater);
    inflater_trim(&net->inflater);
    shake_tick(net);
    net_evict_idle(net);
}

static void on_ticker(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop, (void)events;
    net_tick(w->data);
}

static void on_retry(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop, (void)events;
    accept_start(w->data);
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

static struct wheel_node *node_of(void *ctx, uint32_t idx)
{
    return &conn_ptr(ctx, idx)->timer;
}

static void watchers_start(struct net *net)
{
    ev_io_init(&net->io, on_io, net->epoll_fd, EV_READ);
    ev_timer_init(&net->ticker, on_ticker, 1., 1.);
    ev_timer_init(&net->retry, on_retry, 0., 0.);
    ev_prepare_init(&net->prepare, on_prepare);
    ev_check_init(&net->check, on_check);
    ev_idle_init(&net->busy, on_busy);
    net->io.data = net->ticker.data = net->retry.data = net->prepare.data = net->check.data = net->busy.data = net;
    /* The owner's own ev_prepare comes first, so that what it queues leaves in the same turn. */
    ev_set_priority(&net->prepare, EV_MINPRI);
    ev_set_priority(&net->check, EV_MAXPRI);
    ev_io_start(net->loop, &net->io);
    ev_timer_start(net->loop, &net->ticker);
    ev_prepare_start(net->loop, &net->prepare);
    ev_check_start(net->loop, &net->check);
}

static void take_limits(struct net *net, const struct net_limits *limits)
{
    net->limits = *limits;
    deflater_configure(&net->deflater, limits->compress_threshold, limits->compress_level);
    if (!net->limits.http.head)
        net->limits.http.head = HTTP_HEAD_USUAL;
    if (!net->limits.http.fields)
        net->limits.http.fields = HTTP_FIELDS_USUAL;
    net->proxies.count = 0;
    net->proxies.unix_peers = false;
    for (const char *const *p = limits->proxies; p && *p; p++)
        (void)SURELY(proxies_add(&net->proxies, *p)); /* the config has looked */
}

/* This server's own forms; the compressed ones with the net's deflater. */
static void take_encoders(struct net *net)
{
    for (int i = 0; i < WIRE_FORMS; i++) {
        net->own[i] = *encoders_own[i];
        if (wire_form_plain((uint8_t)i) != i)
            net->own[i].ctx = &net->deflater;
        net->encoders[i] = &net->own[i];
    }
}

struct net *net_new(struct ev_loop *loop, struct net_shared *shared, const struct net_limits *limits,
                    const struct net_ops *ops, void *owner)
{
    struct net *net = calloc(1, sizeof *net);
    if (!net)
        return NULL;
    net->loop = loop;
    net->shared = shared;
    net->ops = ops;
    net->owner = owner;
    take_limits(net, limits);
    net->streams[STREAM_PLAIN] = &stream_plain;
    take_encoders(net);
    net->cur.conn = CONN_NONE;
    net->fd_ceiling = -1;
    pool_init(&net->conns, sizeof(struct conn), CHUNK_CONNS);
    net->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    net->read = malloc(READ_BYTES);
    if (net->epoll_fd < 0 || !net->read || wheel_init(&net->wheel, WHEEL_SLOTS, 0, node_of, conn_due, net) != 0)
        goto fail;
    watchers_start(net);
    return net;
fail:
    if (net->epoll_fd >= 0)
        close(net->epoll_fd);
    free(net->read);
    free(net);
    return NULL;
}

void net_free(struct net *net)
{
    if (!net)
        return;
    for (uint32_t i = net_next(net, 0); i != CONN_NONE; i = net_next(net, i + 1))
        conn_finish(net, i);
    gather_clear(&net->gather);
    publish_queued(net);
    ev_io_stop(net->loop, &net->io);
    ev_timer_stop(net->loop, &net->ticker);
    ev_timer_stop(net->loop, &net->retry);
    ev_prepare_stop(net->loop, &net->prepare);
    ev_check_stop(net->loop, &net->check);
    ev_idle_stop(net->loop, &net->busy);
    close(net->epoll_fd);
    wheel_fini(&net->wheel);
    pool_fini(&net->conns);
    outq_pool_fini(&net->outqs);
    deflater_free(&net->deflater);
    inflater_free(&net->inflater);
    shake_free(net);
    free(net->dirty.items);
    free(net->dirty_spare.items);
    free(net->resume.items);
    free(net->resume_spare.items);
    free(net->read);
    free(net);
}

int net_set_stream(struct net *net, unsigned number, const struct stream *row)
{
    if (number == STREAM_PLAIN || number >= STREAM_ROWS)
        return ERR_INVALID;
    net->streams[number] = row;
    return 0;
}

void net_configure(struct net *net, const struct net_limits *limits)
{
    take_limits(net, limits);
    for (unsigned i = 0; i < net->listening_count; i++)
        accept_options(net, net->listening[i].fd);
    for (uint32_t i = net_next(net, 0); i != CONN_NONE; i = net_next(net, i + 1))
        conn_arm(net, i, conn_ptr(net, i));
}

uint32_t net_count(const struct net *net)
{
    return net->conns.live;
}

void net_traffic(const struct net *net, uint64_t *in, uint64_t *out)
{
    *in = net->bytes_in;
    *out = net->bytes_out;
}

void net_packing(const struct net *net, struct net_packing *out)
{
    *out = (struct net_packing){.deflate_in = net->deflater.before,
                                .deflate_out = net->deflater.after,
                                .inflate_in = net->inflater.before,
                                .inflate_out = net->inflater.after};
}

uint64_t net_memory(const struct net *net)
{
    uint64_t lists = (uint64_t)net->dirty.cap + net->dirty_spare.cap + net->resume.cap + net->resume_spare.cap;
    return sizeof *net + READ_BYTES + pool_memory(&net->conns) + net->inbuf_memory + net->outqs.memory +
           deflater_memory(&net->deflater) + inflater_memory(&net->inflater) + lists * sizeof(uint32_t) +
           net->wheel.slot_count * sizeof(uint32_t);
}
