/* The doors of the bus: every operation passes here. See bus.h and bus_engine.h. */
#include "storage/bus.h"

#include "storage/bus_engine.h"
#include "storage/engine.h"

#include <stdlib.h>

_Static_assert(BUS_OP_KINDS <= UINT8_MAX, "store_op.kind has room for all operations");

struct bus *store_bus(struct store *s)
{
    return s->bus;
}

void bus_listen(struct bus *b, const struct bus_ears *ears)
{
    b->ops->listen(b, ears);
}

void bus_receipt(struct bus *b, struct bus_order *o)
{
    b->ops->receipt(b, o);
}

void bus_answer(struct bus *b, struct bus_called *c, struct slice body)
{
    b->ops->answer(b, c, slice_of(body.p, body.n < BUS_CALL_MAX ? body.n : BUS_CALL_MAX));
}

void bus_call_free(struct bus_call *c)
{
    free(c->answers); /* and their bodies, which stand behind them */
    c->answers = NULL;
    c->n = 0;
}

void bus_applied(struct bus *b, struct bus_noted *n)
{
    b->ops->applied(b, n);
}

unsigned bus_nodes(struct bus *b, struct bus_node *out, unsigned n)
{
    return b->ops->nodes(b, out, n);
}

bool bus_leads(struct bus *b)
{
    return b->ops->leads(b);
}

void bus_drain(struct bus *b)
{
    b->ops->drain(b);
}

unsigned bus_part_conv(struct bus *b, struct slice conv)
{
    return b->ops->part_conv(conv);
}

unsigned bus_part_user(struct bus *b, struct slice user)
{
    return b->ops->part_user(user);
}

static void hand_over(struct bus *b, struct store_op *op, enum bus_op_kind kind)
{
    store_op_begin(op, (uint8_t)kind);
    b->ops->post(b, op);
}

/* bus_follow() and all the others: each row's struct begins with its struct store_op. */
#define DOOR(NAME, name)                                                                                               \
    _Static_assert(offsetof(struct bus_##name, op) == 0, "op comes first");                                            \
    void bus_##name(struct bus *b, struct bus_##name *p)                                                               \
    {                                                                                                                  \
        hand_over(b, &p->op, BUS_##NAME);                                                                              \
    }
BUS_OPS(DOOR)
