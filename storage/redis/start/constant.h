/*
 * Constants of the cluster: values that its first server sets and all others find, in the hash C{z}. Asked over a
 * connection of their own, which waits: at the start, and when the config is loaded anew. Not on the engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_CONSTANT_H
#define MAGPIE_STORAGE_REDIS_CONSTANT_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>

struct redis;

/* As store_agree(). Tries for as long as cluster.patience says. */
MUST_CHECK int constant_agree(struct redis *r, const char *name, struct slice proposal, bool replace, struct buf *out,
                              char *why, size_t why_size);

#endif
