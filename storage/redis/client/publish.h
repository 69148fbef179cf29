/*
 * The lane of news: SPUBLISH calls that go to a master as they come. Engine's thread.
 *
 * They wait for no group and no copies, for what they tell has its copies already. Many may be under way. One whose
 * reply does not come, or that was refused, is sent again, to whoever is the partition's master then, for NEWS_KEEP:
 * who hears news twice, or in another order, goes by their numbers.
 */
#ifndef MAGPIE_STORAGE_REDIS_PUBLISH_H
#define MAGPIE_STORAGE_REDIS_PUBLISH_H

#include "storage/redis/client/queue.h"

enum { PUBLISH_OUT = 1 << 20 /* bytes for a link that the kernel has not taken, above which no more are made */ };

extern const struct link_events publish_link_events; /* of the link of LANE_NEWS */

/* Sends what waits, and tells tell.h of what the kernel has. */
void publish_run(struct redis *r, struct lane *lane);

#endif
