/* Rates, load, slow receivers: the command `top`. Private to core/console. */
#ifndef MAGPIE_CONSOLE_CMD_TOP_H
#define MAGPIE_CONSOLE_CMD_TOP_H

struct console;

/* Once a second, for the rates. */
void top_sample(struct console *c);

#endif
