/*
 * Where users are, and which nodes want to hear of it: bus_presence(), bus_watch(). Engine's thread.
 *
 * Watchers are told of each change of the nodes that a user is connected to, with the list of those nodes: each sees
 * for itself whether any but itself is among them, and lives.
 */
#ifndef MAGPIE_STORAGE_REDIS_WATCH_H
#define MAGPIE_STORAGE_REDIS_WATCH_H

#include "core/base/err.h"
#include "storage/bus.h"
#include "storage/redis/client/resp.h"

struct redis;
struct task;

/* As those of op.h. */
void begin_bus_presence(struct redis *r, struct task *t);
void begin_bus_watch(struct redis *r, struct task *t);

/* Tells those who watch the user of the change s of its nodes. *in: what is left of a reply, sessions and then
 * watchers. t: the operation that is answered only once they are told; NULL: nobody waits. False: the reply is wrong.
 */
MUST_CHECK bool watch_tell(struct redis *r, struct task *t, struct slice user, uint64_t s, struct reply_in *in);
/* News of presence have come, to be told the hub: they say what that of this node wants to know. Takes n. */
void watch_heard(struct redis *r, struct bus_news *n);

#endif
