/* A line of the console on its way: from its words to a call, whoever gave it. */
#ifndef MAGPIE_CONSOLE_CONSOLE_CALL_H
#define MAGPIE_CONSOLE_CONSOLE_CALL_H

#include "core/console/console_line.h"
#include "core/console/console_private.h"

/* Why a line is none. */
struct call_error {
    const char *code; /* static */
    char text[256];
};

/* Makes the call of a line's words; the caller says what is answered, and runs it with call_run(). Takes `text`, which
 * the words point into. who: copied. authed: else only what may be said before the password. NULL with *e. */
struct console_call *call_new(struct console *c, char *text, const struct console_line *line, const char *who,
                              bool authed, bool by_peer, struct call_error *e);
/* Logs and runs it; it may have ended when this returns. */
void call_run(struct console_call *k);
void call_free(struct console_call *k);

#endif
