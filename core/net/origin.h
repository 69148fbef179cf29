/*
 * Which web pages may use the server: by the origin that a browser names, and by the name under which the server was
 * asked. Pure functions.
 */
#ifndef MAGPIE_NET_ORIGIN_H
#define MAGPIE_NET_ORIGIN_H

#include "core/base/slice.h"

#include <stdbool.h>

/* Whether a page of that origin may connect. `allowed`: NULL-terminated, exact matches only; when it is empty (or
 * NULL): the origin's host is the request's (Host field), whatever the port, or `local`, the request came to a loopback
 * address, and the origin is one too. */
bool origin_allowed(struct slice origin, struct slice host, const char *const *allowed, bool local);

/* Whether the host of a request to a loopback address (Host field, port and all) can only mean this server: an address,
 * localhost, a name without a dot (of this machine or its network), or the host of one of the `allowed` origins. Any
 * other name may be that of a web page whose owner has made it point to this machine (DNS rebinding): to the browser
 * the page and this server are then one origin. */
bool origin_knows_host(struct slice host, const char *const *allowed);

#endif
