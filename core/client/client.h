/*
 * The client side of the Magpie protocol, for one connection or for a hundred thousand on one libev loop.
 *
 * A `client` belongs to one loop and one thread. It holds what its connections share: the read buffer, the list of
 * connections with something to write, and an epoll set. The set hangs on a single ev_io, which saves libev's 64 bytes
 * per descriptor. A connection is a `client_conn`: 72 bytes when idle, over TCP (gzip, if it is asked for) or
 * WebSocket (binary form, no compression).
 *
 * What requests queue is written once per loop iteration and connection. Bodies are handed out as raw JSON, borrowed
 * for the time of the callback; nothing is parsed that nobody asked for (client_fields.h reads single members quickly).
 *
 * The library has no timers: who wants a timeout calls client_conn_close(). Handlers may call everything here except
 * client_free(), and must not run the loop. Functions that fail return a negative enum err (core/base/err.h).
 */
#ifndef MAGPIE_CLIENT_CLIENT_H
#define MAGPIE_CLIENT_CLIENT_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct ev_loop;
struct client;
struct client_conn;

/* The largest frame taken from a server, bytes; a larger one is a protocol error. */
enum { CLIENT_FRAME_MAX = 64 * 1024 * 1024 };
/* Unwritten bytes of one connection above which client_request() answers ERR_FULL. */
enum { CLIENT_BACKLOG_MAX = 16 * 1024 * 1024 };

/* Actions of protocol.md that callers here need by name. */
enum client_action {
    CLIENT_ERROR = 0, /* what the server says before it closes over a protocol error */
    CLIENT_LOGIN = 1,
    CLIENT_SEND_USER = 2,
    CLIENT_SUBSCRIBE = 3,
    CLIENT_SEND_CHANNEL = 4,
    CLIENT_HISTORY = 5,
    CLIENT_UNSUBSCRIBE = 6,
    CLIENT_INBOX = 7,
    CLIENT_INBOX_ACK = 8,
    CLIENT_PING = 9,
    CLIENT_RECALL = 14,
    CLIENT_EDIT = 17,
    CLIENT_WATCH = 18,
    CLIENT_PUSH_USER = 101,
    CLIENT_PUSH_CHANNEL = 102,
    CLIENT_PUSH_INBOX = 103,
    CLIENT_PUSH_MERGED = 104,
    CLIENT_PUSH_CLOSING = 105,
    CLIENT_PUSH_ANNOUNCEMENT = 106,
    CLIENT_PUSH_BEHIND = 107,
    CLIENT_PUSH_READ = 108,
    CLIENT_PUSH_RECALLED = 109,
    CLIENT_PUSH_EDITED = 110,
    CLIENT_PUSH_PRESENCE = 111,
    CLIENT_PUSH_MEMBERSHIP = 112
};

enum client_transport { CLIENT_TCP, CLIENT_WEBSOCKET };

/* Where to connect to. Filled by client_target_set(); shared by any number of connections. */
struct client_target {
    struct sockaddr_storage address; /* IPv4, IPv6 or Unix */
    socklen_t address_len;           /* bytes used of it */
    uint32_t source;                 /* IPv4 address to connect from, network order; 0: the kernel's choice */
    int receive_buffer;              /* SO_RCVBUF, bytes; 0: the kernel's choice */
    enum client_transport transport;
    bool tls;         /* by TLS: client_secure() comes first */
    char name[112];   /* that the server's certificate must be for; "": any */
    char host[112];   /* value of the Host header (WebSocket) */
    const char *path; /* WebSocket request path; borrowed; "/" after client_target_set() */
};

/* What happens on a connection. Static tables; `user` is the pointer given to client_conn_open(). Any may be NULL. */
struct client_handlers {
    /* Connected, and upgraded if WebSocket: requests can be made from now on. */
    void (*open)(struct client_conn *conn, void *user);
    /* A frame that answers nothing: a push (action >= 100), or CLIENT_ERROR. `body` is borrowed for the call; may be
     * empty. */
    void (*push)(struct client_conn *conn, void *user, uint16_t action, struct slice body);
    /* Gone, not by client_conn_close(): ERR_CLOSED (by the server), ERR_IO (also: could not connect), ERR_INVALID and
     * ERR_TOOLARGE (protocol), ERR_NOMEM. `why` is a phrase, borrowed. Unanswered requests have had their answers
     * (ERR_CLOSED) before. `conn` must not be used afterwards. */
    void (*close)(struct client_conn *conn, void *user, int code, const char *why);
};

/* An answer: status 0 and the body; ERR_INVALID: refused, the body is read with client_error_read(); ERR_CLOSED: the
 * connection ended before the answer came. `body` is borrowed for the call. */
#define CLIENT_ANSWER_FN(name) void (*name)(struct client_conn * conn, void *arg, int status, struct slice body)

/* NULL: no memory or no descriptor left (errno). `loop` is borrowed and must outlive the client. */
struct client *client_new(struct ev_loop *loop);
/* All connections must have ended or been closed before; not from inside a handler. NULL is fine. */
void client_free(struct client *client);
/* Writes what is queued at once; otherwise that happens before the loop next waits. Not from inside a handler. */
void client_flush(struct client *client);
/* CLOCK_MONOTONIC, µs, right after the newest read(2): the time of arrival of what a handler is just given. */
uint64_t client_read_us(const struct client *client);
/* Whether logins over TCP that are made from now on accept gzip. What comes compressed is inflated before it is handed
 * out; what is sent stays as it is. At first: no. */
void client_accept_gzip(struct client *client, bool accept);
/* Makes connections by TLS possible. authority: PEM file of those whose word on a server's certificate counts; "": the
 * system's; NULL: it is not looked at. old: by TLS 1.2. The process must ignore SIGPIPE. ERR_INVALID: *why is a phrase,
 * static. */
MUST_CHECK int client_secure(struct client *client, const char *authority, bool old, const char **why);
/* For very many connections: those by TLS 1.3 keep some 150 bytes after their handshake, and no object of OpenSSL of
 * 15,000. resume: those that begin once the first one has a session ticket come again with it. Once, after
 * client_secure(). ERR_NOMEM. */
MUST_CHECK int client_own_records(struct client *client, bool resume);
/* Handshakes that were resumed. */
uint64_t client_resumed(const struct client *client);
/* Connections that are open or being opened. */
size_t client_count(const struct client *client);
/* Answers that belonged to no request (they are dropped): 0 with a correct server. */
uint64_t client_strays(const struct client *client);

/* Reads "HOST:PORT", "[IPv6]:PORT" or "unix:PATH" (resolving names blocks). ERR_INVALID: *why is a phrase, static. */
MUST_CHECK int client_target_set(struct client_target *target, enum client_transport transport, const char *address,
                                 const char **why);

/* Starts to connect; no handler is called before this returns. NULL: no memory, or the system refused (errno, e.g.
 * EADDRNOTAVAIL when a source address has no port left, EMFILE). `target` is only read now; `handlers` is borrowed for
 * the connection's life. The connection is the library's: it is freed after `close`, or after client_conn_close(). */
struct client_conn *client_conn_open(struct client *client, const struct client_target *target,
                                     const struct client_handlers *handlers, void *user);
/* Closes at once, without what is still unwritten. Unanswered requests are answered with ERR_CLOSED; the close handler
 * is not called. `conn` must not be used afterwards. */
void client_conn_close(struct client_conn *conn);
/* From now on nothing more is read: what is sent to the connection stays in the kernel, and then with the sender. That
 * the connection ended is heard only when it was reset. */
void client_conn_deafen(struct client_conn *conn);
void *client_conn_user(const struct client_conn *conn);
/* Requests without an answer so far. */
uint32_t client_conn_pending(const struct client_conn *conn);

/* Queues a request; the body (a JSON object, or empty) is copied. `answer` may be NULL and is called exactly once when
 * this returns 0. ERR_AGAIN: not open yet; ERR_CLOSED; ERR_NOMEM; ERR_FULL: 65,535 unanswered, or
 * CLIENT_BACKLOG_MAX. */
int client_request(struct client_conn *conn, uint16_t action, struct slice body, CLIENT_ANSWER_FN(answer), void *arg);

/* The common requests; strings are UTF-8, and a slice without pointer (SLICE_NONE) leaves its member out. Returns as
 * client_request(). */
int client_login(struct client_conn *conn, struct slice name, struct slice token, bool accept_merge,
                 CLIENT_ANSWER_FN(answer), void *arg);
int client_subscribe(struct client_conn *conn, struct slice channel, struct slice push, CLIENT_ANSWER_FN(answer),
                     void *arg);
int client_send_channel(struct client_conn *conn, struct slice channel, struct slice content, struct slice client_id,
                        CLIENT_ANSWER_FN(answer), void *arg);
int client_send_user(struct client_conn *conn, struct slice receiver, struct slice content, struct slice client_id,
                     CLIENT_ANSWER_FN(answer), void *arg);
/* `before` and `after` are exclusive seqs, 0: left out; `limit` 0: the server's default. */
int client_history(struct client_conn *conn, struct slice channel, uint64_t before, uint64_t after, uint32_t limit,
                   CLIENT_ANSWER_FN(answer), void *arg);

/* What a refusal says. */
struct client_error {
    char code[32];          /* as in protocol.md 2; "" when unreadable */
    char message[160];      /* for people; cut to fit */
    int64_t retry_after_ms; /* 0 when not given */
};
/* Reads the body of a refusal, as far as it is readable. */
void client_error_read(struct slice body, struct client_error *out);

#endif
