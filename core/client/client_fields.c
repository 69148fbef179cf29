/* Single members of a JSON object: see client_fields.h. */
#include "core/client/client_fields.h"

#include "core/base/buf.h"
#include "core/base/err.h"

enum { KEY_MAX = 32 };

static const char *space_skip(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* `p` is behind the opening quote; returns the closing one, or NULL. memchr does most of the work: escapes are rare. */
static const char *string_end(const char *p, const char *end)
{
    const char *start = p;
    while (p < end) {
        const char *quote = memchr(p, '"', (size_t)(end - p));
        if (!quote)
            return NULL;
        const char *back = quote;
        while (back > start && back[-1] == '\\')
            back--;
        if (((quote - back) & 1) == 0)
            return quote;
        p = quote + 1;
    }
    return NULL;
}

/* `p` is on an opening brace or bracket; returns what is behind the matching one, or NULL. */
static const char *nested_skip(const char *p, const char *end)
{
    unsigned depth = 0;
    for (; p < end; p++) {
        if (*p == '"') {
            p = string_end(p + 1, end);
            if (!p)
                return NULL;
        } else if (*p == '{' || *p == '[') {
            depth++;
        } else if (*p == '}' || *p == ']') {
            if (--depth == 0)
                return p + 1;
        }
    }
    return NULL;
}

/* Returns what is behind the value at `p`, or NULL. */
static const char *value_skip(const char *p, const char *end)
{
    if (p >= end)
        return NULL;
    if (*p == '"') {
        p = string_end(p + 1, end);
        return p ? p + 1 : NULL;
    }
    if (*p == '{' || *p == '[')
        return nested_skip(p, end);
    const char *start = p;
    while (p < end && *p != ',' && *p != '}' && *p != ']' && *p != ' ' && *p != '\n' && *p != '\r' && *p != '\t')
        p++;
    return p > start ? p : NULL;
}

/* Stores the value if one of the fields is called so; returns 1 when it was missing so far. */
static int field_store(struct client_field *fields, size_t count, struct slice key, struct slice value)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(fields[i].key, key)) {
            if (fields[i].value.p || slice_eq(value, SLICE_LIT("null")))
                return 0;
            fields[i].value = value;
            return 1;
        }
    }
    return 0;
}

int client_fields_read(struct slice object, struct client_field *fields, size_t count)
{
    const char *end = object.p + object.n;
    const char *p = space_skip(object.p, end);
    int found = 0;

    for (size_t i = 0; i < count; i++)
        fields[i].value = SLICE_NONE;
    if (p == end || *p != '{')
        return ERR_INVALID;
    p = space_skip(p + 1, end);
    if (p < end && *p == '}')
        return 0;
    while (p < end && *p == '"' && (size_t)found < count) {
        const char *key = p + 1;
        const char *key_end = string_end(key, end);
        if (!key_end)
            return ERR_INVALID;
        p = space_skip(key_end + 1, end);
        if (p == end || *p != ':')
            return ERR_INVALID;
        const char *value = space_skip(p + 1, end);
        p = value_skip(value, end);
        if (!p)
            return ERR_INVALID;
        found +=
            field_store(fields, count, slice_of(key, (size_t)(key_end - key)), slice_of(value, (size_t)(p - value)));
        p = space_skip(p, end);
        if (p < end && *p == '}')
            return found;
        if (p == end || *p != ',')
            return ERR_INVALID;
        p = space_skip(p + 1, end);
    }
    return (size_t)found == count ? found : ERR_INVALID;
}

int client_value_int(struct slice value, int64_t *out)
{
    size_t i = 0;
    bool negative = value.n > 0 && value.p[0] == '-';
    int64_t v = 0;

    if (negative)
        i = 1;
    if (i == value.n || value.n - i > 18)
        return ERR_INVALID;
    for (; i < value.n; i++) {
        unsigned digit = (unsigned)value.p[i] - '0';
        if (digit > 9)
            return ERR_INVALID;
        v = v * 10 + (int64_t)digit;
    }
    *out = negative ? -v : v;
    return 0;
}

int client_value_plain(struct slice value, struct slice *out)
{
    if (value.n < 2 || value.p[0] != '"' || value.p[value.n - 1] != '"')
        return ERR_INVALID;
    if (memchr(value.p, '\\', value.n))
        return ERR_INVALID;
    *out = slice_of(value.p + 1, value.n - 2);
    return 0;
}

/* Four hex digits at `p`, or -1. */
static int32_t hex4(const char *p, const char *end)
{
    int32_t v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int c = (unsigned char)p[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        v = v << 4 | digit;
    }
    return v;
}

static void utf8_put(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_byte(out, (uint8_t)c);
        return;
    }
    if (c < 0x800) {
        buf_byte(out, (uint8_t)(0xc0 | c >> 6));
    } else {
        if (c < 0x10000) {
            buf_byte(out, (uint8_t)(0xe0 | c >> 12));
        } else {
            buf_byte(out, (uint8_t)(0xf0 | c >> 18));
            buf_byte(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
        }
        buf_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
    }
    buf_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
}

/* `p` is behind "\u"; returns what is behind the escape (behind both of a surrogate pair), or NULL. */
static const char *unicode_unescape(const char *p, const char *end, struct buf *out)
{
    int32_t high = hex4(p, end);
    if (high < 0 || (high >= 0xdc00 && high < 0xe000))
        return NULL;
    p += 4;
    if (high < 0xd800 || high >= 0xe000) {
        utf8_put(out, (uint32_t)high);
        return p;
    }
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
        return NULL;
    int32_t low = hex4(p + 2, end);
    if (low < 0xdc00 || low >= 0xe000)
        return NULL;
    utf8_put(out, 0x10000u + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
    return p + 6;
}

int client_value_string(struct slice value, struct buf *out)
{
    static const char names[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";

    if (value.n < 2 || value.p[0] != '"' || value.p[value.n - 1] != '"')
        return ERR_INVALID;
    const char *p = value.p + 1;
    const char *end = value.p + value.n - 1;
    while (p < end) {
        const char *back = memchr(p, '\\', (size_t)(end - p));
        if (!back)
            back = end;
        buf_put(out, p, (size_t)(back - p));
        if (back == end)
            break;
        if (end - back < 2)
            return ERR_INVALID;
        p = back + 2;
        const char *name = back[1] ? strchr(names, back[1]) : NULL;
        if (name) {
            buf_byte(out, (uint8_t)meant[name - names]);
        } else if (back[1] == 'u') {
            p = unicode_unescape(p, end, out);
            if (!p)
                return ERR_INVALID;
        } else {
            return ERR_INVALID;
        }
    }
    return 0;
}

int client_array_next(struct slice array, size_t *at, struct slice *item)
{
    const char *end = array.p + array.n;
    const char *p = space_skip(array.p + *at, end);
    char opening = *at == 0 ? '[' : ',';

    if (p < end && *p == ']' && *at != 0)
        return 0;
    if (p == end || *p != opening)
        return ERR_INVALID;
    p = space_skip(p + 1, end);
    if (p < end && *p == ']' && opening == '[') {
        *at = (size_t)(p - array.p);
        return 0;
    }
    const char *behind = value_skip(p, end);
    if (!behind)
        return ERR_INVALID;
    *item = slice_of(p, (size_t)(behind - p));
    *at = (size_t)(behind - array.p);
    return 1;
}

/*
 * The text ends with `,"key":DIGITS}`: then that is the outermost object's last member, and no other reading is
 * possible. (A nested object would need a second brace; inside a string the quotes would not balance.)
 */
static bool tail_int(struct slice object, struct slice key, int64_t *out)
{
    size_t at = object.n;
    if (at < key.n + 6 || object.p[--at] != '}')
        return false;
    size_t last = at;
    while (at > 0 && object.p[at - 1] >= '0' && object.p[at - 1] <= '9')
        at--;
    if (at == last || at < key.n + 4)
        return false;
    const char *p = object.p + at - key.n - 4;
    if (p[0] != ',' || p[1] != '"' || memcmp(p + 2, key.p, key.n) != 0 || p[key.n + 2] != '"' || p[key.n + 3] != ':')
        return false;
    return client_value_int(slice_of(object.p + at, last - at), out) == 0;
}

int client_field_int(struct slice object, struct slice key, int64_t *out)
{
    struct client_field field = {key, SLICE_NONE};
    if (key.n > KEY_MAX)
        return ERR_INVALID;
    if (tail_int(object, key, out))
        return 0;
    int found = client_fields_read(object, &field, 1);
    if (found < 0)
        return found;
    return found ? client_value_int(field.value, out) : ERR_NOTFOUND;
}

bool client_body_refused(struct slice body)
{
    struct slice start = SLICE_LIT("{\"error\"");
    if (body.n > start.n && memcmp(body.p, start.p, start.n) == 0)
        return true;
    /* Another spelling ("{ \"error\"") is looked at in full, everything else (nearly always) not at all. */
    if (body.n < start.n || (body.p[0] == '{' && body.p[1] == '"'))
        return false;
    struct client_field field = CLIENT_FIELD("error");
    return client_fields_read(body, &field, 1) == 1;
}
