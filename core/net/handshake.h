/*
 * The server's half of the WebSocket handshake (RFC 6455 section 4.2): whether a request may be upgraded, and the
 * answer. Pure functions.
 */
#ifndef MAGPIE_NET_HANDSHAKE_H
#define MAGPIE_NET_HANDSHAKE_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>

struct http_head;

enum { HANDSHAKE_ACCEPT = 28 }; /* base64 of a SHA-1 */

/* Whether the request asks for a WebSocket: such a one is upgraded or refused, and never a plain HTTP request. */
bool handshake_wanted(const struct http_head *h);
/* Checks such a request. 101, or the status that it is refused with, and `why` (static). */
unsigned handshake_check(const struct http_head *h, const char **why);
/* The first of the subprotocols that the client offers which is in the list (NULL-terminated, or NULL); p is NULL when
 * none is, and then the answer names none. */
struct slice handshake_protocol(const struct http_head *h, const char *const *known);
/* Sec-WebSocket-Accept for the key of a checked request. False: the crypto library failed. */
bool handshake_accept(struct slice key, char out[HANDSHAKE_ACCEPT + 1]);

#endif
