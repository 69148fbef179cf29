/* Orders and questions to other nodes: see order.h. */
#include "storage/redis/bus/order.h"

#include "core/base/container.h"
#include "storage/redis/bus/bus_private.h"
#include "storage/redis/bus/errand.h"
#include "storage/redis/bus/sessions.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/task.h"

#include <stdlib.h>

enum { USER_MAX = 64, RECEIPT_MS = 1000 };

/* --- Orders ------------------------------------------------------------------------------------------------------- */

struct ordering {
    struct call call;
    struct errand errand;
};

/* For people. */
static uint16_t number_of(const struct redis *r, const struct errand_to *to)
{
    const struct node *n = nodes_find(node_others(r), to->inc);
    return n ? n->number : to->number;
}

static void order_end(struct redis *r, struct errand *e)
{
    struct task *t = e->ctx;
    struct bus_order *o = (struct bus_order *)t->op;
    for (uint32_t i = 0; i < e->n; i++) {
        const struct errand_to *to = &e->to[i];
        o->connections += to->connections;
        if (!to->over)
            silent_add(&o->silent, number_of(r, to));
    }
    enum store_status status = e->left ? STORE_RETRY : STORE_OK;
    errand_free(e);
    task_end(r, t, status);
}

static struct news_more order_news(const struct bus_order *o)
{
    return (struct news_more){.kind = NEWS_ORDER,
                              .order = (uint8_t)o->kind,
                              .user = o->user,
                              .body = o->body,
                              .conn = o->conn,
                              .action = o->action};
}

/* Its nodes are known: those that have not died. */
static void order_go(struct redis *r, struct task *t)
{
    struct bus_order *o = (struct bus_order *)t->op;
    struct errand *e = &((struct ordering *)t->own)->errand;
    if (!e->left) {
        errand_free(e);
        task_end(r, t, STORE_OK);
        return;
    }
    e->say = order_news(o);
    e->until_ms = o->kind == ORDER_REPLACE ? 0 : r->turn_ms + RECEIPT_MS;
    e->end = order_end;
    e->ctx = t;
    errand_begin(r, e);
}

/* Nobody says that it has arrived: it is told in the order of the user's news. */
static void order_push(struct redis *r, struct task *t, struct sessions list)
{
    struct bus_order *o = (struct bus_order *)t->op;
    struct news_more say = order_news(o);
    say.number = errand_number(r);
    say.origin = node_others(r)->inc;
    say.time_ms = time_now(r);
    for (uint16_t i = 0; i < list.n && say.origin; i++) {
        uint64_t inc = sessions_other(r, list, i, o->user);
        unsigned part = errand_part(r, partition_of_user(o->user), 0);
        struct buf *b = inc ? tell_node(r, t, part, inc) : NULL;
        if (b)
            news_more_put(b, &say);
    }
    task_end(r, t, STORE_OK);
}

static void order_located(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct bus_order *o = (struct bus_order *)t->op;
    struct errand *e = &((struct ordering *)t->own)->errand;
    struct reply_in in = status == STORE_OK ? reply_in(reply) : (struct reply_in){.bad = true};
    (void)reply_u8(&in);
    (void)reply_u8(&in); /* whether it shares a channel */
    struct sessions list = sessions_read(&in);
    if (status != STORE_OK || !reply_ok(&in)) {
        task_end(r, t, status == STORE_OK ? STORE_FATAL : status);
    } else if (o->kind == ORDER_PUSH) {
        order_push(r, t, list);
    } else if (list.n && errand_room(e, list.n)) {
        task_end(r, t, STORE_RETRY);
    } else {
        for (uint16_t i = 0; i < list.n; i++) {
            uint64_t inc = sessions_other(r, list, i, o->user);
            if (inc)
                errand_add(e, inc);
        }
        order_go(r, t);
    }
}

static void order_replace(struct redis *r, struct task *t)
{
    struct bus_order *o = (struct bus_order *)t->op;
    struct errand *e = &((struct ordering *)t->own)->errand;
    const struct nodes *ns = node_others(r);
    if (o->conn.node == ns->inc || !nodes_may_live(ns, o->conn.node)) {
        task_end(r, t, STORE_OK); /* its connections have ended with it */
    } else if (errand_room(e, 1)) {
        task_end(r, t, STORE_RETRY);
    } else {
        errand_add(e, o->conn.node);
        order_go(r, t);
    }
}

void begin_bus_order(struct redis *r, struct task *t)
{
    struct bus_order *o = (struct bus_order *)t->op;
    bool sane = o->user.n >= 1 && o->user.n <= USER_MAX && o->body.n <= BUS_CALL_MAX;
    struct ordering *own = sane ? task_own(t, sizeof *own) : NULL;
    o->connections = 0;
    o->silent.n = 0;
    if (!own) {
        task_end(r, t, sane ? STORE_RETRY : STORE_FATAL);
        return;
    }
    if (o->kind == ORDER_REPLACE) {
        order_replace(r, t);
        return;
    }
    call_begin(r, &own->call, FN_PRESENCE, partition_of_user(o->user));
    call_key(r, &own->call, 'u', o->user);
    call_key(r, &own->call, 'S', o->user);
    own->call.done = order_located;
    own->call.ctx = t;
    call_post(r, &own->call);
}

/* --- Questions ---------------------------------------------------------------------------------------------------- */

/* The answers in one piece of memory, with their bodies behind them. */
static enum store_status answers_make(struct redis *r, struct bus_call *c, const struct errand *e)
{
    size_t size = e->n * sizeof *c->answers;
    for (uint32_t i = 0; i < e->n; i++)
        size += e->to[i].n;
    c->answers = malloc(size ? size : 1);
    if (!c->answers)
        return STORE_RETRY;
    char *p = (char *)(c->answers + e->n);
    for (uint32_t i = 0; i < e->n; i++) {
        const struct errand_to *to = &e->to[i];
        c->answers[i] = (struct bus_answer){.node = to->inc,
                                            .number = number_of(r, to),
                                            .status = to->replied ? STORE_OK : STORE_RETRY,
                                            .body = slice_of(p, to->n)};
        if (to->n)
            memcpy(p, to->body, to->n);
        p += to->n;
    }
    c->n = e->n;
    return STORE_OK;
}

static void call_over(struct redis *r, struct errand *e)
{
    struct task *t = e->ctx;
    enum store_status status = answers_make(r, (struct bus_call *)t->op, e);
    errand_free(e);
    task_end(r, t, status);
}

/* Whether a question goes to the node: those that only begin to join have nobody to answer. */
static bool is_asked(const struct nodes *ns, const struct bus_call *c, const struct node *n)
{
    return n->inc != ns->inc && (c->node ? n->inc == c->node : n->about.state != NODE_JOINING);
}

void begin_bus_call(struct redis *r, struct task *t)
{
    struct bus_call *c = (struct bus_call *)t->op;
    const struct nodes *ns = node_others(r);
    struct errand *e = c->body.n <= BUS_CALL_MAX ? task_own(t, sizeof *e) : NULL;
    c->answers = NULL;
    c->n = 0;
    if (!e || errand_room(e, ns->n + 1)) {
        task_end(r, t, c->body.n <= BUS_CALL_MAX ? STORE_RETRY : STORE_FATAL);
        return;
    }
    for (unsigned i = 0; i < ns->n; i++) {
        if (!is_asked(ns, c, &ns->list[i]))
            continue;
        e->to[e->n].number = ns->list[i].number;
        errand_add(e, ns->list[i].inc);
    }
    if (c->node && c->node != ns->inc && !e->n)
        errand_add(e, c->node); /* dead, which is soon found, or not known yet */
    e->say = (struct news_more){.kind = NEWS_CALL, .what = c->what, .body = c->body};
    e->until_ms = r->turn_ms + (c->timeout_ms ? c->timeout_ms : RECEIPT_MS);
    e->end = call_over;
    e->ctx = t;
    if (e->n)
        errand_begin(r, e);
    else
        call_over(r, e);
}
