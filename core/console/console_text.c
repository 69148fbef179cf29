#include "core/console/console_text.h"

#include "core/base/json.h"
#include "core/base/utf8.h"

#include <stdio.h>
#include <time.h>

/* --- Characters --------------------------------------------------------------------------------------------------- */

/* Decodes the character at p; its length, 0 when it is no valid UTF-8. */
static size_t decode(const char *p, size_t n, uint32_t *out)
{
    const uint8_t *b = (const uint8_t *)p;
    size_t len = b[0] < 0x80 ? 1 : b[0] >= 0xF0 ? 4 : b[0] >= 0xE0 ? 3 : b[0] >= 0xC2 ? 2 : 0;
    if (len == 0 || len > n || !utf8_valid(slice_of(p, len)))
        return 0;
    uint32_t v = len == 1 ? b[0] : b[0] & (0xFFu >> (len + 1));
    for (size_t i = 1; i < len; i++)
        v = v << 6 | (b[i] & 0x3F);
    *out = v;
    return len;
}

/* Acts on a terminal, breaks a line, or changes the order in which others are shown. */
static bool acts(uint32_t v)
{
    return v < 0x20 || (v >= 0x7F && v < 0xA0) || v == 0x61C || v == 0x200B || v == 0x200E || v == 0x200F ||
           (v >= 0x2028 && v <= 0x202E) || (v >= 0x2060 && v <= 0x206F) || v == 0xFEFF ||
           (v >= 0xFFF9 && v <= 0xFFFB) || (v >= 0xE0000 && v <= 0xE007F);
}

static void put_escape(struct buf *out, uint32_t v)
{
    if (v >= 0x10000)
        buf_printf(out, "\\u%04x\\u%04x", 0xD800 + ((v - 0x10000) >> 10), 0xDC00 + ((v - 0x10000) & 0x3FF));
    else
        buf_printf(out, "\\u%04x", v);
}

void console_text_safe(struct buf *out, struct slice text, bool lines)
{
    size_t from = 0, i = 0;
    while (i < text.n) {
        uint32_t v = 0;
        size_t n = decode(text.p + i, text.n - i, &v);
        if (n && (!acts(v) || (lines && v == '\n'))) {
            i += n;
            continue;
        }
        buf_put(out, text.p + from, i - from);
        if (v == '\n' || v == '\t')
            buf_str(out, v == '\n' ? "\\n" : "\\t");
        else
            put_escape(out, n ? v : (uint8_t)text.p[i]);
        i += n ? n : 1;
        from = i;
    }
    if (text.n > from)
        buf_put(out, text.p + from, text.n - from);
}

void console_text_json(struct buf *out, struct slice json)
{
    size_t from = 0, i = 0;
    while (i < json.n) {
        uint32_t v = 0;
        size_t n = decode(json.p + i, json.n - i, &v);
        if (n && (v < 0x20 || !acts(v))) { /* below 0x20 is white space between values alone */
            i += n;
            continue;
        }
        buf_put(out, json.p + from, i - from);
        put_escape(out, n ? v : 0xFFFD);
        i += n ? n : 1;
        from = i;
    }
    if (json.n > from)
        buf_put(out, json.p + from, json.n - from);
}

/* --- Walking over JSON that was checked --------------------------------------------------------------------------- */

struct walk {
    const char *p, *end;
};

static void skip_blanks(struct walk *w)
{
    while (w->p < w->end && (*w->p == ' ' || *w->p == '\n' || *w->p == '\t' || *w->p == '\r'))
        w->p++;
}

/* Passes over blanks and one of these characters, if it stands there. */
static bool eat(struct walk *w, char c)
{
    skip_blanks(w);
    if (w->p < w->end && *w->p == c) {
        w->p++;
        return true;
    }
    return false;
}

/* The raw inside of a string; the walk stands at its quote. */
static struct slice take_string(struct walk *w)
{
    const char *from = ++w->p;
    while (w->p < w->end && *w->p != '"')
        w->p += *w->p == '\\' ? 2 : 1;
    struct slice s = slice_of(from, (size_t)(w->p - from));
    w->p++;
    return s;
}

/* One whole value, raw. */
static struct slice take_value(struct walk *w)
{
    skip_blanks(w);
    const char *from = w->p;
    int depth = 0;
    do {
        if (w->p >= w->end)
            break;
        if (*w->p == '"') {
            take_string(w);
        } else if (*w->p == '{' || *w->p == '[') {
            depth++;
            w->p++;
        } else if (*w->p == '}' || *w->p == ']') {
            depth--;
            w->p++;
        } else if (depth == 0) {
            while (w->p < w->end && !strchr(",]} \n\t\r", *w->p))
                w->p++;
        } else {
            w->p++;
        }
    } while (depth > 0);
    return slice_of(from, (size_t)(w->p - from));
}

/* The next "key": value of an object whose brace is passed; false at its end. */
static bool take_member(struct walk *w, struct slice *key, struct slice *value)
{
    eat(w, ',');
    if (eat(w, '}') || w->p >= w->end || *w->p != '"')
        return false;
    *key = take_string(w);
    eat(w, ':');
    *value = take_value(w);
    return true;
}

static bool take_element(struct walk *w, struct slice *value)
{
    eat(w, ',');
    skip_blanks(w);
    if (w->p >= w->end || *w->p == ']')
        return false;
    *value = take_value(w);
    return true;
}

static struct walk into(struct slice value)
{
    return (struct walk){value.p + 1, value.p + value.n};
}

static unsigned hex_digit(char h)
{
    return (unsigned)(h <= '9' ? h - '0' : (h | 32) - 'a' + 10);
}

static uint32_t hex4(const char *p)
{
    return hex_digit(p[0]) << 12 | hex_digit(p[1]) << 8 | hex_digit(p[2]) << 4 | hex_digit(p[3]);
}

static void put_utf8(struct buf *out, uint32_t v)
{
    char b[4];
    size_t n = v < 0x80 ? 1 : v < 0x800 ? 2 : v < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, v >>= 6)
        b[i] = (char)(0x80 | (v & 0x3F));
    b[0] = (char)(n == 1 ? v : (0xF00u >> n & 0xFF) | v);
    buf_put(out, b, n);
}

/* What the raw inside of a string stands for. */
static void unescape(struct buf *out, struct slice raw)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    for (size_t i = 0; i < raw.n; i++) {
        if (raw.p[i] != '\\' || i + 1 >= raw.n) {
            buf_byte(out, (uint8_t)raw.p[i]);
            continue;
        }
        const char *at = strchr(from, raw.p[++i]);
        if (raw.p[i] != 'u') {
            buf_byte(out, at ? (uint8_t)to[at - from] : '?');
            continue;
        }
        uint32_t v = hex4(raw.p + i + 1);
        i += 4;
        if (v >= 0xD800 && v < 0xDC00 && i + 6 < raw.n + 1) {
            v = 0x10000 + ((v - 0xD800) << 10) + (hex4(raw.p + i + 3) - 0xDC00);
            i += 6;
        }
        put_utf8(out, v);
    }
}

/* --- Values as text ----------------------------------------------------------------------------------------------- */

static bool is_container(struct slice v)
{
    return v.n && (v.p[0] == '{' || v.p[0] == '[');
}

/* Whether a cell must be quoted to be one word. */
static bool needs_quotes(struct slice text)
{
    if (text.n == 0 || text.p[0] == '"')
        return true;
    return memchr(text.p, ' ', text.n) != NULL;
}

/* The text in quotes, as the console itself reads it. */
static void put_quoted(struct buf *out, struct slice text)
{
    struct buf inner = BUF_INIT;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '"' || text.p[i] == '\\')
            buf_byte(&inner, '\\');
        buf_byte(&inner, (uint8_t)text.p[i]);
    }
    buf_byte(out, '"');
    console_text_safe(out, buf_slice(&inner), false);
    buf_byte(out, '"');
    out->oom = out->oom || inner.oom;
    buf_free(&inner);
}

/* A scalar in its place; `word`: as one word. */
static void put_scalar(struct buf *out, struct slice v, bool word)
{
    if (slice_eq(v, SLICE_LIT("null"))) {
        buf_byte(out, '-');
        return;
    }
    if (v.p[0] != '"') {
        buf_slice_put(out, v);
        return;
    }
    struct buf text = BUF_INIT;
    unescape(&text, slice_of(v.p + 1, v.n - 2));
    if (word && needs_quotes(buf_slice(&text)))
        put_quoted(out, buf_slice(&text));
    else
        console_text_safe(out, buf_slice(&text), false);
    out->oom = out->oom || text.oom;
    buf_free(&text);
}

static bool ends_with(struct slice text, struct slice end)
{
    return text.n >= end.n && memcmp(text.p + text.n - end.n, end.p, end.n) == 0;
}

/* Whether a value is a moment, in milliseconds since 1970: its key says so, and it is one of these times. */
static bool is_date(struct slice key, struct slice v, uint64_t *ms)
{
    if (!ends_with(key, SLICE_LIT("At")) && !ends_with(key, SLICE_LIT("Until")) && !slice_eq(key, SLICE_LIT("until")))
        return false;
    *ms = 0;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9')
            return false;
        *ms = *ms * 10 + (uint64_t)(v.p[i] - '0');
    }
    return v.n >= 12 && v.n <= 14;
}

/* "2026-11-25T15:47:34Z", as in the log but for the milliseconds. */
static void put_date(struct buf *out, uint64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm t;
    if (gmtime_r(&seconds, &t))
        buf_printf(out, "%d-%02d-%02dT%02d:%02d:%02dZ", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min,
                   t.tm_sec);
}

/* The value of a key; dates for people. */
static void put_value(struct buf *out, struct slice key, struct slice v, bool word)
{
    uint64_t ms;
    if (is_date(key, v, &ms))
        put_date(out, ms);
    else
        put_scalar(out, v, word);
}

/* An array of scalars in one line. */
static bool put_inline(struct buf *out, struct slice v)
{
    struct walk w = into(v);
    struct slice e;
    size_t before = out->n;
    bool first = true;
    while (take_element(&w, &e)) {
        if (is_container(e)) {
            out->n = before;
            return false;
        }
        buf_str(out, first ? "" : " ");
        put_scalar(out, e, true);
        first = false;
    }
    if (first)
        buf_byte(out, '-');
    return true;
}

static void put_rows(struct buf *out, struct walk w, struct console_table *table, unsigned indent);

static void put_indent(struct buf *out, unsigned indent)
{
    buf_printf(out, "%*s", (int)(2 * indent), "");
}

static void put_members(struct buf *out, struct slice object, unsigned indent)
{
    struct walk w = into(object);
    struct slice key, value;
    while (take_member(&w, &key, &value)) {
        put_indent(out, indent);
        console_text_safe(out, key, false);
        buf_byte(out, ':');
        if (value.p[0] == '{') {
            buf_byte(out, '\n');
            put_members(out, value, indent + 1);
        } else if (value.p[0] == '[') {
            size_t before = out->n;
            buf_byte(out, ' ');
            if (put_inline(out, value)) {
                buf_byte(out, '\n');
                continue;
            }
            struct console_table table = {.count = 0};
            out->n = before;
            buf_byte(out, '\n');
            put_rows(out, into(value), &table, indent + 1);
        } else {
            buf_byte(out, ' ');
            put_value(out, key, value, false);
            buf_byte(out, '\n');
        }
    }
}

/* --- Tables ------------------------------------------------------------------------------------------------------- */

static unsigned width_of(struct slice text)
{
    unsigned n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += ((uint8_t)text.p[i] & 0xC0) != 0x80;
    return n;
}

/* JSON without the blanks between its values: a cell is in one line. */
static void put_compact(struct buf *out, struct slice v)
{
    struct buf b = BUF_INIT;
    bool string = false;
    for (size_t i = 0; i < v.n; i++) {
        if (!string && strchr(" \t\r\n", v.p[i]))
            continue;
        buf_byte(&b, (uint8_t)v.p[i]);
        if (string && v.p[i] == '\\' && i + 1 < v.n)
            buf_byte(&b, (uint8_t)v.p[++i]);
        else if (v.p[i] == '"')
            string = !string;
    }
    console_text_json(out, buf_slice(&b));
    out->oom = out->oom || b.oom;
    buf_free(&b);
}

static void put_cell(struct buf *out, struct slice key, struct slice v)
{
    if (v.n == 0)
        buf_byte(out, '-');
    else if (v.p[0] == '{' || (v.p[0] == '[' && !put_inline(out, v)))
        put_compact(out, v);
    else if (v.p[0] != '[')
        put_value(out, key, v, true);
}

static struct slice member_of(struct slice object, const char *key)
{
    struct walk w = into(object);
    struct slice k, v;
    while (take_member(&w, &k, &v))
        if (slice_eq(k, slice_str(key)))
            return v;
    return SLICE_NONE;
}

static unsigned column_of(struct console_table *t, struct slice key)
{
    for (unsigned i = 0; i < t->count; i++)
        if (slice_eq(slice_str(t->keys[i]), key))
            return i;
    if (t->count == CONSOLE_COLUMNS || key.n >= sizeof t->keys[0])
        return CONSOLE_COLUMNS;
    memcpy(t->keys[t->count], key.p, key.n);
    t->keys[t->count][key.n] = '\0';
    t->widths[t->count] = width_of(key);
    return t->count++;
}

/* The columns are those of the rows of the first piece, as wide as its widest cells. */
static void measure(struct console_table *t, struct walk w)
{
    struct slice row, key, value;
    struct buf cell = BUF_INIT;
    while (take_element(&w, &row)) {
        struct walk m = into(row);
        while (row.p[0] == '{' && take_member(&m, &key, &value)) {
            unsigned c = column_of(t, key);
            buf_reset(&cell);
            put_cell(&cell, key, value);
            unsigned width = width_of(buf_slice(&cell));
            if (c < CONSOLE_COLUMNS && width > t->widths[c])
                t->widths[c] = width;
        }
    }
    buf_free(&cell);
}

static void put_padded(struct buf *out, struct slice text, unsigned width, bool last)
{
    buf_slice_put(out, text);
    if (!last)
        buf_printf(out, "%*s", (int)(width > width_of(text) ? width - width_of(text) : 0) + 2, "");
}

static void put_row(struct buf *out, struct slice row, const struct console_table *t)
{
    struct buf cell = BUF_INIT;
    for (unsigned i = 0; i < t->count; i++) {
        buf_reset(&cell);
        put_cell(&cell, slice_str(t->keys[i]), member_of(row, t->keys[i]));
        put_padded(out, buf_slice(&cell), t->widths[i], i + 1 == t->count);
    }
    out->oom = out->oom || cell.oom;
    buf_free(&cell);
}

static void put_header(struct buf *out, const struct console_table *t, unsigned indent)
{
    put_indent(out, indent);
    for (unsigned i = 0; i < t->count; i++)
        put_padded(out, slice_str(t->keys[i]), t->widths[i], i + 1 == t->count);
    buf_byte(out, '\n');
}

static void put_rows(struct buf *out, struct walk w, struct console_table *table, unsigned indent)
{
    struct slice e;
    if (table->count == 0) {
        measure(table, w);
        if (table->count)
            put_header(out, table, indent);
    }
    while (take_element(&w, &e)) {
        put_indent(out, indent);
        if (e.p[0] == '{')
            put_row(out, e, table);
        else if (is_container(e))
            put_cell(out, SLICE_NONE, e);
        else
            put_scalar(out, e, false);
        buf_byte(out, '\n');
    }
}

/* --- Doors -------------------------------------------------------------------------------------------------------- */

bool console_text_value(struct buf *out, struct slice json)
{
    if (json.n == 0)
        return true;
    if (json_check(json))
        return false;
    struct walk w = {json.p, json.p + json.n};
    struct slice v = take_value(&w);
    struct console_table table = {.count = 0};
    if (v.p[0] == '{') {
        put_members(out, v, 0);
    } else if (v.p[0] == '[') {
        put_rows(out, into(v), &table, 0);
    } else if (v.p[0] == '"') {
        struct buf text = BUF_INIT;
        unescape(&text, slice_of(v.p + 1, v.n - 2));
        console_text_safe(out, buf_slice(&text), true);
        if (text.n && text.p[text.n - 1] != '\n')
            buf_byte(out, '\n');
        out->oom = out->oom || text.oom;
        buf_free(&text);
    } else if (!slice_eq(v, SLICE_LIT("null"))) {
        buf_slice_put(out, v);
        buf_byte(out, '\n');
    }
    return true;
}

bool console_text_rows(struct buf *out, struct slice elements, struct console_table *table)
{
    struct buf whole = BUF_INIT;
    buf_byte(&whole, '[');
    buf_slice_put(&whole, elements);
    buf_byte(&whole, ']');
    bool good = buf_ok(&whole) && !json_check(buf_slice(&whole));
    if (good)
        put_rows(out, into(buf_slice(&whole)), table, 0);
    buf_free(&whole);
    return good;
}
