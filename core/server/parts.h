/*
 * Store, hub, console, plugins, scripts, listeners: opened in this order, closed in the other.
 * Private to core/server.
 */
#ifndef MAGPIE_SERVER_PARTS_H
#define MAGPIE_SERVER_PARTS_H

#include "core/server/server_private.h"

/* --- parts.c: what the server is made of --- */
/* Opens all that s->config names, and serves. On -1, which has been told, parts_close() closes what is open. */
MUST_CHECK int parts_open(struct server *s);
/* The loop is over, or the start failed half-way. */
void parts_close(struct server *s);
/* Builds the scripts of this config beside those in force; scripts_commit() brings them there. Else not 0, with lines
 * in `errors`; ERR_AGAIN: the change before is not yet on all shards. */
MUST_CHECK int parts_prepare_scripts(struct server *s, const struct config *c, struct buf *errors);
/* Descriptors for limits.connections, as many as the system allows; a warning in the log where they are too few. */
void parts_raise_limits(const struct config *c);

#endif
