/* The archive over PostgreSQL: which connection takes which request, and the counts. */
#ifndef MAGPIE_STORAGE_ARCHIVE_PG_H
#define MAGPIE_STORAGE_ARCHIVE_PG_H

#include "storage/archive.h"

/* archive_open() for URLs of PostgreSQL. */
MUST_CHECK int archive_pg_open(struct archive **out, struct ev_loop *loop, const struct archive_options *options,
                               char *why, size_t why_size);
/* archive_place() for them. */
void archive_pg_place(const char *url, struct buf *out);
/* archive_left_behind(). */
bool archive_pg_left_behind(void);

#endif
