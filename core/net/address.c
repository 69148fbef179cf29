#include "core/net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

enum { BITS = 128, BITS_V4 = 32, V4_AT = 12 };

static const uint8_t mapped[V4_AT] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct address address_v4(const uint8_t b[4])
{
    struct address a;
    memcpy(a.b, mapped, V4_AT);
    memcpy(a.b + V4_AT, b, 4);
    return a;
}

bool address_of(const struct sockaddr *a, struct address *out)
{
    if (a->sa_family == AF_INET) {
        *out = address_v4((const uint8_t *)&((const struct sockaddr_in *)(const void *)a)->sin_addr);
        return true;
    }
    if (a->sa_family != AF_INET6)
        return false;
    memcpy(out->b, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, ADDRESS_BYTES);
    return true;
}

bool address_parse(struct slice text, struct address *out)
{
    char copy[ADDRESS_TEXT];
    uint8_t four[4];
    if (text.n == 0 || text.n >= sizeof copy || memchr(text.p, '\0', text.n))
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (inet_pton(AF_INET, copy, four) != 1)
        return inet_pton(AF_INET6, copy, out->b) == 1;
    *out = address_v4(four);
    return true;
}

bool address_is_v4(const struct address *a)
{
    return memcmp(a->b, mapped, V4_AT) == 0;
}

bool address_is_loopback(const struct address *a)
{
    static const uint8_t one[ADDRESS_BYTES] = {[ADDRESS_BYTES - 1] = 1};
    return address_is_v4(a) ? a->b[V4_AT] == IN_LOOPBACKNET : memcmp(a->b, one, sizeof one) == 0;
}

void address_print(const struct address *a, char *out, size_t size)
{
    char text[INET6_ADDRSTRLEN] = "?";
    bool v4 = address_is_v4(a);
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a->b + V4_AT : a->b, text, sizeof text);
    snprintf(out, size, "%s", text);
}

/* Clears what lies behind the first bits. */
static void mask(struct address *a, unsigned bits)
{
    for (unsigned i = 0; i < ADDRESS_BYTES; i++) {
        unsigned left = bits > i * 8 ? bits - i * 8 : 0;
        a->b[i] = (uint8_t)(a->b[i] & (left >= 8 ? 0xff : 0xff00 >> left));
    }
}

bool network_parse(struct slice text, struct network *out)
{
    const char *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
    size_t n = slash ? (size_t)(slash - text.p) : text.n;
    if (!address_parse(slice_of(text.p, n), &out->first))
        return false;
    /* As it was written: ::ffff:10.0.0.0/104 counts the bits of IPv6. */
    bool v4 = address_is_v4(&out->first) && !memchr(text.p, ':', n);
    unsigned most = v4 ? BITS_V4 : BITS, bits = most;
    if (slash) {
        struct slice digits = slice_of(slash + 1, text.n - n - 1);
        if (digits.n < 1 || digits.n > 3)
            return false;
        bits = 0;
        for (size_t i = 0; i < digits.n; i++) {
            if (digits.p[i] < '0' || digits.p[i] > '9')
                return false;
            bits = bits * 10 + (unsigned)(digits.p[i] - '0');
        }
    }
    if (bits > most)
        return false;
    bits += v4 ? BITS - BITS_V4 : 0;
    mask(&out->first, bits);
    out->bits = (uint8_t)bits;
    return true;
}

bool network_has(const struct network *n, const struct address *a)
{
    struct address first = *a;
    if (address_is_v4(a) != (n->bits >= BITS - BITS_V4 && address_is_v4(&n->first)))
        return false;
    mask(&first, n->bits);
    return memcmp(first.b, n->first.b, ADDRESS_BYTES) == 0;
}
