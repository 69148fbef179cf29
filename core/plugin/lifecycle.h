/* The way in and the way out, step by step. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_LIFECYCLE_H
#define MAGPIE_PLUGIN_LIFECYCLE_H

#include "core/plugin/plugin_private.h"

struct mp_self *plugin_find(const struct plugins *ps, const char *name);
/* Opens, checks and begins to load. 0; ERR_EXISTS: it is loaded; ERR_INVALID: why is in `errors`. `waiter`: told how it
 * ended; NULL: nobody. */
int plugin_load(struct plugins *ps, const char *name, const struct cJSON *json, struct command_call *waiter,
                struct buf *errors);
void plugin_unload(struct mp_self *p, struct command_call *waiter);
const char *plugin_state_name(const struct mp_self *p);
/* What it waits for: "2 works, 1 timer". */
void plugin_put_pending(const struct mp_self *p, struct buf *out);
void plugin_poll(struct plugins *ps);

#endif
