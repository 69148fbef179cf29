/*
 * url_decode() and url_param(): a parameter's name, a line feed, a query. What comes out is UTF-8 without a NUL that
 * ends where it says; it needs just the room that it takes, and not a byte beyond is touched; encoded again it decodes
 * to the same; and of parameters the first of that name is found, and no other.
 */
#include "core/base/utf8.h"
#include "core/net/url.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* Into a block of its own of exactly `room` bytes, so that a step beyond is seen. The caller frees *out. */
static int decode(struct slice s, bool form, size_t room, char **out)
{
    *out = malloc(room);
    check(*out != NULL);
    return url_decode(s, form, *out, room);
}

/* What was decoded, with every byte as %XX, is the same again. */
static void check_again(const char *text, size_t n, bool form)
{
    char *encoded = malloc(3 * n + 1), *out;
    check(encoded != NULL);
    for (size_t i = 0; i < n; i++)
        snprintf(encoded + 3 * i, 4, "%%%02X", (unsigned char)text[i]);
    check(decode(slice_of(encoded, 3 * n), form, n + 1, &out) == (int)n && memcmp(out, text, n) == 0);
    free(encoded);
    free(out);
}

/* Whether every byte stands for itself. */
static bool is_plain(struct slice s, bool form)
{
    return !s.n || (!memchr(s.p, '%', s.n) && !(form && memchr(s.p, '+', s.n)));
}

static void check_text(struct slice s, bool form)
{
    char *out, *less;
    int n = decode(s, form, s.n + 1, &out);
    check(n == ERR_INVALID || (n >= 0 && (size_t)n <= s.n)); /* it never grows, so it cannot be too long */
    if (n >= 0) {
        check(strlen(out) == (size_t)n && utf8_valid(slice_of(out, (size_t)n)));
        check(!is_plain(s, form) || slice_eq(slice_of(out, (size_t)n), s));
        check_again(out, (size_t)n, form);
        check(decode(s, form, (size_t)n + 1, &less) == n && memcmp(out, less, (size_t)n + 1) == 0);
        free(less);
        if (n > 0) {
            check(decode(s, form, (size_t)n, &less) == ERR_FULL);
            free(less);
        }
    } else {
        check(!out[0] && !(is_plain(s, form) && utf8_valid(s) && (!s.n || !memchr(s.p, 0, s.n))));
    }
    free(out);
}

/* The slow way: the start of each parameter, one after the other. */
static bool find(struct slice query, struct slice name, struct slice *value)
{
    for (size_t at = 0; at < query.n; at++) {
        if (at && query.p[at - 1] != '&')
            continue;
        size_t end = at, equals;
        while (end < query.n && query.p[end] != '&')
            end++;
        for (equals = at; equals < end && query.p[equals] != '=';)
            equals++;
        if (!slice_eq(slice_of(query.p + at, equals - at), name))
            continue;
        *value = equals < end ? slice_of(query.p + equals + 1, end - equals - 1) : SLICE_NONE;
        return true;
    }
    return false;
}

static void check_param(struct slice query, struct slice name)
{
    struct slice value;
    char *out = malloc(query.n + 1), *expected;
    check(out != NULL);
    int n = url_param(query, name, out, query.n + 1);
    if (find(query, name, &value)) {
        check(decode(value, true, query.n + 1, &expected) == n && (n < 0 || memcmp(out, expected, (size_t)n + 1) == 0));
        free(expected);
    } else {
        check(n == ERR_NOTFOUND);
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    struct slice all = slice_of(data, size), name = slice_of(data, end ? (size_t)(end - data) : 0);
    struct slice query = end ? slice_of(end + 1, size - name.n - 1) : all;
    check_text(all, false);
    check_text(query, false);
    check_text(query, true);
    check_param(query, name);
    return 0;
}
