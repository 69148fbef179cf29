/*
 * Changes of magpie.store on their way into the log of notes, which all nodes follow. Private to script_store*.c.
 *
 * Changes go in the order in which they were made, whatever their keys: so what is there after a kill is a beginning of
 * what was done. A few are on their way at once, the rest waits. Where very many wait, those of one key become one.
 *
 * One that fails is done again under its number, by which the log takes it once. Nothing else goes until all that are
 * on their way have ended: then what was overtaken by a later change of its key is mended, and all goes on in order.
 *
 * Locks: that of the key's stripe (values.h) first, then the flights'.
 */
#ifndef MAGPIE_SCRIPT_SCRIPT_STORE_FLIGHTS_H
#define MAGPIE_SCRIPT_SCRIPT_STORE_FLIGHTS_H

#include "core/script/script_store_private.h"

enum step_kind {
    STEP_SET,
    STEP_ADD,
    STEP_REMOVE,
    STEP_EXPIRE /* removed where it still ends then */
};

struct step {
    enum step_kind kind;
    struct script_value v; /* SET; its text is owned */
    uint64_t until_ms;     /* SET; ADD: of a new one; EXPIRE: the one that has passed */
    double by;             /* ADD */
};

enum flight_state { FLIGHT_WAITS, FLIGHT_FLIES, FLIGHT_FAILED, FLIGHT_LANDED };

struct track;

/* One change. */
struct flight {
    struct flight *next;    /* of all, younger */
    struct flight *younger; /* of the same key */
    struct track *track;
    uint64_t number; /* by which the log knows it; 0: it waits */
    struct step step;
    enum flight_state state;
    bool seen; /* the log has had it */
};

/* The changes of a key that have not ended, and those that have but came after one of them. */
struct track {
    struct track *chain; /* of the bucket */
    struct script_space *space;
    struct flight *first, *last; /* oldest first */
    uint64_t hash;
    size_t key_n;
    char key[];
};

enum { FLIGHT_BUCKETS = 4096 };

struct flights {
    struct script_store *store;
    pthread_mutex_t lock;
    struct track *buckets[FLIGHT_BUCKETS]; /* owned */
    struct flight *first, *last;           /* all, in their order; owned */
    struct flight *waits;                  /* the first of `first` … `last` that waits; NULL: none does */
    uint32_t waiting, flying, failed;      /* how many */
    bool loading;                          /* changes of others are kept back */
    bool heard_one;                        /* … and one is */
    struct note_change heard;              /* that one */
    struct {
        uint64_t *keys; /* hashes of notes that are there; owned */
        size_t n, cap;
        bool lost; /* without memory: nothing is taken away */
    } all;         /* while all are read anew; main thread */
    struct mail read;
};

/* All of these under the lock. */

/* Where the track of the key stands, or would. */
struct track **track_place(struct flights *x, const struct script_space *p, uint64_t hash, struct slice key);
/* What the changes of this node that the log does not have yet make of what stands there. number: of the change that
 * the log has just had; 0: of another node. */
void track_apply(struct track *t, uint64_t number, struct script_value *v, uint64_t *until_ms, uint64_t now_ms);

#endif
