#include "core/hub/host/ban_ip.h"

#include "core/hub/people/ban.h"
#include "core/hub/shard/nodes.h"
#include "core/hub/shard/shard.h"
#include "core/net/net.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    CLOSE_STEP = 1024, /* connections looked at in one turn of a shard's loop */
    REMEMBERED = 32,   /* bans of other nodes, of which it is known how many they closed */
    ASK_MS = 2000      /* that other nodes have to say so */
};

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

/* --- How many, for the node that made the ban --------------------------------------------------------------------- */

struct ip_closings {
    unsigned next; /* the oldest */
    struct {
        struct ban_key key;
        uint32_t closed;
    } list[REMEMBERED];
};

struct heard {
    struct hub *hub;
    struct ban_key key;
};

static void remember(void *ctx, uint32_t closed)
{
    struct heard h = *(struct heard *)ctx;
    free(ctx);
    if (!h.hub->ip_closings)
        h.hub->ip_closings = calloc(1, sizeof *h.hub->ip_closings);
    struct ip_closings *l = h.hub->ip_closings;
    if (!l || !closed)
        return;
    l->list[l->next].key = h.key;
    l->list[l->next].closed = closed;
    l->next = (l->next + 1) % REMEMBERED;
}

int ban_ip_close_heard(struct hub *hub, const struct ban_key *k, struct slice reason)
{
    struct heard *h = malloc(sizeof *h);
    if (!h)
        return ERR_NOMEM;
    *h = (struct heard){hub, *k};
    int rc = ban_ip_close(hub, reason, remember, h);
    if (rc)
        free(h);
    return rc;
}

/* Each is told once: a ban that is made again counts anew. */
static uint32_t take_remembered(struct hub *hub, struct slice key)
{
    struct ip_closings *l = hub->ip_closings;
    uint32_t closed = 0;
    for (unsigned i = 0; l && i < REMEMBERED; i++) {
        if (!slice_eq(slice_of(l->list[i].key.p, l->list[i].key.n), key))
            continue;
        closed += l->list[i].closed;
        l->list[i].key.n = 0;
    }
    return closed;
}

struct question {
    struct hub *hub;
    struct node_question *q;
};

/* The walk that the ban itself began has ended before this one: on each shard it was the first. */
static void answer(void *ctx, uint32_t closed)
{
    struct question a = *(struct question *)ctx;
    char text[16];
    free(ctx);
    int n = snprintf(text, sizeof text, "%u", closed + take_remembered(a.hub, a.q->body));
    node_answer(a.hub, a.q, slice_of(text, (size_t)n));
}

static void asked(void *ctx, struct node_question *q)
{
    struct question *a = malloc(sizeof *a);
    if (a)
        *a = (struct question){ctx, q};
    if (a && ban_ip_close(a->hub, SLICE_NONE, answer, a) == 0)
        return;
    free(a);
    node_answer(ctx, q, SLICE_NONE);
}

void ban_ip_begin(struct hub *hub)
{
    nodes_answerer(hub, NODE_CLOSED, asked, hub);
}

void ban_ip_free(struct hub *hub)
{
    free(hub->ip_closings);
}

struct asking {
    struct hub *hub;
    void (*done)(void *ctx, uint32_t closed, const struct silent_nodes *silent);
    void *ctx;
};

/* None has been asked: those that live are silent. */
static void add_all(const struct hub *hub, struct silent_nodes *silent)
{
    struct hub_node nodes[HUB_NODES];
    unsigned n = hub_nodes(hub, nodes);
    for (unsigned i = 0; i < n; i++)
        if (!nodes[i].self && !nodes[i].joining)
            silent_add(silent, nodes[i].number);
}

static void answered(void *ctx, const struct node_answer *answers, unsigned n)
{
    struct asking a = *(struct asking *)ctx;
    struct silent_nodes silent = {.n = 0};
    uint32_t closed = 0;
    free(ctx);
    for (unsigned i = 0; i < n; i++) {
        char text[16];
        snprintf(text, sizeof text, "%.*s", (int)answers[i].body.n, answers[i].given ? answers[i].body.p : "");
        if (answers[i].given)
            closed += (uint32_t)strtoul(text, NULL, 10);
        else
            silent_add(&silent, answers[i].number);
    }
    if (!n)
        add_all(a.hub, &silent);
    a.done(a.ctx, closed, &silent);
}

int ban_ip_ask(struct hub *hub, const struct ban_key *k,
               void (*done)(void *ctx, uint32_t closed, const struct silent_nodes *silent), void *ctx)
{
    struct asking *a = malloc(sizeof *a);
    if (!a)
        return ERR_NOMEM;
    *a = (struct asking){hub, done, ctx};
    int rc = nodes_ask(
        hub,
        &(struct node_ask){
            .subject = NODE_CLOSED, .timeout_ms = ASK_MS, .body = slice_of(k->p, k->n), .done = answered, .ctx = a});
    if (rc)
        free(a);
    return rc;
}
