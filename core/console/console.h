/*
 * The operators' console: the line protocol on listen.console, and the commands that are the server's own. Main thread.
 *
 * A line is a command. Its reply is `OK` or `ERR code text`, the body, and a line with a lone `.`; body lines that
 * begin with `.` get another one in front. With the prefix `json ` the body is one JSON document. Between replies, and
 * only after `trace … on`, lines that begin with `* ` tell what is traced.
 */
#ifndef MAGPIE_CONSOLE_CONSOLE_H
#define MAGPIE_CONSOLE_CONSOLE_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct console;
struct ev_loop;
struct hub;
struct listener;
struct tls_context;

/* Makes the console of a hub (which has its main mailbox) and registers its commands and metrics. Before hub_start().
 * Loop and hub are borrowed. NULL: out of memory. */
struct console *console_new(struct ev_loop *loop, struct hub *hub);
/* Serves a listener's first descriptor; the listener stays the caller's and must outlive the console. ERR_NOMEM. */
MUST_CHECK int console_listen(struct console *c, const struct listener *l);
/* What listeners of "tls:" addresses answer handshakes with; the reference is taken over. Before such a listener
 * accepts, and at any time again. */
void console_set_tls(struct console *c, struct tls_context *context);
/* What `auth` asks for; NULL: nothing. Copied (as a hash). Those who are in stay in. */
void console_set_password(struct console *c, const char *password);
/* What `status` tells of the state: "serving", "draining". Static text. */
void console_set_state(struct console *c, const char *state);
/* What `status` tells of where things are; copied. `listeners`: each is transport:address ("tcp:127.0.0.1:8081"). */
struct console_place {
    const char *config, *data;
    const char *const *listeners; /* NULL-terminated */
};
MUST_CHECK int console_set_place(struct console *c, const struct console_place *place);
/* Ends all connections; calls that are under way end by themselves when what they wait for arrives. Before
 * hub_stop(). */
void console_stop(struct console *c);
/* Whether a command still waits for an answer. */
bool console_busy(const struct console *c);
/* After hub_stop() and the main mailbox's last run. NULL is allowed. */
void console_free(struct console *c);

#endif
