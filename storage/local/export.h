/* All that the embedded engine's database holds, as the records of an export (storage/dump.h). */
#ifndef MAGPIE_STORAGE_LOCAL_EXPORT_H
#define MAGPIE_STORAGE_LOCAL_EXPORT_H

#include "core/base/err.h"
#include "storage/store.h"

struct dump_writer;
struct identity;
struct local;

/* As store_export(), which calls it. The directory's server must not run; nothing in its database is changed. */
MUST_CHECK int local_export(const struct store_options *options, struct dump_writer *out, char *why, size_t why_size);
/* Puts all records of a database that nobody changes meanwhile, END excepted. What is past its time, or beyond a count,
 * is left out, so that no option can bring it back. `lost` as local_open_still() said. 0 or an enum err. */
MUST_CHECK int export_all(struct local *s, const struct identity *id, bool lost, struct dump_writer *out);

#endif
