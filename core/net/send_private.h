/* Queues of output and their limits. Private to core/net. */
#ifndef MAGPIE_NET_SEND_PRIVATE_H
#define MAGPIE_NET_SEND_PRIVATE_H

#include "core/net/net_private.h"

/* Queues raw bytes or a frame, whatever the limits; without memory it does nothing. */
void conn_push_raw(struct net *net, uint32_t idx, struct conn *c, struct slice bytes);
void conn_push_frame(struct net *net, uint32_t idx, struct conn *c, uint16_t action, struct slice body);
/* Writes what is queued. Top level only: may call the owner and finish the connection. */
void conn_flush(struct net *net, uint32_t idx, struct conn *c);
/* Writes without calling anybody or closing anything. As outq_write(). */
int conn_write(struct net *net, struct conn *c);
/* Takes what it holds from the accounts of its user, and of its address when `all`. */
void conn_uncharge(struct net *net, uint32_t idx, struct conn *c, bool all);
/* Whether the caps that it shares with others leave room for output. */
bool conn_may_queue(struct net *net, struct conn *c);
/* While such a cap is reached, or nearly, closes those who have taken nothing for some time. Once a second; top level.
 * */
void net_evict_idle(struct net *net);
/* Throws away the output queue. */
void conn_drop_output(struct net *net, uint32_t idx, struct conn *c);

#endif
