/* Actions that are for a channel's subscribers alone. */
#ifndef MAGPIE_HUB_SUBSCRIBER_H
#define MAGPIE_HUB_SUBSCRIBER_H

#include "core/hub/people/req.h"

/* Whether the caller is subscribed to the channel, as its shard knows it, or call_looks() has found out. */
bool call_subscribed(const struct call *c, struct slice channel);
/* It is not, but may be by now: on another node of the cluster, whose news are on their way. Then the store is asked,
 * and the handler returns without an answer; it is called once more, and true is not said again. */
bool call_looks(struct call *c, struct slice channel);
/* Answers for a channel that the caller is not subscribed to: `not_found` or `forbidden`. */
void call_deny_stranger(struct call *c, const struct conv_key *key);

#endif
