/* What is missing between news: a moment's patience, then the store is asked. For news.c alone. */
#ifndef MAGPIE_HUB_NEWS_GAP_H
#define MAGPIE_HUB_NEWS_GAP_H

#include "core/hub/talk/news_lane.h"

/* Something is missing. The conversation is pinned. */
void gap_wait(struct shard *s, uint32_t conv);
/* Nothing is. */
void gap_over(struct shard *s, struct heard *h);
/* Of the timer lane.patience of messages. */
void gap_due(struct ev_loop *loop, ev_timer *w, int events);

#endif
