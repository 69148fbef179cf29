/* How many entries an inbox has, for those who are not about inboxes. */
#ifndef MAGPIE_STORAGE_INBOX_H
#define MAGPIE_STORAGE_INBOX_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdint.h>

struct inbox;
struct kv;
struct local;
struct writer;

struct inbox_tally {
    uint64_t first; /* smallest id that is not past its time */
    uint64_t until; /* when the count changes by itself */
    uint32_t count;
};

/* Counts a user's entries. Any thread. 0 or an enum err. */
MUST_CHECK int inbox_count(struct local *s, struct kv *kv, struct slice user, struct inbox_tally *out);
/* The writer's thread: a user's inbox as the present group sees it, counted if need be. 0, an enum err, or 1: cut the
 * group. */
MUST_CHECK int inbox_of(struct writer *w, struct slice user, struct inbox **out);

#endif
