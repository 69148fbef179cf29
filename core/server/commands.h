/*
 * The console's commands about the server itself: `drain`, `shutdown`, and what those about the config need.
 * Private to core/server.
 */
#ifndef MAGPIE_SERVER_COMMANDS_H
#define MAGPIE_SERVER_COMMANDS_H

#include "core/server/server_private.h"

/* --- commands.c --- */
/* The console's commands about the config and the server's end. ERR_NOMEM. */
MUST_CHECK int orders_register(struct server *s);

#endif
