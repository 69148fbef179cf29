/* Sessions: see session.h. */
#include "storage/redis/bus/session.h"

#include "core/base/container.h"
#include "core/base/hash.h"
#include "storage/redis/bus/bus_private.h"
#include "storage/redis/bus/sessions.h"
#include "storage/redis/bus/watch.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/task.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    CHAINS = 4096,
    USER_MAX = 64,               /* bytes of an id */
    AGAIN_MS = 1000,             /* between two tries to take a session away */
    HANDLE_MAX = 20 + 3 * 11 + 1 /* bytes of INC.SHARD.CONN.GEN */
};

/* A session that is to be taken away, until it is. */
struct drop {
    struct call call;
    struct drop *chain; /* of those of users with that hash */
    struct drop *later; /* of those that wait; NULL while it does not */
    struct task *task;  /* whose operation ends with the first try; NULL: it has ended */
    uint64_t inc;       /* which incarnation of this node */
    uint64_t again_ms;  /* while it waits: when it is tried next */
    bool under_way;     /* its call is */
    bool over;          /* the user has come back, and nothing is to be done any more; not in its chain */
    uint8_t n;          /* bytes of user */
    char user[USER_MAX];
};

struct drops {
    struct drop *first, **last; /* that wait, by again_ms; owned */
    struct drop *chains[CHAINS];
};

int session_init(struct redis *r)
{
    r->bus->drops = calloc(1, sizeof *r->bus->drops);
    if (!r->bus->drops)
        return ERR_NOMEM;
    r->bus->drops->last = &r->bus->drops->first;
    return 0;
}

void session_fini(struct redis *r)
{
    while (r->bus->drops && r->bus->drops->first) {
        struct drop *d = r->bus->drops->first;
        r->bus->drops->first = d->later;
        free(d);
    }
    free(r->bus->drops);
    r->bus->drops = NULL;
}

static bool user_sane(struct slice id)
{
    return id.n >= 1 && id.n <= USER_MAX;
}

/* --- Taking away -------------------------------------------------------------------------------------------------- */

static struct slice drop_user(const struct drop *d)
{
    return slice_of(d->user, d->n);
}

static struct drop **drop_find(struct redis *r, struct slice user)
{
    struct drop **at = &r->bus->drops->chains[hash_bytes(user) % CHAINS];
    while (*at && !slice_eq(drop_user(*at), user))
        at = &(*at)->chain;
    return at;
}

/* Nothing is to be done for it any more. One that waits, or is under way, is freed later. */
static void drop_end(struct redis *r, struct drop *d)
{
    struct drop **at = d->over ? NULL : drop_find(r, drop_user(d));
    if (at)
        *at = d->chain;
    d->over = true;
}

static void drop_post(struct redis *r, struct drop *d);

static void dropped(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct drop *d = CONTAINER_OF(c, struct drop, call);
    struct task *t = d->task;
    d->under_way = false;
    d->task = NULL;
    r->background--;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        (void)reply_u8(&in);
        uint64_t s = reply_u48(&in);
        status = watch_tell(r, t, drop_user(d), s, &in) ? STORE_OK : STORE_FATAL;
    }
    /* What cannot be done in the engine's last moments, or is wrong, is left: the node's sessions end with it. */
    if (status == STORE_OK || status == STORE_FATAL || r->ending)
        drop_end(r, d);
    if (d->over) {
        free(d);
    } else {
        d->again_ms = r->turn_ms + AGAIN_MS;
        d->later = NULL;
        *r->bus->drops->last = d;
        r->bus->drops->last = &d->later;
    }
    if (t)
        task_end(r, t, status);
}

static void drop_post(struct redis *r, struct drop *d)
{
    d->under_way = true;
    r->background++;
    sessions_call_del(r, &d->call, drop_user(d), d->inc, false);
    d->call.about = task_about(drop_user(d));
    d->call.done = dropped;
    call_post(r, &d->call);
}

void begin_bus_session_del(struct redis *r, struct task *t)
{
    struct bus_session_del *op = (struct bus_session_del *)t->op;
    uint64_t inc = node_others(r)->inc;
    if (!user_sane(op->user) || !inc || *drop_find(r, op->user)) {
        task_end(r, t, user_sane(op->user) ? STORE_OK : STORE_FATAL); /* it is being done, or was not there */
        return;
    }
    struct drop *d = calloc(1, sizeof *d);
    if (!d) {
        task_end(r, t, STORE_RETRY);
        return;
    }
    d->task = t;
    d->inc = inc;
    d->n = (uint8_t)op->user.n;
    memcpy(d->user, op->user.p, op->user.n);
    *drop_find(r, op->user) = d;
    drop_post(r, d);
}

void session_tick(struct redis *r)
{
    struct drops *all = r->bus->drops;
    while (all->first && (all->first->again_ms <= r->turn_ms || all->first->over || r->ending)) {
        struct drop *d = all->first;
        all->first = d->later;
        if (!all->first)
            all->last = &all->first;
        d->later = NULL;
        if (d->inc != node_others(r)->inc || r->ending) /* that incarnation has ended, or is about to */
            drop_end(r, d);
        if (d->over)
            free(d);
        else
            drop_post(r, d);
    }
}

/* The user is here again: what was to be taken away stays. A call that is under way stands before those to come. */
static void drop_undo(struct redis *r, struct slice user)
{
    struct drop *d = *drop_find(r, user);
    if (d)
        drop_end(r, d);
}

/* --- Putting ------------------------------------------------------------------------------------------------------ */

/* Reads INC.SHARD.CONN.GEN, each but the first after a blank. Those of other nodes that live. */
static void handles_read(struct redis *r, struct slice s, struct bus_handle out[BUS_REPLACES])
{
    char text[BUS_REPLACES * (HANDLE_MAX + 1) + 1];
    unsigned long long inc;
    struct bus_handle h;
    unsigned n = 0;
    int used = 0;
    if (s.n >= sizeof text)
        return;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    for (const char *at = text; n < BUS_REPLACES; at += used) {
        if (sscanf(at, "%llu.%u.%u.%u%n", &inc, &h.shard, &h.conn, &h.generation, &used) != 4)
            return;
        h.node = inc;
        if (inc != node_others(r)->inc && nodes_may_live(node_others(r), inc))
            out[n++] = h;
    }
}

static void put_done(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct bus_session_put *op = (struct bus_session_put *)t->op;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        uint8_t code = reply_u8(&in);
        status = task_status(code);
        if (status == STORE_OK) {
            op->version = reply_u48(&in);
            op->epoch = reply_u32(&in);
            op->arrivals = reply_u48(&in);
            uint64_t s = reply_u48(&in);
            handles_read(r, reply_slice8(&in), op->replaces);
            /* A call that may have run before may have made the change then. */
            if ((code == 'N' || c->tried) && !watch_tell(r, t, op->user, s, &in))
                status = STORE_FATAL;
            status = reply_ok(&in) ? status : STORE_FATAL;
        }
    }
    task_end(r, t, status);
}

void begin_bus_session_put(struct redis *r, struct task *t)
{
    struct bus_session_put *op = (struct bus_session_put *)t->op;
    uint64_t inc = node_others(r)->inc;
    struct call *c = inc && user_sane(op->user) ? task_own(t, sizeof *c) : NULL;
    char handle[HANDLE_MAX + 1];
    memset(op->replaces, 0, sizeof op->replaces);
    if (!c) { /* without an incarnation it puts its sessions once it has one */
        task_end(r, t, user_sane(op->user) ? STORE_RETRY : STORE_FATAL);
        return;
    }
    drop_undo(r, op->user);
    int n = snprintf(handle, sizeof handle, "%llu.%u.%u.%u", (unsigned long long)inc, op->conn.shard, op->conn.conn,
                     op->conn.generation);
    call_begin(r, c, FN_SESSION_PUT, partition_of_user(op->user));
    call_key(r, c, 'u', op->user);
    call_key(r, c, 'S', op->user);
    call_key(r, c, 'W', op->user);
    call_arg_u64(c, inc);
    call_arg_u64(c, time_now(r));
    call_arg(c, op->device);
    call_arg(c, slice_of(handle, (size_t)n));
    call_arg_u64(c, op->restore);
    sessions_arg_living(r, c);
    c->about = task_about(op->user);
    c->done = put_done;
    c->ctx = t;
    call_post(r, c);
}

/* --- Looking ------------------------------------------------------------------------------------------------------ */

static void looked(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct bus_look *op = (struct bus_look *)t->op;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        status = task_status(reply_u8(&in));
        if (status == STORE_OK) {
            op->version = reply_u48(&in);
            op->epoch = reply_u32(&in);
            op->arrivals = reply_u48(&in);
            status = reply_ok(&in) ? STORE_OK : STORE_FATAL;
        }
    }
    task_end(r, t, status);
}

void begin_bus_look(struct redis *r, struct task *t)
{
    struct bus_look *op = (struct bus_look *)t->op;
    struct call *c = user_sane(op->user) ? task_own(t, sizeof *c) : NULL;
    if (!c) {
        task_end(r, t, user_sane(op->user) ? STORE_RETRY : STORE_NOTFOUND);
        return;
    }
    call_begin(r, c, FN_USER_LOOK, partition_of_user(op->user));
    call_key(r, c, 'u', op->user);
    c->done = looked;
    c->ctx = t;
    call_post(r, c);
}
