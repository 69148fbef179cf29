/* What client.c and client_conn.c know of each other. Private to the library. */
#ifndef MAGPIE_CLIENT_CLIENT_PRIVATE_H
#define MAGPIE_CLIENT_CLIENT_PRIVATE_H

#include "core/base/buf.h"
#include "core/client/client.h"

#include <ev.h>

struct client_own;
struct client_pending;
struct client_tls_own;
struct ssl_ctx_st;
struct ssl_st;
struct z_stream_s;

/* Bytes that wait on one connection; exists only while there are some. */
struct client_chunk {
    uint32_t n;   /* bytes in data */
    uint32_t at;  /* output: bytes of them already written */
    uint32_t cap; /* bytes allocated for data */
    char data[];  /* the bytes */
};

enum client_state {
    CLIENT_CONNECTING, /* connect(2) is under way */
    CLIENT_SHAKING,    /* the TLS handshake is under way */
    CLIENT_UPGRADING,  /* the WebSocket handshake is under way */
    CLIENT_OPEN,       /* frames flow */
    CLIENT_GONE        /* no descriptor any more; freed when the list of connections to write is next walked */
};

struct client_conn {
    struct client *client;                  /* borrowed */
    void *user;                             /* the caller's */
    const struct client_handlers *handlers; /* the caller's, borrowed */
    struct client_conn *next;               /* in the client's list, if `listed` */
    struct client_chunk *in;                /* a frame of which only the start has come; owned; usually NULL */
    struct client_chunk *out;               /* what is still to be written; owned; usually NULL */
    struct client_pending *pending;         /* requests without answer; owned; usually NULL */
    union {
        char *accept;         /* upgrading: the Sec-WebSocket-Accept to come; owned */
        struct buf *fragment; /* open: the start of a fragmented message; owned; NULL when none */
    } ws;                     /* WebSocket only, else NULL */
    union {
        struct ssl_st *ssl;     /* OpenSSL's, owned; NULL: plain */
        struct client_own *own; /* if `own`: our records' state, owned */
    } tls;
    int fd;             /* socket; -1 when gone */
    uint16_t last_seq;  /* of the newest request */
    uint8_t state;      /* enum client_state */
    bool websocket : 1; /* the transport */
    bool listed : 1;    /* is in the client's list */
    bool deaf : 1;      /* is not read from any more */
    bool own : 1;       /* by TLS, with records of ours */
};
_Static_assert(sizeof(struct client_conn) <= 80, "idle connections are to stay small");

struct client {
    struct ev_loop *loop;       /* borrowed */
    struct ev_io io;            /* watches epoll_fd */
    struct ev_prepare prepare;  /* writes before the loop waits */
    struct client_conn *list;   /* connections with output, or gone and to be freed */
    char *read_buf;             /* what every read goes to; owned */
    size_t read_cap;            /* its bytes */
    struct buf body;            /* where client_calls.c builds a request's body */
    struct ssl_ctx_st *tls;     /* OpenSSL's, for connections to targets of TLS; owned; NULL: none */
    struct client_tls_own *own; /* for records of ours; owned; NULL: OpenSSL keeps them */
    struct z_stream_s *gunzip;  /* reads gzip; owned; NULL until the first one */
    struct buf plain;           /* what it has read last */
    bool gzip;                  /* logins over TCP accept it */
    uint64_t read_us;           /* CLOCK_MONOTONIC after the newest read */
    uint64_t mask_state;        /* of the generator of masks; never 0 */
    uint64_t strays;            /* answers without a request */
    size_t count;               /* connections that are not gone */
    int epoll_fd;               /* holds all connections; owned */
};

/* The scratch buffer for a request's body, emptied. */
struct buf *client_body(struct client *client);
/* Puts the connection into the client's list. */
void client_list(struct client *client, struct client_conn *conn);

#endif
