/* What waits for a plugin's answer: actions of clients, commands of the console. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_ANSWERS_H
#define MAGPIE_PLUGIN_ANSWERS_H

#include "core/plugin/plugin_private.h"

void action_run(struct call *c);
void action_answer(mp_call *call, struct mp_str body);
void action_error(mp_call *call, enum mp_code code, const char *message, uint32_t retry_after_ms);
void command_run(struct command_call *c, void *ctx);
void command_ended(mp_command_call *call);
void command_failed(mp_command_call *call, const char *code, const char *message);
mp_out *command_text(mp_command_call *call);

#endif
