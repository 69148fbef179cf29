/* Connections by TLS 1.3 whose records are ours once the handshake is over, and their sessions: see
 * client_own_records(). Private to core/client. */
#ifndef MAGPIE_CLIENT_CLIENT_TLS_OWN_H
#define MAGPIE_CLIENT_CLIENT_TLS_OWN_H

#include "core/client/client_private.h"
#include "core/client/client_records.h"

#include <sys/types.h>

struct ssl_session_st;

/* Of a client: what its connections share. */
struct client_tls_own {
    struct client_cipher *cipher;       /* owned */
    struct ssl_session_st *session;     /* with the ticket that connections come again with; owned; NULL: none yet */
    const struct client_conn *asker;    /* keeps OpenSSL's object to get that ticket; NULL: none has begun to */
    uint64_t resumed;                   /* handshakes that were */
    bool resume;                        /* connections are to come again */
    uint8_t sealed[CLIENT_RECORD_ROOM]; /* what is sent */
    uint8_t raw[65536 + CLIENT_RECORD_MAX]; /* what is read */
};

/* Of a connection, from its handshake on. */
struct client_own {
    struct client_records records;
    struct client_chunk *kept; /* read, and not opened yet; owned; usually NULL */
    struct client_chunk *rest; /* sealed, and not sent yet; owned; usually NULL */
    uint32_t rest_plain;       /* bytes of plaintext that are then sent */
};
_Static_assert(sizeof(struct client_own) <= 160, "idle connections are to stay small");

/* Before the handshake. ERR_NOMEM. */
int client_own_start(struct client_conn *conn);
/* After it: OpenSSL's object goes, if it can. */
void client_own_take(struct client_conn *conn);
/* As client_tls_recv() and client_tls_send(), for a connection whose records are ours. */
ssize_t client_own_recv(struct client_conn *conn, void *p, size_t n, bool *more);
ssize_t client_own_send(struct client_conn *conn, const void *p, size_t n);
/* Of a connection that ends, whether its records are ours or not. */
void client_own_end(struct client_conn *conn);
void client_own_free(struct client *client);

#endif
