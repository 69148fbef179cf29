/* One store operation under way. Engine's thread. */
#ifndef MAGPIE_STORAGE_REDIS_TASK_H
#define MAGPIE_STORAGE_REDIS_TASK_H

#include "core/base/err.h"
#include "storage/store.h"

struct redis;

struct task {
    struct store_op *op; /* the caller's */
};

MUST_CHECK int tasks_init(struct redis *r);
void tasks_fini(struct redis *r);
/* An operation has come: begins it. */
void task_begin(struct redis *r, struct store_op *op);
/* Ends it: the operation is answered, in its turn, and the task is freed. */
void task_end(struct redis *r, struct task *t, enum store_status status);

#endif
