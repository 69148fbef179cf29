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
/* Whether the user is online, as the connection is told by an answer now; pushes follow when that changes. False too
 * where it does not watch it (any more). Known for sure once mails that were posted to the user's shard after
 * watch_add() have come back. */
bool watch_answer(struct shard *s, uint32_t conn, struct slice id);
void watch_remove(struct shard *s, uint32_t conn, struct slice id);

/* A user of this shard has come, or gone. */
void watch_changed(struct shard *s, struct slice id, bool online);
/* A connection ends. */
void watch_ended(struct shard *s, uint32_t conn);

/* Tells some of what is to be told, before the loop sleeps. True: more is left. */
bool watch_step(struct shard *s);
/* Four times a second: what was held back, and is due. */
void watch_tick(struct shard *s);
void watches_free(struct shard *s);

#endif
