#include "storage/redis/op.h"
#include "storage/redis/task.h"

void begin_channel_close(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}

void begin_channel_wipe(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}
