/*
 * Channels as one shard sees them: who of its users is a member, in a dense array. Leaving while something is being
 * delivered (talk/walk.h) leaves a tombstone, joining appends. The owner shard (talk/conv.h) decides what is published.
 * Private to core/hub.
 */
#ifndef MAGPIE_HUB_CHAN_H
#define MAGPIE_HUB_CHAN_H

#include "core/hub/shard/shard.h"

#define MEMBER_MULTI     (1u << 31) /* the user has more connections: follow conn.user_next */
#define MEMBER_FRESH     (1u << 30) /* sub.since counts */
#define MEMBER_CONN      (MEMBER_FRESH - 1)
#define MEMBER_TOMBSTONE ((1u << 30) - 1)
#define MEMBER_POS       ((1u << 28) - 1)

/* In masks of push modes, beside their bits: members who want to hear who joins and leaves. */
enum { INTEREST_EVENTS = 1 << 4 };

struct member {
    uint32_t conn;     /* the user's first connection and flags; NONE: no connection now */
    uint32_t sub : 30; /* its subscription; MEMBER_TOMBSTONE: left during a walk */
    uint32_t push : 2; /* enum push_mode */
};
_Static_assert(sizeof(struct member) == 8, "the walk reads these in a row");

struct pub; /* of talk/walk.h */

struct chan {
    char *name;             /* not NUL-terminated; owned */
    struct shard *owner;    /* of the conversation */
    struct member *members; /* owned */
    struct pub *queue;      /* not yet on the walk, oldest first; owned */
    struct pub **queue_tail;
    /* what the walk delivers, oldest first; owned. While there is any, entries in members do not move */
    struct pub *board;
    struct pub **board_tail;
    uint64_t last_seq;     /* newest seq heard of */
    uint32_t member_count; /* entries in members, tombstones included */
    uint32_t member_cap;
    uint32_t tombstones;
    uint32_t by_push[4]; /* members by mode */
    uint32_t by_events;  /* members who want to hear who joins and leaves */
    uint32_t walk_pos;   /* the member that is next */
    uint32_t next_walk;  /* in one of the shard's lists of channels with something to deliver; NONE: last */
    uint32_t stamp;      /* equal to the shard's: in the set of channels that is looked at just now */
    uint32_t pending;    /* subscriptions under way: keep it and its interest */
    /* not 0: what arrives is thrown away until the owner has noted the newest interest, by this receipt (interest.h) */
    uint32_t awaited;
    uint8_t name_len;
    uint8_t posted; /* the mask that the owner knows: 1 << enum push_mode, INTEREST_EVENTS */
    uint8_t pace;   /* turns that the walk has had since something got on board of an empty one */
    bool in_walks;  /* in such a list */
};
_Static_assert(sizeof(struct chan) <= 120, "one a channel and shard");

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
/* Finds or makes; NONE: out of memory. */
uint32_t chan_get(struct shard *s, struct slice name);
/* Frees it when it has no members, pending subscriptions and publications. */
void chan_release(struct shard *s, uint32_t chan);
/* Takes out those who left during a walk, now that nothing is on board. */
void chan_compact(struct shard *s, struct chan *ch);
/* For user.c alone: member entries follow subscriptions. */
MUST_CHECK int chan_add_member(struct shard *s, uint32_t chan, uint32_t sub, uint32_t conn_word);
void chan_remove_member(struct shard *s, uint32_t chan, uint32_t pos);
/* The owner is told by the caller. */
void chan_count_events(struct shard *s, uint32_t chan, bool before, bool after);
void chan_count_mode(struct shard *s, uint32_t chan, unsigned before, unsigned after);

#endif
