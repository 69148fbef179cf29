/* Which addresses a fetch may connect to. Pure functions. */
#ifndef MAGPIE_SCRIPT_FETCH_ADDRESS_H
#define MAGPIE_SCRIPT_FETCH_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* What kind of address it is that must not be reached unless it is listed by itself: "a loopback address", "a private
 * address" …; NULL: one of the public Internet. Those with an IPv4 address inside count as that one. */
const char *fetch_address_kind(const struct sockaddr *a);
/* Whether the text, as in struct fetch_url, is this address. */
bool fetch_address_is(const struct sockaddr *a, const char *text);
/* The address without a port. out: INET6_ADDRSTRLEN bytes. */
void fetch_address_text(const struct sockaddr *a, char *out);

#endif
