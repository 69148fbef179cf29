/* This node among the others: starting and ending. node_join.c, node_beat.c, node_bury.c have the rest. See node.h. */
#include "storage/redis/nodes/node_private.h"

#include "core/base/clock.h"
#include "core/base/container.h"
#include "storage/redis/client/group.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/start/ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_S = 60 /* a start waits for so long */ };

/* --- Starting and ending ------------------------------------------------------------------------------------------ */

void node_tell(struct node_self *s, int code, const char *why)
{
    pthread_mutex_lock(&s->lock);
    if (!s->done) {
        s->done = true;
        s->code = code;
        snprintf(s->why, sizeof s->why, "%s", why);
    }
    pthread_mutex_unlock(&s->lock);
}

int node_wait(struct redis *r, char *why, size_t why_size)
{
    struct node_self *s = r->node;
    uint64_t until = clock_mono_ms() + WAIT_S * 1000;
    bool ended = false;
    pthread_mutex_lock(&s->lock);
    while (!s->done && clock_mono_ms() < until &&
           !(ended = ask_is_to_end())) { /* once in the life of a server, and no clock is moved by it */
        pthread_mutex_unlock(&s->lock);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        pthread_mutex_lock(&s->lock);
    }
    int code = s->done ? s->code : ERR_IO;
    snprintf(why, why_size, "%s%s", !s->done && ended ? "told to end while it waited: " : "",
             s->why[0] || s->done ? s->why : "cluster.redis: the table of nodes cannot be written");
    pthread_mutex_unlock(&s->lock);
    return code;
}

/* It has not joined yet: what is said if its start has waited for too long. */
static void hint(struct redis *r)
{
    struct node_self *s = r->node;
    const struct master *m = r->parts[0].master;
    pthread_mutex_lock(&s->lock);
    if (!s->done && copies_few_ms(r, m))
        snprintf(s->why, sizeof s->why,
                 "cluster.redis: the table of nodes cannot be written: what %s:%u has is in fewer processes than "
                 "cluster.copies (%u) says",
                 m->host, m->port, r->options.cluster.copies);
    else if (!s->done)
        snprintf(s->why, sizeof s->why, "cluster.redis: the table of nodes cannot be written%s%s",
                 r->refusal[0] ? ": " : "", r->refusal);
    pthread_mutex_unlock(&s->lock);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    struct node_self *s = CONTAINER_OF(w, struct node_self, timer);
    (void)loop, (void)events;
    if (!s->joined)
        hint(s->r);
    node_turn(s->r);
}

void node_again_in(struct node_self *s, uint32_t ms)
{
    s->timer.repeat = ms / 1000.0;
    ev_timer_again(s->r->loop, &s->timer);
}

static void on_wanted(struct ev_loop *loop, ev_async *w, int events);

int node_init(struct redis *r)
{
    struct node_self *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    r->node = s;
    s->r = r;
    s->want = r->options.node;
    s->about.process = node_process_own();
    if (gethostname(s->about.host, sizeof s->about.host - 1) == 0)
        s->about.host_n = (uint8_t)strlen(s->about.host);
    pthread_mutex_init(&s->lock, NULL);
    ev_init(&s->timer, on_timer);
    ev_async_init(&s->wanted, on_wanted);
    ev_async_start(r->loop, &s->wanted);
    return 0;
}

void node_fini(struct redis *r)
{
    struct node_self *s = r->node;
    if (!s)
        return;
    nodes_fini(&s->nodes);
    free(s->told);
    pthread_mutex_destroy(&s->lock);
    free(s);
    r->node = NULL;
}

/* --- Turns -------------------------------------------------------------------------------------------------------- */

void node_turn(struct redis *r)
{
    struct node_self *s = r->node;
    if (s->phase == PHASE_NONE)
        node_format(r);
    else if (s->phase == PHASE_TAKE || s->phase == PHASE_JOIN || s->phase == PHASE_RUN)
        node_beat(r);
}

void node_start(struct redis *r)
{
    node_again_in(r->node, NODE_JOIN_MS);
    node_turn(r);
}

void node_ready(struct redis *r)
{
    node_tell(r->node, 0, "");
}

void node_configure(struct redis *r)
{
    if (r->node->phase != PHASE_RUN)
        return; /* it is done when it joins */
    (void)time_now(r);
    if (time_limit(r, expiry_now(&r->time->expiry))) {
        r->node->changed = true;
        node_turn(r);
    }
}

/* --- What other threads want -------------------------------------------------------------------------------------- */

void node_accept(struct redis *r)
{
    atomic_store(&r->node->accept_wanted, true);
    ev_async_send(r->loop, &r->node->wanted);
}

void node_drain(struct redis *r)
{
    atomic_store(&r->node->draining, true);
    ev_async_send(r->loop, &r->node->wanted);
}

static void on_wanted(struct ev_loop *loop, ev_async *w, int events)
{
    struct node_self *s = CONTAINER_OF(w, struct node_self, wanted);
    (void)loop, (void)events;
    if (atomic_exchange(&s->accept_wanted, false))
        s->accepting = s->phase == PHASE_RUN;
    if (atomic_load(&s->draining) && s->about.state == NODE_UP)
        s->about.state = NODE_DRAINING;
    node_beat_now(s->r);
}

/* --- Constants ---------------------------------------------------------------------------------------------------- */

struct once {
    struct call call;
    struct node_once *o;
};

static void once_done(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct once *once = CONTAINER_OF(c, struct once, call);
    struct node_once *o = once->o;
    struct slice value = SLICE_NONE;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        char code = (char)reply_u8(&in);
        value = code == 'N' ? reply_rest(&in) : SLICE_NONE;
        status = code == 'N' || code == 'X' ? STORE_OK : STORE_FATAL;
    }
    o->done(r, o, status, value);
    free(once);
}

int node_once(struct redis *r, struct node_once *o, struct slice name, struct slice value)
{
    struct once *once = calloc(1, sizeof *once);
    if (!once)
        return ERR_NOMEM;
    once->o = o;
    call_begin(r, &once->call, FN_ONCE, 0);
    call_key(r, &once->call, 'C', SLICE_NONE);
    call_arg(&once->call, name);
    call_arg(&once->call, value);
    once->call.done = once_done;
    call_post(r, &once->call);
    return 0;
}
