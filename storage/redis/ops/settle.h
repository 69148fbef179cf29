/*
 * Intents whose second halves are done: they are forgotten, soon and many in one call. Those that are not, for whatever
 * reason, the sweep finds, and does the halves again. Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_SETTLE_H
#define MAGPIE_STORAGE_REDIS_SETTLE_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdint.h>

struct redis;

/* ERR_NOMEM. */
MUST_CHECK int settle_init(struct redis *r);
void settle_fini(struct redis *r);
/* The intent with this field (255 bytes at most) in o{t} of the partition is done. version: that of the membership; 0:
 * it has none. Copies the field. */
void settle_later(struct redis *r, unsigned part, struct slice field, uint64_t version);
/* Now. */
void settle_flush(struct redis *r);

#endif
