/*
 * What this engine knows of conversations that it has lately seen: the newest seq that it has told of, and below which
 * seq nothing is visible any more. Both only rise, so nothing need ever be taken back. A place is taken over by the
 * next conversation that falls on it: then less is known. Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_KNOWN_H
#define MAGPIE_STORAGE_REDIS_KNOWN_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum { KNOWN_MAX = 65536 };

struct known {
    uint64_t hash;  /* of the conversation's key; 0: nobody's */
    uint64_t seq;   /* the newest that was told of; 0: none, or not known */
    uint64_t first; /* all below are not visible any more */
    bool lost;      /* Redis has less than `seq`, which was told of */
    bool moving;    /* a count hides its oldest, or they are in the archive: `first` does not stay where it is */
};

/* ERR_NOMEM. */
MUST_CHECK int known_init(struct known **table);
/* What is known; all 0: nothing. */
struct known known_get(const struct known *table, struct slice conv);
/* Seen: seq is its newest, and nothing below `first` is visible. 0: that is not known. */
void known_put(struct known *table, struct slice conv, uint64_t seq, uint64_t first);
/* Its head is below `seq`. Whether that is new: until it is above again, it is so once. */
bool known_lost(struct known *table, struct slice conv);
/* Whether its first message moves with each new one. */
void known_moving(struct known *table, struct slice conv, bool moving);

#endif
