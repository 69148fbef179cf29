#include "storage/redis/op.h"
#include "storage/redis/task.h"

void begin_append(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}
