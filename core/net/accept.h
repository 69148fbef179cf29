/* Listening sockets of a net. Its thread, or before it runs. */
#ifndef MAGPIE_NET_ACCEPT_H
#define MAGPIE_NET_ACCEPT_H

#include "core/net/conn.h"

/* Starts accepting on a listening socket (listener.h), which stays the caller's. stream: the row by which its
 * connections' bytes travel (stream.h), STREAM_PLAIN or one that net_set_stream() has made known. */
MUST_CHECK int net_listen(struct net *net, int fd, enum conn_transport transport, unsigned stream);
/* Stops accepting on all of them (drain). */
void net_stop_listening(struct net *net);

#endif
