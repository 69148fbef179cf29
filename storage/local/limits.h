/*
 * Which times to live and counts were in force before those of now, and what they have hidden.
 *
 * What has once been past its time or beyond the count never comes back. Its row may still be on the disk when an
 * option is raised. For times to live one number a class is enough: whatever was born before it has ended (expiry.h). A
 * count hides by a conversation's own numbers. So the counts before a raise are kept, each with the newest id of its
 * time: a conversation without a newer message had that count.
 *
 * Persisted as one row of `meta`. Options change on any thread; the writer dates and writes the row.
 */
#ifndef MAGPIE_STORAGE_LIMITS_H
#define MAGPIE_STORAGE_LIMITS_H

#include "core/base/err.h"
#include "core/base/slice.h"
#include "storage/expiry.h"
#include "storage/store.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    LIMITS_PAST = 64, /* raises remembered for each tier; a lower count makes those above it needless */
    LIMITS_FIXED = 2 + (EXPIRY_CLASSES - 1) * 16 + TIER_COUNT * 5,
    LIMITS_SIZE = LIMITS_FIXED + TIER_COUNT * LIMITS_PAST * 12 /* bytes of the row at most */
};

struct past_max {
    uint64_t until_id; /* the newest id of its time; UINT64_MAX: not dated yet */
    uint32_t max;      /* never 0 */
};

struct limits {
    struct expiry *expiry;            /* times to live, and what has ended by those before; borrowed */
    _Atomic uint32_t max[TIER_COUNT]; /* in force; 0: all */
    _Atomic uint32_t past_n[TIER_COUNT];
    _Atomic uint32_t version; /* counts changes */
    pthread_mutex_t lock;     /* of past, and of changes */
    /* Newest first; each count is smaller than all before it and than max. */
    struct past_max past[TIER_COUNT][LIMITS_PAST];
};

void limits_init(struct limits *l, struct expiry *expiry, const struct store_options *o);
void limits_fini(struct limits *l);
/* Puts the options in force. */
void limits_change(struct limits *l, const struct store_options *o);
/* The row as another run left it at then_ms (expiry clock): whatever the present options raise counts as raised then.
 * ERR_INVALID. */
MUST_CHECK int limits_restore(struct limits *l, struct slice row, uint64_t then_ms);
/* Dates the counts that have none, by an id that none given out passes, and writes the row: LIMITS_SIZE bytes at most.
 * Returns its size. The writer, or whoever starts it. */
size_t limits_encode(struct limits *l, uint64_t last_id, char *out);
/* How many messages a tier keeps of a conversation whose newest message has this id; 0: all. Any thread. */
uint32_t limits_max(struct limits *l, unsigned tier, uint64_t last_id);
/* Whether limits_max() may differ from conversation to conversation. */
bool limits_differ(const struct limits *l);

#endif
