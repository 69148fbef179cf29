/* The engine on a Redis 7 Cluster: a store that several processes share, and that outlives each of them. */
#ifndef MAGPIE_STORAGE_REDIS_H
#define MAGPIE_STORAGE_REDIS_H

#include "core/base/err.h"
#include "storage/store.h"

/* As store_open(), which calls it; options->cluster says where the cluster is. ERR_IO: no member of it answers. */
MUST_CHECK int redis_open(struct store **out, const struct store_options *options, char *why, size_t why_size);

#endif
