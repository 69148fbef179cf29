/* Connections from banned addresses end. Private to core/hub. */
#ifndef MAGPIE_HUB_BAN_IP_H
#define MAGPIE_HUB_BAN_IP_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdint.h>

struct hub;

/* Closes, on all shards and in steps, those whose address is banned by now. reason: for people; copied; may be empty.
 * `done` (NULL: nobody waits) is called on the main thread, with how many. ERR_NOMEM: nothing is closed. Any thread. */
MUST_CHECK int ban_ip_close(struct hub *hub, struct slice reason, void (*done)(void *ctx, uint32_t closed), void *ctx);

#endif
