/*
 * Channels as one shard sees them: who of its users is a member, and the delivery of publications to them.
 *
 * The owner shard (conv.h) decides what is published; a publication comes as a mail and goes out in a walk around the dense member array. The
 * walk is a paternoster: it goes round and round while there is something to deliver, a publication gets on where the walk stands and off when
 * that place comes again, and each member that is passed gets all that is on board in one go. So K messages under way share their system calls whatever
 * moments they came at, and none waits for another's end: that is the gathering. A walk is cut into slices, so that no channel holds the loop for
 * long; leaving during a walk leaves a tombstone, joining appends. Private to core/hub.
 */
#ifndef MAGPIE_HUB_CHAN_H
#define MAGPIE_HUB_CHAN_H

#include "core/hub/shard.h"

#define MEMBER_MULTI     (1u << 31) /* the user has more connections: follow conn.user_next */
#define MEMBER_FRESH     (1u << 30) /* sub.since counts */
#define MEMBER_CONN      (MEMBER_FRESH - 1)
#define MEMBER_TOMBSTONE ((1u << 30) - 1)

struct member {
    uint32_t conn;     /* the user's first connection and flags; NONE: no connection now */
    uint32_t sub : 30; /* its subscription; MEMBER_TOMBSTONE: left during a walk */
    uint32_t push : 2; /* enum store_push */
};
_Static_assert(sizeof(struct member) == 8, "the walk reads these in a row");

/* A message in a publication, with its JSON body ready. */
struct pub_item {
    uint64_t seq;
    uint32_t offset, len; /* of the body, in struct pub's data */
    struct frame *frame;  /* made by the shard when first needed; owned */
};

/* What the owner posts to each shard with receivers. One allocation. */
struct pub {
    struct mail mail;
    struct pub *next;     /* in the channel's queue */
    uint64_t from, to;    /* seqs that it stands for */
    uint32_t omitted;     /* of those, how many are left out */
    uint32_t count;       /* items */
    uint32_t name_offset; /* channel name in data */
    uint32_t start;       /* where the walk stood when it got on: it ends there */
    uint16_t action;      /* of the frames: 102, 109 */
    uint8_t mask;         /* bits 1 << enum store_push: who gets it */
    uint8_t name_len;
    bool merged;             /* goes as one 104 to those who accept it */
    struct frame *frame;     /* the 104; made when first needed; owned */
    struct pub_item items[]; /* count of them, then the data */
};
static inline char *pub_data(struct pub *p)
{
    return (char *)(p->items + p->count);
}

struct chan {
    char *name;             /* not NUL-terminated; owned */
    struct shard *owner;    /* of the conversation */
    struct member *members; /* owned */
    struct pub *queue;      /* not yet on the walk, oldest first; owned */
    struct pub **queue_tail;
    struct pub *board; /* what the walk delivers, oldest first; owned. While there is any, entries in members do not move */
    struct pub **board_tail;
    uint64_t last_seq;     /* newest seq heard of */
    uint32_t member_count; /* entries in members, tombstones included */
    uint32_t member_cap;
    uint32_t tombstones;
    uint32_t by_push[4]; /* members by mode */
    uint32_t walk_pos;   /* the member that is next */
    uint32_t next_walk;  /* in one of the shard's lists of channels with something to deliver; NONE: last */
    uint32_t stamp;      /* equal to the shard's: in the set of channels that is looked at just now */
    uint32_t pending;    /* subscriptions under way: keep it and its interest */
    uint32_t deaf;       /* not 0: what arrives is thrown away until the owner has noted the newest interest, by this receipt */
    uint8_t name_len;
    uint8_t posted; /* the mask that the owner knows */
    uint8_t pace;   /* turns that the walk has had since something got on board of an empty one */
    bool in_walks;  /* in such a list */
};

static inline struct chan *chan_at(const struct shard *s, uint32_t chan)
{
    return pool_at(&s->chans, chan);
}
static inline struct slice chan_name(const struct chan *ch)
{
    return slice_of(ch->name, ch->name_len);
}

MUST_CHECK int chans_init(struct shard *s);
void chans_fini(struct shard *s);
uint32_t chan_find(const struct shard *s, struct slice name);
/* Finds or makes; NONE: out of memory. One without members, pending subscriptions and publications is freed by chan_release().
 */
uint32_t chan_get(struct shard *s, struct slice name);
static inline void chan_pend(struct shard *s, uint32_t chan)
{
    chan_at(s, chan)->pending++;
}
/* `mask`: what the owner has noted for this shard on its own account. */
void chan_unpend(struct shard *s, uint32_t chan, uint8_t mask);
/* Before a stored subscription is restored; not from inside of a walk. What the owner posted while it still knew of members that have gone since is on its way or
 * waits to be walked, and what comes after that, until it hears of the new member, is not posted. Who got the first would see a gap; so, where there is no other
 * member, nothing of it is heard until the owner knows, or has answered somebody's subscription. */
void chan_deafen(struct shard *s, uint32_t chan);
/* The owner has noted the interest that was posted with this receipt: what it posted before has arrived. */
void chan_hear(struct shard *s, struct slice name, uint32_t receipt);
/* For user.c alone: member entries follow subscriptions. */
MUST_CHECK int chan_add_member(struct shard *s, uint32_t chan, uint32_t sub, uint32_t conn_word);
void chan_remove_member(struct shard *s, uint32_t chan, uint32_t pos);
void chan_count_mode(struct shard *s, uint32_t chan, unsigned before, unsigned after);

/* Delivers some of what is queued, and writes it; the loop calls it before it sleeps. True: more is left. */
bool chans_walk(struct shard *s);
/* Mail from the owner: queues the publication. */
void pub_arrive(void *owner, struct mail *m);
void pub_free(struct pub *p);

#endif
