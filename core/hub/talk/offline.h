/*
 * Who missed a message: after it was stored and pushed, those of its receivers who have no connection are told to the
 * hook "offline". Without such a hook nothing is done. On the owner shard of the conversation. Private to core/hub.
 */
#ifndef MAGPIE_HUB_OFFLINE_H
#define MAGPIE_HUB_OFFLINE_H

#include "core/hub/talk/conv.h"

/* Channels with more members, and those of the tier "large", have no such event. */
enum { OFFLINE_MEMBERS_MAX = 500 };

/* In a cluster: for how long it is remembered of members of channels what other nodes said of them. Whoever came back
 * meanwhile is told of once too often. Whoever went must not be forgotten: a message that comes after it was said that
 * somebody is connected waits so long, and then they are asked again; unless too many messages wait already. */
enum { OFFLINE_FAR_MS = 5000, ONLINE_FAR_MS = 1000 };
enum { FAR_SEEN = 8192 /* users; 128 KiB a shard, once somebody wants to know who is offline */ };

/* What was said of a user, whose id falls on this place of all; the next one takes it over. */
struct far_seen {
    uint64_t user;  /* hash of the id; 0: nobody yet */
    uint32_t at_ms; /* when that was, low half of the monotonic clock */
    bool online;
};

struct missed;

/* Keeps what the event will tell of a message, while its request is there. NULL: nobody wants to know, it has no such
 * event, or there are too many under way. The slices of *m are borrowed. claims: of the sender. */
struct missed *missed_note(struct shard *s, uint32_t conv, enum store_tier tier, const struct store_message *m,
                           struct slice claims);
/* After the message was pushed: asks who is connected, and runs the hook later. Takes it; NULL is allowed. */
void missed_ask(struct shard *s, uint32_t conv, struct missed *m);
/* Four times a second: searches that have waited. */
void missed_tick(struct shard *s);
/* At the shard's end. */
void missed_free(struct shard *s);

#endif
