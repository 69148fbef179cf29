/* The client's half of RFC 6455: see client_ws.h. */
#include "core/client/client_ws.h"

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/random.h"
#include "core/client/client_sha1.h"

#include <strings.h>

#define WS_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
enum { KEY_LEN = 24 }; /* base64 of 16 bytes */

int client_ws_parse(struct slice bytes, size_t max, struct client_ws_frame *out, const char **why)
{
    const uint8_t *p = (const uint8_t *)bytes.p;
    size_t header = 2;

    out->size = 0;
    if (bytes.n < 2)
        return 0;
    uint8_t opcode = p[0] & 15;
    bool control = opcode & 8;
    uint64_t length = p[1] & 127;
    *why = p[0] & 0x70                                 ? "a reserved bit is set"
           : (opcode > 2 && opcode < 8) || opcode > 10 ? "an unknown opcode"
           : p[1] & 0x80                               ? "a server's frame is masked"
           : control && !(p[0] & 0x80)                 ? "a control frame in fragments"
           : control && length > 125                   ? "a control frame over 125 bytes"
                                                       : NULL;
    if (*why)
        return ERR_INVALID;
    if (length >= 126) {
        header = length == 126 ? 4 : 10;
        if (bytes.n < header)
            return 0;
        length = length == 126 ? load_be16(p + 2) : load_be64(p + 2);
        if (length < (header == 4 ? 126u : 65536u)) {
            *why = "a length that is not in its shortest form";
            return ERR_INVALID;
        }
    }
    if (length > max) {
        *why = "a frame larger than is taken";
        return ERR_TOOLARGE;
    }
    out->size = header + (size_t)length;
    out->opcode = opcode;
    out->fin = p[0] & 0x80;
    out->payload = slice_of(bytes.p + header, (size_t)length);
    return bytes.n >= out->size;
}

size_t client_ws_header(uint8_t out[CLIENT_WS_HEADER_MAX], uint8_t opcode, uint64_t payload, uint32_t mask)
{
    size_t n = 2;

    out[0] = (uint8_t)(0x80 | opcode);
    if (payload < 126) {
        out[1] = (uint8_t)(0x80 | payload);
    } else if (payload < 65536) {
        out[1] = 0x80 | 126;
        store_be16(out + 2, (uint16_t)payload);
        n = 4;
    } else {
        out[1] = 0x80 | 127;
        store_be64(out + 2, payload);
        n = 10;
    }
    memcpy(out + n, &mask, 4);
    return n + 4;
}

void client_ws_mask(char *out, const char *in, size_t n, uint32_t mask, size_t at)
{
    uint8_t key[4];
    uint8_t turned[8];
    uint64_t wide;
    size_t i = 0;

    memcpy(key, &mask, 4);
    for (size_t k = 0; k < 8; k++)
        turned[k] = key[(at + k) & 3];
    memcpy(&wide, turned, 8);
    for (; i + 8 <= n; i += 8) {
        uint64_t word;
        memcpy(&word, in + i, 8);
        word ^= wide;
        memcpy(out + i, &word, 8);
    }
    for (; i < n; i++)
        out[i] = (char)((uint8_t)in[i] ^ turned[i & 7]);
}

/* Base64 with padding; `out` gets 4 bytes for each started 3 of the input. */
static void base64_put(char *out, const uint8_t *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < n; i += 3, out += 4) {
        uint32_t v = (uint32_t)p[i] << 16;
        v |= i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0;
        v |= i + 2 < n ? p[i + 2] : 0;
        out[0] = digits[v >> 18];
        out[1] = digits[v >> 12 & 63];
        out[2] = i + 1 < n ? digits[v >> 6 & 63] : '=';
        out[3] = i + 2 < n ? digits[v & 63] : '=';
    }
}

void client_ws_accept(struct slice key, char accept[CLIENT_WS_ACCEPT_LEN])
{
    char text[CLIENT_SHA1_INPUT_MAX];
    uint8_t digest[CLIENT_SHA1_LEN];
    size_t guid = sizeof(WS_GUID) - 1;

    ASSERT(key.n + guid <= sizeof(text));
    memcpy(text, key.p, key.n);
    memcpy(text + key.n, WS_GUID, guid);
    client_sha1(text, key.n + guid, digest);
    base64_put(accept, digest, sizeof(digest));
}

void client_ws_request(struct buf *out, const char *host, const char *path, char accept[CLIENT_WS_ACCEPT_LEN])
{
    uint8_t nonce[16];
    char key[KEY_LEN];

    random_bytes(nonce, sizeof(nonce));
    base64_put(key, nonce, sizeof(nonce));
    client_ws_accept(slice_of(key, sizeof(key)), accept);
    buf_printf(out,
               "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %.*s\r\n\r\n",
               path, host, KEY_LEN, key);
}

static struct slice text_trim(struct slice s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = slice_of(s.p + 1, s.n - 1);
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

static bool text_is(struct slice s, const char *lower)
{
    return s.n == strlen(lower) && strncasecmp(s.p, lower, s.n) == 0;
}

/* The answer may be shorter than what it is compared with: it is the server's. */
static bool text_starts(struct slice s, struct slice start)
{
    return s.n >= start.n && memcmp(s.p, start.p, start.n) == 0;
}

/* The comma-separated list holds the token, in any case. */
static bool list_has(struct slice list, const char *lower)
{
    while (list.n > 0) {
        const char *comma = memchr(list.p, ',', list.n);
        size_t n = comma ? (size_t)(comma - list.p) : list.n;
        if (text_is(text_trim(slice_of(list.p, n)), lower))
            return true;
        n += comma ? 1 : 0;
        list = slice_of(list.p + n, list.n - n);
    }
    return false;
}

int client_ws_response(struct slice bytes, const char accept[CLIENT_WS_ACCEPT_LEN], const char **why)
{
    bool upgrade = false, connection = false, accepted = false;
    const char *end = memmem(bytes.p, bytes.n, "\r\n\r\n", 4);

    if (!end) {
        *why = "the handshake's answer has no end";
        return bytes.n > CLIENT_WS_RESPONSE_MAX ? ERR_INVALID : 0;
    }
    if (!text_starts(bytes, SLICE_LIT("HTTP/1.1 101"))) {
        *why = text_starts(bytes, SLICE_LIT("HTTP/1.1 503"))   ? "refused with HTTP status 503"
               : text_starts(bytes, SLICE_LIT("HTTP/1.1 403")) ? "refused with HTTP status 403"
                                                               : "not upgraded by the server";
        return ERR_INVALID;
    }
    const char *line = memmem(bytes.p, bytes.n, "\r\n", 2);
    while (line < end) {
        const char *start = line + 2;
        line = memmem(start, (size_t)(end + 2 - start), "\r\n", 2);
        const char *colon = memchr(start, ':', (size_t)(line - start));
        if (!colon)
            continue;
        struct slice name = slice_of(start, (size_t)(colon - start));
        struct slice value = text_trim(slice_of(colon + 1, (size_t)(line - colon - 1)));
        if (text_is(name, "upgrade")) {
            upgrade = text_is(value, "websocket");
        } else if (text_is(name, "connection")) {
            connection = connection || list_has(value, "upgrade");
        } else if (text_is(name, "sec-websocket-accept")) {
            accepted = slice_eq(value, slice_of(accept, CLIENT_WS_ACCEPT_LEN));
        } else if (text_is(name, "sec-websocket-extensions")) {
            *why = "the server chose an extension that was not offered";
            return ERR_INVALID;
        }
    }
    *why = !upgrade      ? "no Upgrade: websocket in the handshake's answer"
           : !connection ? "no Connection: Upgrade in the handshake's answer"
           : !accepted   ? "a wrong Sec-WebSocket-Accept in the handshake's answer"
                         : NULL;
    return *why ? ERR_INVALID : (int)(end + 4 - bytes.p);
}
