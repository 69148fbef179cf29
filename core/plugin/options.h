/* Schemas, checks, values. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_OPTIONS_H
#define MAGPIE_PLUGIN_OPTIONS_H

#include "core/plugin/plugin_private.h"

const struct mp_option *schema_at(const struct mp_plugin *desc, unsigned i);
/* NULL when there are errors, appended one a line, each beginning with `prefix` ("etc/magpie.lua:
 * plugins.load.filter"). */
struct mp_options *options_read(const struct mp_plugin *desc, const struct cJSON *json, const char *prefix,
                                struct buf *errors);
void options_free(struct mp_options *o);
/* Puts back the values of `before` where a reload may not change them; their names, comma-separated, in `kept`. */
void options_keep(struct mp_options *fresh, struct mp_options *before, struct buf *kept);
const char *options_text(const mp_options *o, const char *name);
double options_number(const mp_options *o, const char *name);
bool options_bool(const mp_options *o, const char *name);
const char *options_item(const mp_options *o, const char *name, unsigned i);

#endif
