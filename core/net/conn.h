/*
 * Connections: one shard's sockets, their framing, output queues and timeouts.
 *
 * A `net` belongs to one shard and its thread; nothing here is shared but what net_shared.h says. All descriptors of a
 * net hang on one inner epoll set under a single ev_io of the shard's loop, because libev's own bookkeeping (an ev_io
 * and two table entries) would cost more than the connection.
 *
 * The owner (the hub) is called back through struct net_ops. Input is parsed in place in one buffer per net; only an
 * unfinished message is copied to the connection. Output is gathered: conn_send() queues, and one send(2) per dirty
 * connection goes out before the loop sleeps. A fan-out that has gathered already goes past the queues
 * (conn_send_now()).
 */
#ifndef MAGPIE_NET_CONN_H
#define MAGPIE_NET_CONN_H

#include "core/base/err.h"
#include "core/base/frame.h"
#include "core/base/slice.h"
#include "core/base/wheel.h"
#include "core/net/http.h"

#include <stdbool.h>
#include <stdint.h>

struct ev_loop;
struct net;
struct net_shared;
struct outq;
struct stream;
struct inbuf;

#define CONN_NONE UINT32_MAX

struct conn;

enum conn_transport {
    CONN_TCP,
    CONN_WEBSOCKET,
    CONN_METRICS /* of a listener only: HTTP for those who watch over the server, and no caps (CONN_F_METRICS) */
};

/* Why a connection ends. The first ones are told to the client by push 105 and a WebSocket close code. */
enum close_reason {
    CLOSE_KICKED,   /* 1008 */
    CLOSE_SHUTDOWN, /* 1001 */
    CLOSE_SLOW,     /* 1008 */
    CLOSE_IDLE,     /* 1008: also a login that did not come in time */
    CLOSE_REPLACED, /* 1008 */
    CLOSE_PROTOCOL, /* 1002, 1007 or 1009 */
    CLOSE_LOGOUT,   /* 1000, no push: the client asked */
    CLOSE_PEER      /* the other side closed or the socket failed: nothing is sent */
};
/* "kicked", "shutdown" … "peer". */
const char *close_reason_name(enum close_reason reason);

/* Flags of struct conn. The first group is net's, the second is set by the owner through conn_set()/conn_clear(). */
enum conn_flag {
    CONN_F_DIRTY = 1 << 0,    /* on the list of connections to flush */
    CONN_F_PAUSED = 1 << 1,   /* the owner wants no further message: CONN_PAUSE was returned */
    CONN_F_SOFT = 1 << 2,     /* output over its soft half: not read from, channel pushes skipped */
    CONN_F_WRITABLE = 1 << 3, /* waiting for EPOLLOUT */
    CONN_F_CLOSING = 1 << 4,  /* conn_close() was called: input is discarded, output drains */
    CONN_F_PROBED = 1 << 5,   /* a WebSocket PING is unanswered */
    CONN_F_FORM = 1 << 6,     /* the first WebSocket message has decided the form */
    CONN_F_RESUME = 1 << 7,   /* on the list of connections to parse again */
    CONN_F_READY = 1 << 8,    /* logged in: the login timeout is over, idle rules apply */
    CONN_F_PINGS = 1 << 9,    /* has sent action 9: a TCP connection has an idle timeout from then on */
    CONN_F_MERGE = 1 << 10,   /* accepts 104 */
    /* what it sends and is sent may be compressed: by gzip (TCP, set by the owner), or permessage-deflate (WebSocket,
     * set by net) */
    CONN_F_PACKED = 1 << 11,
    CONN_F_RAW =
        1 << 12, /* net's: a WebSocket on a path that the owner claimed; it speaks another protocol than ours */
    CONN_F_TRACE = 1 << 13,  /* the owner's: it is told of every wire that goes to this connection, by `traced` */
    CONN_F_NARROW = 1 << 14, /* net's: what is compressed for it is so for a small window */
    CONN_F_METRICS =
        1 << 15 /* net's: came to a CONN_METRICS listener; its transport is CONN_WEBSOCKET, but it stays HTTP */
};

/* 64 bytes; a million of them are the point. */
struct conn {
    int32_t fd;
    uint32_t generation; /* changes when the slot is reused: with the index, a handle */
    uint32_t user;       /* the owner's; CONN_NONE at first */
    union {
        uint32_t user_next; /* the owner's, once it was `opened`; CONN_NONE at first */
        /* CONN_ST_HEAD: bytes of the request, head and body, once its head is known; CONN_NONE before. Of a chunked
         * body: how many may be kept. CONN_ST_ASKED: 0, when another request may follow */
        uint32_t http_need;
    };
    struct wheel_node timer; /* timeouts, in seconds of the net's tick */
    uint32_t heard;          /* tick at which it was last heard; until CONN_F_READY, when it was opened */
    uint32_t ip_slot;        /* of net_shared's count per address, or of the one a proxy named; UINT32_MAX: neither */
    struct inbuf *in;        /* an unfinished message; NULL while idle; owned */
    struct outq *out;        /* unsent output; NULL while idle; owned */
    void *session;           /* the owner's; NULL at first */
    uint16_t flags;          /* enum conn_flag */
    uint8_t transport;       /* enum conn_transport */
    uint8_t state;           /* net's: HTTP head awaited, open, closing handshake … */
    uint8_t form;            /* of what is sent: a row of the net's encoders (encoder.h) */
    uint8_t inner;           /* net's own flags */
    uint8_t reason;          /* enum close_reason, once CONN_F_CLOSING is set */
    uint8_t stream;          /* net's: the row by which its bytes travel (stream.h) */
};
_Static_assert(sizeof(struct conn) == 64, "a million connections pay for each byte");

struct net_message {
    bool text; /* a WebSocket text message: body is the whole of it, action and seq are 0; valid UTF-8 */
    /* As received. Bit 15 is taken off when the body was gzip: it is still there where that was not agreed upon, or the
     * body is no gzip. */
    uint16_t action;
    uint16_t seq;
    struct slice body; /* borrowed until the callback returns */
};

enum conn_verdict {
    CONN_CONTINUE, /* go on with the next message */
    CONN_PAUSE     /* no further message until conn_resume(); what has arrived is kept, no more is read */
};

/* What the owner is told. All on the net's thread. In every callback the connection may be closed with conn_close() or
 * taken with conn_detach(); then the return value counts for nothing. */
struct net_ops {
    /* Accepted (TCP) or upgraded (WebSocket). */
    void (*opened)(void *owner, uint32_t conn);
    enum conn_verdict (*message)(void *owner, uint32_t conn, const struct net_message *m);
    /* The socket is about to be closed and the slot freed; `user`, `session` are still there to be cleaned up. Called
     * exactly once for each connection that was `opened` (or attached) and not detached; at the end of the closing
     * handshake, or at once on CLOSE_PEER. */
    void (*closed)(void *owner, uint32_t conn, enum close_reason reason);
    /* conn_close() was called or net itself closes (timeout, slow, protocol): the connection should leave all lists of
     * receivers now. Called exactly once before `closed`, at the first sign of the end. */
    void (*closing)(void *owner, uint32_t conn, enum close_reason reason);
    /* The other side has said its last: it closed its half of the connection, or sent a WebSocket Close with this code.
     * True: requests are under way; the connection stays and sends until conn_hang_up() says that they are answered,
     * for some seconds at most. False: nothing is. Must not send or close. May be NULL: nothing ever is. */
    bool (*ended)(void *owner, uint32_t conn, uint16_t code);
    /* The connection's unsent output, while its socket is full, has become so many bytes more or less: in steps of 4
     * KiB, and as long as it is logged in and not closing. Returns the bytes that it may hold: UINT32_MAX, or less when
     * its user's connections together hold too much. Must not send or close. May be NULL: no user holds too much. */
    uint32_t (*unsent)(void *owner, uint32_t conn, int32_t bytes);
    /* What follows may be NULL: then nothing is claimed and no request served. Whether WebSockets on this path are the
     * owner's own: CONN_F_RAW then, and `opened` follows. It speaks no protocol of ours: a message is told whole (text
     * or not, in body), neither 105 nor errors are sent, no login is awaited. */
    bool (*claim)(void *owner, uint32_t conn, struct slice path);
    /* The most bytes that a message of a claimed connection may have. */
    uint32_t (*claim_limit)(void *owner, const struct conn *c);
    /* A request that asks for no upgrade has come: the most bytes its body may have; or the status that it is refused
     * with, negative; -426: nobody serves this. */
    int32_t (*http_wanted)(void *owner, uint32_t conn, const struct http_head *h);
    /* The whole of such a request. It is answered with conn_http_answer(), now or later; a connection that never was
     * `opened` is not told of as closed. */
    void (*http)(void *owner, uint32_t conn, const struct http_head *h, struct slice body);
    /* CONN_F_TRACE: a wire was queued (rc 0), skipped (ERR_AGAIN) or refused. Must not send or close. May be NULL. */
    void (*traced)(void *owner, uint32_t conn, const struct wire *w, int rc);
    /* The queue is empty again after wires of these tags were skipped (each once; borrowed). */
    void (*drained)(void *owner, uint32_t conn, const uint32_t *tags, uint32_t n);
};

struct net_limits {
    uint32_t frame;        /* bytes of a TCP frame or WebSocket message from a client */
    uint32_t output_queue; /* bytes queued per connection: hard limit; soft is half */
    /* bytes queued in the process, 0: no limit: over it, skippable wires are skipped everywhere that has a queue */
    uint64_t output_total;
    uint64_t output_per_ip;             /* the same of the connections from one address */
    uint32_t connections;               /* in the process, 0: no limit */
    uint32_t connections_per_ip;        /* 0: no limit */
    uint64_t early_total, early_per_ip; /* bytes of unfinished messages and requests before login; 0: no limit */
    uint32_t login_timeout, ping_timeout, idle_timeout; /* seconds, 0: none */
    struct http_limits http;                            /* of requests' heads; 0: the usual ones */
    uint32_t compress_threshold;                        /* bytes: smaller messages are sent as they are */
    int compress_level; /* 1 to 9, zlib's; 0: nothing is compressed, and permessage-deflate not negotiated */
    /* of pages that may connect (origin.h). NULL-terminated; borrowed until the next net_configure() */
    const char *const *origins;
    const char *const *protocols; /* WebSocket subprotocols; the same */
    const char *const *proxies;   /* peers that say for whom they speak, as proxies_add() takes them; the same */
};

/* The first connection in use at or after `from`, CONN_NONE at the end: for walks in steps. */
uint32_t net_next(const struct net *net, uint32_t from);

/* The connection; the index must be in use. */
struct conn *conn_at(const struct net *net, uint32_t conn);
/* The connection of a handle (index, generation), or NULL when it is gone. */
struct conn *conn_find(const struct net *net, uint32_t conn, uint32_t generation);
/* Whether its bytes travel by TLS. */
bool conn_is_secure(const struct conn *c);
/* "tcp", "websocket", "tcps", "wss". */
const char *conn_transport_name(bool websocket, bool secure);
/* Numeric address of the other side: the one that a trusted proxy has named, or the peer's; "unix" for Unix sockets,
 * "?" when it cannot be told any more. */
void conn_peer(const struct net *net, uint32_t conn, char *out, size_t size);

/* Sets or clears flags of the owner's group; CONN_F_READY and CONN_F_PINGS rearrange the timeout. CONN_F_PACKED is for
 * TCP, stays, and changes the form. */
void conn_set(struct net *net, uint32_t conn, unsigned flags);
void conn_clear(struct net *net, uint32_t conn, unsigned flags);

enum conn_class {
    CONN_MUST, /* responses, private messages: a full queue closes the connection (CLOSE_SLOW) */
    CONN_MAY   /* channel pushes: skipped while the queue is over its soft half, and its tag remembered for `drained` */
};

/* Begins to close: `closing` is called (inside this call), 105 goes out for the first six reasons (message: NULL or
 * text for people; retry_after_ms 0: none), output drains for a few seconds at most, then the socket closes and
 * `closed` is called (later, never inside this call). CLOSE_SLOW throws away what is queued first, CLOSE_KICKED what is
 * tagged. Again: no effect. */
void conn_close(struct net *net, uint32_t conn, enum close_reason reason, const char *message, uint32_t retry_after_ms);

/* What a connection that has `ended` had asked for is answered: what is queued drains and it closes, with CLOSE_PEER.
 * `code`: as it was told. On another connection: no effect. */
void conn_hang_up(struct net *net, uint32_t conn, uint16_t code);

/* Closes a claimed connection with a close code and a reason (cut to 123 bytes). */
void conn_close_raw(struct net *net, uint32_t conn, uint16_t code, struct slice reason);

/* A connection between two nets (or, later, two processes): all that it is. */
struct conn_record {
    int32_t fd;         /* owned */
    uint32_t heard_ago; /* seconds since it was heard */
    uint32_t ip_slot;
    uint16_t flags;
    uint8_t transport, state, form, stream;
    const struct stream *row; /* what `stream` stands for */
    struct inbuf *in;         /* kept input; owned; NULL: none */
    struct outq *out;         /* unsent output; owned; NULL: none. Its wires must be referenced by nobody else */
};
/* Takes the connection out of this net (no callback is called) and fills in `r`. The connection must be paused, or this
 * is its message callback. Then the rest of what has arrived goes along, and the message stays readable until the
 * callback returns. ERR_AGAIN: its output holds wires that others refer to; cannot happen before login. ERR_NOMEM: no
 * memory for the rest. ERR_CLOSED: it is closing. After an error nothing has changed. */
MUST_CHECK int conn_detach(struct net *net, uint32_t conn, struct conn_record *r);
/* Puts it into this net, paused, without `opened`; its index, or CONN_NONE (out of memory; the record is closed and
 * freed). */
uint32_t conn_attach(struct net *net, const struct conn_record *r);
/* Closes and frees a record that found no net. */
void conn_record_discard(struct net_shared *shared, const struct conn_record *r);

#endif
