/*
 * Into the archive, and out of Redis: what the sweeper finds due of private conversations goes from here. Engine's
 * thread.
 *
 * Writing behind: the rows of many conversations are read, put into the archive in batches, and then each head is told
 * (`archived`) with the `edits` that its rows were read under; where a message was changed meanwhile they are read
 * again. Leaving: rows that are archived, and neither among the newest (cluster.archive.hot) nor young (hot_age), leave
 * Redis, after the archive was asked whether it has them indeed: what a database that was put back to an older state
 * lacks, goes there once more.
 */
#ifndef MAGPIE_STORAGE_REDIS_BEHIND_H
#define MAGPIE_STORAGE_REDIS_BEHIND_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct behind;
struct redis;

enum {
    BEHIND_AFTER_MS = 1000, /* messages go to the archive when they are as old: the sweeper asks for those */
    BEHIND_MAX = 1024       /* conversations under way; others are found again by a later sweep */
};

/* ERR_NOMEM. */
MUST_CHECK int behind_open(struct redis *r, struct behind **out);
/* Nothing goes to the archive any more. */
void behind_stop(struct behind *b);
/* All calls and requests must have been answered. NULL is nothing. */
void behind_close(struct behind *b);

/* A pair has rows that wait for the archive (the partition's A). */
void behind_found(struct redis *r, unsigned part, struct slice conv);
/* The partition was swept: its oldest waiting row was born then; 0: none waits, or another node sweeps it now. */
void behind_swept(struct redis *r, unsigned part, uint64_t oldest_ms);
/* A pair is due (the partition's e): rows of it may have ended, or leave Redis. In place of `trim`. */
void behind_due(struct redis *r, unsigned part, struct slice conv);

/* How long the oldest message has waited for the archive, ms. Any thread. */
uint64_t behind_ms(struct redis *r);

#endif
