/*
 * The notes, of which a node keeps a copy: they are few, and asked for by prefix, which Redis has no order for.
 *
 * notes_log.h keeps the copy up with Redis. Whoever reads asks first for the place of the newest change, and waits
 * until the copy has it. Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_NOTES_H
#define MAGPIE_STORAGE_REDIS_NOTES_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct redis;

struct note {
    uint16_t key_n;   /* bytes of key, at the beginning of text */
    uint32_t value_n; /* … and of value, behind it */
    uint32_t came;    /* while all are being read: the how many-th it is */
    char text[];
};

struct notes {
    struct note **list; /* owned, as each is; ascending by key */
    uint32_t n, cap;
    bool known; /* it is all that there was at notes_log_told() */
};

/* The engine's copy. ERR_NOMEM. */
MUST_CHECK int notes_init(struct redis *r);
void notes_fini(struct redis *r);

static inline struct slice note_key(const struct note *n)
{
    return slice_of(n->text, n->key_n);
}
/* Where the first note is whose key is not below `key`. */
uint32_t notes_find(const struct notes *ns, struct slice key);
/* Puts a note into a copy. False: there is no memory. */
bool notes_set(struct notes *ns, struct slice key, struct slice value);
/* The same for a copy that is being read: it is in no order, and a key may come twice, until notes_sort(), by which the
 * one that came last stands. So a copy of many costs no more than it must. */
bool notes_add(struct notes *ns, struct slice key, struct slice value);
void notes_sort(struct notes *ns);
void notes_remove(struct notes *ns, struct slice key);
/* Empties a copy and gives its memory back. */
void notes_free(struct notes *ns);

#endif
