/* Reading and parsing. Private to core/net. */
#ifndef MAGPIE_NET_INPUT_PRIVATE_H
#define MAGPIE_NET_INPUT_PRIVATE_H

#include "core/net/net_private.h"

/* The socket has something. Top level only. */
void conn_readable(struct net *net, uint32_t idx, uint32_t events);
/* A connection of the resume list goes on. Top level only. */
void conn_go_on(struct net *net, uint32_t idx, struct conn *c);
/* Puts it on the resume list when there is something to do. */
void conn_schedule(struct net *net, uint32_t idx, struct conn *c);
void conn_drop_input(struct net *net, struct conn *c);
/* What it keeps of its input is no longer counted as memory before login. */
void conn_release_early(struct net *net, struct conn *c);
/* Counts n bytes that the connection is to hold without a login. False: there is no room for them. */
MUST_CHECK bool conn_hold(struct net *net, struct conn *c, uint32_t n);
void conn_let_go(struct net *net, const struct conn *c, uint32_t n);
/* Hands a message to the owner. */
void conn_deliver(struct net *net, uint32_t idx, struct conn *c, const struct net_message *m);

#endif
