/* Connections whose two sides must agree on something before bytes travel. Private to core/net. */
#ifndef MAGPIE_NET_SHAKE_PRIVATE_H
#define MAGPIE_NET_SHAKE_PRIVATE_H

#include "core/net/net_private.h"

/* Seconds that an agreement may take; a shorter timeouts.login counts. */
enum { SHAKE_SECONDS = 10 };

/* The socket of a connection in CONN_ST_SHAKE has something. Top level only. */
void shake_readable(struct net *net, uint32_t idx, struct conn *c, uint32_t events);
/* Takes some of the steps that are due, for a millisecond at most. Top level only. */
void shake_run(struct net *net);
/* Whether there are steps that could be taken now. */
bool shake_ready(const struct net *net);
/* A second has passed: those who wait for room are looked at again. */
void shake_tick(struct net *net);
/* The connection ends, or moves. */
void shake_forget(struct net *net, uint32_t idx, struct conn *c);
void shake_free(struct net *net);

/* What the stream holds for a connection without a login is counted as it is now. False: there is no room for more. */
MUST_CHECK bool conn_count_held(struct net *net, struct conn *c);
/* It is no longer counted. */
void conn_release_held(struct net *net, struct conn *c);

#endif
