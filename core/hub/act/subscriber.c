#include "core/hub/act/subscriber.h"

#include "core/hub/act/resync.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/grant.h"
#include "core/hub/people/session.h"
#include "core/hub/people/user.h"
#include "core/hub/shard/op.h"
#include "core/hub/talk/conv.h"
#include "storage/bus.h"

#include <stdlib.h>

bool call_subscribed(const struct call *c, struct slice channel)
{
    const struct session *x = conn_at(c->shard->net, c->conn)->session;
    uint32_t chan = chan_find(c->shard, channel);
    if (chan != NONE && sub_find(c->shard, c->user, chan) != NONE)
        return true;
    return x && x->vouched && x->looked == hash_bytes(channel);
}

/* --- On another node ---------------------------------------------------------------------------------------------- */

struct look {
    struct bus_presence op;
    struct slice id; /* of the caller; in `text` */
    uint32_t conn, generation;
    bool online, shared;
    char text[64 + 1 + 64]; /* id; channel, after a byte with its length */
};

static void looked(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct look *l = OP_END(owner, op, struct look, op.op);
    const struct conn *k = s->net ? conn_find(s->net, l->conn, l->generation) : NULL;
    if (k && k->session) {
        struct session *x = k->session;
        x->looking = false;
        struct slice channel = slice_of(l->op.channels.p + 1, l->op.channels.n - 1);
        /* The hooks are asked as when the news come: what they refuse is no subscription here. */
        x->vouched =
            op->status == STORE_OK && l->shared && resync_admits(s, k->user, channel, grant_claims(s, l->conn).p);
        req_go_on(s, l->conn, l->generation);
    }
    free(l);
}

bool call_looks(struct call *c, struct slice channel)
{
    struct shard *s = c->shard;
    if (!s->bus || call_subscribed(c, channel))
        return false;
    struct session *x = session_get(s, c->conn);
    if (!x || (x->looked == hash_bytes(channel) && !x->looking))
        return false;
    c->again = true;
    if (x->looking)
        return true;
    struct look *l = calloc(1, sizeof *l);
    struct slice id = call_user_id(c);
    if (!l)
        return c->again = false;
    memcpy(l->text, id.p, id.n);
    l->text[id.n] = (char)channel.n;
    memcpy(l->text + id.n + 1, channel.p, channel.n);
    l->id = slice_of(l->text, id.n);
    l->conn = c->conn;
    l->generation = conn_at(s->net, c->conn)->generation;
    l->op = (struct bus_presence){.ids = &l->id,
                                  .n = 1,
                                  .channels = slice_of(l->text + id.n, 1 + channel.n),
                                  .online = &l->online,
                                  .shared = &l->shared};
    x->looking = true;
    x->vouched = false;
    x->looked = hash_bytes(channel);
    op_begin(s, &l->op.op, looked);
    bus_presence(s->bus, &l->op);
    return true;
}

/* --- Strangers ---------------------------------------------------------------------------------------------------- */

static void deny_ready(struct owned_req *q)
{
    if (conv_at(q->owner, q->conv)->exists)
        req_fail(&q->r, CODE_FORBIDDEN, "only subscribers of the channel may");
    else
        req_fail(&q->r, CODE_NOT_FOUND, "no such channel");
    owned_done(q);
}

void call_deny_stranger(struct call *c, const struct conv_key *key)
{
    struct owned_req *q = req_begin(c, sizeof *q);
    if (!q)
        return;
    q->key = *key;
    q->ready = deny_ready;
    owned_post(c->shard, q);
}
