/* What the database says of itself: the keys of family `meta`, and what of them a start reads and writes. */
#ifndef MAGPIE_STORAGE_META_H
#define MAGPIE_STORAGE_META_H

#include "core/base/err.h"
#include "core/base/slice.h"
#include "storage/local/guard.h"

#include <stdbool.h>
#include <stdint.h>

struct kv;
struct limits;

enum {
    STORE_FORMAT = 1,   /* of the database */
    ID_AHEAD_MS = 10000 /* how far the persisted limit of ids lies ahead */
};

#define META_FILLING UINT64_MAX /* in META_VERSION's place: an import is under way, or was cut short */

#define META_VERSION  SLICE_LIT("version")  /* u64: format of the database */
#define META_INSTANCE SLICE_LIT("instance") /* u64: drawn when it was made */
#define META_GROUP    SLICE_LIT("group")    /* u64: last written group; u64: when the newest id was given out */
#define META_LOSS     SLICE_LIT("loss")     /* u64: how often messages may have been lost */
#define META_CLOCK    SLICE_LIT("clock")    /* guard_encode(): u64 guarded time, about now; and more */
#define META_IDS      SLICE_LIT("ids")      /* u64: ms since ID_EPOCH_MS that no id given out passes */
#define META_CHANNELS SLICE_LIT("channels") /* u64: channels that exist */
#define META_NAMES    SLICE_LIT("names")    /* u64: names kept of channels that are gone */
#define META_SWEPT    SLICE_LIT("swept")    /* u64: 1: all channels without members are watched (vacant.h) */
#define META_LIMITS   SLICE_LIT("limits")   /* see limits_encode() */

/* 1: read, 0: absent (out is 0), negative: error. */
int meta_get_u64(struct kv *kv, struct slice key, uint64_t *out);

/* Those that a start goes by; all 0: a new database. */
struct identity {
    uint64_t version;       /* META_VERSION */
    uint64_t instance;      /* META_INSTANCE */
    uint64_t group;         /* META_GROUP */
    uint64_t last_id_ms;    /* META_GROUP: ms since ID_EPOCH_MS of the newest id */
    uint64_t loss;          /* META_LOSS */
    uint64_t clock_ms;      /* META_CLOCK: guarded time */
    char clock[GUARD_SIZE]; /* META_CLOCK as it is */
    size_t clock_size;
    uint64_t ids; /* META_IDS */
};

/* 0 or an enum err. */
MUST_CHECK int identity_read(struct kv *kv, struct identity *id);
/* Writes and syncs what a beginning run must have, now by `guard`, and changes `id` alike. lost: numbering goes on
 * beyond what may have been given out. 0 or an enum err. */
MUST_CHECK int identity_begin(struct kv *kv, struct identity *id, struct guard *guard, bool lost,
                              struct limits *limits);

#endif
