/* All shards together: which there are, and work that is done on each of them. Main thread, where nothing else is
 * said. */
#ifndef MAGPIE_HUB_SHARDS_H
#define MAGPIE_HUB_SHARDS_H

#include "core/base/err.h"

struct hub;
struct mailbox;
struct shard;
struct store;

/* Where answers to the main thread are posted: a mailbox that it runs on its loop. Before hub_start(). */
void hub_set_main(struct hub *hub, struct mailbox *main);
struct mailbox *hub_main(const struct hub *hub);
/* Runs fn on each shard's thread, between two turns of its loop. When it has run on all, done (may be NULL) is called
 * on the main thread. Before hub_start() and after hub_stop() all inside this call. ERR_NOMEM: nothing was run. */
MUST_CHECK int hub_each(struct hub *hub, void (*fn)(struct shard *s, void *ctx), void (*done)(void *ctx), void *ctx);
unsigned hub_shard_count(const struct hub *hub);
struct shard *hub_shard(const struct hub *hub, unsigned index);
struct store *hub_store(const struct hub *hub);
/* Something begins whose answer comes to the main thread, which may then ask the store for more: hub_busy() until it
 * has ended. So the store is still there when the answer comes. Any thread. */
void hub_step_begin(struct hub *hub);
void hub_step_end(struct hub *hub);

#endif
