/* Values of a loaded config, by option: as JSON for people and programs, and changed one at a time. */
#ifndef MAGPIE_CONFIG_CONFIG_EDIT_H
#define MAGPIE_CONFIG_CONFIG_EDIT_H

#include "core/base/buf.h"
#include "core/config/config_schema.h"

#include <stdbool.h>

struct config;

/* The option's value as JSON; null where it is absent; a secret that is set as "(secret)". */
void config_value_put(struct buf *out, const struct config *c, const struct config_option *o);
/* A config like `c` but for one option, whose value is text as a person writes it: what could stand in the config file
 * ("64*KiB", "90*days", "{}"), texts without quotes too. All checks are made; NULL, with lines in `errors`, when it is
 * refused. */
struct config *config_value_set(const struct config *c, const struct config_option *o, struct slice text,
                                struct buf *errors);

#endif
