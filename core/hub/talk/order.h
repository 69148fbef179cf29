/*
 * Orders to other nodes, about users who have connections there too. From the user's owner shard. A server alone gives
 * none. Private to core/hub.
 */
#ifndef MAGPIE_HUB_ORDER_H
#define MAGPIE_HUB_ORDER_H

#include "core/hub/shard/shard.h"
#include "storage/bus.h"

/* For order_push() alone. */
void order_push_begin(struct shard *s, struct slice user, uint16_t action, struct slice body);

/* A push to the user's connections elsewhere, of something that the store does not tell. Nobody waits for it; without
 * memory it is lost. */
static inline void order_push(struct shard *s, struct slice user, uint16_t action, struct slice body)
{
    if (__builtin_expect(s->bus != NULL, 0))
        order_push_begin(s, user, action, body);
}

/* Closes the user's connections elsewhere (kicked). False: the server is alone. True: `then` is called, with how many,
 * once all have gone (STORE_OK) or that is not known; inside this call only when there is no memory. */
MUST_CHECK bool order_kick(struct shard *s, struct slice user, struct slice message,
                           void (*then)(void *ctx, enum store_status status, uint32_t connections), void *ctx);

/* Takes what is queued of the channel from the user's connections elsewhere: its membership has ended. As order_kick().
 * From the channel's owner shard. */
MUST_CHECK bool order_remove(struct shard *s, struct slice user, struct slice channel,
                             void (*then)(void *ctx, enum store_status status, uint32_t connections), void *ctx);

#endif
