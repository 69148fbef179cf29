#include "storage/redis/task.h"

#include "storage/redis/io.h"
#include "storage/redis/op.h"
#include "storage/redis/redis_private.h"

#include <stdlib.h>

#define BEGIN(NAME, name, ...) [OP_##NAME] = begin_##name,
static void (*const begin[OP_KINDS])(struct redis *r, struct task *t) = {STORE_OPS(BEGIN, BEGIN)};
#undef BEGIN

int tasks_init(struct redis *r)
{
    (void)r;
    return 0;
}

void tasks_fini(struct redis *r)
{
    (void)r;
}

void task_begin(struct redis *r, struct store_op *op)
{
    struct task *t = malloc(sizeof *t);
    if (!t) {
        redis_io_answer(r, op, STORE_FATAL);
        return;
    }
    *t = (struct task){op};
    begin[op->kind](r, t);
}

void task_end(struct redis *r, struct task *t, enum store_status status)
{
    redis_io_answer(r, t->op, status);
    free(t);
}
