/*
 * Publishing: from a stored message to the shards that have receivers, at once or by windows of time. On the owner
 * shard. Private to core/hub.
 */
#ifndef MAGPIE_HUB_PUBLISH_H
#define MAGPIE_HUB_PUBLISH_H

#include "core/hub/talk/conv.h"

/* Publishes a channel's new message by its subscribers' push modes. body: that of 102. */
void conv_publish(struct shard *s, uint32_t conv, uint64_t seq, struct slice body, bool over_limit);
/* Publishes a 109 (body) and takes the message out of windows under way. */
void conv_publish_recall(struct shard *s, uint32_t conv, uint64_t seq, struct slice body);
/* Publishes a 110 (body). Windows under way get the message (its 102) in the place of the old one, and their receivers
 * no 110. */
void conv_publish_edit(struct shard *s, uint32_t conv, uint64_t seq, struct slice body, struct slice message);
/* Publishes a 112 (body) about the user with this hash of its id, to all others who want to hear of it. */
void conv_publish_members(struct shard *s, uint32_t conv, uint64_t user, struct slice body);
void window_free(struct shard *s, struct window *b);
/* Publishes what the conversation's windows hold, now. */
void windows_flush(struct shard *s, uint32_t conv);

#endif
