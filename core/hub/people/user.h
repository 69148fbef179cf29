/* Users with connections on their owner shard, their connections and subscriptions. Private to core/hub. */
#ifndef MAGPIE_HUB_USER_H
#define MAGPIE_HUB_USER_H

#include "core/hub/shard/shard.h"

static inline struct user *user_at(const struct shard *s, uint32_t user)
{
    return pool_at(&s->users, user);
}

MUST_CHECK int users_init(struct shard *s);
void users_fini(struct shard *s);

/* The loaded user of this id, in whatever state; NONE: not loaded. */
uint32_t user_find(const struct shard *s, struct slice id);
/* Loads a user of which nothing but the id is known, in state USER_LOADING; NONE: out of memory. It is freed when it
 * has neither connections nor pins (see user_unpin). */
uint32_t user_new(struct shard *s, struct slice id);
MUST_CHECK int user_set_name(struct shard *s, uint32_t user, struct slice name);
/* A pin keeps the user loaded although it may have no connection. */
static inline void user_pin(struct shard *s, uint32_t user)
{
    user_at(s, user)->pins++;
}
void user_unpin(struct shard *s, uint32_t user);
/* It is known now: USER_READY. */
void user_ready(struct shard *s, uint32_t user);

/* Makes a logged-in connection the user's, and a receiver in all its channels. */
void user_add_conn(struct shard *s, uint32_t user, uint32_t conn);
/* The reverse; the user may be freed by it. No effect on a connection without user. */
void user_remove_conn(struct shard *s, uint32_t conn);
/* Sends a frame to every connection of the user but `except` (NONE: to all). */
void user_push(struct shard *s, uint32_t user, struct frame *f, uint32_t except);

/* The user's subscription to a channel of this shard; NONE: none. */
uint32_t sub_find(const struct shard *s, uint32_t user, uint32_t chan);
/* Adds one that is not there. since: see struct sub; fresh: whether it counts. NONE: out of memory. */
uint32_t sub_add(struct shard *s, uint32_t user, uint32_t chan, enum store_push push, uint64_t since, bool fresh);
void sub_set_push(struct shard *s, uint32_t sub, enum store_push push, uint64_t since);
/* Ends it, and takes what is queued of the channel from the user's connections. */
void sub_remove(struct shard *s, uint32_t sub);

#endif
