/* The records of an export (storage/dump.h) into an empty database of the embedded engine. */
#ifndef MAGPIE_STORAGE_LOCAL_IMPORT_H
#define MAGPIE_STORAGE_LOCAL_IMPORT_H

#include "core/base/err.h"
#include "storage/store.h"

struct dump_reader;
struct local;

/* As store_import(), which calls it. A failed one leaves the data directory without a database. */
MUST_CHECK int local_import(const struct store_options *options, struct dump_reader *in, char *why, size_t why_size);
/* Puts all records that the reader has into a database that is open and empty. Until it has gone well, a server refuses
 * that database. instance: what the database then says of itself, with IMPORT_GROUP as the last group. 0 or an enum
 * err; `why` gets a sentence. */
enum { IMPORT_GROUP = 1 };
MUST_CHECK int import_all(struct local *s, struct dump_reader *in, uint64_t *instance, char *why, size_t why_size);

#endif
