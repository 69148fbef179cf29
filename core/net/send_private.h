/* Queues of output and their limits. Private to core/net. */
#ifndef MAGPIE_NET_SEND_PRIVATE_H
#define MAGPIE_NET_SEND_PRIVATE_H

#include "core/net/net_private.h"

/* Queues raw bytes or a frame, whatever the limits; without memory it does nothing. */
void conn_push_raw(struct net *net, uint32_t idx, struct conn *c, struct slice bytes);
void conn_push_frame(struct net *net, uint32_t idx, struct conn *c, uint16_t action, struct slice body);
/* Writes without calling anybody or closing anything. As outq_write(). */
int conn_write(struct net *net, struct conn *c);
/* Its queue has become less than `before` bytes, or more: what is sealed is a little more than what it was made of. */
void conn_written(struct net *net, const struct conn *c, uint32_t before);
/* A wire was sent past its queue, of which it had nothing, as a stream's send() returned it. What is left is queued; an
 * error shows again in the flush. */
void conn_sent(struct net *net, uint32_t conn, struct conn *c, struct wire *w, ssize_t sent, struct wire *rest);
/* Its queue has changed: what its address and its user hold does, too. */
void conn_charge(struct net *net, uint32_t idx, struct conn *c);
/* Whether a connection whose socket has just become full has more to send than the caps that it shares with others
 * leave it. */
bool conn_holds_too_much(struct net *net, uint32_t idx, struct conn *c);
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
