/*
 * Following: the channels with members on this node are known to the bus, so that the node hears what is stored
 * elsewhere. On the channel's owner shard. A server alone follows nothing, and none of this does anything. Private to
 * core/hub.
 */
#ifndef MAGPIE_HUB_FOLLOW_H
#define MAGPIE_HUB_FOLLOW_H

#include "core/hub/talk/conv.h"

/* For follow_waits() alone. */
void follow_begin(struct shard *s, uint32_t conv, void (*then)(struct shard *s, void *ctx, enum store_status status),
                  void *ctx);

/* Before somebody becomes a member here. False: it is heard already. True: it is not, and `then` is called once it is
 * (STORE_OK) or cannot be now; inside this call only when there is no memory. */
static inline bool follow_waits(struct shard *s, uint32_t conv,
                                void (*then)(struct shard *s, void *ctx, enum store_status status), void *ctx)
{
    if (__builtin_expect(!s->bus, 1) || conv_at(s, conv)->followed)
        return false;
    follow_begin(s, conv, then, ctx);
    return true;
}

/* Nobody here has been a member of the conversation for a while, and it is being forgotten. False: out of memory, and
 * the bus has not been told. */
MUST_CHECK bool follow_end(struct shard *s, uint32_t conv);

#endif
