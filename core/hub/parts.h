/* A shard put together from the rooms' parts, and taken apart. Private to core/hub. */
#ifndef MAGPIE_HUB_PARTS_H
#define MAGPIE_HUB_PARTS_H

struct hub;
struct shard;

/* A shard that does not run yet. NULL: out of memory or descriptors. */
struct shard *shard_new(struct hub *hub, unsigned index);
/* Frees it; its thread has ended. NULL is allowed. */
void shard_free(struct shard *s);

#endif
