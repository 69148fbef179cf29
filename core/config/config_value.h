/* A single value of a loaded config by its path, as text. */
#ifndef MAGPIE_CONFIG_CONFIG_VALUE_H
#define MAGPIE_CONFIG_CONFIG_VALUE_H

#include "core/base/buf.h"
#include "core/base/err.h"

struct config;

/* Appends the value of "limits.content" and the like: texts as they are, numbers in digits, booleans as true and false,
 * choices by name, lists with a comma between the items. ERR_NOTFOUND: no such value, a section, a secret, or an absent
 * text. */
MUST_CHECK int config_value(const struct config *c, const char *path, struct buf *out);

#endif
