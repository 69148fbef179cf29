/* Bodies that the server has compressed. Private to core/client. */
#ifndef MAGPIE_CLIENT_CLIENT_GZIP_H
#define MAGPIE_CLIENT_CLIENT_GZIP_H

#include "core/client/client_private.h"

/* Inflates gzip into the client's buffer: *out is borrowed until the next call. ERR_INVALID: it is none;
 * ERR_TOOLARGE: more than CLIENT_FRAME_MAX; ERR_NOMEM. */
MUST_CHECK int client_gunzip(struct client *client, struct slice in, struct slice *out);
/* Frees what that has needed. */
void client_gzip_free(struct client *client);

#endif
