/* Where the key of resume tokens comes from: the config, the data directory, or the cluster. Private to core/server. */
#ifndef MAGPIE_SERVER_TOKEN_KEY_H
#define MAGPIE_SERVER_TOKEN_KEY_H

#include "core/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct config;
struct server;

/* The key that a config means, at the start and before it comes into force; the store is open. In a cluster it is that
 * of all nodes: one that has none in its config gets theirs, and one with another is refused while they live. May wait
 * for Redis. An enum err, with a sentence in `why`. Main thread. */
MUST_CHECK int token_key_load(struct server *s, const struct config *c, uint8_t *key, char *why, size_t why_size);

#endif
