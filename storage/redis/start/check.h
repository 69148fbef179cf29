/*
 * What is looked at before a node starts: whether the Redis Cluster is there, is one, and is set up so that what is
 * kept there stays. What would lose data refuses the start; what may is a line of the log.
 */
#ifndef MAGPIE_STORAGE_REDIS_CHECK_H
#define MAGPIE_STORAGE_REDIS_CHECK_H

#include "core/base/err.h"
#include "storage/store.h"

/* Looks, and logs warnings. 0, or an error and one sentence in `why`: ERR_IO (none answers), ERR_AUTH (the password),
 * ERR_INVALID (all else). Waits for Redis, for some seconds where members are out of reach. */
MUST_CHECK int check_cluster(const struct store_cluster_options *o, char *why, size_t why_size);

#endif
