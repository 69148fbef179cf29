/* Connections from banned addresses end, on all nodes. Private to core/hub. */
#ifndef MAGPIE_HUB_BAN_IP_H
#define MAGPIE_HUB_BAN_IP_H

#include "core/base/err.h"
#include "core/base/slice.h"
#include "storage/cluster.h"

#include <stdint.h>

struct ban_key;
struct hub;

/* From now on other nodes are told how many a ban has closed here. Main thread. */
void ban_ip_begin(struct hub *hub);
void ban_ip_free(struct hub *hub);

/* Closes, on all shards and in steps, those whose address is banned by now. reason: for people; copied; may be empty.
 * `done` (NULL: nobody waits) is called on the main thread, with how many. ERR_NOMEM: nothing is closed. Any thread. */
MUST_CHECK int ban_ip_close(struct hub *hub, struct slice reason, void (*done)(void *ctx, uint32_t closed), void *ctx);
/* The same for a ban of another node, which may ask how many that were. Main thread. */
MUST_CHECK int ban_ip_close_heard(struct hub *hub, const struct ban_key *k, struct slice reason);

/* Asks the other nodes, which have the ban, how many it has closed there. `done` is called on the main thread, with the
 * sum and who has not answered. ERR_CLOSED: the server is alone; ERR_NOMEM. Then `done` is not called. */
MUST_CHECK int ban_ip_ask(struct hub *hub, const struct ban_key *k,
                          void (*done)(void *ctx, uint32_t closed, const struct silent_nodes *silent), void *ctx);

#endif
