/* A new config brought into force, or refused as a whole. Private to core/server. */
#ifndef MAGPIE_SERVER_RELOAD_H
#define MAGPIE_SERVER_RELOAD_H

#include "core/server/server_private.h"

/* --- reload.c --- */
/* Brings a config into force and takes it; else not 0, with lines in `errors`. ctx: the server. As
 * config_keeper.adopt. */
int reload_adopt(void *ctx, struct config *fresh, struct buf *errors);
/* Reads the file anew and brings it into force, or tells the log why not. */
void reload_file(struct server *s);

#endif
