#include "core/base/json.h"

#include "core/base/utf8.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Integers beyond this are not exact in a double (ECMAScript's Number.MAX_SAFE_INTEGER, RFC 8259 section 6). */
static const double integer_max = 9007199254740991.0;
/* Bytes of a whole number that is surely less. */
enum { SMALL_DIGITS = 15 };

static const char out_of_range[] = "number out of range";

struct scan {
    const char *p, *end;
    const char *why;              /* what is wrong; NULL so far */
    unsigned depth;               /* levels that are allowed, 64 at most */
    bool json;                    /* what is wrong is against our rules, not JSON's */
    bool rounded;                 /* an integer was beyond integer_max */
    const struct json_sink *sink; /* NULL: nobody is told */
    void *ctx;
};

static bool fail(struct scan *s, const char *why)
{
    s->why = why;
    return false;
}

/* It is JSON, but not taken. */
static bool refuse(struct scan *s, const char *why)
{
    s->json = true;
    return fail(s, why);
}

/* What a function of the sink says. */
static bool told(struct scan *s, const char *why)
{
    s->why = why;
    return !why;
}

static void skip_space(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static bool is_digit(const struct scan *s)
{
    return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

static bool hex4(struct scan *s, unsigned *out)
{
    unsigned v = 0;
    if (s->end - s->p < 4)
        return fail(s, "unfinished escape in a string");
    for (int i = 0; i < 4; i++) {
        char c = *s->p++;
        if (c >= '0' && c <= '9')
            v = v << 4 | (unsigned)(c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            v = v << 4 | (unsigned)((c | 32) - 'a' + 10);
        else
            return fail(s, "bad \\u escape in a string");
    }
    *out = v;
    return true;
}

static bool scan_escape(struct scan *s)
{
    unsigned hi, lo;
    if (s->p == s->end)
        return fail(s, "unfinished string");
    char c = *s->p++;
    if (strchr("\"\\/bfnrt", c) && c)
        return true;
    if (c != 'u')
        return fail(s, "unknown escape in a string");
    if (!hex4(s, &hi))
        return false;
    if (hi == 0)
        return refuse(s, "\\u0000 in a string");
    if (hi < 0xD800 || hi > 0xDFFF)
        return true;
    if (hi > 0xDBFF || s->end - s->p < 6 || s->p[0] != '\\' || s->p[1] != 'u')
        return refuse(s, "lone surrogate in a string");
    s->p += 2;
    if (!hex4(s, &lo))
        return false;
    return (lo >= 0xDC00 && lo <= 0xDFFF) || refuse(s, "lone surrogate in a string");
}

/* After the opening quote. The bytes were checked to be UTF-8 before. */
static bool scan_string(struct scan *s)
{
    while (s->p < s->end) {
        unsigned char c = (unsigned char)*s->p++;
        if (c == '"')
            return true;
        if (c < 0x20)
            return fail(s, "control character in a string");
        if (c == '\\' && !scan_escape(s))
            return false;
    }
    return fail(s, "unfinished string");
}

/* A whole number of few digits, as most are: exact without strtod(). */
static double small_whole(const char *p, size_t n)
{
    bool negative = *p == '-';
    int64_t v = 0;
    for (size_t i = negative; i < n; i++)
        v = v * 10 + (p[i] - '0');
    return negative ? -(double)v : (double)v;
}

static bool scan_number(struct scan *s)
{
    const char *from = s->p;
    bool whole = true;
    if (*s->p == '-')
        s->p++;
    if (!is_digit(s))
        return fail(s, "not a JSON value");
    if (*s->p == '0')
        s->p++;
    else
        while (is_digit(s))
            s->p++;
    if (is_digit(s))
        return fail(s, "number with a leading zero");
    if (s->p < s->end && *s->p == '.') {
        whole = false;
        s->p++;
        if (!is_digit(s))
            return fail(s, "number without digits after the point");
        while (is_digit(s))
            s->p++;
    }
    if (s->p < s->end && (*s->p | 32) == 'e') {
        whole = false;
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
            s->p++;
        if (!is_digit(s))
            return fail(s, "number without digits in its exponent");
        while (is_digit(s))
            s->p++;
    }
    char text[64]; /* what cJSON takes of a number */
    size_t n = (size_t)(s->p - from);
    if (n >= sizeof text)
        return refuse(s, out_of_range);
    double v;
    if (whole && n <= SMALL_DIGITS) {
        v = small_whole(from, n);
    } else {
        memcpy(text, from, n);
        text[n] = '\0';
        v = strtod(text, NULL);
    }
    if (!isfinite(v))
        return refuse(s, out_of_range);
    if (whole && fabs(v) > integer_max)
        s->rounded = true;
    return !s->sink || told(s, s->rounded ? out_of_range : s->sink->number(s->ctx, v));
}

static bool scan_word(struct scan *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return fail(s, "not a JSON value");
    s->p += n;
    return !s->sink || told(s, s->sink->word(s->ctx, *word));
}

/* A string, a key or not, from its opening quote on. */
static bool scan_quoted(struct scan *s, bool key)
{
    const char *from = ++s->p;
    if (!scan_string(s))
        return false;
    if (!s->sink)
        return true;
    struct slice raw = slice_of(from, (size_t)(s->p - 1 - from));
    return told(s, key ? s->sink->key(s->ctx, raw) : s->sink->string(s->ctx, raw));
}

static bool scan_scalar(struct scan *s)
{
    switch (*s->p) {
    case '"':
        return scan_quoted(s, false);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    default:
        return scan_number(s);
    }
}

/* "key" : */
static bool scan_key(struct scan *s)
{
    skip_space(s);
    if (s->p == s->end || *s->p != '"')
        return fail(s, "expected a key in quotes");
    if (!scan_quoted(s, true))
        return false;
    skip_space(s);
    if (s->p == s->end || *s->p != ':')
        return fail(s, "expected ':' after a key");
    s->p++;
    return true;
}

/* One value with all that is in it, without recursion: a bit per open level says whether it is an object. */
static bool scan_value(struct scan *s)
{
    uint64_t objects = 0;
    unsigned depth = 0;
    for (;;) {
        skip_space(s);
        if (s->p == s->end)
            return fail(s, "unfinished value");
        if (*s->p == '{' || *s->p == '[') {
            bool object = *s->p++ == '{';
            if (++depth > s->depth)
                return refuse(s, "nested deeper than 32");
            objects = objects << 1 | object;
            if (s->sink && !told(s, s->sink->open(s->ctx, object)))
                return false;
            skip_space(s);
            if (s->p < s->end && *s->p == (object ? '}' : ']')) {
                s->p++;
                goto closed;
            }
            if (object && !scan_key(s))
                return false;
            continue;
        }
        if (!scan_scalar(s))
            return false;
    next:
        if (depth == 0)
            return true;
        skip_space(s);
        if (s->p == s->end)
            return fail(s, "unfinished value");
        if (*s->p == ',') {
            s->p++;
            if (objects & 1 && !scan_key(s))
                return false;
            continue;
        }
        if (*s->p != (objects & 1 ? '}' : ']'))
            return fail(s, objects & 1 ? "expected ',' or '}'" : "expected ',' or ']'");
        s->p++;
    closed:
        if (s->sink && !told(s, s->sink->close(s->ctx, objects & 1)))
            return false;
        depth--;
        objects >>= 1;
        goto next;
    }
}

/* The whole text. */
static void scan(struct scan *s)
{
    if (!utf8_valid(slice_of(s->p, (size_t)(s->end - s->p)))) {
        s->why = "invalid UTF-8";
        return;
    }
    if (!scan_value(s))
        return;
    skip_space(s);
    if (s->p != s->end)
        s->why = "trailing bytes after the value";
}

static void check(struct scan *s, struct slice text, unsigned depth)
{
    *s = (struct scan){.p = text.p, .end = text.p + text.n, .depth = depth};
    scan(s);
}

const char *json_check(struct slice text)
{
    struct scan s;
    check(&s, text, JSON_DEPTH);
    return s.why ? s.why : s.rounded ? out_of_range : NULL;
}

const char *json_read(struct slice text, const struct json_sink *sink, void *ctx)
{
    if (!text.n)
        return "empty";
    struct scan s = {.p = text.p, .end = text.p + text.n, .depth = JSON_DEPTH, .sink = sink, .ctx = ctx};
    scan(&s);
    return s.why;
}

/* Four hexadecimal digits that were checked. */
static unsigned hex4_value(const char *p)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 4 | (unsigned)(p[i] <= '9' ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
    return v;
}

static char *put_utf8(char *at, unsigned c)
{
    if (c < 0x80) {
        *at++ = (char)c;
        return at;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char first[] = {0, 0xC0, 0xE0, 0xF0};
    *at++ = (char)(first[more] | c >> 6 * more);
    while (more-- > 0)
        *at++ = (char)(0x80 | (c >> 6 * more & 0x3F));
    return at;
}

size_t json_unescape(struct slice raw, char *out)
{
    const char *p = raw.p, *end = raw.p + raw.n;
    char *at = out;
    while (p < end) {
        if (*p != '\\') {
            *at++ = *p++;
            continue;
        }
        static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
        if (p[1] != 'u') {
            *at++ = meant[strchr(letters, p[1]) - letters];
            p += 2;
            continue;
        }
        unsigned c = hex4_value(p + 2);
        p += 6;
        if (c >= 0xD800 && c < 0xDC00) {
            c = 0x10000 + ((c - 0xD800) << 10) + (hex4_value(p + 2) - 0xDC00);
            p += 6;
        }
        at = put_utf8(at, c);
    }
    return (size_t)(at - out);
}

/* --- The tree ----------------------------------------------------------------------------------------------------- */

static int key_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* 1: a key comes twice; ERR_NOMEM. Few keys are compared with one another, many are sorted. */
static int keys_repeat(const struct cJSON *object)
{
    size_t n = 0, i = 0;
    const struct cJSON *a, *b;
    for (a = object->child; a; a = a->next)
        n++;
    if (n <= 16) {
        for (a = object->child; a; a = a->next)
            for (b = a->next; b; b = b->next)
                if (strcmp(a->string, b->string) == 0)
                    return 1;
        return 0;
    }
    char **keys = malloc(n * sizeof *keys);
    if (!keys)
        return ERR_NOMEM;
    for (a = object->child; a; a = a->next)
        keys[i++] = a->string;
    qsort(keys, n, sizeof *keys, key_order);
    int twice = 0;
    for (i = 1; i < n && !twice; i++)
        twice = strcmp(keys[i - 1], keys[i]) == 0;
    free(keys);
    return twice;
}

/* Depth is bounded by what was checked before. */
static int tree_repeats(const struct cJSON *value)
{
    int rc = cJSON_IsObject(value) ? keys_repeat(value) : 0;
    for (const struct cJSON *c = value->child; c && rc == 0; c = c->next)
        if (c->child)
            rc = tree_repeats(c);
    return rc;
}

struct cJSON *json_parse_open(struct slice text, unsigned depth, struct json_verdict *v)
{
    struct scan s;
    *v = (struct json_verdict){.why = "empty"};
    if (text.n == 0)
        return NULL;
    check(&s, text, depth);
    *v = (struct json_verdict){.why = s.why, .json = s.json, .rounded = s.rounded};
    if (s.why)
        return NULL;
    struct cJSON *tree = cJSON_ParseWithLength(text.p, text.n);
    int rc = tree ? tree_repeats(tree) : ERR_NOMEM;
    if (rc == 0)
        return tree;
    v->why = rc == 1 ? "duplicate key" : "out of memory";
    v->json = rc == 1;
    cJSON_Delete(tree);
    return NULL;
}

struct cJSON *json_parse(struct slice text, const char **why)
{
    struct json_verdict v;
    struct cJSON *tree = json_parse_open(text, JSON_DEPTH, &v);
    *why = v.why ? v.why : v.rounded ? out_of_range : NULL;
    if (!*why)
        return tree;
    cJSON_Delete(tree);
    return NULL;
}

bool json_rounded(const struct cJSON *value)
{
    if (!value)
        return false;
    if (cJSON_IsNumber(value))
        return fabs(value->valuedouble) > integer_max;
    for (const struct cJSON *c = value->child; c; c = c->next)
        if (json_rounded(c))
            return true;
    return false;
}

/* --- What can be read of a text that is refused ------------------------------------------------------------------- */

/* Behind the string that begins at p; NULL: it does not end. */
static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p < end ? p + 1 : NULL;
}

static bool peek_number(struct scan *s, uint16_t *out)
{
    unsigned v = 0;
    skip_space(s);
    if (!is_digit(s))
        return false;
    for (; is_digit(s) && v <= UINT16_MAX; s->p++)
        v = v * 10 + (unsigned)(*s->p - '0');
    skip_space(s);
    *out = (uint16_t)v;
    return v <= UINT16_MAX && s->p < s->end && (*s->p == ',' || *s->p == '}');
}

bool json_peek(struct slice text, const char *key, uint16_t *out)
{
    struct scan s = {.p = text.p, .end = text.p + text.n};
    unsigned level = 0, found = 0;
    uint16_t value = 0;
    bool good = false;
    size_t n = strlen(key);
    while (s.p && s.p < s.end) {
        if (*s.p != '"') {
            if (*s.p == '{' || *s.p == '[')
                level++;
            else if ((*s.p == '}' || *s.p == ']') && (level == 0 || --level == 0))
                break;
            s.p++;
            continue;
        }
        const char *from = s.p + 1;
        s.p = skip_string(s.p, s.end);
        if (!s.p || level != 1 || (size_t)(s.p - from) != n + 1 || memcmp(from, key, n) != 0)
            continue;
        skip_space(&s);
        if (s.p < s.end && *s.p == ':') {
            s.p++;
            found++;
            good = peek_number(&s, &value);
        }
    }
    if (good && found == 1)
        *out = value;
    return good && found == 1;
}

void json_free(struct cJSON *value)
{
    cJSON_Delete(value);
}

const struct cJSON *json_get(const struct cJSON *object, const char *key)
{
    const struct cJSON *v = cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
    return cJSON_IsNull(v) ? NULL : v;
}

int json_get_string(const struct cJSON *object, const char *key, struct slice *out)
{
    const struct cJSON *v = json_get(object, key);
    if (!v)
        return 0;
    if (!cJSON_IsString(v))
        return ERR_INVALID;
    *out = slice_str(v->valuestring);
    return 1;
}

int json_get_int(const struct cJSON *object, const char *key, int64_t *out)
{
    const struct cJSON *v = json_get(object, key);
    if (!v)
        return 0;
    if (!cJSON_IsNumber(v) || fabs(v->valuedouble) > integer_max || v->valuedouble != floor(v->valuedouble))
        return ERR_INVALID;
    *out = (int64_t)v->valuedouble;
    return 1;
}

int json_get_bool(const struct cJSON *object, const char *key, bool *out)
{
    const struct cJSON *v = json_get(object, key);
    if (!v)
        return 0;
    if (!cJSON_IsBool(v))
        return ERR_INVALID;
    *out = cJSON_IsTrue(v);
    return 1;
}

int json_get_array(const struct cJSON *object, const char *key, const struct cJSON **out)
{
    const struct cJSON *v = json_get(object, key);
    if (!v)
        return 0;
    if (!cJSON_IsArray(v))
        return ERR_INVALID;
    *out = v;
    return 1;
}

int json_get_object(const struct cJSON *object, const char *key, const struct cJSON **out)
{
    const struct cJSON *v = json_get(object, key);
    if (!v)
        return 0;
    if (!cJSON_IsObject(v))
        return ERR_INVALID;
    *out = v;
    return 1;
}

/* --- Paths -------------------------------------------------------------------------------------------------------- */

enum { PART_MAX = 64 }; /* bytes of a part of a path, its NUL included */

/* The first part of the path, which is moved behind it; false: it is too long. */
static bool path_part(const char **path, char part[PART_MAX])
{
    size_t n = strcspn(*path, ".");
    if (n >= PART_MAX)
        return false;
    memcpy(part, *path, n);
    part[n] = '\0';
    *path += n;
    *path += **path == '.';
    return true;
}

const struct cJSON *json_at(const struct cJSON *root, const char *path)
{
    char part[PART_MAX];
    while (root && *path)
        root = path_part(&path, part) ? cJSON_GetObjectItemCaseSensitive(root, part) : NULL;
    return root;
}

struct cJSON *json_parent(struct cJSON *root, const char *path, const char **word)
{
    char part[PART_MAX];
    while (root && strchr(path, '.')) {
        if (!path_part(&path, part))
            return NULL;
        struct cJSON *next = cJSON_GetObjectItemCaseSensitive(root, part);
        root = next ? next : cJSON_AddObjectToObject(root, part);
    }
    *word = path;
    return root;
}
