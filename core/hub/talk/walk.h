/*
 * The walk: how publications reach a channel's members on this shard.
 *
 * A publication comes as a mail from the owner shard and goes out in a walk around the dense member array (chan.h). The
 * walk goes round and round while there is something to deliver; a publication gets on where the walk stands and off
 * when that place comes again; and each member that is passed gets all that is on board in one go. So K messages under
 * way share their system calls whatever moments they came at, and none waits for another's end: that is the gathering.
 * A walk is done in steps, so that no channel holds the loop for long. Private to core/hub.
 */
#ifndef MAGPIE_HUB_WALK_H
#define MAGPIE_HUB_WALK_H

#include "core/hub/shard/shard.h"

/* A message in a publication, with its JSON body ready. */
struct pub_item {
    uint64_t seq;
    uint32_t offset, len; /* of the body, in struct pub's data */
    struct frame *frame;  /* made by the shard when first needed; owned */
};

/* What the owner posts to each shard with receivers. One allocation. */
struct pub {
    struct mail mail;
    struct pub *next;  /* in the channel's queue */
    uint64_t from, to; /* seqs that it stands for; of a 112 the user's hash, and its number here */
    uint32_t omitted;  /* of those, how many are left out */
    uint32_t count;    /* items */
    uint64_t began_us; /* when its delivery began, monotonic; 0: not timed */
    uint32_t start;    /* where the walk stood when it got on: it ends there */
    uint16_t action;   /* of the frames: 102, 109, 110, 112 */
    uint8_t mask;      /* bits 1 << enum push_mode: who gets it; or INTEREST_EVENTS */
    uint8_t name_len;
    bool merged;             /* goes as one 104 to those who accept it */
    struct frame *frame;     /* the 104; made when first needed; owned */
    struct pub_item items[]; /* count of them, then the data: the channel's name, then the bodies */
};
static inline char *pub_data(struct pub *p)
{
    return (char *)(p->items + p->count);
}

/* Delivers some of what is queued, and writes it; the loop calls it before it sleeps. True: more is left. */
bool chans_walk(struct shard *s);
/* Mail from the owner: queues the publication. */
void pub_arrive(void *owner, struct mail *m);
void pub_free(struct pub *p);
/* Drops what waits to be delivered to a channel's members; not from inside of a walk. */
void walk_clear(struct shard *s, uint32_t chan);
/* The same for all channels, at the shard's end. */
void walks_fini(struct shard *s);

#endif
