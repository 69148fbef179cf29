/* Connecting, reading, writing, ending. Private to core/client. */
#ifndef MAGPIE_CLIENT_CLIENT_CONN_H
#define MAGPIE_CLIENT_CLIENT_CONN_H

#include "core/client/client_private.h"

/* epoll has something to say about the connection. */
void client_conn_event(struct client_conn *conn, uint32_t events);
/* Writes what it can of the connection's output; the connection may be gone afterwards. */
void client_conn_write(struct client_conn *conn);
/* Room for n more bytes of output; the caller writes them and they count at once. NULL: no memory, or too much
 * waits. */
char *client_conn_room(struct client_conn *conn, size_t n);
/* Ends the connection and tells its owner. */
void client_conn_fail(struct client_conn *conn, int code, const char *why);

#endif
