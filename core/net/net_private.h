/*
 * What the files of core/net share and nobody else includes (but their tests): struct net and the steps of a
 * connection's life.
 *
 * Rule of the house: any call of net->ops may close or detach any connection. After each one a `struct conn *` is
 * looked up again, or net->cur.gone is checked while parsing. A slot is freed only by conn_finish() and conn_detach().
 */
#ifndef MAGPIE_NET_NET_PRIVATE_H
#define MAGPIE_NET_NET_PRIVATE_H

#include "core/base/pool.h"
#include "core/net/conn.h"
#include "core/net/encoder.h"
#include "core/net/inbuf.h"
#include "core/net/outq.h"
#include "core/net/stream.h"

#include <ev.h>

enum {
    READ_BYTES = 128 * 1024,      /* the net's read buffer: what one recv() takes */
    READ_BYTES_EARLY = 16 * 1024, /* the same before login */
    KEEP_MAX_EARLY = 64 * 1024,   /* a message before login, bytes */
    KEEP_FREE_EARLY = 1024,       /* an unfinished one that is not counted: the kernel keeps more for a connection */
    OUTPUT_MAX_EARLY = 16 * 1024, /* output queue before login, bytes */
    EVENTS = 16,                  /* of one epoll_wait() */
    ACCEPT_BATCH = 16,            /* connections accepted in one go */
    TURN_US = 1000,               /* so long events are taken in one turn of the loop */
    TURN_DIRTY = 128,             /* and until so many connections are to be written to */
    MESSAGES = 32,                /* of one connection that are parsed between two looks at the clock */
    DUE_BATCH = 128,              /* connections whose time has come, in one turn */
    LISTEN_MAX = 64,              /* listening sockets of a net */
    WAITING_MAX = 256,            /* connections over a cap that still get a 503 */
    WORK_ROUNDS = 4,              /* passes over the work lists before the loop polls again */
    DRAIN_TICKS = 5,              /* output of a closing connection drains so long */
    DRAIN_TICKS_HTTP = 60,        /* the same of an HTTP answer, whose reader may be slow without harm */
    ANSWER_TICKS = 60,            /* an HTTP request waits so long for its answer */
    ENDED_TICKS = 10,             /* the answers to who has said its last are awaited so long */
    EVICT_TICKS = 10,             /* while output is near its cap, who has taken nothing for so long is closed */
    EVICT_VISITS = 65536,         /* connections that are looked at for that in a second */
    LINGER_TICKS = 3              /* then the other side's end is awaited so long */
};

/* conn.state */
enum conn_state {
    CONN_ST_HEAD,  /* the HTTP request is awaited; the owner does not know of it */
    CONN_ST_ASKED, /* the owner has the HTTP request and will answer it */
    CONN_ST_OPEN,
    CONN_ST_DRAIN,  /* closing: output drains */
    CONN_ST_AWAIT,  /* closing: output is out; the WebSocket close frame of the other side is awaited */
    CONN_ST_LINGER, /* closing: shutdown(SHUT_WR) is done, the end of its input is awaited */
    CONN_ST_DEAD    /* closing: to be finished by the next flush, without a word */
};

/* conn.inner */
enum conn_inner {
    CONN_I_OPENED = 1 << 0,  /* the owner was told: `closing` and `closed` are owed */
    CONN_I_CLOSING = 1 << 1, /* `closing` was called */
    CONN_I_DEAF = 1 << 2,    /* input is thrown away unread */
    CONN_I_MUTED = 1 << 3,   /* EPOLLIN is off, because something came while it was paused */
    CONN_I_REFUSED = 1 << 4, /* over a cap: not counted, gets 503 */
    CONN_I_HTTP = 1 << 5,    /* its HTTP request was handed to the owner */
    CONN_I_EOF = 1 << 6,     /* the other side has closed its half while our last words, or answers, are to be sent */
    CONN_I_ENDED = 1 << 7    /* it has said its last, and the owner still owes answers */
};

/* Connections to look at, by index; an entry may be stale. */
struct work {
    uint32_t *items; /* owned */
    uint32_t n, cap;
    bool scan; /* no memory for an entry: look at all connections */
};

struct listening {
    int fd;            /* borrowed */
    uint8_t transport; /* enum conn_transport */
    uint8_t stream;    /* row of its connections */
};

/* The connection whose input is being parsed: what conn_detach() and conn_resume() must know inside a callback. */
struct parsing {
    uint32_t conn;       /* CONN_NONE: nobody */
    bool gone;           /* it was finished or detached meanwhile */
    size_t fresh;        /* bytes at the end of the input that came just now */
    bool resumed;        /* conn_resume() inside the callback: a pause that it asks for does not count */
    const uint8_t *rest; /* after the message that the callback got */
    size_t rest_n;
};

struct net {
    struct ev_loop *loop;      /* borrowed */
    struct net_shared *shared; /* borrowed */
    const struct net_ops *ops; /* borrowed */
    void *owner;               /* passed to ops */
    struct net_limits limits;
    const struct encoder *encoders[WIRE_ROWS]; /* forms, by conn.form; NULL: none */
    const struct stream *streams[STREAM_ROWS]; /* rows, by conn.stream; NULL: none */

    struct pool conns;
    uint32_t generation; /* of the newest connection */
    /* when this turn's events, or what was left of the last one's, have had their time; monotonic */
    uint64_t turn_end_us;
    uint32_t tick;                /* seconds that the net has run, counted by its timer: no clock can jump */
    struct wheel wheel;           /* timeouts */
    int epoll_fd;                 /* inner epoll set */
    uint64_t queued;              /* bytes in all output queues */
    uint64_t published;           /* what of `queued` is in shared's sum */
    uint32_t blocked;             /* connections with CONN_F_WRITABLE */
    uint32_t blocked_published;   /* what of that is in shared's sum */
    uint64_t inbuf_memory;        /* bytes */
    uint64_t bytes_in, bytes_out; /* read and written since it was made */
    struct outq_pool outqs;
    struct work dirty, dirty_spare;   /* to flush; the spare swaps with it */
    struct work resume, resume_spare; /* to parse again */
    uint32_t evict_at;                /* where net_evict_idle() goes on */
    struct parsing cur;
    bool overdue;  /* there are more connections whose time has come */
    bool asleep;   /* ev_prepare has run and the loop is about to poll */
    bool flushing; /* net_flush() is running */
    bool called;   /* the owner was called by the work lists: it may have work of its own now */

    struct ev_io io;           /* of epoll_fd */
    struct ev_timer ticker;    /* 1 s */
    struct ev_timer retry;     /* accepts again */
    struct ev_prepare prepare; /* the work lists, before the loop sleeps */
    struct ev_check check;     /* clears `asleep` */
    struct ev_idle busy;       /* started: the loop does not sleep */

    struct listening listening[LISTEN_MAX];
    unsigned listening_count;
    bool accepting;     /* the listening sockets are in the epoll set */
    uint32_t waiting;   /* refused connections that get their 503 */
    uint32_t rest_told; /* tick after the one in which accept.paused was logged; 0: never */
    int fd_ceiling;     /* descriptors from this number on are left to others */

    struct gather gather;
    uint8_t *read; /* READ_BYTES; owned */
};

/* --- net_shared.c ------------------------------------------------------------------------------------------------- */

#define IP_SLOT_NONE UINT32_MAX
struct sockaddr;

/* Counts a connection; false when `limit` (0: none) is reached. */
bool shared_connection_add(struct net_shared *s, uint32_t limit);
void shared_connection_remove(struct net_shared *s);
/* Counts an address (IPv6: its /64). False: `limit` is reached. *slot: to give back, IP_SLOT_NONE when it is not
 * counted. */
bool shared_ip_add(struct net_shared *s, const struct sockaddr *a, uint32_t limit, uint32_t *slot);
void shared_ip_remove(struct net_shared *s, uint32_t slot);
/* Who holds memory without a login, each counted for itself, so that none refuses the others. */
enum holder {
    HOLDER_EARLY,   /* connections that are to log in, and HTTP requests */
    HOLDER_CLAIMED, /* connections of claimed paths */
    HOLDERS
};
/* Counts bytes that a connection of the address (IP_SLOT_NONE: not known) holds. False: that would be more than `total`
 * in all or `per_ip` of the address (0: no limit), and nothing changed. */
bool shared_held_add(struct net_shared *s, enum holder who, uint32_t slot, uint32_t bytes, uint64_t total,
                     uint64_t per_ip);
void shared_held_remove(struct net_shared *s, enum holder who, uint32_t slot, uint32_t bytes);
/* The account of an address: output of its connections whose socket is full, which has become so many bytes more or
 * less, and such connections. Returns how much one of them may hold: UINT32_MAX while all hold no more than `limit` (0:
 * none). */
uint32_t shared_unsent_change(struct net_shared *s, uint32_t slot, int64_t bytes, int blocked, uint64_t limit);
/* Bytes in output queues, and connections whose socket is full. */
void shared_queued_add(struct net_shared *s, int64_t bytes, int32_t blocked);
uint32_t shared_blocked(const struct net_shared *s);

/* --- net.c -------------------------------------------------------------------------------------------------------- */

/* A second has passed. The timer calls it; tests do. */
void net_tick(struct net *net);
/* The work lists: parses what was resumed, writes what is queued. */
void net_work(struct net *net);
bool work_grow(struct work *w);
void net_wake(struct net *net);
static inline void work_add(struct net *net, struct work *w, uint32_t idx)
{
    if (__builtin_expect(w->n < w->cap, 1) || work_grow(w))
        w->items[w->n++] = idx;
    else
        w->scan = true;
    if (__builtin_expect(net->asleep, 0))
        net_wake(net);
}

/* --- accept.c ----------------------------------------------------------------------------------------------------- */

void accept_ready(struct net *net, unsigned listening);
/* Puts the listening sockets into the epoll set, or takes them out. */
void accept_start(struct net *net);
void accept_stop(struct net *net);
/* Options of a listening socket, which accepted ones inherit. */
void accept_options(const struct net *net, int fd);

/* --- conn.c ------------------------------------------------------------------------------------------------------- */

static inline struct conn *conn_ptr(const struct net *net, uint32_t idx)
{
    return (struct conn *)pool_at(&net->conns, idx);
}
/* How the connection's bytes travel. */
static inline const struct stream *conn_stream(const struct net *net, const struct conn *c)
{
    return net->streams[c->stream];
}
/* A slot for the descriptor, in the epoll set, CONN_ST_HEAD or CONN_ST_OPEN by transport; CONN_NONE: out of memory (the
 * descriptor stays the caller's). */
uint32_t conn_new(struct net *net, int fd, enum conn_transport transport, uint8_t stream);
/* Tells the epoll set what the connection waits for now. */
void conn_interest(struct net *net, uint32_t idx, struct conn *c);
/* Where its address is counted, IP_SLOT_NONE when it has none; finds it out when that is not known yet. */
uint32_t conn_ip_slot(struct net *net, struct conn *c);
/* Sets its timeout anew. */
void conn_arm(struct net *net, uint32_t idx, struct conn *c);
uint64_t conn_due(void *net, uint32_t idx);
/* Queues raw bytes or a frame, whatever the limits; without memory it does nothing. */
void conn_push_raw(struct net *net, uint32_t idx, struct conn *c, struct slice bytes);
void conn_push_frame(struct net *net, uint32_t idx, struct conn *c, uint16_t action, struct slice body);
/* Tells the owner that a connection exists; the connection may be gone after it. */
void conn_tell_opened(struct net *net, uint32_t idx, struct conn *c);
/* conn_close() with the WebSocket close code (0: no close frame). */
void conn_end(struct net *net, uint32_t idx, enum close_reason reason, uint16_t ws_code, const char *message,
              uint32_t retry_after_ms);
/* Framing is lost: an error frame, then conn_end(). `code`: "bad_request" or "too_large". */
void conn_protocol_error(struct net *net, uint32_t idx, uint16_t ws_code, const char *code, const char *message);
/* Closes an HTTP exchange after what is queued. */
void conn_end_http(struct net *net, uint32_t idx, struct conn *c);
/* The other side is gone: writes what it may still take, and finishes. Top level only. */
void conn_lost(struct net *net, uint32_t idx);
/* The other side has said its last, by a WebSocket Close with this code, or (eof, code 0) by closing its half. True:
 * the owner owes answers, and the connection waits for them. */
bool conn_ended(struct net *net, uint32_t idx, struct conn *c, uint16_t code, bool eof);
/* The end: `closing` if it is owed, `closed`, the slot is free. Top level only. */
void conn_finish(struct net *net, uint32_t idx);
/* A closing connection's output is out. May finish it. */
void conn_drained_closing(struct net *net, uint32_t idx, struct conn *c);

/* --- send.c ------------------------------------------------------------------------------------------------------- */

static inline void conn_dirty(struct net *net, uint32_t idx, struct conn *c)
{
    if (!(c->flags & CONN_F_DIRTY)) {
        c->flags |= CONN_F_DIRTY;
        work_add(net, &net->dirty, idx);
    }
}
/* Writes what is queued. Top level only: may call the owner and finish the connection. */
void conn_flush(struct net *net, uint32_t idx, struct conn *c);
/* Writes without calling anybody or closing anything. As outq_write(). */
int conn_write(struct net *net, struct conn *c);
/* Takes what it holds from the accounts of its user, and of its address when `all`. */
void conn_uncharge(struct net *net, uint32_t idx, struct conn *c, bool all);
/* Whether the caps that it shares with others leave room for output. */
bool conn_may_queue(struct net *net, struct conn *c);
/* While such a cap is reached, or nearly, closes those who have taken nothing for some time. Once a second; top level.
 * */
void net_evict_idle(struct net *net);
/* Throws away the output queue. */
void conn_drop_output(struct net *net, uint32_t idx, struct conn *c);

/* --- input.c ------------------------------------------------------------------------------------------------------ */

/* The socket has something. Top level only. */
void conn_readable(struct net *net, uint32_t idx, uint32_t events);
/* A connection of the resume list goes on. Top level only. */
void conn_go_on(struct net *net, uint32_t idx, struct conn *c);
/* Puts it on the resume list when there is something to do. */
void conn_schedule(struct net *net, uint32_t idx, struct conn *c);
void conn_drop_input(struct net *net, struct conn *c);
/* What it keeps of its input is no longer counted as memory before login. */
void conn_release_early(struct net *net, struct conn *c);
/* Counts n bytes that the connection is to hold without a login. False: there is no room for them. */
MUST_CHECK bool conn_hold(struct net *net, struct conn *c, uint32_t n);
void conn_let_go(struct net *net, const struct conn *c, uint32_t n);
/* Hands a message to the owner. */
void conn_deliver(struct net *net, uint32_t idx, struct conn *c, const struct net_message *m);
/* The largest message that it may send now, bytes. */
static inline uint32_t conn_frame_limit(const struct net *net, const struct conn *c)
{
    if (__builtin_expect(c->flags & CONN_F_RAW, 0))
        return c->flags & CONN_F_CLOSING ? KEEP_MAX_EARLY : net->ops->claim_limit(net->owner, c);
    if (c->state == CONN_ST_HEAD)
        return c->http_need != CONN_NONE ? c->http_need : net->limits.http.head;
    if (!(c->flags & CONN_F_READY) && net->limits.frame > KEEP_MAX_EARLY)
        return KEEP_MAX_EARLY;
    return net->limits.frame;
}

/* --- websocket_conn.c, http_conn.c: a step of parsing; false: nothing more can be done with what is there --------- */

bool websocket_step(struct net *net, uint32_t idx, struct conn *c, struct ws_parser *ws, struct ws_input *in);
bool http_step(struct net *net, uint32_t idx, struct conn *c, struct ws_input *in);
/* Answers with a status and closes after it. */
void http_refuse(struct net *net, uint32_t idx, struct conn *c, unsigned status);

#endif
