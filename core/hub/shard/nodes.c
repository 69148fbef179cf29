#include "core/hub/shard/nodes.h"

#include "core/base/container.h"
#include "core/hub/shard/shard.h"
#include "core/hub/shard/shards.h"
#include "storage/bus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOINING_MS = 500 }; /* that a node which may not serve yet has to answer */

static const uint16_t calls[NODE_SUBJECTS] = {
    [NODE_CONSOLE] = CALL_CONSOLE, [NODE_TRACE] = CALL_TRACE, [NODE_CLOSED] = CALL_CLOSED, [NODE_PLUGIN] = CALL_PLUGIN};

_Static_assert((int)NODE_ANSWER_MAX == (int)BUS_CALL_MAX, "said twice");

unsigned hub_nodes(const struct hub *hub, struct hub_node out[HUB_NODES])
{
    struct bus *bus = store_bus(hub->store);
    struct bus_node list[HUB_NODES];
    unsigned n = bus ? bus_nodes(bus, list, HUB_NODES) : 0;
    n = n < HUB_NODES ? n : HUB_NODES;
    for (unsigned i = 0; i < n; i++) {
        out[i] = (struct hub_node){.node = list[i].node,
                                   .number = list[i].number,
                                   .self = list[i].self,
                                   .leader = list[i].leader,
                                   .draining = list[i].draining,
                                   .joining = list[i].joining};
        snprintf(out[i].host, sizeof out[i].host, "%s", list[i].host);
    }
    return n;
}

bool hub_is_node(const struct hub *hub)
{
    return store_bus(hub->store) != NULL;
}

bool hub_leads(const struct hub *hub)
{
    struct bus *bus = store_bus(hub->store);
    return !bus || bus_leads(bus);
}

/* --- Questions ---------------------------------------------------------------------------------------------------- */

/* One question on the bus. */
struct ask {
    struct bus_call op;
    struct asks *all;
    bool joining; /* of a node that need not answer yet */
    char body[];
};

/* What nodes_ask() was asked: one question to all that serve, or to one; and one to each that joins. */
struct asks {
    struct hub *hub;
    void (*done)(void *ctx, const struct node_answer *answers, unsigned n);
    void *ctx;
    unsigned count, waiting; /* questions; main thread: that have not ended */
    struct ask *list[];      /* owned */
};

static void asks_free(struct asks *all)
{
    for (unsigned i = 0; i < all->count; i++)
        free(all->list[i]);
    free(all);
}

/* The place of a node's answer in the list of n, at its end where it has none yet. */
static unsigned place_of(const struct node_answer *list, unsigned n, uint64_t node)
{
    unsigned i = 0;
    while (i < n && list[i].node != node)
        i++;
    return i;
}

/* Those that join are left out where they say nothing: they do not serve yet, and nothing is missing without them. */
static unsigned gather(const struct asks *all, struct node_answer *list)
{
    unsigned n = 0;
    for (unsigned k = 0; k < all->count; k++) {
        const struct bus_call *c = &all->list[k]->op;
        for (unsigned i = 0; c->op.status == STORE_OK && i < c->n; i++) {
            const struct bus_answer *b = &c->answers[i];
            bool given = b->status == STORE_OK && b->body.n > 0;
            unsigned at = place_of(list, n, b->node);
            if ((at < n && list[at].given) || (all->list[k]->joining && !given))
                continue;
            list[at] = (struct node_answer){b->node, b->number, given, given ? b->body : SLICE_NONE};
            n += at == n;
        }
    }
    return n;
}

static void answered(void *owner, struct store_op *op)
{
    struct asks *all = CONTAINER_OF(op, struct ask, op.op)->all;
    size_t room = 0;
    (void)owner;
    if (--all->waiting)
        return;
    for (unsigned k = 0; k < all->count; k++)
        room += all->list[k]->op.op.status == STORE_OK ? all->list[k]->op.n : 0;
    struct node_answer *list = room ? calloc(room, sizeof *list) : NULL;
    all->done(all->ctx, list, list ? gather(all, list) : 0);
    free(list);
    for (unsigned k = 0; k < all->count; k++)
        bus_call_free(&all->list[k]->op);
    hub_step_end(all->hub);
    asks_free(all);
}

/* False: out of memory. */
static bool ask_add(struct hub *hub, struct asks *all, const struct node_ask *q, const struct hub_node *joining)
{
    struct ask *a = malloc(sizeof *a + q->body.n);
    if (!a)
        return false;
    if (q->body.n)
        memcpy(a->body, q->body.p, q->body.n);
    a->all = all;
    a->joining = joining != NULL;
    a->op = (struct bus_call){.node = joining ? joining->node : q->node,
                              .what = calls[q->subject],
                              .timeout_ms = joining ? JOINING_MS : q->timeout_ms,
                              .body = slice_of(a->body, q->body.n),
                              .op = {.home = hub->main, .done = answered}};
    all->list[all->count++] = a;
    return true;
}

int nodes_ask(struct hub *hub, const struct node_ask *q)
{
    struct bus *bus = store_bus(hub->store);
    struct hub_node nodes[HUB_NODES];
    unsigned n = q->node ? 0 : hub_nodes(hub, nodes);
    struct asks *all = bus ? calloc(1, sizeof *all + (n + 1) * sizeof all->list[0]) : NULL;
    if (!all)
        return bus ? ERR_NOMEM : ERR_CLOSED;
    all->hub = hub;
    all->done = q->done;
    all->ctx = q->ctx;
    bool good = ask_add(hub, all, q, NULL);
    for (unsigned i = 0; good && i < n; i++)
        if (nodes[i].joining && !nodes[i].self)
            good = ask_add(hub, all, q, &nodes[i]);
    if (!good) {
        asks_free(all);
        return ERR_NOMEM;
    }
    unsigned count = all->waiting = all->count;
    hub_step_begin(hub);
    for (unsigned k = 0; k < count; k++)
        bus_call(bus, &all->list[k]->op);
    return 0;
}

/* --- Answers ------------------------------------------------------------------------------------------------------ */

/* A wrong one finds nobody. */
static struct node_answerer *answerer_of(struct hub *hub, uint16_t what)
{
    for (unsigned i = 0; i < NODE_SUBJECTS; i++)
        if (calls[i] == what)
            return &hub->answerers[i];
    return NULL;
}

void nodes_answerer(struct hub *hub, enum node_subject subject, void (*asked)(void *ctx, struct node_question *q),
                    void *ctx)
{
    hub->answerers[subject] = (struct node_answerer){asked, ctx};
    atomic_store(&hub->answers_at, hub->main);
}

void node_answer(struct hub *hub, struct node_question *q, struct slice body)
{
    bus_answer(store_bus(hub->store), q->called, body);
    free(q);
}

static uint16_t number_of(const struct hub *hub, uint64_t node)
{
    struct hub_node list[HUB_NODES];
    unsigned n = hub_nodes(hub, list);
    for (unsigned i = 0; i < n; i++)
        if (list[i].node == node)
            return list[i].number;
    return 0;
}

struct called {
    struct mail mail;
    struct hub *hub;
    struct node_question *q;
    uint16_t what;
};

static void on_main(void *owner, struct mail *m)
{
    struct called c = *(struct called *)m;
    const struct node_answerer *a = answerer_of(c.hub, c.what);
    (void)owner;
    free(m);
    c.q->number = number_of(c.hub, c.q->node);
    if (a && a->asked)
        a->asked(a->ctx, c.q);
    else
        node_answer(c.hub, c.q, SLICE_NONE);
}

void nodes_called(void *ctx, struct bus_called *called)
{
    struct hub *hub = ctx;
    struct mailbox *main = atomic_load(&hub->answers_at);
    struct called *c = main ? malloc(sizeof *c) : NULL;
    struct node_question *q = c ? malloc(sizeof *q) : NULL;
    if (!q) {
        free(c);
        bus_answer(store_bus(hub->store), called, SLICE_NONE);
        return;
    }
    *q = (struct node_question){.called = called, .node = called->node, .body = called->body};
    *c = (struct called){.mail.run = on_main, .hub = hub, .q = q, .what = called->what};
    mailbox_post(main, &c->mail);
}
