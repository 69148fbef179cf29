/* A connection from a peer that speaks for others (listen.proxy): whom it speaks for. Private to core/net. */
#ifndef MAGPIE_NET_PROXY_CONN_PRIVATE_H
#define MAGPIE_NET_PROXY_CONN_PRIVATE_H

#include "core/net/net_private.h"

struct http_head;
struct sockaddr;

/* Whether the peer of that address is one of listen.proxy. */
bool proxy_trusts(const struct net *net, const struct sockaddr *a);
/* Waits for its PROXY header, or for bytes that cannot be one; not counted by address until then. */
void proxy_await(struct net *net, uint32_t idx, struct conn *c);
/* Something has come for one that waits. Top level only. */
void proxy_readable(struct net *net, uint32_t idx, uint32_t events);
/* Takes from a request's head whom it was forwarded for, where its peer is believed. False: it has been refused. */
bool proxy_http(struct net *net, uint32_t idx, struct conn *c, const struct http_head *h);

/* The address of the other side: what a proxy has named, or the peer's. False: it has none. */
bool conn_address(const struct net *net, const struct conn *c, struct address *out);
/* The peer's own, whomever it speaks for. */
bool conn_peer_address(const struct conn *c, struct address *out);

#endif
