/*
 * A connection whose two sides must agree on something before bytes travel: TLS.
 *
 * A step of that takes half a millisecond and some 50 KiB. So steps wait their turn in a queue, of which each turn of
 * the loop takes a few; and so many connections at most are between their first step and their last, by number and by
 * what they hold. Where more want to begin, the one that has waited longest for its other side gives way, if that is
 * more than a second: an honest one answers within a round trip. Who finds no room is parked until there is some.
 */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/net/conn_private.h"
#include "core/net/input_private.h"
#include "core/net/net_shared_private.h"
#include "core/net/shake_private.h"
#include "core/net/stream.h"

#include <stdlib.h>
#include <sys/epoll.h>

/* What conn.http_need means meanwhile. */
enum { DUE = 1 << 0, BEGUN = 1 << 1 };

enum {
    STEPS = 4,             /* in one turn of the loop */
    TURN_STEP_US = 1000,   /* and no further one after so long */
    TRIES = 16,            /* of those that found no room, in one turn */
    STEP_BYTES = 56 << 10, /* that OpenSSL takes for one in between: 45 to 73 KB were measured */
    PATIENCE_TICKS = 2,    /* who has kept us waiting for so long gives way */
    RING_MIN = 64
};

/* --- Memory ------------------------------------------------------------------------------------------------------- */

bool conn_count_held(struct net *net, struct conn *c)
{
    const struct stream *stream = conn_stream(net, c);
    uint32_t *counted, now;
    if (!stream->held)
        return true;
    size_t n = stream->held(stream, c->fd, &counted);
    now = c->flags & (CONN_F_READY | CONN_F_CLOSING) || n <= KEEP_FREE_EARLY ? 0 : (uint32_t)n;
    if (now > *counted && !conn_hold(net, c, now - *counted))
        return false;
    if (now < *counted)
        conn_let_go(net, c, *counted - now);
    *counted = now;
    return true;
}

void conn_release_held(struct net *net, struct conn *c)
{
    const struct stream *stream = conn_stream(net, c);
    uint32_t *counted;
    if (!stream->held)
        return;
    (void)stream->held(stream, c->fd, &counted);
    conn_let_go(net, c, *counted);
    *counted = 0;
}

/* --- The rings ---------------------------------------------------------------------------------------------------- */

static bool ring_grow(struct shake_ring *r)
{
    uint32_t cap = r->cap ? r->cap * 2 : RING_MIN;
    struct shake *p = malloc(cap * sizeof *p);
    if (!p)
        return false;
    for (uint32_t i = 0; i < r->n; i++)
        p[i] = r->items[(r->head + i) & (r->cap - 1)];
    free(r->items);
    *r = (struct shake_ring){.items = p, .n = r->n, .cap = cap};
    return true;
}

static bool ring_push(struct shake_ring *r, uint32_t idx, struct conn *c, bool first)
{
    if (r->n == r->cap && !ring_grow(r))
        return false;
    uint32_t at = r->head + r->n++;
    if (first)
        at = r->head = (r->head - 1) & (r->cap - 1);
    r->items[at & (r->cap - 1)] = (struct shake){.conn = idx, .generation = c->generation};
    c->http_need |= DUE;
    return true;
}

/* The first or the last one; NULL: it has gone meanwhile. */
static struct conn *ring_pop(struct net *net, struct shake_ring *r, bool first, uint32_t *idx)
{
    struct shake e = r->items[(first ? r->head : r->head + r->n - 1) & (r->cap - 1)];
    r->head = first ? (r->head + 1) & (r->cap - 1) : r->head;
    r->n--;
    *idx = e.conn;
    struct conn *c = conn_find(net, e.conn, e.generation);
    if (!c || c->state != CONN_ST_SHAKE)
        return NULL;
    c->http_need &= ~(uint32_t)DUE;
    return c;
}

/* --- Those in between --------------------------------------------------------------------------------------------- */

static void slot_leave(struct net *net, uint32_t idx)
{
    struct shakes *s = &net->shakes;
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->slots[i].conn == idx) {
            s->slots[i] = s->slots[--s->count];
            s->stuck = false;
            return;
        }
    }
}

/* Whether its answer has come, and it is we who have not read it yet: on a busy machine that may take a second. */
static bool answered(const struct conn *c)
{
    uint8_t byte;
    return stream_peek(c->fd, &byte, 1) > 0;
}

/* Ends the one that has kept us waiting longest, of that address (IP_SLOT_NONE: of any). False: nobody has for long
 * enough. Whose step is due, or whose answer is unread, waits for us. */
static bool evict(struct net *net, uint32_t ip_slot)
{
    const struct shakes *s = &net->shakes;
    uint32_t oldest = CONN_NONE, age = PATIENCE_TICKS;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct conn *c = conn_ptr(net, s->slots[i].conn);
        uint32_t waited = net->tick - s->slots[i].heard;
        if (!(c->http_need & DUE) && waited >= age &&
            (ip_slot == IP_SLOT_NONE || shared_same_ip(net->shared, c->ip_slot, ip_slot)) && !answered(c)) {
            oldest = s->slots[i].conn;
            age = waited + 1;
        }
    }
    if (oldest == CONN_NONE)
        return false;
    log_event(LOG_DEBUG, "tls.refused", LOG_STR("because", "a slow handshake gave way to others"));
    conn_finish(net, oldest);
    return true;
}

/* Counts the memory of one in between. */
static bool hold_step(struct net *net, struct conn *c)
{
    const struct stream *stream = conn_stream(net, c);
    uint32_t *counted;
    if (!conn_hold(net, c, STEP_BYTES))
        return false;
    (void)stream->held(stream, c->fd, &counted);
    *counted += STEP_BYTES;
    return true;
}

/* Whether it may take its first step now. May end others. */
static bool begin(struct net *net, uint32_t idx, struct conn *c)
{
    struct shakes *s = &net->shakes;
    if (s->count == SHAKES_MAX && !evict(net, IP_SLOT_NONE))
        return false;
    if (!hold_step(net, c) && !((evict(net, conn_ip_slot(net, c)) || evict(net, IP_SLOT_NONE)) && hold_step(net, c)))
        return false;
    s->slots[s->count++] = (struct shake_slot){.conn = idx, .heard = net->tick};
    c->http_need |= BEGUN;
    return true;
}

/* --- Steps -------------------------------------------------------------------------------------------------------- */

/* Both sides agree: the connection begins. */
static void agreed(struct net *net, uint32_t idx, struct conn *c)
{
    const struct stream *stream = conn_stream(net, c);
    uint32_t generation = c->generation;
    slot_leave(net, idx);
    c->http_need = CONN_NONE;
    c->state = c->transport == CONN_WEBSOCKET ? CONN_ST_HEAD : CONN_ST_OPEN;
    if (c->inner & CONN_I_MUTED) {
        c->inner &= (uint8_t)~CONN_I_MUTED;
        conn_interest(net, idx, c);
    }
    (void)!conn_count_held(net, c); /* it is less now */
    conn_arm(net, idx, c);
    net->called = true;
    if (c->state == CONN_ST_OPEN)
        conn_tell_opened(net, idx, c);
    c = conn_find(net, idx, generation);
    if (c && stream->pending(stream, c->fd) > 0)
        conn_schedule(net, idx, c);
}

static void step(struct net *net, uint32_t idx, struct conn *c)
{
    const struct stream *stream = conn_stream(net, c);
    int rc = stream->step(stream, c->fd);
    if (rc == 0) {
        agreed(net, idx, c);
        return;
    }
    if (rc != ERR_AGAIN || !conn_count_held(net, c)) {
        conn_finish(net, idx);
        return;
    }
    for (uint32_t i = 0; i < net->shakes.count; i++)
        if (net->shakes.slots[i].conn == idx)
            net->shakes.slots[i].heard = net->tick;
    if (c->inner & CONN_I_MUTED) {
        c->inner &= (uint8_t)~CONN_I_MUTED;
        conn_interest(net, idx, c);
    }
}

bool shake_ready(const struct net *net)
{
    return net->shakes.due.n || (net->shakes.parked.n && !net->shakes.stuck);
}

/* Of those who found no room, the newest first: the oldest will have given up first. */
static void run_parked(struct net *net, uint32_t most, uint64_t end)
{
    struct shakes *s = &net->shakes;
    uint32_t idx, steps = 0, tries = s->parked.n < TRIES ? s->parked.n : TRIES;
    for (; tries && steps < most && clock_mono_us() < end; tries--) {
        struct conn *c = ring_pop(net, &s->parked, false, &idx);
        if (c && begin(net, idx, c)) {
            steps++;
            step(net, idx, c);
        } else if (c && !ring_push(&s->parked, idx, c, true)) {
            conn_finish(net, idx);
        }
    }
    s->stuck = steps == 0 && tries == 0;
}

void shake_run(struct net *net)
{
    struct shakes *s = &net->shakes;
    if (!shake_ready(net))
        return;
    uint64_t end = clock_mono_us() + TURN_STEP_US;
    uint32_t idx, steps = 0;
    while (s->due.n && steps < STEPS && clock_mono_us() < end) {
        struct conn *c = ring_pop(net, &s->due, true, &idx);
        if (c && (c->http_need & BEGUN || begin(net, idx, c))) {
            steps++;
            step(net, idx, c);
        } else if (c && !ring_push(&s->parked, idx, c, false)) {
            conn_finish(net, idx);
        }
    }
    if (steps < STEPS && s->parked.n && !s->stuck)
        run_parked(net, STEPS - steps, end);
}

void shake_tick(struct net *net)
{
    net->shakes.stuck = false;
}

void shake_readable(struct net *net, uint32_t idx, struct conn *c, uint32_t events)
{
    const struct stream *stream = conn_stream(net, c);
    if (c->http_need == CONN_NONE)
        c->http_need = 0;
    if (events & EPOLLERR) {
        conn_finish(net, idx);
        return;
    }
    if (c->http_need & DUE) {
        if (!(c->inner & CONN_I_MUTED)) {
            c->inner |= CONN_I_MUTED;
            conn_interest(net, idx, c);
        }
        return;
    }
    int rc = stream->hear(stream, c->fd);
    /* Who has begun holds what others wait for. */
    if (rc == 0 && ring_push(&net->shakes.due, idx, c, c->http_need & BEGUN)) {
        if (net->asleep)
            net_wake(net);
    } else if (rc != ERR_AGAIN || !conn_count_held(net, c)) {
        conn_finish(net, idx);
    }
}

void shake_forget(struct net *net, uint32_t idx, struct conn *c)
{
    conn_release_held(net, c);
    if (c->state == CONN_ST_SHAKE && c->http_need != CONN_NONE && c->http_need & BEGUN)
        slot_leave(net, idx);
}

void shake_free(struct net *net)
{
    free(net->shakes.due.items);
    free(net->shakes.parked.items);
}
