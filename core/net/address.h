/* IP addresses and networks, as values: IPv4 and IPv6 alike. Pure functions. */
#ifndef MAGPIE_NET_ADDRESS_H
#define MAGPIE_NET_ADDRESS_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

enum {
    ADDRESS_BYTES = 16,
    ADDRESS_TEXT = 46 /* bytes of the longest one as text, its NUL included */
};

struct address {
    uint8_t b[ADDRESS_BYTES]; /* network order; IPv4 as ::ffff:a.b.c.d, whichever way it came */
};

/* An address, or all whose first `bits` are these. */
struct network {
    struct address first; /* the other bits are 0 */
    uint8_t bits;         /* of the 128: of an IPv4 network 96 and more */
};

/* False: it is of another family, a Unix socket's for one. */
bool address_of(const struct sockaddr *a, struct address *out);
/* Of its four bytes. */
struct address address_v4(const uint8_t b[4]);
/* "192.0.2.1", "2001:db8::1"; nothing around it. */
bool address_parse(struct slice text, struct address *out);
/* IPv4 with dots. At least ADDRESS_TEXT bytes hold any. */
void address_print(const struct address *a, char *out, size_t size);
bool address_is_v4(const struct address *a);
bool address_is_loopback(const struct address *a);

/* "192.0.2.1", "10.0.0.0/8", "2001:db8::/32". Bits behind the network's own are taken as 0. */
bool network_parse(struct slice text, struct network *out);
/* ::/0 holds no IPv4 address, nor 0.0.0.0/0 another. */
bool network_has(const struct network *n, const struct address *a);

#endif
