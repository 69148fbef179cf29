/* Parts of a config as JSON trees. Main thread. */
#ifndef MAGPIE_CONFIG_CONFIG_TREE_H
#define MAGPIE_CONFIG_CONFIG_TREE_H

struct cJSON;
struct config;
struct config_option;

/* The option's value, secrets and plugins' options included: null for a text that is absent, an empty object for a
 * section. To be freed. NULL: out of memory. */
struct cJSON *config_value_tree(const struct config *c, const struct config_option *o);

#endif
