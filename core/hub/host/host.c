/* Operations for the layers above: users, kicks, pushes. Announcements are in host_announce.c, sending is in
 * host_send.c, membership in host_member.c. */
#include "core/hub/host/host.h"

#include "core/base/clock.h"
#include "core/base/frame.h"
#include "core/base/push.h"
#include "core/base/utf8.h"
#include "core/hub/act/login.h"
#include "core/hub/host/host_op.h"
#include "core/hub/people/copy.h"
#include "core/hub/people/user.h"
#include "core/hub/shard/op.h"
#include "core/hub/talk/conv.h"
#include "core/hub/talk/order.h"
#include "core/hub/talk/user_mail.h"
#include "core/net/send.h"
#include "storage/bus.h"

#include <stdio.h>
#include <stdlib.h>

/* --- A user ------------------------------------------------------------------------------------------------------- */

static uint32_t count_connections(const struct shard *s, uint32_t user)
{
    uint32_t n = 0;
    for (uint32_t c = user_at(s, user)->first_conn; c != NONE; c = conn_at(s->net, c)->user_next)
        n++;
    return n;
}

/* Whether a user who is not connected here is to another node. */
struct elsewhere {
    struct bus_presence op;
    struct host_user *q;
    bool online, shared;
};

static void elsewhere_told(void *owner, struct store_op *op)
{
    struct elsewhere *e = OP_END(owner, op, struct elsewhere, op.op);
    struct host_user *q = e->q;
    q->connections += e->online;
    free(e);
    host_end(&q->op);
}

static bool ask_elsewhere(struct shard *s, struct host_user *q)
{
    struct elsewhere *e = calloc(1, sizeof *e);
    if (!e)
        return false;
    e->q = q;
    e->op = (struct bus_presence){.ids = &q->user, .n = 1, .online = &e->online, .shared = &e->shared};
    op_begin(s, &e->op.op, elsewhere_told);
    bus_presence(s->bus, &e->op);
    return true;
}

static void user_loaded(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct host_user *q = OP_END(owner, op, struct host_user, load.op);
    if (op->status != STORE_OK)
        host_fail_store(&q->op, op->status, "no such user");
    uint32_t user = user_find(s, q->user);
    if (user != NONE)
        q->connections = count_connections(s, user);
    if (!s->bus || q->here || q->connections || op->status != STORE_OK || !ask_elsewhere(s, q))
        host_end(&q->op);
}

static void user_run(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct host_user *q = (struct host_user *)m;
    q->connections = 0;
    q->load = (struct store_user_load){.arena = NULL};
    if (!value_user_id(q->user))
        host_fail(&q->op, CODE_NOT_FOUND, "no such user");
    if (q->op.code != CODE_OK || host_stopping(s, &q->op)) {
        host_end(&q->op);
        return;
    }
    q->load = (struct store_user_load){.id = q->user};
    op_begin(s, &q->load.op, user_loaded);
    store_user_load(s->store, &q->load);
}

void host_user(struct hub *hub, struct host_user *q)
{
    host_begin(shard_of(hub, q->user), &q->op, user_run);
}

/* --- Kick --------------------------------------------------------------------------------------------------------- */

/* Raising the epoch of a user that is pinned here meanwhile. */
struct revoke {
    struct shard *shard;
    struct host_kick *kick;
    uint32_t user; /* pinned */
    bool held;     /* it was not loaded: logins wait for us */
    char strings[128];
    union {
        struct store_user_load load;
        struct store_user_save save;
    } op;
};

static void kicked_elsewhere(void *ctx, const struct order_end *e)
{
    struct host_kick *q = ctx;
    q->connections += e->connections;
    if (e->silent.n)
        host_fail_silent(&q->op, &e->silent, "", "that it is done there");
    else if (e->status != STORE_OK)
        host_fail(&q->op, CODE_UNAVAILABLE, "not every node has said that it has done it: repeat it");
    host_end(&q->op);
}

/* What there was to do here is done. */
static void kick_end(struct shard *s, struct host_kick *q)
{
    if (q->op.code != CODE_OK || !order_kick(s, q->user, q->message, kicked_elsewhere, q))
        host_end(&q->op);
}

static void revoke_end(struct revoke *v)
{
    struct shard *s = v->shard;
    struct host_kick *q = v->kick;
    if (v->held)
        login_retry(s, v->user);
    else if (q->op.code == CODE_OK)
        q->connections = login_kick(s, v->user, q->message);
    user_unpin(s, v->user);
    free(v);
    kick_end(s, q);
}

static void revoked(void *owner, struct store_op *op)
{
    struct revoke *v = OP_END(owner, op, struct revoke, op.save.op);
    copy_changed(v->shard, v->user, copy_version(op->status, v->op.save.version));
    if (op->status != STORE_OK) {
        /* Unless it may have been stored, or another one has raised it further. */
        struct user *u = user_at(v->shard, v->user);
        if (!v->held && op->status == STORE_RETRY && u->epoch == v->op.save.user.epoch)
            u->epoch--;
        host_fail_store(&v->kick->op, op->status, "");
    }
    revoke_end(v);
}

static void revoke_save(struct revoke *v, struct slice id, struct slice name, const struct store_user *u)
{
    memcpy(v->strings, id.p, id.n);
    memcpy(v->strings + id.n, name.p, name.n);
    v->op.save = (struct store_user_save){.id = slice_of(v->strings, id.n),
                                          .name = slice_of(v->strings + id.n, name.n),
                                          .user = *u,
                                          .guest_ttl_ms = v->shard->opt->guest_ms};
    op_begin(v->shard, &v->op.save.op, revoked);
    store_user_save(v->shard->store, &v->op.save);
}

static void revoke_loaded(void *owner, struct store_op *op)
{
    struct revoke *v = OP_END(owner, op, struct revoke, op.load.op);
    struct store_user_load l = v->op.load;
    if (op->status != STORE_OK) {
        store_user_load_free(&l);
        host_fail_store(&v->kick->op, op->status, "no such user");
        revoke_end(v);
        return;
    }
    struct store_user u = {.epoch = l.user.epoch + 1, .guest = l.user.guest};
    revoke_save(v, v->kick->user, l.name, &u);
    store_user_load_free(&l);
}

static void revoke_begin(struct shard *s, struct host_kick *q, uint32_t user)
{
    struct revoke *v = calloc(1, sizeof *v);
    bool held = user == NONE;
    if (v && held)
        user = user_new(s, q->user);
    if (!v || user == NONE) {
        free(v);
        host_fail(&q->op, CODE_INTERNAL, "out of memory");
        host_end(&q->op);
        return;
    }
    *v = (struct revoke){.shard = s, .kick = q, .user = user, .held = held};
    user_pin(s, user);
    struct user *u = user_at(s, user);
    if (held) {
        u->state = USER_FORGETTING;
        v->op.load = (struct store_user_load){.id = q->user};
        op_begin(s, &v->op.load.op, revoke_loaded);
        store_user_load(s->store, &v->op.load);
        return;
    }
    u->epoch++; /* at once, so that no other save of this user brings the old one back */
    struct store_user saved = {.epoch = u->epoch, .guest = u->guest};
    revoke_save(v, user_id(u), user_name(u), &saved);
}

struct kick_lookup {
    struct host_user user;
    struct host_kick *kick;
};

static void kick_looked_up(void *owner, struct host_op *op)
{
    struct kick_lookup *k = (struct kick_lookup *)op;
    k->kick->op.code = op->code;
    memcpy(k->kick->op.message, op->message, sizeof op->message);
    struct host_kick *q = k->kick;
    store_user_load_free(&k->user.load);
    free(k);
    kick_end(owner, q);
}

static void kick_run(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct host_kick *q = (struct host_kick *)m;
    q->connections = 0;
    if (!value_user_id(q->user))
        host_fail(&q->op, CODE_NOT_FOUND, "no such user");
    if (q->op.code != CODE_OK || host_stopping(s, &q->op)) {
        host_end(&q->op);
        return;
    }
    uint32_t user = user_find(s, q->user);
    if (user != NONE && user_at(s, user)->state != USER_READY) {
        host_park(s, &q->op);
        return;
    }
    if (q->revoke) {
        revoke_begin(s, q, user);
        return;
    }
    if (user != NONE) {
        q->connections = login_kick(s, user, q->message);
        kick_end(s, q);
        return;
    }
    struct kick_lookup *k = calloc(1, sizeof *k);
    if (!k) {
        host_fail(&q->op, CODE_INTERNAL, "out of memory");
        host_end(&q->op);
        return;
    }
    k->kick = q;
    k->user.user = q->user;
    k->user.here = true;
    k->user.op.home = &s->mailbox;
    k->user.op.done = kick_looked_up;
    host_user(s->hub, &k->user);
}

void host_kick(struct hub *hub, struct host_kick *q)
{
    host_begin(shard_of(hub, q->user), &q->op, kick_run);
}

/* --- Without an answer -------------------------------------------------------------------------------------------- */

int host_push(struct hub *hub, struct shard *from, struct slice user, uint16_t action, struct slice body)
{
    if (!value_user_id(user) || action < 100)
        return ERR_INVALID;
    struct user_mail *p = user_mail_new(user, action, body, NONE, 0);
    if (!p)
        return ERR_NOMEM;
    user_mail_everywhere(p);
    user_mail_post(hub, from, p);
    return 0;
}

struct closing {
    struct mail mail;
    uint32_t conn, generation;
    char message[];
};

static void close_run(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct closing *c = (struct closing *)m;
    if (s->net && conn_find(s->net, c->conn, c->generation))
        conn_close(s->net, c->conn, CLOSE_KICKED, c->message[0] ? c->message : NULL, 0);
    free(c);
}

int host_close(struct hub *hub, struct shard *from, unsigned shard, uint32_t conn, uint32_t generation,
               struct slice message)
{
    if (shard >= hub->shard_count)
        return ERR_NOTFOUND;
    struct closing *c = calloc(1, sizeof *c + message.n + 1);
    if (!c)
        return ERR_NOMEM;
    c->mail.run = close_run;
    c->conn = conn;
    c->generation = generation;
    if (message.n)
        memcpy(c->message, message.p, message.n);
    shard_post(from, hub->shards[shard], &c->mail);
    return 0;
}
