#include "core/hub/shard/nodes.h"

#include "core/base/container.h"
#include "core/hub/shard/shard.h"
#include "storage/bus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint16_t calls[NODE_SUBJECTS] = {
    [NODE_CONSOLE] = CALL_CONSOLE, [NODE_SCRIPT] = CALL_SCRIPT, [NODE_TRACE] = CALL_TRACE};

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

struct ask {
    struct bus_call op;
    void (*done)(void *ctx, const struct node_answer *answers, unsigned n);
    void *ctx;
    char body[];
};

static void answered(void *owner, struct store_op *op)
{
    struct ask *a = CONTAINER_OF(op, struct ask, op.op);
    unsigned n = op->status == STORE_OK ? a->op.n : 0;
    struct node_answer *list = n ? calloc(n, sizeof *list) : NULL;
    (void)owner;
    for (unsigned i = 0; list && i < n; i++) {
        const struct bus_answer *b = &a->op.answers[i];
        bool given = b->status == STORE_OK && b->body.n > 0;
        list[i] = (struct node_answer){b->node, b->number, given, given ? b->body : SLICE_NONE};
    }
    a->done(a->ctx, list, list ? n : 0);
    free(list);
    bus_call_free(&a->op);
    free(a);
}

int nodes_ask(struct hub *hub, const struct node_ask *q)
{
    struct bus *bus = store_bus(hub->store);
    struct ask *a = bus ? malloc(sizeof *a + q->body.n) : NULL;
    if (!a)
        return bus ? ERR_NOMEM : ERR_CLOSED;
    if (q->body.n)
        memcpy(a->body, q->body.p, q->body.n);
    a->done = q->done;
    a->ctx = q->ctx;
    a->op = (struct bus_call){.node = q->node,
                              .what = calls[q->subject],
                              .timeout_ms = q->timeout_ms,
                              .body = slice_of(a->body, q->body.n),
                              .op = {.home = hub->main, .done = answered}};
    bus_call(bus, &a->op);
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
