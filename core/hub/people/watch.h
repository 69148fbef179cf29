/*
 * Watched presence (action 18, push 111): which connections want to hear whether a user comes online or goes offline.
 *
 * The user's shard knows which shards watch it, and tells them. A shard knows which of its connections watch whom, and
 * tells them of one user at most once in WATCH_QUIET_MS, the last state always. A user that many watch is told of in
 * steps, so that the loop is not held up. Nothing is kept for those who neither watch nor are watched. A shard's own
 * thread. Private to core/hub.
 */
#ifndef MAGPIE_HUB_WATCH_H
#define MAGPIE_HUB_WATCH_H

#include "core/hub/shard/shard.h"

enum {
    WATCH_MAX = 1000,      /* users that one connection may watch */
    WATCH_QUIET_MS = 2000, /* between two pushes about one user */
    WATCH_SHARDS = 256     /* as many as there can be */
};

/* How many users the connection watches. */
uint32_t watch_count(const struct shard *s, uint32_t conn);
bool watch_has(const struct shard *s, uint32_t conn, struct slice id);
/* The connection watches the user from now on: it is pushed nothing before watch_answer(). Again: no effect.
 * ERR_NOMEM. */
MUST_CHECK int watch_add(struct shard *s, uint32_t conn, struct slice id);
/* Whether it is known if the user is online; true where the connection does not watch it (any more). */
bool watch_known(const struct shard *s, uint32_t conn, struct slice id);
/* Who waits until something of that is known: `look` is called once then, and may wait again. There must have been a
 * watch_add() on this shard. Borrowed until then. */
struct watch_wait {
    struct watch_wait *next;
    void (*look)(struct shard *s, struct watch_wait *w);
};
void watch_wait(struct shard *s, struct watch_wait *w);
/* Whether the user is online, as the connection is told by an answer now; pushes follow when that changes. False too
 * where it does not watch it (any more), or nothing is known. */
bool watch_answer(struct shard *s, uint32_t conn, struct slice id);
void watch_remove(struct shard *s, uint32_t conn, struct slice id);

/* A user of this shard has come to this node, or gone from it. */
void watch_changed(struct shard *s, struct slice id, bool online);
/* News of a user of this shard: as bus_watch.changes and .online. */
void watch_far(struct shard *s, struct slice id, uint64_t changes, bool online);
/* With a bus: news of these may have been missed. Of each user of this shard that is watched: `far`, as far as is known
 * it is connected to another node. */
void watch_doubt(struct shard *s, bool (*which)(const void *ctx, struct slice id, bool far), const void *ctx);
/* A connection ends. */
void watch_ended(struct shard *s, uint32_t conn);

/* Tells some of what is to be told, before the loop sleeps. True: more is left. */
bool watch_step(struct shard *s);
/* Four times a second: what was held back, and is due. */
void watch_tick(struct shard *s);
void watches_free(struct shard *s);

#endif
