/*
 * fetch_url_parse(): a prefix of scripts.fetch, a line feed, a URL of a script. What is taken is written as a URL of
 * plain bytes that is read as the same again; nothing climbs out of a path; and what lies below a prefix begins with
 * it, host and port included.
 */
#include "core/script/fetch_url.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* A whole URL in a buffer of its own; false: refused. */
static bool read(struct slice text, struct fetch_url *u, char out[FETCH_URL_MAX + 64])
{
    struct fetch_url again;
    char second[FETCH_URL_MAX + 64];
    if (fetch_url_parse(text, u))
        return false;
    check(strlen(u->host) > 0 && u->port > 0);
    check(!strpbrk(u->host, "@/?#\\ %"));
    check(fetch_url_text(u, out, FETCH_URL_MAX + 64));
    for (const char *p = out; *p; p++)
        check(*p > ' ' && *p < 0x7f && !strchr("\"<>\\^`{|}#", *p));
    const char *climbs = strstr(out, "/../"), *stays = strstr(out, "/./"), *query = strchr(out, '?');
    check((!climbs || (query && query < climbs)) && (!stays || (query && query < stays)));
    if (strlen(out) > FETCH_URL_MAX) /* the port makes it longer */
        return true;
    check(fetch_url_parse(slice_str(out), &again) == NULL);
    check(fetch_url_text(&again, second, sizeof second) && strcmp(out, second) == 0);
    check(fetch_url_below(u, u) && fetch_url_below(&again, u));
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char url_text[FETCH_URL_MAX + 64], prefix_text[FETCH_URL_MAX + 64];
    struct fetch_url url, prefix;
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    size_t n = end ? (size_t)(end - data) : 0;
    struct slice first = slice_of(data, n), second = end ? slice_of(end + 1, size - n - 1) : slice_of(data, size);
    if (!read(second, &url, url_text) || !end || !read(first, &prefix, prefix_text))
        return 0;
    prefix.query = SLICE_NONE;
    check(fetch_url_text(&prefix, prefix_text, sizeof prefix_text));
    size_t whole = strlen(prefix_text);
    while (whole && prefix_text[whole - 1] == '/')
        whole--;
    bool begins = strncmp(url_text, prefix_text, whole) == 0;
    char behind = begins ? url_text[whole] : '\0';
    check(fetch_url_below(&url, &prefix) == (begins && (!behind || behind == '/' || behind == '?')));
    return 0;
}
