/*
 * Messages that nobody was told of: they were stored, or may have been, but their sends were answered STORE_UNKNOWN.
 * When their sender repeats one under the same clientId, it is found in Redis; without this table it would pass for one
 * that others have long been told of. A place is taken over by the next message that falls on it. Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_UNTOLD_H
#define MAGPIE_STORAGE_REDIS_UNTOLD_H

#include "core/base/err.h"
#include "storage/redis/layout.h"

#include <stdbool.h>
#include <stdint.h>

enum { UNTOLD_MAX = 4096 };

struct untold {
    char digest[LAYOUT_DIGEST]; /* of sender, conversation and clientId */
    uint64_t created_ms;        /* 0: the place is free */
    uint64_t place;             /* the smallest that its id may have */
};

/* ERR_NOMEM. */
MUST_CHECK int untold_init(struct untold **table);
void untold_note(struct untold *table, const char digest[LAYOUT_DIGEST], uint64_t created_ms, uint64_t place);
/* Whether the message that Redis has under this digest is such a one; it is none any more. */
bool untold_take(struct untold *table, const char digest[LAYOUT_DIGEST], uint64_t created_ms, uint64_t place);

#endif
