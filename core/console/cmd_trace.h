/* Frames live: the command `trace`. Private to core/console. */
#ifndef MAGPIE_CONSOLE_CMD_TRACE_H
#define MAGPIE_CONSOLE_CMD_TRACE_H

struct console;
struct console_peer;

/* The connection goes, and what it asked for with it. */
void trace_forget(struct console *c, const struct console_peer *p);

#endif
