/* Pages of messages, and pushes to a user's other connections. Private to core/hub. */
#ifndef MAGPIE_HUB_PAGE_H
#define MAGPIE_HUB_PAGE_H

#include "core/hub/people/req.h"

/* Appends {"messages":[…] without the closing brace, cut at `max` bytes (one message at least; 0: no bound): at the
 * newer end when oldest_first, else at the older end. conv: key of all of them; empty: each has its own. Returns
 * whether it was cut. */
bool page_encode(struct buf *b, const struct store_page *page, struct slice conv, bool oldest_first, uint32_t max);

/* Pushes what is in `body` to the user's connections but the one that asked. On home. */
void push_others(struct req *r, uint16_t action, struct buf *body);

#endif
