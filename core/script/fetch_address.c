#include "core/script/fetch_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct net4 {
    uint32_t address;
    unsigned bits;
    const char *kind;
};

/* The special-purpose registry of IPv4 (RFC 6890 and its successors), and all multicast and reserved addresses. */
static const struct net4 nets4[] = {
    {0x00000000, 8, "an address of this network"}, {0x7f000000, 8, "a loopback address"},
    {0x0a000000, 8, "a private address"},          {0xac100000, 12, "a private address"},
    {0xc0a80000, 16, "a private address"},         {0x64400000, 10, "a shared address of providers"},
    {0xa9fe0000, 16, "a link-local address"},      {0xc0000000, 24, "a reserved address"},
    {0xc0000200, 24, "a reserved address"},        {0xc0586300, 24, "a reserved address"},
    {0xc6120000, 15, "a reserved address"},        {0xc6336400, 24, "a reserved address"},
    {0xcb007100, 24, "a reserved address"},        {0xe0000000, 4, "a multicast address"},
    {0xf0000000, 4, "a reserved address"},
};

static const char *kind4(uint32_t a)
{
    for (size_t i = 0; i < sizeof nets4 / sizeof nets4[0]; i++)
        if (((a ^ nets4[i].address) & (0xffffffffu << (32 - nets4[i].bits))) == 0)
            return nets4[i].kind;
    return NULL;
}

static uint32_t load32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool begins(const uint8_t *a, const uint8_t *with, size_t n)
{
    return memcmp(a, with, n) == 0;
}

static const char *kind6(const uint8_t a[16])
{
    static const uint8_t zero[16] = {0}, mapped[12] = {[10] = 0xff, [11] = 0xff}, nat64[12] = {0, 0x64, 0xff, 0x9b};
    if (begins(a, zero, 15) && a[15] == 1)
        return "a loopback address";
    if (begins(a, mapped, 12) || begins(a, nat64, 12))
        return kind4(load32(a + 12));
    if (a[0] == 0xfe && (a[1] & 0xc0) == 0x80)
        return "a link-local address";
    if ((a[0] & 0xfe) == 0xfc || (a[0] == 0xfe && (a[1] & 0xc0) == 0xc0))
        return "a private address";
    if (a[0] == 0xff)
        return "a multicast address";
    if (a[0] == 0x20 && a[1] == 0x02) /* 6to4 */
        return kind4(load32(a + 2));
    /* Outside of what is given to the world; protocols' own (Teredo among them); documentation. */
    if ((a[0] & 0xe0) != 0x20 || (a[0] == 0x20 && a[1] == 0x01 && a[2] < 2) ||
        (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0d && a[3] == 0xb8) || (a[0] == 0x3f && a[1] == 0xff && a[2] < 0x10))
        return "a reserved address";
    return NULL;
}

const char *fetch_address_kind(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return kind4(ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr));
    if (a->sa_family == AF_INET6)
        return kind6(((const struct sockaddr_in6 *)(const void *)a)->sin6_addr.s6_addr);
    return "no Internet address";
}

void fetch_address_text(const struct sockaddr *a, char *out)
{
    out[0] = '\0';
    if (a->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)a)->sin_addr, out, INET6_ADDRSTRLEN);
    else if (a->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, out, INET6_ADDRSTRLEN);
}

bool fetch_address_is(const struct sockaddr *a, const char *text)
{
    char own[INET6_ADDRSTRLEN];
    fetch_address_text(a, own);
    return own[0] && strcmp(own, text) == 0;
}
