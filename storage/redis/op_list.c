#include "storage/redis/op.h"
#include "storage/redis/task.h"

void begin_conversations(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}

void begin_pairs(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}

void begin_scan(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}
