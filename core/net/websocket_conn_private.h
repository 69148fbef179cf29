/* An upgraded connection. Private to core/net. */
#ifndef MAGPIE_NET_WEBSOCKET_CONN_PRIVATE_H
#define MAGPIE_NET_WEBSOCKET_CONN_PRIVATE_H

#include "core/net/net_private.h"

bool websocket_step(struct net *net, uint32_t idx, struct conn *c, struct ws_parser *ws, struct ws_input *in);

#endif
