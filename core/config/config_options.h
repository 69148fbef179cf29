/* What the config says, in the terms of the layers below. */
#ifndef MAGPIE_CONFIG_CONFIG_OPTIONS_H
#define MAGPIE_CONFIG_CONFIG_OPTIONS_H

#include <stdint.h>

struct config;
struct hub_options;
struct store_options;

/* The storage engine by its name in store.c; static. */
const char *config_engine_name(const struct config *c);
/* Strings in `out` borrow from the config. */
void config_store_options(const struct config *c, struct store_options *out);
/* key: 32 bytes, of resume tokens (secret.h). The origins in `out` borrow from the config. */
void config_hub_options(const struct config *c, const uint8_t *key, struct hub_options *out);

#endif
