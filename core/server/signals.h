/* Which signal does what; those that mean nothing are ignored, and logged. Private to core/server. */
#ifndef MAGPIE_SERVER_SIGNALS_H
#define MAGPIE_SERVER_SIGNALS_H

#include "core/server/server_private.h"

/* --- signals.c --- */
/* Before any thread: from now on signals wait. Threads inherit that, so that signals are the main thread's, and none is
 * lost or ends the process while it starts. */
void signals_block(void);
/* Puts the watchers of s->loop in place. */
void signals_watch(struct server *s);
/* Whether one waits that ends the process: then nothing is waited for any more. */
bool signals_end_waits(void);
/* What has waited arrives. */
void signals_unblock(void);
/* The loop is over: those that end a process do so at once again, the others do nothing. */
void signals_leave(struct server *s);

#endif
