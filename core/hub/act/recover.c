#include "core/hub/act/recover.h"

#include "core/hub/act/login.h"
#include "core/hub/act/resync.h"
#include "core/hub/people/copy.h"
#include "core/hub/people/req.h"
#include "core/hub/people/session.h"
#include "core/hub/people/user.h"
#include "core/hub/people/watch.h"
#include "core/hub/shard/op.h"
#include "core/net/net.h"

#include <stdlib.h>

/* Operations under way at once, of each of the two. */
enum { PUTS_MAX = 256, LOOKS_MAX = 64 };
/* Clients of a node that is cut off are told to come back within that time. */
enum { SPREAD_MS = 5000 };

/* A walk around all users of the shard. */
struct walk {
    bool on;
    bool failed;    /* something, so that it begins once more */
    uint32_t at;    /* the user that comes next */
    uint32_t under; /* operations under way */
};

struct recovery {
    struct walk puts, looks;
    uint8_t parts[BUS_PARTS]; /* whose users are looked at */
};

static struct recovery *recovery_get(struct shard *s)
{
    if (!s->recovery)
        s->recovery = calloc(1, sizeof *s->recovery);
    return s->recovery;
}

void recover_free(struct shard *s)
{
    free(s->recovery);
    s->recovery = NULL;
}

static void walk_begin(struct walk *w)
{
    w->on = true;
    w->failed = false;
    w->at = 0;
}

/* The next user with connections; NONE: there is none. */
static uint32_t walk_next(struct shard *s, struct walk *w)
{
    while (w->at != POOL_NONE) {
        uint32_t user = pool_next(&s->users, w->at);
        w->at = user == POOL_NONE ? POOL_NONE : user + 1;
        if (user != POOL_NONE && user_at(s, user)->state == USER_READY && user_at(s, user)->first_conn != NONE)
            return user;
    }
    return NONE;
}

static bool in_parts(const struct shard *s, const uint8_t *parts, struct slice id)
{
    unsigned part = bus_part_user(s->bus, id);
    return parts[part / 8] & 1u << part % 8;
}

/* --- All sessions are put again ----------------------------------------------------------------------------------- */

struct put {
    struct bus_session_put op;
    uint32_t restores;         /* shard.restores, when it was handed over */
    uint32_t conn, generation; /* of the device */
    uint8_t id_len;
    char strings[]; /* id, device */
};

static void puts_go_on(struct shard *s);

/* What the bus says of the user at this moment, and what is known here. */
static void compare(struct shard *s, uint32_t user, uint64_t version, uint64_t arrivals, uint32_t epoch)
{
    struct user *u = user_at(s, user);
    const struct user_copy *c = user_copy(s, user);
    if (u->state != USER_READY || !c)
        return;
    if (epoch > u->epoch)
        u->epoch = epoch;
    arrivals_expect(s, user, arrivals);
    if (c->changed || version > c->version)
        resync(s, user, false);
}

static void is_put(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct put *q = OP_END(owner, op, struct put, op.op);
    struct recovery *r = s->recovery;
    uint32_t user = user_find(s, slice_of(q->strings, q->id_len));
    r->puts.under--;
    if (op->status == STORE_OK && user != NONE)
        compare(s, user, q->op.version, q->op.arrivals, q->op.epoch);
    else if (op->status == STORE_DENIED && q->restores == s->restores && s->net &&
             conn_find(s->net, q->conn, q->generation))
        login_replace(s, q->conn);
    else if (op->status == STORE_NOTFOUND && user != NONE)
        (void)login_kick(s, user, SLICE_NONE); /* deleted meanwhile */
    else if (op->status != STORE_OK && op->status != STORE_DENIED)
        r->puts.failed = true;
    free(q);
    puts_go_on(s);
}

static void put(struct shard *s, uint32_t user, uint32_t conn, struct slice device)
{
    struct slice id = user_id(user_at(s, user));
    struct put *q = malloc(sizeof *q + id.n + device.n);
    if (!q) {
        s->recovery->puts.failed = true;
        return;
    }
    q->restores = s->restores;
    q->conn = conn;
    q->generation = conn_at(s->net, conn)->generation;
    q->id_len = (uint8_t)id.n;
    memcpy(q->strings, id.p, id.n);
    if (device.n)
        memcpy(q->strings + id.n, device.p, device.n);
    q->op = (struct bus_session_put){.user = slice_of(q->strings, id.n),
                                     .device = slice_of(q->strings + id.n, device.n),
                                     .conn = {.shard = s->index, .conn = conn, .generation = q->generation},
                                     .restore = true};
    s->recovery->puts.under++;
    op_begin(s, &q->op.op, is_put);
    bus_session_put(s->bus, &q->op);
}

/* Each device by itself; without any, the user. */
static void put_user(struct shard *s, uint32_t user)
{
    bool any = false;
    for (uint32_t c = user_at(s, user)->first_conn; c != NONE; c = conn_at(s->net, c)->user_next) {
        const struct session *x = conn_at(s->net, c)->session;
        if (!x || !x->device)
            continue;
        put(s, user, c, slice_str(x->device));
        any = true;
    }
    if (!any)
        put(s, user, user_at(s, user)->first_conn, SLICE_NONE);
}

static void puts_go_on(struct shard *s)
{
    struct walk *w = &s->recovery->puts;
    uint32_t user = NONE;
    while (w->on && s->net && w->under < PUTS_MAX && (user = walk_next(s, w)) != NONE)
        put_user(s, user);
    if (!w->on || w->at != POOL_NONE || w->under || w->failed)
        return;
    w->on = false;
    s->halted &= (uint8_t)~HALT_BURIED;
    req_go_on_all(s);
}

static bool any_watched(const void *ctx, struct slice id, bool far)
{
    (void)ctx, (void)id, (void)far;
    return true;
}

static void come_back(struct shard *s)
{
    s->restores++;
    watch_doubt(s, any_watched, NULL);
    if (!recovery_get(s)) {
        s->halted &= (uint8_t)~HALT_BURIED; /* others find out at its users' next logins */
        req_go_on_all(s);
        return;
    }
    walk_begin(&s->recovery->puts);
    puts_go_on(s);
}

/* --- All are compared --------------------------------------------------------------------------------------------- */

struct look {
    struct bus_look op;
    uint8_t id_len;
    char id[64];
};

static void looks_go_on(struct shard *s);

static void looked(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct look *q = OP_END(owner, op, struct look, op.op);
    struct recovery *r = s->recovery;
    uint32_t user = user_find(s, slice_of(q->id, q->id_len));
    r->looks.under--;
    if (op->status == STORE_OK && user != NONE)
        compare(s, user, q->op.version, q->op.arrivals, q->op.epoch);
    else if (op->status != STORE_OK && op->status != STORE_NOTFOUND)
        r->looks.failed = true;
    free(q);
    looks_go_on(s);
}

static void look(struct shard *s, uint32_t user)
{
    struct slice id = user_id(user_at(s, user));
    struct look *q = malloc(sizeof *q);
    if (!q) {
        s->recovery->looks.failed = true;
        return;
    }
    q->id_len = (uint8_t)id.n;
    memcpy(q->id, id.p, id.n);
    q->op = (struct bus_look){.user = slice_of(q->id, id.n)};
    s->recovery->looks.under++;
    op_begin(s, &q->op.op, looked);
    bus_look(s->bus, &q->op);
}

static void looks_go_on(struct shard *s)
{
    struct walk *w = &s->recovery->looks;
    uint32_t user = NONE;
    while (w->on && s->net && w->under < LOOKS_MAX && (user = walk_next(s, w)) != NONE)
        if (in_parts(s, s->recovery->parts, user_id(user_at(s, user))))
            look(s, user);
    if (w->on && w->at == POOL_NONE && !w->under && !w->failed) {
        w->on = false;
        memset(s->recovery->parts, 0, sizeof s->recovery->parts);
    }
}

struct parts {
    const struct shard *shard;
    const uint8_t *bits;
};

static bool watched_in_parts(const void *ctx, struct slice id, bool far)
{
    const struct parts *p = ctx;
    (void)far;
    return in_parts(p->shard, p->bits, id);
}

void recover_users(struct shard *s, const uint8_t parts[BUS_PARTS])
{
    struct recovery *r = recovery_get(s);
    watch_doubt(s, watched_in_parts, &(struct parts){s, parts});
    if (!r)
        return; /* the next reset, or patrol, does it */
    for (unsigned i = 0; i < BUS_PARTS; i++)
        r->parts[i] |= parts[i];
    walk_begin(&r->looks);
    looks_go_on(s);
}

/* --- Events ------------------------------------------------------------------------------------------------------- */

static bool watched_far(const void *ctx, struct slice id, bool far)
{
    (void)ctx, (void)id;
    return far;
}

void recover_event(struct shard *s, enum bus_event what)
{
    switch (what) {
    case BUS_NODE_DEAD:
        watch_doubt(s, watched_far, NULL);
        break;
    case BUS_BURIED:
        s->halted |= HALT_BURIED;
        break;
    case BUS_BACK:
        come_back(s);
        break;
    case BUS_ISOLATED:
        s->halted |= HALT_ISOLATED;
        if (!s->draining)
            s->drain_spread_ms = SPREAD_MS;
        break;
    case BUS_REJOINED:
        s->halted &= (uint8_t)~HALT_ISOLATED;
        break;
    }
}

void recover_tick(struct shard *s)
{
    struct recovery *r = s->recovery;
    if (r && r->puts.on && r->puts.failed && !r->puts.under) {
        walk_begin(&r->puts);
        puts_go_on(s);
    }
    if (r && r->looks.on && r->looks.failed && !r->looks.under) {
        walk_begin(&r->looks);
        looks_go_on(s);
    }
}
