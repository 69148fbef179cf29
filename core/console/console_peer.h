/* A connection to the console: its lines, the calls they become, the replies. */
#ifndef MAGPIE_CONSOLE_CONSOLE_PEER_H
#define MAGPIE_CONSOLE_CONSOLE_PEER_H

#include "core/console/console_private.h"

/* Takes the descriptor, which may be a spare of the console's. tls: TLS is spoken on it. NULL: out of memory (the
 * descriptor stays the caller's). */
struct console_peer *peer_new(struct console *c, int fd, bool spare, bool tls, const char *ip, const char *who);
/* Closes it at once; a call under way goes on without it. */
void peer_close(struct console_peer *p);
/* All places are taken: closes a silent connection, of those from where the most come. False: none may go. */
bool peer_make_room(struct console *c);
/* Once a second: closes the connection when it reads nothing, or does not `auth`. May free it. */
void peer_check(struct console_peer *p, uint64_t now_ms);
/* The console's side of command_done(), command_fail(), command_more(). */
void peer_end(struct command_call *c, const char *code, const char *message);
void peer_more(struct command_call *c, void (*resume)(struct command_call *c));

#endif
