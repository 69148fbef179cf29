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
#include "core/net/counts.h"
#include "core/net/deflate.h"
#include "core/net/encoder.h"
#include "core/net/inbuf.h"
#include "core/net/inflate.h"
#include "core/net/outq.h"
#include "core/net/proxy.h"
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
    HEAVY_BYTES = 4096,           /* an inflated message of so many is worth a look of its own */
    DUE_BATCH = 128,              /* connections whose time has come, in one turn */
    LISTEN_MAX = 64,              /* listening sockets of a net */
    WAITING_MAX = 256,            /* connections over a cap that still get a 503 */
    SHAKES_MAX = 256,             /* connections between the first and the last step of their agreement */
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
    CONN_ST_PROXY, /* its peer speaks for others: a PROXY header is awaited; the owner does not know of it */
    CONN_ST_SHAKE, /* its stream must agree on something with the other side first; the owner does not know of it */
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
    bool metrics;      /* CONN_METRICS was asked for */
};

/* A connection whose next step is due, and one between its first and its last (shake.c). */
struct shake {
    uint32_t conn, generation;
};
struct shake_slot {
    uint32_t conn;
    uint32_t heard; /* tick of its last step */
};
struct shake_ring {
    struct shake *items; /* owned */
    uint32_t head;       /* of the first */
    uint32_t n;          /* how many there are */
    uint32_t cap;        /* room, a power of two */
};
struct shakes {
    struct shake_ring due;    /* whose step can be taken */
    struct shake_ring parked; /* who could not begin, for there was no room; the newest last */
    uint32_t count;           /* slots in use */
    bool stuck;               /* there is no room for any of the parked now */
    struct shake_slot slots[SHAKES_MAX];
};

/* The connection whose input is being parsed: what conn_detach() and conn_resume() must know inside a callback. */
struct parsing {
    uint32_t conn;       /* CONN_NONE: nobody */
    bool gone;           /* it was finished or detached meanwhile */
    size_t fresh;        /* bytes at the end of the input that came just now */
    bool heavy;          /* the message was inflated to many bytes: the clock is to be looked at after it */
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
    struct proxies proxies;                    /* limits.proxies, ready for use */
    const struct encoder *encoders[WIRE_ROWS]; /* forms, by conn.form; NULL: none */
    struct encoder own[WIRE_FORMS];            /* the first of them, with this net's deflater */
    struct deflater deflater;
    struct inflater inflater;
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
    struct net_counts counts;
    struct outq_pool outqs;
    struct work dirty, dirty_spare;   /* to flush; the spare swaps with it */
    struct work resume, resume_spare; /* to parse again */
    uint32_t evict_at;                /* where net_evict_idle() goes on */
    struct parsing cur;
    struct shakes shakes;
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

/* Who holds memory without a login, each counted for itself, so that none refuses the others. */
enum holder {
    HOLDER_EARLY,   /* connections that are to log in, and HTTP requests */
    HOLDER_CLAIMED, /* connections of claimed paths */
    HOLDERS
};

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

/* --- send.c ------------------------------------------------------------------------------------------------------- */

static inline void conn_dirty(struct net *net, uint32_t idx, struct conn *c)
{
    if (!(c->flags & CONN_F_DIRTY)) {
        c->flags |= CONN_F_DIRTY;
        work_add(net, &net->dirty, idx);
    }
}

/* --- input.c ------------------------------------------------------------------------------------------------------ */

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

#endif
