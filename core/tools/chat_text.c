#include "core/tools/chat_text.h"

#include "core/base/buf.h"

#include <stdio.h>
#include <wchar.h>

enum {
    INDENT = 6, /* columns before all but the first line of a message: those of its time */
    NARROW = 20 /* columns below which nothing is laid out */
};

/* The code point at the start of the bytes and how many it takes; 0: no UTF-8. */
static size_t decode(struct slice s, uint32_t *out)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 0;
    uint32_t c = n == 1 ? p[0] : n == 2 ? p[0] & 0x1Fu : n == 3 ? p[0] & 0x0Fu : p[0] & 0x07u;

    if (n == 0 || n > s.n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3Fu);
    }
    if ((n == 3 && (c < 0x800 || (c >= 0xD800 && c < 0xE000))) || (n == 4 && (c < 0x10000 || c > 0x10FFFF)))
        return 0;
    *out = c;
    return n;
}

/* What is not seen, or changes how its neighbours are: C1, marks of direction, separators, fillers, tags. */
static bool is_hidden(uint32_t c)
{
    static const struct {
        uint32_t from, to; /* code points */
    } hidden[] = {
        {0x80, 0x9F},     {0xAD, 0xAD},     {0x61C, 0x61C},   {0x115F, 0x1160},   {0x180B, 0x180E},
        {0x200B, 0x200C}, {0x200E, 0x200F}, {0x2028, 0x202E}, {0x2060, 0x206F},   {0x3164, 0x3164},
        {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFB}, {0xE0000, 0xE0FFF},
    };
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++)
        if (c >= hidden[i].from && c <= hidden[i].to)
            return true;
    return false;
}

void chat_text_clean(struct buf *out, struct slice text, bool lines)
{
    for (size_t n; text.n; text = slice_of(text.p + n, text.n - n)) {
        uint32_t c = 0;
        n = decode(text, &c);
        if (n == 0) {
            buf_printf(out, "<%02X>", (unsigned char)text.p[0]);
            n = 1;
        } else if (c == '\n' && lines) {
            buf_byte(out, '\n');
        } else if (c == '\t') {
            buf_byte(out, ' ');
        } else if (c < 0x20 || c == 0x7F) {
            buf_byte(out, '^');
            buf_byte(out, (uint8_t)(c ^ 0x40));
        } else if (is_hidden(c)) {
            buf_printf(out, "<U+%04X>", (unsigned)c);
        } else {
            buf_put(out, text.p, n);
        }
    }
}

/* Columns of one code point; characters that the C library does not know are taken for one. */
static size_t columns_of(uint32_t c)
{
    int n = wcwidth((wchar_t)c);
    return n < 0 ? 1 : (size_t)n;
}

size_t chat_text_width(struct slice text)
{
    size_t width = 0;
    for (size_t n; text.n; text = slice_of(text.p + n, text.n - n)) {
        uint32_t c = '?';
        n = decode(text, &c);
        n = n ? n : 1;
        width += columns_of(c);
    }
    return width;
}

size_t chat_text_row(size_t prompt, struct slice text, size_t columns)
{
    size_t at = prompt;
    if (columns == 0)
        return 0;
    for (size_t n; text.n; text = slice_of(text.p + n, text.n - n)) {
        uint32_t c = '?';
        n = decode(text, &c);
        n = n ? n : 1;
        size_t width = c < 0x20 || c == 0x7F ? 2 : columns_of(c); /* the editor shows those as ^X */
        if (at % columns + width > columns)                       /* a wide one is not torn */
            at += columns - at % columns;
        at += width;
    }
    return at / columns;
}

void chat_text_cut(struct buf *out, struct slice text, size_t columns)
{
    size_t at = 0, width = 0;
    if (chat_text_width(text) <= columns) {
        buf_slice_put(out, text);
        return;
    }
    while (at < text.n) {
        uint32_t c = '?';
        size_t n = decode(slice_of(text.p + at, text.n - at), &c);
        if (width + columns_of(c) + 1 > columns)
            break;
        width += columns_of(c);
        at += n ? n : 1;
    }
    buf_put(out, text.p, at);
    buf_str(out, "…");
}

/* Bytes of `text` (without line breaks) that go on a line of so many columns; *skip: blanks after them that are left
 * out. At least one character. */
static size_t line_fit(struct slice text, size_t columns, size_t *skip)
{
    size_t at = 0, width = 0, blank = 0;
    *skip = 0;
    while (at < text.n) {
        uint32_t c = '?';
        size_t n = decode(slice_of(text.p + at, text.n - at), &c);
        if (width + columns_of(c) > columns && at > 0)
            break;
        if (c == ' ')
            blank = at;
        width += columns_of(c);
        at += n ? n : 1;
    }
    if (at == text.n)
        return at;
    if (text.p[at] != ' ' && blank > 0) /* back to the last word's end */
        at = blank;
    while (at + *skip < text.n && text.p[at + *skip] == ' ')
        ++*skip;
    return at;
}

void chat_text_lines(struct buf *out, struct slice head, struct slice body, size_t columns)
{
    size_t used = chat_text_width(head);
    bool lay = columns >= NARROW;

    buf_slice_put(out, head);
    if (lay && used + 8 > columns) { /* a head that leaves no room */
        buf_lit(out, "\n");
        used = INDENT;
        buf_printf(out, "%*s", INDENT, "");
    }
    do {
        const char *end = body.n ? memchr(body.p, '\n', body.n) : NULL;
        struct slice line = slice_of(body.p, end ? (size_t)(end - body.p) : body.n);
        body = end ? slice_of(end + 1, body.n - line.n - 1) : SLICE_NONE;
        while (line.n) {
            size_t skip = 0, n = lay ? line_fit(line, columns - used, &skip) : line.n;
            buf_put(out, line.p, n);
            line = slice_of(line.p + n + skip, line.n - n - skip);
            if (line.n)
                buf_printf(out, "\n%*s", INDENT, "");
            used = INDENT;
        }
        used = INDENT;
        buf_lit(out, "\n");
        if (body.p)
            buf_printf(out, "%*s", INDENT, "");
    } while (body.p);
}
