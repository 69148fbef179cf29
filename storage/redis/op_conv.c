#include "storage/redis/op.h"
#include "storage/redis/task.h"

void begin_conv_load(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}

void begin_channel_save(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}

void begin_block(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}
