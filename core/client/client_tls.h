/* TLS of connections: OpenSSL on their sockets. Private to core/client. */
#ifndef MAGPIE_CLIENT_CLIENT_TLS_H
#define MAGPIE_CLIENT_CLIENT_TLS_H

#include "core/client/client_private.h"

/* Begins on a connected socket. ERR_NOMEM. */
int client_tls_start(struct client_conn *conn, const char *host);
/* The handshake as far as it goes. 0: done; ERR_AGAIN: more must come; ERR_IO: failed, *why is a phrase, static. */
int client_tls_shake(struct client_conn *conn, const char **why);
/* As recv(2) and send(2) of the non-blocking socket, with TLS where the connection has it. *more: there may be more to
 * read, of which no edge will tell. By TLS n must be CLIENT_TLS_READ_MIN at least. */
enum { CLIENT_TLS_READ_MIN = 1 << 14 };
ssize_t client_tls_recv(struct client_conn *conn, void *p, size_t n, bool *more);
ssize_t client_tls_send(struct client_conn *conn, const void *p, size_t n);
/* Whether it has TLS. */
bool client_tls_has(const struct client_conn *conn);
void client_tls_end(struct client_conn *conn);
void client_tls_free(struct client *client);

#endif
