/*
 * A block of the archive's rows, as Redis keeps it for a while: edits u32, the seq u48 up to which it has all rows,
 * then for each row seq u48, bytes u32, its record (layout.h).
 */
#ifndef MAGPIE_STORAGE_REDIS_COLD_BLOCK_H
#define MAGPIE_STORAGE_REDIS_COLD_BLOCK_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "storage/archive.h"

/* Makes it of those rows that are its own: the seqs from `from` to `upto`. b: emptied first; check buf_ok(). */
void cold_block_make(struct buf *b, uint32_t edits, uint64_t from, uint64_t upto, const struct archive_row *rows,
                     uint32_t n);
/* Whether it is a block, made at `edits`, that has all rows up to a seq. */
bool cold_block_right(struct slice v, uint32_t edits, uint64_t upto);

/* A walk over the rows of a block that is right. */
struct cold_walk {
    struct slice at;     /* what is left of it */
    uint64_t seq;        /* of the row */
    struct slice record; /* likewise; borrowed from the block */
};
void cold_walk_begin(struct cold_walk *w, struct slice v);
/* The next row: 1; 0: there is none; ERR_INVALID: this is no block. */
MUST_CHECK int cold_walk_next(struct cold_walk *w);

/* Appends a row as a record. */
void cold_record(struct buf *b, const struct archive_row *row);
/* A row of a record. The slices borrow from it. An enum err. */
MUST_CHECK int cold_row(struct archive_row *row, struct slice conv, uint64_t seq, struct slice record);

#endif
