#include "storage/redis/op.h"
#include "storage/redis/task.h"

void begin_range(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}
