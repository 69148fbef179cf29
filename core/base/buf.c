#include "core/base/buf.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
void buf_free(struct buf *b)
{
    free(b->p);
    *b = BUF_INIT;
}
char *buf_reserve(struct buf *b, size_t extra)
{
    if (b->oom)
        return NULL;
    if (extra > SIZE_MAX / 4 - b->n) { /* more than there can be: doubling would go round */
        b->oom = true;
        return NULL;
    }
    if (b->cap - b->n < extra) {
        size_t cap = b->cap ? b->cap * 2 : 64;
        while (cap < b->n + extra)
            cap *= 2;
        char *p = realloc(b->p, cap);
        if (!p) {
            b->oom = true;
            return NULL;
        }
        b->p = p;
        b->cap = cap;
    }
    return b->p + b->n;
}
void buf_put(struct buf *b, const void *p, size_t n)
{
    char *to = n ? buf_reserve(b, n) : NULL;
    if (to) {
        memcpy(to, p, n);
        b->n += n;
    }
}
void buf_str(struct buf *b, const char *s)
{
    buf_put(b, s, strlen(s));
}
void buf_byte(struct buf *b, uint8_t c)
{
    buf_put(b, &c, 1);
}
void buf_u16(struct buf *b, uint16_t v)
{
    char t[2];
    store_be16(t, v);
    buf_put(b, t, 2);
}
void buf_u32(struct buf *b, uint32_t v)
{
    char t[4];
    store_be32(t, v);
    buf_put(b, t, 4);
}
void buf_dec(struct buf *b, uint64_t v)
{
    char t[20];
    size_t i = 20;
    do
        t[--i] = (char)('0' + v % 10);
    while (v /= 10);
    buf_put(b, t + i, 20 - i);
}
void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *to = n >= 0 ? buf_reserve(b, (size_t)n + 1) : NULL;
    if (to) {
        vsnprintf(to, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
}
void buf_json_escape(struct buf *b, struct slice s)
{
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_put(b, s.p + from, i - from);
        from = i + 1;
        switch (c) {
        case '"':
            buf_lit(b, "\\\"");
            break;
        case '\\':
            buf_lit(b, "\\\\");
            break;
        case '\n':
            buf_lit(b, "\\n");
            break;
        case '\r':
            buf_lit(b, "\\r");
            break;
        case '\t':
            buf_lit(b, "\\t");
            break;
        case '\b':
            buf_lit(b, "\\b");
            break;
        case '\f':
            buf_lit(b, "\\f");
            break;
        default:
            buf_printf(b, "\\u%04x", c);
        }
    }
    buf_put(b, s.p + from, s.n - from);
}
void buf_json_string(struct buf *b, struct slice s)
{
    buf_byte(b, '"');
    buf_json_escape(b, s);
    buf_byte(b, '"');
}
