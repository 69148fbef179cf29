/* All that a cluster holds under a prefix, as the records of an export (storage/dump.h). */
#ifndef MAGPIE_STORAGE_REDIS_EXPORT_H
#define MAGPIE_STORAGE_REDIS_EXPORT_H

#include "core/base/err.h"
#include "storage/store.h"

struct dump_writer;

/* As store_export(), which calls it. Nodes may run; what they change meanwhile is in it or not. Second halves of
 * private messages and memberships that nobody has done yet it does itself, as the sweep would. */
MUST_CHECK int redis_export(const struct store_options *options, struct dump_writer *out, char *why, size_t why_size);

#endif
