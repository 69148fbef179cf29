#include "core/net/handshake.h"

#include "core/net/http.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <strings.h>

/* Bytes of a key: base64 of 16. */
enum { KEY = 24, ACCEPT_INPUT = KEY + 36 };

bool handshake_wanted(const struct http_head *h)
{
    return http_has_token(h, "upgrade", "websocket");
}

/* 22 digits of base64 and "==", which is what 16 bytes make. */
static bool key_valid(struct slice key)
{
    if (key.n != KEY || key.p[22] != '=' || key.p[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++) {
        char c = key.p[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/'))
            return false;
    }
    return true;
}

static unsigned refuse(const char **why, unsigned status, const char *text)
{
    *why = text;
    return status;
}

unsigned handshake_check(const struct http_head *h, const char **why)
{
    unsigned keys, versions, origins;
    struct slice key = http_get(h, "sec-websocket-key", &keys), version = http_get(h, "sec-websocket-version", &versions);
    (void)http_get(h, "origin", &origins);
    if (!slice_eq(h->method, SLICE_LIT("GET")))
        return refuse(why, 405, "a WebSocket begins with GET");
    if (h->minor == 0)
        return refuse(why, 400, "a WebSocket needs HTTP/1.1 (behind nginx: proxy_http_version 1.1)");
    if (h->content_length || h->chunked)
        return refuse(why, 413, "a WebSocket request has no body");
    if (!http_has_token(h, "connection", "upgrade"))
        return refuse(why, 400, "Connection: Upgrade is missing");
    if (versions != 1 || !slice_eq(version, SLICE_LIT("13")))
        return refuse(why, 426, "Sec-WebSocket-Version: 13 is spoken here");
    if (keys != 1 || !key_valid(key))
        return refuse(why, 400, "Sec-WebSocket-Key must be 16 bytes in base64, once");
    if (origins > 1)
        return refuse(why, 400, "more than one Origin field");
    return 101;
}

/* --- Origins --------------------------------------------------------------------------------------------------------- */

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
    for (size_t i = 0; i < host.n; i++) {
        if (host.p[i] == '.')
            dots++;
        else if (host.p[i] < '0' || host.p[i] > '9')
            return false;
    }
    return dots == 3;
}

bool handshake_origin(struct slice origin, struct slice host, const char *const *allowed, bool local)
{
    struct slice from, to, port;
    if (allowed && *allowed) {
        for (; *allowed; allowed++)
            if (slice_eq(origin, slice_str(*allowed)))
                return true;
        return false;
    }
    if (!origin_host(origin, &from))
        return false;
    return (http_split_host(host, &to, &port) && same(from, to)) || (local && is_loopback(from));
}

/* --- The answer ------------------------------------------------------------------------------------------------------ */

bool handshake_accept(struct slice key, char out[HANDSHAKE_ACCEPT + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char input[ACCEPT_INPUT], digest[SHA_DIGEST_LENGTH];
    if (key.n != KEY)
        return false;
    memcpy(input, key.p, KEY);
    memcpy(input + KEY, guid, sizeof guid - 1);
    if (!SHA1(input, sizeof input, digest))
        return false;
    return EVP_EncodeBlock((unsigned char *)out, digest, sizeof digest) == HANDSHAKE_ACCEPT;
}
