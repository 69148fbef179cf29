/*
 * Devices: of a user's connections that name the same one, the newest stays. Over nodes, that is the one whose session
 * was put last (roam.h), even while its login is not answered yet. The user's shard. Private to core/hub.
 */
#ifndef MAGPIE_HUB_DEVICE_H
#define MAGPIE_HUB_DEVICE_H

#include <stdint.h>

struct login;
struct shard;

/* The login has its device from now on: closes the user's other connections here that had it. */
void device_take(const struct login *l);
/* Another node's login has taken the device of that connection: closes it, if it is the user's, or its login as this
 * user is under way. Returns how many. */
uint32_t device_replace(struct shard *s, uint32_t user, uint32_t conn, uint32_t generation);

#endif
