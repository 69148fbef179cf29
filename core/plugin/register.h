/* Registrations. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_REGISTER_H
#define MAGPIE_PLUGIN_REGISTER_H

#include "core/plugin/plugin_private.h"

/* A plugin's struct, of which it knows the first *(uint32_t *)given bytes, as we know it. False: it has no size. */
bool struct_in(void *out, size_t size, const void *given);
#define STRUCT_IN(out, given) struct_in((out), sizeof *(out), (given))
/* What an enum err is to a plugin: MP_E…. */
int plugin_error(int rc);
/* A few words for MP_E…. */
const char *plugin_error_text(int rc);
int reg_hook(mp_self *p, const struct mp_hook *h);
int reg_action(mp_self *p, const struct mp_action *a);
int reg_auth(mp_self *p, mp_auth_fn ask, void *ctx);
int reg_command(mp_self *p, const struct mp_command *c);
int reg_metric(mp_self *p, const struct mp_metric *m);
int reg_route(mp_self *p, const struct mp_route *r);
int reg_upgrade(mp_self *p, const struct mp_upgrade *u);
/* Puts what goes into the hub's tables into the draft. Errors: `why` in p. */
int regs_commit(struct mp_self *p);
void regs_free(struct mp_self *p);
void metric_count(mp_self *p, mp_thread *here, int metric, int64_t n);
void metric_each(mp_self *p, void (*fn)(void *ctx, const struct mp_metric_value *m), void *ctx);

#endif
