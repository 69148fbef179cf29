/* Accepting. Private to core/net. */
#ifndef MAGPIE_NET_ACCEPT_PRIVATE_H
#define MAGPIE_NET_ACCEPT_PRIVATE_H

#include "core/net/net_private.h"

void accept_ready(struct net *net, unsigned listening);
/* Puts the listening sockets into the epoll set, or takes them out. */
void accept_start(struct net *net);
void accept_stop(struct net *net);
/* Options of a listening socket, which accepted ones inherit. */
void accept_options(const struct net *net, int fd);

#endif
