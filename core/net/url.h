/* What a route reads of a URL: %XX undone, the parameters of a query. Pure functions. */
#ifndef MAGPIE_NET_URL_H
#define MAGPIE_NET_URL_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>

/* Undoes %XX and, where `form`, + for a space. The length of what `out` holds, which is NUL-terminated; ERR_INVALID: a
 * malformed %, a NUL, no valid UTF-8; ERR_FULL: longer than size - 1. After an error `out` holds no text. */
int url_decode(struct slice s, bool form, char *out, size_t size);
/* The value of the query's first parameter of that name, which is compared as it came. As url_decode() of a form;
 * ERR_NOTFOUND. */
int url_param(struct slice query, struct slice name, char *out, size_t size);

#endif
