/*
 * What a node of a cluster does about its users once it may have missed something, or was taken for dead: each shard
 * for its own. A server alone does nothing of it. Private to core/hub.
 */
#ifndef MAGPIE_HUB_RECOVER_H
#define MAGPIE_HUB_RECOVER_H

#include "core/hub/shard/shard.h"
#include "storage/bus.h"

/* As bus_ears.event, on each shard. */
void recover_event(struct shard *s, enum bus_event what);
/* As bus_ears.reset, on each shard: users, and those who are watched, are compared. */
void recover_users(struct shard *s, const uint8_t parts[BUS_PARTS]);
/* Four times a second: what has failed, once more. */
void recover_tick(struct shard *s);
void recover_free(struct shard *s);

#endif
