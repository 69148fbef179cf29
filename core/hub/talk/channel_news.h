/*
 * News of a channel's members: how many, who came and went, and its end; in the order of its versions. A server alone
 * knows only its own. On the channel's owner shard. Private to core/hub.
 */
#ifndef MAGPIE_HUB_CHANNEL_NEWS_H
#define MAGPIE_HUB_CHANNEL_NEWS_H

#include "core/base/push.h"
#include "core/hub/talk/conv.h"

struct bus_news;

/* Somebody whom this server has made a member, or taken out. As the store has it: `members`, and the version with it.
 */
struct channel_change {
    uint64_t version; /* 0: the server is alone */
    uint32_t members;
    bool changed; /* else the member was one already, or none; the next three count for nothing */
    enum member_change change;
    struct slice id, name; /* of the user */
};
/* Keeps it, and tells those who want to hear of it. */
void channel_news_own(struct shard *s, uint32_t conv, const struct channel_change *c);

/* What store_member_put.change and del.change say. */
static inline uint8_t channel_news_code(enum member_change change)
{
    return (uint8_t)(change + 1);
}

/* For news.c: news of another server, which it takes; what has its turn; the timer of what is missing. The conversation
 * is pinned. */
void channel_news_heard(struct shard *s, uint32_t conv, struct bus_news *n);
void channel_news_go_on(struct shard *s, uint32_t conv);
void channel_news_due(struct ev_loop *loop, ev_timer *w, int events);

/* The channel as the store has it now. */
void channel_news_head(struct shard *s, uint32_t conv, const struct store_conv_load *head);

#endif
