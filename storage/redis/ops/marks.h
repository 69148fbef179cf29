/*
 * Who sends to a channel has read it. That mark is at the user, on another partition than the message, and nobody waits
 * for it: it is noted here, and sent once a second, before the user's own marks and lists are answered, and when the
 * engine ends. A killed server loses that second. Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_MARKS_H
#define MAGPIE_STORAGE_REDIS_MARKS_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct redis;

/* Who waits until a user's marks have arrived. */
struct marks_wait {
    struct marks_wait *next; /* marks.c's */
    void (*done)(struct redis *r, struct marks_wait *w);
    void *ctx;
};

/* ERR_NOMEM. */
MUST_CHECK int marks_init(struct redis *r);
void marks_fini(struct redis *r);
/* The user has read the channel up to seq. Both are copied. */
void marks_note(struct redis *r, struct slice user, struct slice conv, uint64_t seq);
/* Sends what is noted of a user now. True: nothing is under way any more. Else `w` is called, later, once that is so;
 * `w` NULL: nobody waits, and whatever is posted to the user's partition afterwards comes behind it. */
bool marks_send(struct redis *r, struct slice user, struct marks_wait *w);
/* Sends all. */
void marks_flush(struct redis *r);

/* Begins a call of `mark`: its keys and arguments, but for done and ctx. conv: a channel's key, or a pair's. tell: its
 * reply ends with the user's nodes. */
struct call;
void marks_call(struct redis *r, struct call *c, struct slice user, struct slice conv, uint64_t seq, bool tell);

#endif
