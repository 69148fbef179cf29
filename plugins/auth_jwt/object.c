#include "object.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    char *p, *end;
    const char *why; /* what is wrong; NULL so far */
};

static bool fail(struct reader *r, const char *why)
{
    r->why = why;
    return false;
}

static void skip_space(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
        r->p++;
}

/* Goes past this character when it is the next one. */
static bool next_is(struct reader *r, char c)
{
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

/* --- Texts -------------------------------------------------------------------------------------------------------- */

static bool hex4(struct reader *r, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, r->p++) {
        char c = r->p < r->end ? *r->p : '\0', low = (char)(c | 32);
        if (c >= '0' && c <= '9')
            *out = *out << 4 | (uint32_t)(c - '0');
        else if (low >= 'a' && low <= 'f')
            *out = *out << 4 | (uint32_t)(low - 'a' + 10);
        else
            return fail(r, "a bad escape");
    }
    return true;
}

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

/* After the backslash; what it stands for goes to *to, which is not behind what has been read: an escape is longer than
 * its character. */
static bool read_escape(struct reader *r, char **to)
{
    static const char names[] = "\"\\/bfnrt", stand_for[] = "\"\\/\b\f\n\r\t";
    char c = r->p < r->end ? *r->p++ : '\0';
    const char *at = c ? strchr(names, c) : NULL;
    uint32_t high, low;
    if (at) {
        *(*to)++ = stand_for[at - names];
        return true;
    }
    if (c != 'u')
        return fail(r, "a bad escape");
    if (!hex4(r, &high))
        return false;
    if (high >= 0xdc00 && high < 0xe000)
        return fail(r, "half a character");
    if (high >= 0xd800 && high < 0xdc00) {
        if (!next_is(r, '\\') || !next_is(r, 'u') || !hex4(r, &low) || low < 0xdc00 || low > 0xdfff)
            return fail(r, "half a character");
        high = 0x10000 + ((high - 0xd800) << 10 | (low - 0xdc00));
    }
    *to = put_utf8(*to, high);
    return true;
}

/* The bytes of the character of UTF-8 that begins here (RFC 3629 section 4); 0: it is none. */
static size_t utf8_size(const struct reader *r)
{
    const unsigned char *p = (const unsigned char *)r->p;
    size_t left = (size_t)(r->end - r->p), size = p[0] < 0x80   ? 1
                                                  : p[0] < 0xc2 ? 0
                                                  : p[0] < 0xe0 ? 2
                                                  : p[0] < 0xf0 ? 3
                                                  : p[0] < 0xf5 ? 4
                                                                : 0;
    if (size > left)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool beyond = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
                  (p[0] == 0xf4 && p[1] > 0x8f);
    return beyond ? 0 : size;
}

/* A text. undo: its escapes, where they stand; else it is left as it is, and *out is what stands between the quotes. */
static bool read_text(struct reader *r, bool undo, struct part *out)
{
    char spare[4], *to;
    if (!next_is(r, '"'))
        return fail(r, "a text is missing");
    out->p = to = r->p;
    while (r->p < r->end) {
        unsigned char c = (unsigned char)*r->p;
        size_t size = utf8_size(r);
        if (c == '"') {
            out->n = (size_t)((undo ? to : r->p) - out->p);
            r->p++;
            return true;
        }
        if (c < 0x20)
            return fail(r, "a control character in a text");
        if (!size)
            return fail(r, "no valid UTF-8");
        if (c == '\\') {
            char *aside = spare;
            r->p++;
            if (!read_escape(r, undo ? &to : &aside))
                return false;
            continue;
        }
        if (undo)
            memmove(to, r->p, size);
        to += size;
        r->p += size;
    }
    return fail(r, "a text without an end");
}

/* --- Values ------------------------------------------------------------------------------------------------------- */

static bool skip_digits(struct reader *r)
{
    const char *from = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
        r->p++;
    return r->p > from;
}

static bool read_number(struct reader *r)
{
    next_is(r, '-');
    bool good = next_is(r, '0') || skip_digits(r);
    if (good && next_is(r, '.'))
        good = skip_digits(r);
    if (good && (next_is(r, 'e') || next_is(r, 'E'))) {
        if (!next_is(r, '+'))
            next_is(r, '-');
        good = skip_digits(r);
    }
    return good || fail(r, "a bad number");
}

static bool read_word(struct reader *r, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
        return fail(r, "no value");
    r->p += n;
    return true;
}

static bool read_value(struct reader *r, bool undo, unsigned depth, struct value *out);

/* What stands inside an array's or an object's brackets is checked, and otherwise left as it is. */
static bool read_inside(struct reader *r, unsigned depth, bool named, char close)
{
    struct part name;
    struct value value;
    r->p++;
    skip_space(r);
    if (next_is(r, close))
        return true;
    do {
        skip_space(r);
        if (named && !read_text(r, false, &name))
            return false;
        skip_space(r);
        if (named && !next_is(r, ':'))
            return fail(r, "no colon behind a name");
        if (!read_value(r, false, depth + 1, &value))
            return false;
        skip_space(r);
    } while (next_is(r, ','));
    return next_is(r, close) || fail(r, "a comma or a bracket is missing");
}

/* depth: of the value itself. */
static bool read_value(struct reader *r, bool undo, unsigned depth, struct value *out)
{
    skip_space(r);
    char *from = r->p, c = r->p < r->end ? *r->p : '\0';
    bool good;
    if ((c == '[' || c == '{') && depth > DEPTH_MAX)
        return fail(r, "too many levels");
    if (c == '"') {
        out->kind = VALUE_TEXT;
        return read_text(r, undo, &out->text);
    }
    if (c == '[') {
        out->kind = VALUE_ARRAY;
        good = read_inside(r, depth, false, ']');
    } else if (c == '{') {
        out->kind = VALUE_OBJECT;
        good = read_inside(r, depth, true, '}');
    } else if (c == 't') {
        out->kind = VALUE_TRUE;
        good = read_word(r, "true");
    } else if (c == 'f') {
        out->kind = VALUE_FALSE;
        good = read_word(r, "false");
    } else if (c == 'n') {
        out->kind = VALUE_ABSENT;
        good = read_word(r, "null");
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        out->kind = VALUE_NUMBER;
        good = read_number(r);
    } else {
        good = fail(r, "no value");
    }
    out->text = (struct part){from, (size_t)(r->p - from)};
    return good;
}

static bool read_member(struct reader *r, struct object *o)
{
    struct member *m = &o->list[o->count];
    skip_space(r);
    if (o->count == MEMBERS_MAX)
        return fail(r, "too many members");
    if (!read_text(r, true, &m->name))
        return false;
    for (unsigned i = 0; i < o->count; i++)
        if (o->list[i].name.n == m->name.n && memcmp(o->list[i].name.p, m->name.p, m->name.n) == 0)
            return fail(r, "a name stands twice");
    skip_space(r);
    if (!next_is(r, ':'))
        return fail(r, "no colon behind a name");
    if (!read_value(r, true, 2, &m->value))
        return false;
    o->count++;
    skip_space(r);
    return true;
}

const char *object_read(struct object *o, char *text, size_t n)
{
    struct reader r = {.p = text, .end = text + n};
    o->count = 0;
    skip_space(&r);
    if (!next_is(&r, '{'))
        return "no object";
    skip_space(&r);
    if (!next_is(&r, '}')) {
        do
            if (!read_member(&r, o))
                return r.why;
        while (next_is(&r, ','));
        if (!next_is(&r, '}'))
            return "a comma or a bracket is missing";
    }
    skip_space(&r);
    return r.p == r.end ? NULL : "something behind the object";
}

/* --- Asking ------------------------------------------------------------------------------------------------------- */

bool part_is(struct part part, const char *text)
{
    return part.n == strlen(text) && memcmp(part.p, text, part.n) == 0;
}

struct value object_get(const struct object *o, const char *name)
{
    for (unsigned i = 0; i < o->count; i++)
        if (part_is(o->list[i].name, name))
            return o->list[i].value;
    return (struct value){.kind = VALUE_ABSENT};
}

bool array_has(struct value array, const char *text)
{
    struct reader r = {.p = array.text.p + 1, .end = array.text.p + array.text.n};
    struct value value;
    skip_space(&r);
    if (next_is(&r, ']'))
        return false;
    do {
        if (!read_value(&r, true, 3, &value))
            return false; /* does not come: it was read before */
        if (value.kind == VALUE_TEXT && part_is(value.text, text))
            return true;
        skip_space(&r);
    } while (next_is(&r, ','));
    return false;
}

bool number_value(struct value number, double *out)
{
    char *end = NULL;
    /* Behind a number in an object stands at least the bracket, so that strtod() ends before the text does. */
    *out = strtod(number.text.p, &end);
    return end == number.text.p + number.text.n && isfinite(*out);
}
