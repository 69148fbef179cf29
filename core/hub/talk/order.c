#include "core/hub/talk/order.h"

#include "core/hub/shard/op.h"

#include <stdlib.h>

struct order {
    struct bus_order op;
    void (*then)(void *ctx, const struct order_end *e); /* NULL: nobody waits */
    void *ctx;                                          /* of then */
    char data[];                                        /* the user's id, then the body */
};

static void ordered(void *owner, struct store_op *op)
{
    struct order *o = OP_END(owner, op, struct order, op.op);
    if (o->then)
        o->then(o->ctx, &(struct order_end){op->status, o->op.connections, o->op.silent});
    free(o);
}

/* NULL: out of memory. */
static struct order *order_new(enum bus_order_kind kind, struct slice user, struct slice body)
{
    struct order *o = malloc(sizeof *o + user.n + body.n);
    if (!o)
        return NULL;
    memcpy(o->data, user.p, user.n);
    if (body.n)
        memcpy(o->data + user.n, body.p, body.n);
    o->op =
        (struct bus_order){.kind = kind, .user = slice_of(o->data, user.n), .body = slice_of(o->data + user.n, body.n)};
    o->then = NULL;
    return o;
}

static void order_go(struct shard *s, struct order *o)
{
    op_begin(s, &o->op.op, ordered);
    bus_order(s->bus, &o->op);
}

void order_push_begin(struct shard *s, struct slice user, uint16_t action, struct slice body)
{
    struct order *o = order_new(ORDER_PUSH, user, body);
    if (!o)
        return;
    o->op.action = action;
    order_go(s, o);
}

static bool order_wait(struct shard *s, struct order *o, void (*then)(void *ctx, const struct order_end *e), void *ctx)
{
    if (!o) {
        then(ctx, &(struct order_end){.status = STORE_FATAL});
        return true;
    }
    o->then = then;
    o->ctx = ctx;
    order_go(s, o);
    return true;
}

bool order_kick(struct shard *s, struct slice user, struct slice message,
                void (*then)(void *ctx, const struct order_end *e), void *ctx)
{
    return s->bus && order_wait(s, order_new(ORDER_KICK, user, message), then, ctx);
}

bool order_remove(struct shard *s, struct slice user, struct slice channel, uint64_t version,
                  void (*then)(void *ctx, const struct order_end *e), void *ctx)
{
    struct order *o = s->bus ? order_new(ORDER_REMOVE, user, channel) : NULL;
    if (o)
        o->op.conn.node = version;
    return s->bus && order_wait(s, o, then, ctx);
}
