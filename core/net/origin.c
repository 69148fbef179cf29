#include "core/net/origin.h"

#include "core/net/http.h"

#include <string.h>
#include <strings.h>

static bool same(struct slice a, struct slice b)
{
    return a.n == b.n && a.n && strncasecmp(a.p, b.p, a.n) == 0;
}

/* "http://host:port" or "https://host" and nothing more: what browsers send for a page that has an origin. */
static bool origin_host(struct slice origin, struct slice *host)
{
    static const char *const schemes[] = {"http://", "https://"};
    struct slice port;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t n = strlen(schemes[i]);
        if (origin.n > n && strncasecmp(origin.p, schemes[i], n) == 0)
            return http_split_host(slice_of(origin.p + n, origin.n - n), host, &port);
    }
    return false;
}

/* localhost, 127.0.0.0/8, [::1]. A name such as 127.evil.example is none. */
static bool is_loopback(struct slice host)
{
    unsigned dots = 0;
    if (http_is(host, "localhost") || http_is(host, "[::1]"))
        return true;
    if (host.n < 9 || memcmp(host.p, "127.", 4) != 0)
        return false;
    for (size_t i = 0; i < host.n; i++)
        if (host.p[i] == '.')
            dots++;
        else if (host.p[i] < '0' || host.p[i] > '9')
            return false;
    return dots == 3;
}

/* An IPv6 address in brackets, or digits and dots: no name that can be registered is made of these alone. */
static bool is_address(struct slice host)
{
    if (host.p[0] == '[')
        return true;
    for (size_t i = 0; i < host.n; i++)
        if (host.p[i] != '.' && (host.p[i] < '0' || host.p[i] > '9'))
            return false;
    return true;
}

/* "localhost", and what RFC 6761 puts below it. */
static bool is_localhost(struct slice host)
{
    static const char below[] = ".localhost";
    size_t n = sizeof below - 1;
    return http_is(host, "localhost") || (host.n > n && http_is(slice_of(host.p + host.n - n, n), below));
}

bool origin_knows_host(struct slice host, const char *const *allowed)
{
    struct slice name, named, port;
    if (host.n == 0)
        return true;
    if (!http_split_host(host, &name, &port))
        return false;
    if (name.n > 1 && name.p[name.n - 1] == '.') /* "localhost." is the same name, said in full */
        name.n--;
    if (is_address(name) || is_localhost(name) || !memchr(name.p, '.', name.n))
        return true;
    for (; allowed && *allowed; allowed++)
        if (origin_host(slice_str(*allowed), &named) && same(named, name))
            return true;
    return false;
}

bool origin_allowed(struct slice origin, struct slice host, const char *const *allowed, enum origin_way way)
{
    struct slice from, to, port;
    if (allowed && *allowed) {
        for (; *allowed; allowed++)
            if (slice_eq(origin, slice_str(*allowed)))
                return true;
        return false;
    }
    /* "The same host" proves nothing where the name is that of a page whose owner has made it point to this machine. */
    if (!origin_host(origin, &from) || (way == ORIGIN_LOOPBACK && !origin_knows_host(host, NULL)))
        return false;
    return (http_split_host(host, &to, &port) && same(from, to)) || (way != ORIGIN_NETWORK && is_loopback(from));
}
