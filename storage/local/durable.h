/*
 * What lies beside the database: the lock on the directory, and the two marks that tell after a restart whether
 * anything was lost.
 *
 * DATA/mark           a small file: the database's instance, the size of its manifest, and the last group known to be
 *                       synced (a lower bound); after a clean end, the last of all. Its inode carries a sign of life
 *                       that survives the process and not the machine, nor the mount: then nothing can be missing
 * /dev/shm/magpie-*   the last group written and the last one synced: survives the process, not the machine, nor those
 *                       who tidy up there
 *
 * README.md, "Losses", has the reasoning. All functions accept NULL (a database in memory has none of this).
 */
#ifndef MAGPIE_STORAGE_DURABLE_H
#define MAGPIE_STORAGE_DURABLE_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct durable;

/* Makes the directory (with parents, all of mode 0700) and locks it. ERR_EXISTS: another server has it; ERR_AUTH:
 * everybody may write there; ERR_IO; ERR_NOMEM; `why` gets a sentence. */
MUST_CHECK int durable_open(struct durable **out, const char *path, char *why, size_t why_size);
/* Gives the lock back. */
void durable_close(struct durable *d);
/* The database's own directory, inside the data directory. Borrowed. */
const char *durable_db_path(const struct durable *d);
/* Whether the directory has been used before, so that an absent database is a loss and not a beginning. */
bool durable_used(const struct durable *d);
/* Whether a server has ever got as far as serving from it. */
bool durable_begun(const struct durable *d);
/* Whether zeroed sectors in the database's logs tell of lost power, and none of a flipped bit. */
bool durable_log_torn(const struct durable *d);

enum durable_verdict {
    DURABLE_WHOLE,  /* nothing can be missing */
    DURABLE_LOST,   /* what was not synced may be missing */
    DURABLE_REFUSED /* something is missing that had been synced: damage, not lost power */
};
/* Compares what the database has (its instance number and last group) with the marks. */
enum durable_verdict durable_judge(const struct durable *d, uint64_t instance, uint64_t group, char *why,
                                   size_t why_size);
/* From now on the marks are this instance's. ERR_IO. */
MUST_CHECK int durable_begin(struct durable *d, uint64_t instance, uint64_t group);
/* Any thread. Before an answer that does not wait for the write; after a write and before its answers. */
void durable_given(struct durable *d, uint64_t group);
/* Any thread. Before the first answer that does not wait for the write, and when a write or a sync has failed: from now
 * on only shared memory can tell after a kill that nothing is missing. Cheap; more calls change nothing. */
void durable_doubt(struct durable *d);
/* After a sync. */
void durable_synced(struct durable *d, uint64_t group);
/* A clean end: the database is synced up to `group`, which is its last. */
void durable_end(struct durable *d, uint64_t group);
/* 0 when some MiB can be written and synced in the directory. */
int durable_probe(const struct durable *d);

#endif
