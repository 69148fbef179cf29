/* Hooks, verdicts, authentication. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_HOOKS_H
#define MAGPIE_PLUGIN_HOOKS_H

#include "core/plugin/plugin_private.h"

enum mp_verdict verdict_later(struct mp_event *e, struct mp_ticket *ticket);
int verdict_finish(mp_self *p, struct mp_ticket ticket, const struct mp_hook_answer *answer);
int auth_answered(mp_self *p, struct mp_ticket ticket, const struct mp_auth_answer *answer);
int verdict_content(struct mp_event *e, struct mp_str content);
int verdict_advise(struct mp_event *e, const struct mp_advice *a);

enum hook_verdict hook_run(struct hook_call *h, void *ctx);
enum auth_when auth_run(struct auth_call *a, void *ctx);
enum mp_verdict verdict_reject(struct mp_event *e, enum mp_code code, const char *message, uint32_t retry_after_ms);

#endif
