/*
 * The end in good order: clients are told, acknowledged messages are stored, the time for it is limited.
 * Private to core/server.
 */
#ifndef MAGPIE_SERVER_DRAIN_H
#define MAGPIE_SERVER_DRAIN_H

#include "core/server/server_private.h"

/* --- drain.c --- */
/* Its watchers; s->loop is there. */
void drain_init(struct server *s);
/* Tells the clients to go and ends the loop when they are gone. limit: seconds, 0: as long as it takes. While draining,
 * only the limit is set anew. */
void drain_begin(struct server *s, const char *because, double limit);

#endif
