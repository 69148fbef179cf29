/*
 * Push 112: who joins and leaves a channel. Its own connections hear it of a user's membership, unless their own
 * request did it; and of others, those who subscribed with `events`, as long as the channel's tier is small.
 *
 * So that no storm comes of it, a channel tells of one user at most once in two seconds, the last state always, and of
 * MEMBER_NEWS_BURST changes at once and MEMBER_NEWS_RATE a second after that. What is beyond is left out: the number of
 * members in the next one shows it. Private to core/hub.
 */
#ifndef MAGPIE_HUB_MEMBER_NEWS_H
#define MAGPIE_HUB_MEMBER_NEWS_H

#include "core/base/push.h"
#include "core/hub/talk/conv.h"

enum { MEMBER_NEWS_BURST = 500, MEMBER_NEWS_RATE = 100, MEMBER_NEWS_QUIET_MS = 2000 };

/* "joined" … "closed". */
const char *member_change_name(enum member_change change);
/* On the channel's owner, with its members and tier as they are now: tells those who want to hear of others. */
void member_news_tell(struct shard *s, uint32_t conv, enum member_change change, struct slice id, struct slice name);
/* On the user's shard: tells its connections but the one that asked (r; NULL: nobody here has). */
void member_news_own(struct shard *s, uint32_t user, struct slice channel, enum member_change change, uint32_t members,
                     const struct req *r);
/* Four times a second: what was held back, and is due. */
void member_news_tick(struct shard *s);
/* With the conversation. NULL: there is none. */
void member_news_free(struct shard *s, struct member_news *n);

#endif
