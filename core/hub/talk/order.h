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

/* What has become of an order. */
struct order_end {
    enum store_status status;   /* STORE_OK: it has been done wherever it had to be */
    uint32_t connections;       /* closed */
    struct silent_nodes silent; /* who has not said so, where that is known */
};

/* Closes the user's connections elsewhere (kicked). False: the server is alone. True: `then` is called once all have
 * gone, or that is not known; inside this call only when there is no memory. */
MUST_CHECK bool order_kick(struct shard *s, struct slice user, struct slice message,
                           void (*then)(void *ctx, const struct order_end *e), void *ctx);

/* Takes what is queued of the channel from the user's connections elsewhere: its membership has ended. version: of the
 * user by that; 0: not known. As order_kick(). From the channel's owner shard. */
MUST_CHECK bool order_remove(struct shard *s, struct slice user, struct slice channel, uint64_t version,
                             void (*then)(void *ctx, const struct order_end *e), void *ctx);

#endif
