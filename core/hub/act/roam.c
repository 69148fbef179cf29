#include "core/hub/act/roam.h"

#include "core/hub/act/device.h"
#include "core/hub/act/resync.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/copy.h"
#include "core/hub/people/user.h"
#include "core/hub/shard/op.h"
#include "storage/bus.h"

#include <stdlib.h>
#include <string.h>

/* --- A login ------------------------------------------------------------------------------------------------------ */

/* Logins that wait, by one channel that each waits for: a node that begins has thousands of both at once. */
enum { ROAMING = 1024 };

static struct login **roaming_at(const struct shard *s, struct slice channel)
{
    return &s->roaming[hash_bytes(channel) % ROAMING];
}

/* A channel of the user whose owner does not know of it yet, and so may not follow it. NULL: there is none. */
static const struct chan *not_noted(const struct shard *s, const struct user *u)
{
    for (uint32_t i = u->first_sub; i != NONE;) {
        const struct sub *b = pool_at(&s->subs, i);
        if (chan_at(s, b->chan)->awaited)
            return chan_at(s, b->chan);
        i = b->next;
    }
    return NULL;
}

static void wait_for(struct login *l, struct slice channel)
{
    struct shard *s = l->shard;
    if (!s->roaming && !(s->roaming = calloc(ROAMING, sizeof *s->roaming))) {
        login_refuse(l, CODE_INTERNAL, 0, "out of memory");
        return;
    }
    struct login **at = roaming_at(s, channel);
    l->busy = true;
    l->next_roaming = *at;
    *at = l;
}

void roam_load(struct login *l)
{
    const struct user_copy *c = user_copy(l->shard, l->user);
    l->changes = c ? c->changes : 0;
}

void roam_loaded(struct login *l)
{
    const struct user_copy *c = user_copy(l->shard, l->user);
    bool older = c && l->op.load.version < c->version;
    if (older || !resync_take(l->shard, l->user, &l->op.load, l->changes))
        resync(l->shard, l->user, false);
}

/* The bus has been told, and the device's other connection has gone. */
static void roam_done(struct login *l)
{
    l->busy = false;
    l->placed = true;
    login_complete(l);
}

static void replace_next(struct login *l);

static void replaced(void *owner, struct store_op *op)
{
    replace_next(OP_END(owner, op, struct login, op.order.op));
}

/* The device's connections to other nodes go before this one is answered. There is hardly ever more than one. */
static void replace_next(struct login *l)
{
    if (l->replaced == BUS_REPLACES || !l->replaces[l->replaced].node) {
        roam_done(l);
        return;
    }
    l->op.order = (struct bus_order){.kind = ORDER_REPLACE, .user = login_id(l), .conn = l->replaces[l->replaced++]};
    op_begin(l->shard, &l->op.order.op, replaced);
    bus_order(l->shard->bus, &l->op.order);
}

static void session_put(struct login *l);

/* What the bus said of the user is compared with what was loaded. */
static bool is_older(const struct login *l, const struct bus_session_put *p)
{
    const struct user_copy *c = user_copy(l->shard, l->user);
    return !c || c->changed || p->version != c->version || p->arrivals != l->arrivals;
}

static void session_is_put(void *owner, struct store_op *op)
{
    struct login *l = OP_END(owner, op, struct login, op.put.op);
    struct shard *s = owner;
    const struct bus_session_put *p = &l->op.put;
    struct user *u = user_at(s, l->user);
    if (op->status == STORE_OK && l->restores != s->restores) {
        session_put(l); /* of an incarnation that is dead by now */
        return;
    }
    if (op->status == STORE_OK && p->epoch > u->epoch)
        u->epoch = p->epoch; /* raised on another node, which has told us, or will */
    bool revoked = op->status == STORE_OK && l->epoch != u->epoch && !l->provided;
    if (op->status == STORE_OK && !revoked) {
        memcpy(l->replaces, p->replaces, sizeof l->replaces);
        l->replaced = 0;
        l->older = is_older(l, p);
        arrivals_begin(s, l->user, p->arrivals);
        l->known = true;
        if (l->device_len) /* at once: before this login is answered, its device may be taken by yet another one */
            device_take(l);
        replace_next(l);
        return;
    }
    /* The bus may know this connection as its device's, and no other one: those here would be nobody's to close. */
    if (l->device_len && (revoked || op->status == STORE_UNKNOWN))
        device_take(l);
    if (revoked || op->status == STORE_NOTFOUND)
        login_refuse(l, CODE_UNAUTHORIZED, 0, revoked ? "token: no longer valid" : "token: of a user that is no more");
    else
        login_refuse(l, CODE_UNAVAILABLE, 0, "the store cannot write now");
}

static void session_put(struct login *l)
{
    struct shard *s = l->shard;
    l->op.put = (struct bus_session_put){.user = login_id(l),
                                         .device = slice_of(l->device, l->device_len),
                                         .conn = {.shard = s->index, .conn = l->conn, .generation = l->generation}};
    l->told = true;
    l->restores = s->restores;
    op_begin(s, &l->op.put.op, session_is_put);
    bus_session_put(s->bus, &l->op.put);
}

bool roam_begin(struct login *l)
{
    struct shard *s = l->shard;
    if (l->older) { /* from now on this node hears of each change: those before it are found so */
        l->older = false;
        login_start(l);
        return true;
    }
    const struct chan *awaited = not_noted(s, user_at(s, l->user));
    if (awaited) {
        wait_for(l, chan_name(awaited));
        return true;
    }
    if (l->placed && l->restores == s->restores)
        return false;
    l->busy = true;
    session_put(l);
    return true;
}

void roam_noted(struct shard *s, struct slice channel)
{
    struct login *l = s->roaming ? *roaming_at(s, channel) : NULL;
    if (l)
        *roaming_at(s, channel) = NULL;
    while (l) {
        struct login *next = l->next_roaming;
        l->busy = false;
        login_complete(l); /* which may have it wait again */
        l = next;
    }
}

/* --- The end ------------------------------------------------------------------------------------------------------ */

struct session_del {
    struct bus_session_del op;
    char user[];
};

static void session_is_gone(void *owner, struct store_op *op)
{
    free(OP_END(owner, op, struct session_del, op.op));
}

void roam_left(struct shard *s, uint32_t user)
{
    const struct user *u = user_at(s, user);
    if (!s->bus || u->first_conn != NONE)
        return;
    for (const struct login *l = u->waiting; l; l = l->next)
        if (l->told)
            return; /* it has put the session again, or is about to have it */
    struct user_copy *c = user_copy(s, user);
    if (c)
        c->placed = false;
    struct session_del *d = malloc(sizeof *d + u->id_len);
    if (!d)
        return; /* others take it for present until it comes and goes again */
    memcpy(d->user, user_id(u).p, u->id_len);
    d->op = (struct bus_session_del){.user = slice_of(d->user, u->id_len)};
    op_begin(s, &d->op.op, session_is_gone);
    bus_session_del(s->bus, &d->op);
}
