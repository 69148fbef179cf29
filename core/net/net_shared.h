/* What the nets of all shards count together: connections in all and per address, bytes queued. Any thread. */
#ifndef MAGPIE_NET_NET_SHARED_H
#define MAGPIE_NET_NET_SHARED_H

#include <stdint.h>

struct net_shared;
/* NULL: out of memory. */
struct net_shared *net_shared_new(void);
void net_shared_free(struct net_shared *s);
uint32_t net_shared_connections(const struct net_shared *s);
uint64_t net_shared_queued(const struct net_shared *s);
/* Bytes that connections hold of unfinished messages and requests before login. */
uint64_t net_shared_early(struct net_shared *s);
/* Bytes that connections of claimed paths hold of unfinished messages, and of those that they do not read. */
uint64_t net_shared_claimed(struct net_shared *s);

#endif
