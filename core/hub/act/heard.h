/*
 * News of users whom other nodes have changed: their memberships, names, tokens, read marks, inboxes, presence. A
 * server alone hears none. Private to core/hub.
 */
#ifndef MAGPIE_HUB_HEARD_H
#define MAGPIE_HUB_HEARD_H

#include <stdint.h>

struct shard;

struct bus_news;

/* News of a membership that were kept until the user was read. Frees it, or keeps it once more. */
void member_heard_late(struct shard *s, uint32_t user, struct bus_news *n);
/* On the user's shard, with news of kind NEWS_MEMBER to NEWS_PRESENCE. Frees it. */
void user_heard(struct shard *s, struct bus_news *n);

#endif
