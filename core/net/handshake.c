#include "core/net/handshake.h"

#include "core/net/http.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

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
    struct slice key = http_get(h, "sec-websocket-key", &keys),
                 version = http_get(h, "sec-websocket-version", &versions);
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

static bool listed(struct slice s, const char *const *known)
{
    for (; *known; known++)
        if (slice_eq(s, slice_str(*known)))
            return true;
    return false;
}

struct slice handshake_protocol(const struct http_head *h, const char *const *known)
{
    uint32_t at = 0;
    if (!known || !*known)
        return SLICE_NONE;
    for (struct slice list = http_next(h, "sec-websocket-protocol", &at); list.p;
         list = http_next(h, "sec-websocket-protocol", &at))
        for (struct slice item; http_list_next(&list, &item);)
            if (listed(item, known))
                return item;
    return SLICE_NONE;
}

/* --- The answer --------------------------------------------------------------------------------------------------- */

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
