/*
 * TLS on a socket of its own, for the few connections that are none of a net: the console's. OpenSSL keeps all of it.
 * One thread.
 */
#ifndef MAGPIE_NET_TLS_SESSION_H
#define MAGPIE_NET_TLS_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls_context;
struct tls_session;

/* The server's side on a non-blocking socket, which stays the caller's. NULL: out of memory. */
struct tls_session *tls_session_new(struct tls_context *c, int fd);
/* As recv(2) and send(2) of a non-blocking socket; the handshake is done on the way. EPROTO: it failed, or what came is
 * not as it should be; tls_session_why() tells. A send that took nothing is repeated with the same bytes first. */
ssize_t tls_session_recv(struct tls_session *s, void *p, size_t n);
ssize_t tls_session_send(struct tls_session *s, const void *p, size_t n);
/* Both sides agree: bytes may travel. */
bool tls_session_ready(const struct tls_session *s);
/* The handshake waits for room in the socket. */
bool tls_session_wants_room(const struct tls_session *s);
/* Why it failed, in OpenSSL's words. */
const char *tls_session_why(const struct tls_session *s);
/* The common name in the other side's certificate; "" when it has shown none. */
void tls_session_peer(const struct tls_session *s, char *out, size_t size);
/* Says that it ends, as far as that can be said, and frees it. NULL is let pass. */
void tls_session_free(struct tls_session *s);

#endif
