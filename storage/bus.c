/* The doors of the bus: every operation passes here. See bus.h and bus_engine.h. */
#include "storage/bus.h"

#include "storage/bus_engine.h"
#include "storage/engine.h"

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
