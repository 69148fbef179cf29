/* What all shards count together. Private to core/net. */
#ifndef MAGPIE_NET_NET_SHARED_PRIVATE_H
#define MAGPIE_NET_NET_SHARED_PRIVATE_H

#include "core/net/net_private.h"

/* Counts a connection; false when `limit` (0: none) is reached. */
bool shared_connection_add(struct net_shared *s, uint32_t limit);
void shared_connection_remove(struct net_shared *s);
/* Counts an address (IPv6: its /64). False: `limit` is reached. *slot: to give back, IP_SLOT_NONE when it is not
 * counted. */
bool shared_ip_add(struct net_shared *s, const struct sockaddr *a, uint32_t limit, uint32_t *slot);
/* Either kind of slot. */
void shared_ip_remove(struct net_shared *s, uint32_t slot);
/* Counts the address that a proxy has named, by a PROXY header or in a request's head, and keeps it as it is: *slot
 * stands for it wherever one of an address is asked for. ERR_FULL: `limit` is reached; ERR_NOMEM. */
MUST_CHECK int shared_named_add(struct net_shared *s, const struct address *a, bool by_header, uint32_t limit,
                                uint32_t *slot);
/* What a slot of that kind says (by_header may be NULL); false: it is of the other. */
bool shared_named(struct net_shared *s, uint32_t slot, struct address *out, bool *by_header);
/* Whether two slots (neither may be IP_SLOT_NONE for a yes) stand for one address, or one /64. */
bool shared_same_ip(struct net_shared *s, uint32_t a, uint32_t b);
/* Counts bytes that a connection of the address (IP_SLOT_NONE: not known) holds. False: that would be more than `total`
 * in all or `per_ip` of the address (0: no limit), and nothing changed. */
bool shared_held_add(struct net_shared *s, enum holder who, uint32_t slot, uint32_t bytes, uint64_t total,
                     uint64_t per_ip);
void shared_held_remove(struct net_shared *s, enum holder who, uint32_t slot, uint32_t bytes);
/* The account of an address: output of its connections whose socket is full, which has become so many bytes more or
 * less, and such connections. Returns how much one of them may hold: UINT32_MAX while all hold no more than `limit` (0:
 * none). */
uint32_t shared_unsent_change(struct net_shared *s, uint32_t slot, int64_t bytes, int blocked, uint64_t limit);
/* Bytes in output queues, and connections whose socket is full. */
void shared_queued_add(struct net_shared *s, int64_t bytes, int32_t blocked);
uint32_t shared_blocked(const struct net_shared *s);

#endif
