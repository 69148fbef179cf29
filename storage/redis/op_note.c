#include "storage/redis/op.h"
#include "storage/redis/task.h"

void begin_note_put(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}

void begin_notes(struct redis *r, struct task *t)
{
    task_end(r, t, STORE_RETRY);
}
