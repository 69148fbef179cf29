/*
 * The writer's cache of conversation heads and of inbox counts. The writer's thread only.
 *
 * A head in the cache is the truth: it is ahead of the database by what the present group has not written yet. After a
 * failed write all are dropped and read anew.
 */
#ifndef MAGPIE_STORAGE_HEADS_H
#define MAGPIE_STORAGE_HEADS_H

#include "storage/local/lru.h"
#include "storage/local/record.h"

#include <stdbool.h>
#include <stdint.h>

enum { HEADS_MAX = 65536, INBOXES_MAX = 65536 };

struct head {
    struct lru_node node; /* key: the conversation's */
    struct head_record r;
    uint64_t jump;             /* numbering goes on beyond this: what a loss may have taken */
    uint64_t pinned;           /* last group that looked at it: not evicted until that is written */
    int bad;                   /* not 0: it could not be read (enum err); gone after the group */
    uint64_t reserved_durable; /* seqs up to this may be given out before a sync */
    uint64_t reserve_group;    /* group that wrote r.reserved; once synced it is durable */
    uint64_t sync_group;       /* group of the last operation that waits for a sync; later ones must not overtake it */
    uint64_t answer_group;     /* group of the last operation that waits for its write */
    uint64_t group;            /* last group that changed it */
    uint64_t group_first;      /* first seq that group `group` gave, 0: none */
    uint64_t first, first_until; /* smallest visible seq (newest + 1: none), right until then by the expiry clock */
    uint8_t first_tier;          /* where that message is stored */
    uint32_t first_version;      /* live.version that `first` was found under; 0: not known */
    char key[];
};

struct inbox {
    struct lru_node node; /* key: the user's id */
    uint64_t from;        /* no entry has a smaller id */
    uint64_t until;       /* the count is right until then: the first entry ends */
    uint64_t group;       /* last group that changed it */
    /* last group that removed a range of it: its single rows do not show that before they are written */
    uint64_t ranged;
    uint32_t count;   /* entries */
    uint32_t version; /* live.version that it was counted under */
    char key[];
};

struct heads {
    struct lru heads, inboxes;
};

MUST_CHECK int heads_init(struct heads *h);
void heads_fini(struct heads *h);
/* Forgets everything. */
void heads_drop(struct heads *h);
struct head *heads_find(struct heads *h, struct slice conv);
/* Adds a head that is not there; evicts old ones that nothing under way needs: groups after these are not done. NULL:
 * no memory. */
struct head *heads_add(struct heads *h, struct slice conv, uint64_t written, uint64_t synced);
void heads_remove(struct heads *h, struct head *head);
struct inbox *inboxes_find(struct heads *h, struct slice user);
struct inbox *inboxes_add(struct heads *h, struct slice user, uint64_t written);
void inboxes_remove(struct heads *h, struct inbox *i);

#endif
