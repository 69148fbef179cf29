/*
 * A user as the store has it, and its copy on this shard: the first time, at a login; and later, on a node of a
 * cluster, when other nodes may have changed it and told so in vain. Private to core/hub.
 */
#ifndef MAGPIE_HUB_RESYNC_H
#define MAGPIE_HUB_RESYNC_H

#include "core/hub/shard/shard.h"

/* Makes the copy of a user that was being loaded, which is known then (USER_READY). claims: of the login that asked;
 * may be NULL. False: out of memory. */
MUST_CHECK bool resync_first(struct shard *s, uint32_t user, const struct store_user_load *r, const char *claims);
/* Brings the copy of a known user up to what was read, unless it has changed here since: `changes` is user_copy.changes
 * from before. Connections hear of memberships that came and went. False: it has, or there is no memory. */
bool resync_take(struct shard *s, uint32_t user, const struct store_user_load *r, uint32_t changes);
/* Reads the user and does so. With `inbox`, its connections are told how many messages wait there. */
void resync(struct shard *s, uint32_t user, bool inbox);
/* shard_events.user_overtaken: reads it, and says nothing of the inbox. */
void resync_overtaken(struct shard *s, uint32_t user);
/* Whether the hooks let a stored subscription be restored. Refused, it is not there for this login; the membership
 * stays stored. claims: see grant.h. */
bool resync_admits(struct shard *s, uint32_t user, struct slice channel, const char *claims);
/* The user is told of, and listens to, the channel from now on, or not any more: another node has made it so. */
MUST_CHECK bool resync_join(struct shard *s, uint32_t user, struct slice channel, enum push_mode push, bool events,
                            uint64_t since, bool fresh);
/* How it is told of a channel changes, by another node: since that seq; NULL: nobody knows since when. */
void resync_change(struct shard *s, uint32_t user, uint32_t sub, enum push_mode push, bool events,
                   const uint64_t *since);
bool resync_leave(struct shard *s, uint32_t user, struct slice channel);
/* Four times a second: who misses a message for too long. */
void resync_tick(struct shard *s);

#endif
