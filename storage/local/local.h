/* The embedded engine: a store in this process, over a database of storage/kv. The default. */
#ifndef MAGPIE_STORAGE_LOCAL_H
#define MAGPIE_STORAGE_LOCAL_H

#include "core/base/err.h"
#include "storage/store.h"

/* As store_open(), which calls it. options->engine: "rocksdb", or "memory" for a store that keeps nothing. */
MUST_CHECK int local_open(struct store **out, const struct store_options *options, char *why, size_t why_size);

#endif
