/* After all of Redis was lost: private conversations go on above what the archive has of them. */
#ifndef MAGPIE_STORAGE_REDIS_HEADS_H
#define MAGPIE_STORAGE_REDIS_HEADS_H

#include "core/base/err.h"
#include "storage/store.h"

/* As store_heads(), which calls it. What redis_import() wants of the prefix. */
MUST_CHECK int redis_heads(const struct store_options *options, uint64_t *n, char *why, size_t why_size);

#endif
