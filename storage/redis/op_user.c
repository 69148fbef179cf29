#include "storage/redis/op.h"
#include "storage/redis/task.h"

void begin_user_save(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}

void begin_user_load(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}

void begin_user_forget(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}

void begin_guests_due(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}
