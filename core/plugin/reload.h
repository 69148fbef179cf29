/* New options for a running plugin: what check() found good is what apply() gets. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_RELOAD_H
#define MAGPIE_PLUGIN_RELOAD_H

#include "core/plugin/plugin_private.h"

/* Calls check(), if there is one: 0, or not and `why`. */
int plugin_check(const struct mp_plugin *d, void *state, const struct mp_options *o, char *why, size_t why_size);
/* Asks check() of a running or unloaded plugin; errors with `prefix` before each. */
void options_check(const struct mp_plugin *d, void *state, const struct mp_options *o, const char *prefix,
                   struct buf *errors);
/* Keeps options that check() found good for plugin_adopt(). Takes them. */
void checked_keep(struct mp_self *p, const struct cJSON *json, struct mp_options *o);
void checked_free(struct mp_self *p);
/* Makes its part of the config ready for plugin_adopt(), by its check() unless that was asked of this very part.
 * ERR_INVALID: refused, which is logged; ERR_NOMEM. */
MUST_CHECK int plugin_prepare(struct mp_self *p, const struct cJSON *json);
/* Hands what is ready to the plugin; nothing is: its old options stay. Cannot fail. */
void plugin_adopt(struct mp_self *p, const struct cJSON *json);

#endif
