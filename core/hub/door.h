/* The door between the net and the hub: what becomes of connections, frames and HTTP requests. Private to core/hub. */
#ifndef MAGPIE_HUB_DOOR_H
#define MAGPIE_HUB_DOOR_H

#include "core/net/conn.h"

/* What a shard's net calls, on the shard's thread; the owner is the struct shard. */
extern const struct net_ops hub_door;

#endif
