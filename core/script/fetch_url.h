/*
 * URLs that scripts may fetch: read strictly, so that this reader and libcurl cannot understand one differently, and
 * compared with the prefixes that scripts.fetch lists. Pure functions.
 *
 * What is refused: another scheme than http and https, a user in front of the host, a fragment, bytes that a URL must
 * not have, `.` and `..` as segments of the path (also as %2e), %2f, %5c, and hosts that are numbers without being an
 * address.
 */
#ifndef MAGPIE_SCRIPT_FETCH_URL_H
#define MAGPIE_SCRIPT_FETCH_URL_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum { FETCH_URL_MAX = 2048, FETCH_HOST_MAX = 253 };

struct fetch_url {
    bool tls;                      /* https */
    bool literal;                  /* the host is an address */
    uint16_t port;                 /* that of the scheme where none is given */
    char host[FETCH_HOST_MAX + 1]; /* small letters; an IPv6 address without brackets, in its usual form */
    struct slice path;             /* with the leading slash; empty: none. Borrowed from the text */
    struct slice query;            /* with the ?; empty: none. Borrowed */
};

/* NULL, or what is wrong with it, for people. */
const char *fetch_url_parse(struct slice text, struct fetch_url *out);
/* Whether the URL lies below the prefix: the same scheme, host and port, and a path that begins with the prefix's at
 * the border of a segment. A prefix has no query. */
bool fetch_url_below(const struct fetch_url *url, const struct fetch_url *prefix);
/* As text again, NUL-terminated; false: it does not fit. */
bool fetch_url_text(const struct fetch_url *url, char *out, size_t size);

#endif
