/*
 * Which users are connected to this node, as all nodes know it: bus_session_put(), bus_session_del(), bus_look(). What
 * stands in Redis of it: functions/session.lua. Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_SESSION_H
#define MAGPIE_STORAGE_REDIS_SESSION_H

#include "core/base/err.h"

struct redis;
struct task;

/* ERR_NOMEM. */
MUST_CHECK int session_init(struct redis *r);
void session_fini(struct redis *r);
/* Now and then: sessions that could not be taken away are tried again. */
void session_tick(struct redis *r);

/* As those of op.h. */
void begin_bus_session_put(struct redis *r, struct task *t);
void begin_bus_session_del(struct redis *r, struct task *t);
void begin_bus_look(struct redis *r, struct task *t);

#endif
