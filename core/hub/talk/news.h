/*
 * News of conversations, told by other servers of a cluster: put in order, repaired, and given to the members here. On
 * the conversation's owner shard. A server alone has none of it, and a conversation costs it nothing. Private to
 * core/hub.
 *
 * A conversation knows the last seq that it has given to its members. What is not above it was heard before; the next
 * one is given; what is beyond waits for a moment, and then the store fills the gap. What this server itself has stored
 * takes its turn in the same way: news_turn(). So members see each seq once and in order, whatever became of the news.
 *
 * A channel is heard from the moment it is followed (follow.h), a conversation of two from its first message on.
 */
#ifndef MAGPIE_HUB_NEWS_H
#define MAGPIE_HUB_NEWS_H

#include "core/hub/talk/conv.h"
#include "core/hub/talk/tell.h"

enum {
    NEWS_HELD = 64,  /* news of one conversation that wait for a gap */
    NEWS_FILL = 200, /* messages that are read for one gap; of a larger one the rest is left out */
    NEWS_EDITS = 16, /* changed messages of a conversation that are remembered */
    NEWS_WAIT_MS = 30
};

/* --- Heard -------------------------------------------------------------------------------------------------------- */

/* Mail: news of a conversation, at its owner. Frees it. */
void news_heard(void *owner, struct mail *m);
/* The heads of followed channels of these partitions are compared with what was heard. Any thread. */
void news_reset(struct hub *hub, const uint8_t parts[BUS_PARTS]);

/* --- This server's own -------------------------------------------------------------------------------------------- */

enum news_turn {
    NEWS_NOW,   /* its turn has come */
    NEWS_WAITS, /* after what has not been heard yet: news_hold() */
    NEWS_PAST   /* it was given already */
};

enum news_turn news_turn_message(struct shard *s, uint32_t conv, uint64_t seq);
/* edited_ms: UINT64_MAX for a recall. NEWS_PAST: a later change of it was told. */
enum news_turn news_turn_change(struct shard *s, uint32_t conv, uint64_t seq, uint64_t edited_ms);
/* A copy with its texts, malloc'd. NULL: out of memory. */
struct bus_news *news_copy(const struct bus_news *n);
/* It waits; or its turn has passed, and only its arrival is told. Takes it; NULL is allowed, and is found again by
 * number. */
void news_hold(struct shard *s, uint32_t conv, struct bus_news *n, const struct tell_except *except);
/* The message whose turn it was was given. */
void news_given(struct shard *s, uint32_t conv, uint64_t seq);

/* --- For news_gap.c and news_reset.c ------------------------------------------------------------------------------ */

/* What waits has waited for long enough: a pair, or a channel that is not followed after all, begins with it. */
void news_begin(struct heard *h);
/* Gives what has its turn, and waits for what is missing. The conversation is pinned. */
void news_go_on(struct shard *s, uint32_t conv);
/* Only the first half of that. */
void news_give(struct shard *s, uint32_t conv);
/* A message that was read. */
void news_give_read(struct shard *s, uint32_t conv, const struct store_message *m);

/* --- The life of it ----------------------------------------------------------------------------------------------- */

/* The channel is about to be followed. False: out of memory. */
MUST_CHECK bool news_follow(struct shard *s, uint32_t conv);
/* Members here are owed what comes from that seq on, although the channel is not followed yet. */
void news_from(struct shard *s, uint32_t conv, uint64_t seq);
/* It is, and from the head on everything is told; or it is not (NULL). */
void news_followed(struct shard *s, uint32_t conv, const struct bus_follow *head);
/* Its members have changed since that version. */
bool news_is_past(const struct conv *v, uint64_t version);
/* The seq after which a new member of a channel is told of its messages. joined: the channel's when it joined, of which
 * this node may have heard less by now, or more. */
uint64_t news_told(const struct conv *v, uint64_t joined);
/* This server's own message to a pair goes to the store, and has been answered. Where it may be what is missing, it is
 * waited for: only its answer says which connection is not to be pushed it. False: not counted, nor to be ended. */
bool news_sends(struct shard *s, uint32_t conv);
void news_sent(struct shard *s, uint32_t conv);
/* Nothing waits, so that the conversation may be forgotten. */
bool news_idle(const struct conv *v);
/* With the conversation. */
void news_drop(struct shard *s, struct conv *v);

/* For each shard of a server that is not alone. ERR_NOMEM. */
MUST_CHECK int news_init(struct shard *s);
void news_fini(struct shard *s);
/* Four times a second. */
void news_tick(struct shard *s);
/* A user's last connection here has closed: from now on this server may not be told what concerns it. */
void news_left(struct shard *s, struct slice user);

#endif
