/*
 * The operations: begin_NAME() of each row of STORE_OPS, in the op_*.c of its noun. It makes the task's calls, and
 * their answers end in task_end(), once: then or later. Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_OP_H
#define MAGPIE_STORAGE_REDIS_OP_H

#include "storage/engine.h"

struct redis;
struct task;

#define DECLARE_BEGIN(NAME, name, ...) void begin_##name(struct redis *r, struct task *t);
STORE_OPS(DECLARE_BEGIN, DECLARE_BEGIN)
#undef DECLARE_BEGIN

#endif
