#include "storage/redis/op.h"
#include "storage/redis/task.h"

void begin_recall(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}

void begin_edit(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}
