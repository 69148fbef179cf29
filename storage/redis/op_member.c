#include "storage/redis/op.h"
#include "storage/redis/task.h"

void begin_member_put(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}

void begin_member_del(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}

void begin_members(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}
