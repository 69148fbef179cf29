#include "core/net/tls/hello.h"

#include <string.h>

enum {
    HANDSHAKE = 22,     /* the record's type */
    CLIENT_HELLO = 1,   /* the message's type */
    MESSAGE_HEADER = 4, /* type and length */
    PIECES_MAX = 64     /* records of one ClientHello: who makes more of them wants to keep us busy */
};

size_t hello_record(const uint8_t *p, size_t n)
{
    size_t size = n < HELLO_RECORD_HEADER ? 0 : HELLO_RECORD_HEADER + (size_t)(p[3] << 8 | p[4]);
    return size <= n ? size : 0;
}

/* Whether it begins as the request line of HTTP does: GET, HEAD, POST, PUT, OPTIONS, CONNECT … A part of a method is
 * none yet, so that the same bytes get the same answer in whatever pieces they come. */
static enum hello look_for_http(const uint8_t *p, size_t n)
{
    static const char *const methods[] = {"GET ",     "HEAD ",    "POST ",   "PUT ",
                                          "OPTIONS ", "CONNECT ", "DELETE ", "PATCH "};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        size_t m = strlen(methods[i]);
        if (memcmp(p, methods[i], n < m ? n : m) == 0)
            return n < m ? HELLO_MORE : HELLO_HTTP;
    }
    return HELLO_OTHER;
}

enum hello hello_look(const uint8_t *p, size_t n)
{
    uint8_t head[MESSAGE_HEADER];
    size_t at = 0, got = 0, need = SIZE_MAX;
    if (n == 0)
        return HELLO_MORE;
    if (p[0] != HANDSHAKE)
        return look_for_http(p, n);
    for (unsigned pieces = 0; at < n; pieces++) {
        size_t there = n - at, size;
        if (pieces == PIECES_MAX)
            return HELLO_LONG;
        if (p[at] != HANDSHAKE || (there > 1 && p[at + 1] != 3))
            return HELLO_OTHER;
        if (there < HELLO_RECORD_HEADER)
            break;
        size = (size_t)(p[at + 3] << 8 | p[at + 4]);
        if (size == 0)
            return HELLO_OTHER;
        if (at + HELLO_RECORD_HEADER + size > HELLO_MAX)
            return HELLO_LONG;
        at += HELLO_RECORD_HEADER;
        for (size_t i = 0; i < size && at + i < n && got + i < MESSAGE_HEADER; i++)
            head[got + i] = p[at + i];
        got += size < n - at ? size : n - at;
        if (got >= 1 && head[0] != CLIENT_HELLO)
            return HELLO_OTHER;
        if (got >= MESSAGE_HEADER) {
            need = MESSAGE_HEADER + ((size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3]);
            if (need > HELLO_MAX)
                return HELLO_LONG;
        }
        if (got >= need)
            return HELLO_WHOLE;
        at += size;
    }
    return n >= HELLO_MAX ? HELLO_LONG : HELLO_MORE;
}
