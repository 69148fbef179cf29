#include "core/hub/host/ban_ip.h"

#include "core/hub/people/ban.h"
#include "core/hub/shard/shard.h"
#include "core/net/net.h"

#include <stdio.h>
#include <stdlib.h>

enum { CLOSE_STEP = 1024 }; /* connections looked at in one turn of a shard's loop */

struct closing {
    struct mail mail; /* back to the main thread */
    void (*done)(void *ctx, uint32_t closed);
    void *ctx;
    _Atomic unsigned left; /* shards that still look for connections */
    _Atomic uint32_t closed;
    char reason[BAN_REASON_MAX + 1];
    struct ip_walk {
        struct mail mail;
        struct closing *closing;
        uint32_t at; /* next connection */
    } walks[];       /* one a shard */
};

static void all_closed(void *owner, struct mail *m)
{
    struct closing *c = (struct closing *)m;
    (void)owner;
    if (c->done)
        c->done(c->ctx, atomic_load(&c->closed));
    free(c);
}

static void ip_walk(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct ip_walk *w = (struct ip_walk *)m;
    struct closing *c = w->closing;
    char ip[64];
    uint32_t i = s->net ? net_next(s->net, w->at) : CONN_NONE;
    for (unsigned n = 0; n < CLOSE_STEP && i != CONN_NONE; n++) {
        conn_peer(s->net, i, ip, sizeof ip);
        if (!(conn_at(s->net, i)->flags & CONN_F_CLOSING) && ban_ip(s, ip)) {
            conn_close(s->net, i, CLOSE_KICKED, c->reason[0] ? c->reason : "this address is banned", 0);
            atomic_fetch_add(&c->closed, 1);
        }
        i = net_next(s->net, i + 1);
    }
    w->at = i;
    if (i != CONN_NONE) {
        mailbox_post(&s->mailbox, m);
    } else if (atomic_fetch_sub(&c->left, 1) == 1) {
        c->mail.run = all_closed;
        mailbox_post(s->hub->main, &c->mail);
    }
}

int ban_ip_close(struct hub *hub, struct slice reason, void (*done)(void *ctx, uint32_t closed), void *ctx)
{
    struct closing *c = calloc(1, sizeof *c + hub->shard_count * sizeof c->walks[0]);
    if (!c)
        return ERR_NOMEM;
    c->done = done;
    c->ctx = ctx;
    atomic_store(&c->left, hub->shard_count);
    snprintf(c->reason, sizeof c->reason, "%.*s", (int)reason.n, reason.p ? reason.p : "");
    for (unsigned i = 0; i < hub->shard_count; i++) {
        c->walks[i].mail.run = ip_walk;
        c->walks[i].closing = c;
        mailbox_post(&hub->shards[i]->mailbox, &c->walks[i].mail);
    }
    return 0;
}
