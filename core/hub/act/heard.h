/*
 * News of users whom other nodes have changed: their memberships, names, tokens, read marks, inboxes, presence. A
 * server alone hears none. Private to core/hub.
 */
#ifndef MAGPIE_HUB_HEARD_H
#define MAGPIE_HUB_HEARD_H

struct bus_news;
struct shard;

/* On the user's shard, with news of kind NEWS_MEMBER to NEWS_PRESENCE. Frees it. */
void user_heard(struct shard *s, struct bus_news *n);

#endif
