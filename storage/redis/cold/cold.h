/*
 * Messages that have left Redis: the archive beside it, and reading its rows. Engine's thread.
 *
 * Rows are read in blocks of 64, and what was read is kept in Redis for a while (cluster.archive.cache). A kept block
 * carries the head's `edits` of when it was read, and counts only while they are the same: every change of a row that
 * is in the archive alone raises them.
 */
#ifndef MAGPIE_STORAGE_REDIS_COLD_H
#define MAGPIE_STORAGE_REDIS_COLD_H

#include "storage/archive.h"
#include "storage/redis/client/call.h"
#include "storage/redis/layout.h"

struct behind;
struct cluster_archive;
struct cold_change;

struct cold {
    struct archive *archive;
    struct behind *behind;       /* what goes into it */
    struct cold_change *changes; /* cold_change.c's: those under way, one a conversation */
    bool stopping;               /* nothing is begun any more */
};

/* Opens the archive, where options name one: else r->cold stays NULL. ERR_INVALID, with a sentence for people. */
MUST_CHECK int cold_open(struct redis *r, char *why, size_t why_size);
/* Ends what is under way with STORE_RETRY. Calls may still be answered afterwards. */
void cold_stop(struct redis *r);
void cold_fini(struct redis *r);

/* Whether the archive has rows of it that are no longer in Redis. */
bool cold_covers(const struct redis *r, const struct layout_head *h);
/* What is told of it. */
void cold_tell(struct redis *r, struct cluster_archive *out);
/* How long a request that somebody waits for may wait for the database, ms. */
uint32_t cold_patience(struct redis *r);

enum {
    COLD_BLOCK = 64, /* rows; block b has the seqs from b * COLD_BLOCK + 1 on */
    COLD_SPAN = 4    /* blocks asked for at once */
};

/* Reads rows, one after the other, until `row` has enough. */
struct cold_read {
    /* in */
    struct slice conv; /* a pair's key; borrowed until done */
    uint32_t edits;    /* of the head, as it was read before */
    uint64_t archived; /* likewise */
    uint64_t from, to; /* seqs, both inclusive; to: not above the head's low */
    bool up;           /* from `from` upward, else from `to` downward */
    uint32_t want;     /* about so many rows are wanted */
    /* A row, as layout.h has records; borrowed. 1: go on; 0: enough; an enum err ends it with STORE_FATAL, ERR_NOMEM
     * with STORE_RETRY. */
    int (*row)(struct cold_read *c, uint64_t seq, struct slice record);
    /* STORE_OK, or STORE_RETRY: the archive cannot be read now. */
    void (*done)(struct redis *r, struct cold_read *c, enum store_status status);
    void *ctx; /* the caller's */
    /* cold.c's */
    struct redis *r;
    uint64_t next; /* the row with which it goes on */
    uint64_t span; /* the first block of the span */
    unsigned n;    /* blocks in the span */
    bool any;      /* the span had a row */
    struct call call;
    struct archive_range range;
    struct buf blocks[COLD_SPAN]; /* as they are kept */
};

/* Begins. done is called once, later. All but what is in is overwritten. */
void cold_read(struct redis *r, struct cold_read *c);

#endif
