/* Orders of plugins: lines that come by no connection to the console (core/hub/registry/command.h). */
#ifndef MAGPIE_CONSOLE_CONSOLE_ORDER_H
#define MAGPIE_CONSOLE_CONSOLE_ORDER_H

#include "core/console/console_private.h"

/* command_order(); ctx: the console. */
int order_begin(void *ctx, const struct command_order *o);
/* The console's side of command_done(), command_fail(), command_more() for them. */
void order_end(struct command_call *c, const char *code, const char *message);
void order_more(struct command_call *c, void (*resume)(struct command_call *c));
/* The console stops: what is under way ends as soon as it can, long answers early. */
void orders_stop(struct console *c);

#endif
