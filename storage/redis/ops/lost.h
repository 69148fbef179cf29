/*
 * What Redis has lost, though it was acknowledged: two of a master's three copies at once, or what an operator emptied.
 * It is told of, and numbering goes on above what was told before. Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_LOST_H
#define MAGPIE_STORAGE_REDIS_LOST_H

#include "core/base/slice.h"

#include <stdint.h>

struct redis;

/* The conversation's newest seq was `had`, as this node has told, and now is `has`, which is below. */
void lost_tell(struct redis *r, struct slice conv, uint64_t had, uint64_t has);

#endif
