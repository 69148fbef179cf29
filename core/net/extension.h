/*
 * Sec-WebSocket-Extensions: what a client offers and what it is answered (RFC 6455 9.1, RFC 7692 7.1). Pure functions.
 */
#ifndef MAGPIE_NET_EXTENSION_H
#define MAGPIE_NET_EXTENSION_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_head;

/* permessage-deflate as it was agreed upon; both sides without context takeover. */
struct extension {
    bool deflate;        /* it was */
    uint8_t window_bits; /* of what the server sends, as the client has asked: 8 to 15; 0: it has not */
};

enum { EXTENSION_ANSWER_MAX = 160 };

/* The first offer that can be accepted: those with parameters that are unknown, doubled or out of range are passed
 * over. ERR_INVALID: the field is no list of extensions; RFC 6455 wants such a request refused. */
MUST_CHECK int extension_negotiate(const struct http_head *h, struct extension *out);
/* Whether the receiver's window is less than the usual one. */
bool extension_narrow(const struct extension *e);
/* The header line that answers it, with its CRLF; empty when nothing was agreed upon. */
void extension_answer(const struct extension *e, char out[EXTENSION_ANSWER_MAX]);

#endif
