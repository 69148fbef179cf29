#include "core/net/url.h"

#include "core/base/utf8.h"

#include <limits.h>
#include <string.h>

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The bytes, which may be anything but NUL. */
static int decode(struct slice s, bool form, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            if (s.n - i < 3 || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
                return ERR_INVALID;
            c = (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2]));
            i += 2;
        } else if (c == '+' && form) {
            c = ' ';
        }
        if (c == '\0')
            return ERR_INVALID;
        if (n == size - 1 || n == INT_MAX)
            return ERR_FULL;
        out[n++] = c;
    }
    out[n] = '\0';
    return (int)n;
}

int url_decode(struct slice s, bool form, char *out, size_t size)
{
    if (size == 0)
        return ERR_FULL;
    int n = decode(s, form, out, size);
    if (n >= 0 && !utf8_valid(slice_of(out, (size_t)n)))
        n = ERR_INVALID;
    if (n < 0)
        out[0] = '\0';
    return n;
}

int url_param(struct slice query, struct slice name, char *out, size_t size)
{
    for (size_t at = 0; at < query.n;) {
        const char *p = query.p + at, *end = memchr(p, '&', query.n - at);
        struct slice one = slice_of(p, end ? (size_t)(end - p) : query.n - at);
        const char *equals = memchr(one.p, '=', one.n);
        struct slice key = slice_of(one.p, equals ? (size_t)(equals - one.p) : one.n);
        if (slice_eq(key, name))
            return url_decode(equals ? slice_of(equals + 1, one.n - key.n - 1) : SLICE_NONE, true, out, size);
        at += one.n + 1;
    }
    return ERR_NOTFOUND;
}
