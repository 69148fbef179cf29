/* Guests: users of mode open whose token was never used again and who have no private messages. They are forgotten
 * after limits.guest. Private to core/hub. */
#ifndef MAGPIE_HUB_GUEST_H
#define MAGPIE_HUB_GUEST_H

#include "core/hub/shard/shard.h"

/* A guest's last connection closed: its time begins now. */
void guest_left(struct shard *s, uint32_t user);
/* A guest has come back, and the store cannot write that down now: from now on it is no guest here, and the store is
 * told when it can be. */
void guest_returned(struct shard *s, uint32_t user);
/* Housekeeping on every shard: tells the store of those. */
void guests_owed_tick(struct shard *s);
/* Gives up: the shard ends. No store operation is under way. */
void guests_drop(struct shard *s);
/* Housekeeping on shard 0: looks for guests whose time has come. */
void guests_tick(struct shard *s);

#endif
