#include "core/console/console_line.h"

#include "core/base/utf8.h"

#include <stdint.h>
#include <strings.h>

struct cursor {
    char *p, *end; /* what is left */
    char *out;     /* where unescaped bytes go; never beyond p */
};

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Four hexadecimal digits; negative when they are none. */
static int32_t hex4(const struct cursor *c)
{
    int32_t v = 0;
    if (c->end - c->p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char h = c->p[i];
        int digit = h >= '0' && h <= '9'   ? h - '0'
                    : h >= 'a' && h <= 'f' ? h - 'a' + 10
                    : h >= 'A' && h <= 'F' ? h - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        v = v * 16 + digit;
    }
    return v;
}

static void put_utf8(struct cursor *c, uint32_t v)
{
    if (v < 0x80) {
        *c->out++ = (char)v;
    } else if (v < 0x800) {
        *c->out++ = (char)(0xC0 | v >> 6);
        *c->out++ = (char)(0x80 | (v & 0x3F));
    } else if (v < 0x10000) {
        *c->out++ = (char)(0xE0 | v >> 12);
        *c->out++ = (char)(0x80 | (v >> 6 & 0x3F));
        *c->out++ = (char)(0x80 | (v & 0x3F));
    } else {
        *c->out++ = (char)(0xF0 | v >> 18);
        *c->out++ = (char)(0x80 | (v >> 12 & 0x3F));
        *c->out++ = (char)(0x80 | (v >> 6 & 0x3F));
        *c->out++ = (char)(0x80 | (v & 0x3F));
    }
}

/* After \u. The escape is longer than what it stands for, so that `out` stays behind `p`. */
static const char *unescape_unicode(struct cursor *c)
{
    int32_t v = hex4(c);
    if (v < 0)
        return "\\u needs four hexadecimal digits";
    c->p += 4;
    if (v == 0)
        return "\\u0000 is not allowed";
    if (v >= 0xD800 && v < 0xDC00 && c->end - c->p >= 6 && c->p[0] == '\\' && c->p[1] == 'u') {
        c->p += 2;
        int32_t low = hex4(c);
        if (low < 0xDC00 || low > 0xDFFF)
            return "half of a surrogate pair";
        c->p += 4;
        put_utf8(c, 0x10000u + ((uint32_t)(v - 0xD800) << 10) + (uint32_t)(low - 0xDC00));
        return NULL;
    }
    if (v >= 0xD800 && v <= 0xDFFF)
        return "half of a surrogate pair";
    put_utf8(c, (uint32_t)v);
    return NULL;
}

static const char *unescape(struct cursor *c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (c->p == c->end)
        return "the closing quote is missing";
    char e = *c->p++;
    if (e == 'u')
        return unescape_unicode(c);
    const char *at = e ? strchr(from, e) : NULL;
    if (!at)
        return "unknown escape; known ones are \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX";
    *c->out++ = to[at - from];
    return NULL;
}

static const char *quoted_word(struct cursor *c)
{
    c->p++;
    while (c->p < c->end && *c->p != '"') {
        if (*c->p != '\\') {
            *c->out++ = *c->p++;
            continue;
        }
        c->p++;
        const char *why = unescape(c);
        if (why)
            return why;
    }
    if (c->p == c->end)
        return "the closing quote is missing";
    c->p++;
    return c->p < c->end && !blank(*c->p) ? "a blank is missing after a closing quote" : NULL;
}

static const char *plain_word(struct cursor *c)
{
    while (c->p < c->end && !blank(*c->p)) {
        if (*c->p == '"')
            return "a quote inside of a word; quote the whole word";
        *c->out++ = *c->p++;
    }
    return NULL;
}

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' && s.p[i] != '\t')
            return true;
    return s.n && memchr(s.p, 0x7F, s.n) != NULL;
}

const char *console_line_parse(char *text, size_t n, struct console_line *out)
{
    struct cursor c = {.p = text, .end = text + n, .out = text};
    out->json = false;
    out->count = 0;
    if (!utf8_valid(slice_of(text, n)))
        return "the line is not UTF-8";
    if (has_control(slice_of(text, n)))
        return "the line has control characters; write them as escapes in quotes";
    for (;;) {
        while (c.p < c.end && blank(*c.p))
            c.p++;
        if (c.p == c.end)
            return out->json && out->count == 0 ? "a command must follow json" : NULL;
        bool quoted = *c.p == '"';
        char *start = c.out = c.p;
        const char *why = quoted ? quoted_word(&c) : plain_word(&c);
        if (why)
            return why;
        struct slice word = slice_of(start, (size_t)(c.out - start));
        if (!quoted && out->count == 0 && !out->json && slice_eq(word, SLICE_LIT("json"))) {
            out->json = true;
            continue;
        }
        if (out->count == CONSOLE_WORDS)
            return "too many words; put a long text into quotes";
        out->words[out->count++] = word;
    }
}

bool console_line_is_binary(struct slice line, bool whole)
{
    for (size_t i = 0; i < line.n; i++) {
        uint8_t c = (uint8_t)line.p[i];
        if ((c < 0x20 && c != '\t' && !(c == '\r' && i + 1 == line.n)) || c == 0x7F)
            return true;
    }
    return whole && !utf8_valid(line);
}

bool console_line_is_http(struct slice line)
{
    static const char *const methods[] = {"GET",   "HEAD",  "POST", "PUT",      "DELETE",    "CONNECT", "OPTIONS",
                                          "TRACE", "PATCH", "PRI",  "PROPFIND", "PROPPATCH", "MKCOL",   "SEARCH"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        size_t n = strlen(methods[i]);
        if (line.n > n && memcmp(line.p, methods[i], n) == 0 && blank(line.p[n]))
            return true;
    }
    /* Other methods: a target, and later the version. A text of an announcement that names HTTP has no target in second
     * place. */
    size_t at = 0;
    while (at < line.n && !blank(line.p[at]))
        at++;
    while (at < line.n && blank(line.p[at]))
        at++;
    if (at == line.n || (line.p[at] != '/' && line.p[at] != '*' && memmem(line.p + at, line.n - at, "://", 3) == NULL))
        return false;
    for (; line.n - at >= 6; at++)
        if (blank(line.p[at]) && strncasecmp(line.p + at + 1, "HTTP/", 5) == 0)
            return true;
    return false;
}
