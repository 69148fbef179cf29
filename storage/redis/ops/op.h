/*
 * The operations: begin_NAME() of each row of STORE_OPS, in the op_*.c of its noun. It makes the task's calls, and
 * their answers end in task_end(), once: then or later. Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_OP_H
#define MAGPIE_STORAGE_REDIS_OP_H

#include "storage/bus_engine.h"
#include "storage/engine.h"

struct redis;
struct task;

#define DECLARE_BEGIN(NAME, name, ...) void begin_##name(struct redis *r, struct task *t);
STORE_OPS(DECLARE_BEGIN, DECLARE_BEGIN)
#undef DECLARE_BEGIN

/* The same of the bus's (bus.h): begin_bus_NAME(). */
#define DECLARE_BUS_BEGIN(NAME, name) void begin_bus_##name(struct redis *r, struct task *t);
BUS_OPS(DECLARE_BUS_BEGIN)
#undef DECLARE_BUS_BEGIN

#endif
