/* Writing what is queued. Private to core/net. */
#ifndef MAGPIE_NET_FLUSH_PRIVATE_H
#define MAGPIE_NET_FLUSH_PRIVATE_H

#include "core/net/net_private.h"

/* Writes what is queued, or puts it into the net's batch. Top level only: may call the owner and finish the
 * connection. */
void conn_flush(struct net *net, uint32_t idx, struct conn *c);
/* What conn_flush() has put into the batch was sent, as a stream's send() returned it (errno, if it failed). May call
 * the owner; frees no connection. */
void conn_flushed(struct net *net, uint32_t idx, struct conn *c, ssize_t sent, int error, struct wire *rest);

#endif
