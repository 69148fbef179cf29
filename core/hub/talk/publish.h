/*
 * Publishing: from a stored message to the shards that have receivers, at once or by time slices. On the owner shard;
 * private to core/hub. conv.h has the entry points.
 */
#ifndef MAGPIE_HUB_PUBLISH_H
#define MAGPIE_HUB_PUBLISH_H

#include "core/hub/talk/conv.h"

void slicebuf_free(struct shard *s, struct slicebuf *b);
/* Publishes what the conversation's slices hold, now. */
void slice_flush(struct shard *s, uint32_t conv);

#endif
