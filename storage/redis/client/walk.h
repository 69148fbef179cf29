/*
 * A walk over all keys of a kind, on all masters: SCAN, a bounded number of keys at a time. Engine's thread.
 *
 * Redis promises that whatever is there from beginning to end is found, perhaps twice. That holds for one master; where
 * the masters are others than before, the walk begins anew. Only slots that are moved meanwhile may be missed.
 */
#ifndef MAGPIE_STORAGE_REDIS_WALK_H
#define MAGPIE_STORAGE_REDIS_WALK_H

#include "core/base/buf.h"
#include "storage/redis/client/call.h"

enum {
    WALK_PLACE = 17,
    WALK_SIZE_MAX = 11 /* of walk_place.size */
};

/* Where a walk stands. All 0: at its beginning. */
struct walk_place {
    uint32_t masters; /* hash of who they are */
    uint16_t master;  /* the how many-th */
    uint64_t at;      /* cursor of SCAN, of which a table with 2^48 entries knows no larger one */
    uint8_t size;     /* so many keys are looked at, about, at once: 2^size */
    uint32_t skip;    /* of the keys found there, those up to one with this hash were looked at; 0: none was */
};

void walk_place_put(char out[WALK_PLACE], const struct walk_place *p);
void walk_place_get(const char in[WALK_PLACE], struct walk_place *p);

struct walk {
    struct call call;
    struct walk_place place;
    char kind;           /* of the keys: 'u', 'm' */
    struct slice prefix; /* what stands behind "}:" begins so; borrowed */
    uint64_t next;       /* where SCAN goes on */
    struct buf arena;    /* owned */
    struct slice *keys;  /* what stands behind "}:" of each that was found; owned, in arena */
    uint32_t n, cap, looked;
    bool last;                                                               /* this master is the last one */
    void (*done)(struct redis *r, struct walk *w, enum store_status status); /* keys were found, or none */
    void *ctx;                                                               /* the caller's */
};

/* Looks for the next keys, among 2^place.size of all that there are. */
void walk_ask(struct redis *r, struct walk *w);
/* All that was found has been looked at. Whether there may be more. The caller may change place.size then. */
bool walk_on(struct walk *w);
/* What was found has been looked at up to this key. */
void walk_stop_behind(struct walk *w, struct slice key);
void walk_fini(struct walk *w);
/* By which a key is known in a place; not 0. */
uint32_t walk_hash(struct slice key);

#endif
