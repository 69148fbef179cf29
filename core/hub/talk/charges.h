/*
 * What messages that other servers took have cost: the same buckets are charged here, so that over time a user and a
 * conversation have the rate of one server. On the conversation's owner shard. Private to core/hub.
 */
#ifndef MAGPIE_HUB_CHARGES_H
#define MAGPIE_HUB_CHARGES_H

#include "core/hub/talk/conv.h"

/* One message, from the bucket that the conversation's limit goes by. */
void conv_charge(struct shard *s, struct conv *v);
/* One message, of its sender: told to its shard within a tick. From its bucket, if it has connections here and `bucket`
 * says so; and what hooks took. */
struct hook_take;
void charge_sender(struct shard *s, struct slice sender, bool bucket, const struct hook_take *takes, unsigned n);
/* What hooks took of the conversation. */
void charge_takes(struct shard *s, const struct hook_take *takes, unsigned n);
/* Sends what was gathered. */
void charges_flush(struct shard *s);
/* Of one shard of a server that is not alone. ERR_NOMEM. */
MUST_CHECK int charges_init(struct shard *s);
void charges_free(struct shard *s);

#endif
