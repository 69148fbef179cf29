#include "core/hub/host/ordered.h"

#include "core/hub/act/device.h"
#include "core/hub/act/login.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/copy.h"
#include "core/hub/people/user.h"
#include "core/hub/shard/shard.h"
#include "core/hub/talk/user_mail.h"
#include "storage/bus.h"

/* Closes that connection, if it is there and the user's; returns how many. */
static uint32_t replace(struct shard *s, const struct bus_order *o)
{
    const struct bus_handle *h = &o->conn;
    uint32_t user = user_find(s, o->user);
    return s->index == h->shard && user != NONE ? device_replace(s, user, h->conn, h->generation) : 0;
}

/* What is queued of the channel goes with the membership; logins under way read theirs again. */
static void remove_member(struct shard *s, uint32_t user, struct slice channel, uint64_t version)
{
    const struct user_copy *c = version && user != NONE ? user_copy(s, user) : NULL;
    if (c && user_at(s, user)->state == USER_READY && version <= c->version)
        return; /* it is known, and the user may be a member again */
    uint32_t chan = chan_find(s, channel);
    uint32_t sub = chan != NONE && user != NONE ? sub_find(s, user, chan) : NONE;
    if (sub != NONE)
        sub_remove(s, sub);
    else if (user != NONE && user_at(s, user)->state != USER_READY)
        login_stale(s, user);
}

/* On the user's shard, where its connections are. */
static void carry_out(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct bus_order *o = (struct bus_order *)m; /* its first member's first member */
    uint32_t user = user_find(s, o->user);
    switch (o->kind) {
    case ORDER_PUSH:
        user_mail_post(s->hub, s, user_mail_new(o->user, o->action, o->body, NONE, 0));
        break;
    case ORDER_KICK:
        o->connections = user == NONE ? 0 : login_kick(s, user, o->body);
        break;
    case ORDER_REPLACE:
        o->connections = replace(s, o);
        break;
    case ORDER_REMOVE:
        remove_member(s, user, o->body, o->conn.node);
        break;
    }
    bus_receipt(s->bus, o);
}

void ordered_arrive(void *ctx, struct bus_order *o)
{
    struct hub *hub = ctx;
    o->connections = 0;
    o->op.mail.run = carry_out;
    mailbox_post(&shard_of(hub, o->user)->mailbox, &o->op.mail);
}
