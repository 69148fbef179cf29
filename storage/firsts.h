/*
 * The oldest visible messages of conversations that were read lately, so that a page needs one seek and not two.
 *
 * The oldest visible message only ever moves forward: an answer stays right until that message ends, falls below its tier's count, or options
 * or the clock are changed by hand (live.version). Any thread; a fixed table, newest wins.
 */
#ifndef MAGPIE_STORAGE_FIRSTS_H
#define MAGPIE_STORAGE_FIRSTS_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct firsts;

/* What is known of a conversation. */
struct first_known {
    uint64_t seq;      /* of its oldest visible message */
    uint64_t until_ms; /* when that message ends, by the expiry clock */
    uint32_t version;  /* live.version that this was found under */
    uint8_t tier;      /* where it is stored */
};

struct firsts *firsts_new(void);
void firsts_free(struct firsts *f);
/* False: not known. Whether it still holds is the caller's to judge. */
bool firsts_get(struct firsts *f, struct slice conv, struct first_known *out);
/* conv: CONV_KEY_MAX bytes at most. */
void firsts_put(struct firsts *f, struct slice conv, const struct first_known *known);

#endif
