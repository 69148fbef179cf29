#include "storage/redis/op.h"
#include "storage/redis/task.h"

void begin_inbox_peek(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}

void begin_inbox_ack(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}
