/*
 * Recalls and edits of messages that are in the archive alone. Engine's thread.
 *
 * The rules are those of `change` (functions/change.lua), applied here to the archive's row. The row is changed if it
 * is still the one that was read, so a change that is made late undoes none that came after it. The head's `edits` are
 * raised before and after: before, so that kept blocks end even if this node dies in the middle; after, so that none
 * lives on that was read meanwhile.
 */
#ifndef MAGPIE_STORAGE_REDIS_COLD_CHANGE_H
#define MAGPIE_STORAGE_REDIS_COLD_CHANGE_H

#include "storage/redis/cold/cold.h"

struct cold_change {
    /* in; slices are borrowed until done */
    struct slice conv, sender, content;
    uint64_t seq, window_ms;
    uint64_t until; /* messages with an id up to this are of who had the sender's id before; 0: nobody */
    uint64_t now_ms;
    bool edit;
    /* As of the operation: STORE_OK and what is out, NOTFOUND, DENIED, LATE, RETRY, UNKNOWN, FATAL. */
    void (*done)(struct redis *r, struct cold_change *c, enum store_status status);
    void *ctx; /* the caller's */
    /* out */
    uint64_t id, created_ms, edited_ms;
    bool again; /* it was recalled, or had that content, already */
    uint8_t name_len;
    char name[STORE_NAME_MAX];
    /* cold_change.c's */
    struct cold_change *next; /* of those under way; or of those that wait for this conversation */
    struct cold_change *waits;
    struct redis *r;
    bool changed; /* the archive's row is as it is to be */
    unsigned tries;
    uint32_t rev;
    struct layout_head head;
    struct call call;
    union {
        struct archive_range range;
        struct archive_change change;
    } ask;
};

/* Begins; where one of the same conversation is under way, once that is done. done is called once, later. Everything
 * from out on is overwritten. There must be an archive. */
void cold_change(struct redis *r, struct cold_change *c);

#endif
