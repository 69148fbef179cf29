/* The records of an export (storage/dump.h) under an empty prefix of a cluster. */
#ifndef MAGPIE_STORAGE_REDIS_IMPORT_H
#define MAGPIE_STORAGE_REDIS_IMPORT_H

#include "core/base/err.h"
#include "storage/store.h"

struct dump_reader;

/* As store_import(), which calls it. No node may run under the prefix, which must hold nothing, or what an import left
 * that was cut short. A failed one takes back what it has written, as far as it can. */
MUST_CHECK int redis_import(const struct store_options *options, struct dump_reader *in, char *why, size_t why_size);

#endif
