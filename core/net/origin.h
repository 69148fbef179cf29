/*
 * Which web pages may use the server: by the origin that a browser names, and by the name under which the server was
 * asked. Pure functions.
 */
#ifndef MAGPIE_NET_ORIGIN_H
#define MAGPIE_NET_ORIGIN_H

#include "core/base/slice.h"

#include <stdbool.h>

/* What a request came to. */
enum origin_way {
    ORIGIN_NETWORK,  /* an address that other machines reach */
    ORIGIN_LOOPBACK, /* a loopback address: browsers of this machine reach it */
    ORIGIN_UNIX      /* a Unix socket: no browser does, a proxy speaks */
};

/* Whether a page of that origin may connect. `allowed`: NULL-terminated, exact matches only. When it is empty (or
 * NULL): the origin's host is the request's (Host field), whatever the port; or the origin is a loopback one and the
 * request came not from the network. To a loopback address it must also have come by a name that can only mean this
 * server (origin_knows_host()). */
bool origin_allowed(struct slice origin, struct slice host, const char *const *allowed, enum origin_way way);

/* Whether the host of a request to a loopback address (Host field, port and all) can only mean this server: an address,
 * localhost, a name without a dot (of this machine or its network), or the host of one of the `allowed` origins. Any
 * other name may be that of a web page whose owner has made it point to this machine (DNS rebinding): to the browser
 * the page and this server are then one origin. */
bool origin_knows_host(struct slice host, const char *const *allowed);

#endif
