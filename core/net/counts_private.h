/* Counting what counts.h tells. Private to core/net. */
#ifndef MAGPIE_NET_COUNTS_PRIVATE_H
#define MAGPIE_NET_COUNTS_PRIVATE_H

#include "core/net/counts.h"

struct conn;

/* A connection is not taken, or not kept, for this limit. It is logged (conn.refused). */
void count_refused(struct net *net, enum net_limit limit);
/* A connection begins to end that the owner was never told of; its state is still what it was. */
void count_unopened(struct net *net, const struct conn *c);
/* A connection that was `opened` begins to end. */
void count_closed(struct net *net, const struct conn *c);

#endif
