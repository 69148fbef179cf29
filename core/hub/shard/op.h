/*
 * Store operations of a shard: where they come back, and how many are under way. A shard does not end before the last
 * is back, so each is begun and ended here.
 *
 *     op_begin(s, &q->op.op, fetched);                                   before store_inbox_peek(s->store, &q->op)
 *     struct fetch *q = OP_END(owner, op, struct fetch, op.op);          first thing in fetched()
 */
#ifndef MAGPIE_HUB_OP_H
#define MAGPIE_HUB_OP_H

#include "core/base/container.h"
#include "core/hub/shard/shard.h"

/* The operation, which is filled in but for this, comes back to `done` on the shard's thread, whose owner is the
 * shard. */
static inline void op_begin(struct shard *s, struct store_op *op, void (*done)(void *owner, struct store_op *op))
{
    op->home = &s->mailbox;
    op->done = done;
    op->lazy = s->bunching; /* then the turn ends with one kick for all */
    s->ops++;
}

/* In `done`: it is no longer under way. */
static inline struct store_op *op_end(void *owner, struct store_op *op)
{
    ((struct shard *)owner)->ops--;
    return op;
}

/* The same, and the struct of `type` whose `member` the operation is. */
#define OP_END(owner, op, type, member) CONTAINER_OF(op_end(owner, op), type, member)

#endif
