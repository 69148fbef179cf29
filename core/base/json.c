#include "core/base/json.h"

#include "core/base/utf8.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

/* Integers beyond this are not exact in a double (ECMAScript's Number.MAX_SAFE_INTEGER, RFC 8259 section 6). */
static const double integer_max = 9007199254740991.0;

struct scan {
    const char *p, *end;
    const char *why; /* what is wrong; NULL so far */
    unsigned depth;  /* levels that are allowed, 64 at most */
};

static bool fail(struct scan *s, const char *why)
{
    s->why = why;
    return false;
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
        return fail(s, "\\u0000 in a string");
    if (hi < 0xD800 || hi > 0xDFFF)
        return true;
    if (hi > 0xDBFF || s->end - s->p < 6 || s->p[0] != '\\' || s->p[1] != 'u')
        return fail(s, "lone surrogate in a string");
    s->p += 2;
    if (!hex4(s, &lo))
        return false;
    return (lo >= 0xDC00 && lo <= 0xDFFF) || fail(s, "lone surrogate in a string");
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
        return fail(s, "number out of range");
    memcpy(text, from, n);
    text[n] = '\0';
    double v = strtod(text, NULL);
    if (!isfinite(v) || (whole && fabs(v) > integer_max))
        return fail(s, "number out of range");
    return true;
}

static bool scan_word(struct scan *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return fail(s, "not a JSON value");
    s->p += n;
    return true;
}

static bool scan_scalar(struct scan *s)
{
    switch (*s->p) {
    case '"':
        s->p++;
        return scan_string(s);
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
    s->p++;
    if (!scan_string(s))
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
                return fail(s, "nested deeper than 32");
            objects = objects << 1 | object;
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
        depth--;
        objects >>= 1;
        goto next;
    }
}

static const char *check(struct slice text, unsigned depth)
{
    struct scan s = {.p = text.p, .end = text.p + text.n, .depth = depth};
    if (!utf8_valid(text))
        return "invalid UTF-8";
    if (!scan_value(&s))
        return s.why;
    skip_space(&s);
    return s.p == s.end ? NULL : "trailing bytes after the value";
}

const char *json_check(struct slice text)
{
    return check(text, JSON_DEPTH);
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

struct cJSON *json_parse(struct slice text, const char **why)
{
    return json_parse_deep(text, JSON_DEPTH, why);
}

struct cJSON *json_parse_deep(struct slice text, unsigned depth, const char **why)
{
    *why = text.n ? check(text, depth) : "empty";
    if (*why)
        return NULL;
    struct cJSON *tree = cJSON_ParseWithLength(text.p, text.n);
    int rc = tree ? tree_repeats(tree) : ERR_NOMEM;
    if (rc != 0) {
        *why = rc == 1 ? "duplicate key" : "out of memory";
        cJSON_Delete(tree);
        return NULL;
    }
    return tree;
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
