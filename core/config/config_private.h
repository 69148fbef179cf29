/* Configs in the making. Private to core/config. */
#ifndef MAGPIE_CONFIG_CONFIG_PRIVATE_H
#define MAGPIE_CONFIG_CONFIG_PRIVATE_H

#include "core/base/buf.h"

#include <stdbool.h>

struct cJSON;
struct config;
struct config_option;

/* A config from a tree, with all checks; NULL, with lines in `errors`. */
struct config *config_from_tree(const struct cJSON *tree, const char *name, struct buf *errors);
bool config_value_same(const struct config *a, const struct config *b, const struct config_option *o);

#endif
