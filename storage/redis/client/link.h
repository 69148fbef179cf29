/*
 * A connection to one process of the cluster: it connects, says who it is, sends what is in its output once a turn, and
 * hands over replies. It ends when it is silent for too long. Engine's thread.
 *
 * Nothing is sent that is not replied to, and the first reply of all, to a TIME, is awaited before anything else goes
 * out: a process that hangs is not ready. A reply that comes later than LINK_SILENCE after it was asked for is not
 * believed: by then another process may have taken over.
 */
#ifndef MAGPIE_STORAGE_REDIS_LINK_H
#define MAGPIE_STORAGE_REDIS_LINK_H

#include "core/base/buf.h"
#include "storage/redis/client/resp.h"

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    LINK_PING = 1000,       /* ms without a word until an idle link is asked TIME */
    LINK_SILENCE = 1500,    /* ms without a word until a link is ended */
    LINK_AGAIN = 200,       /* ms between two attempts to connect */
    LINK_READ_SIZE = 65536, /* bytes taken from the kernel at once */
    LINK_HOST_MAX = 46      /* a numeric address, with its NUL */
};

enum link_state { LINK_DOWN, LINK_CONNECTING, LINK_GREETING, LINK_READY };

struct redis;
struct link;

/* What its owner is told; the link is a member of the owner's struct. */
struct link_events {
    void (*ready)(struct link *l);
    /* A reply to what the owner has sent, in order. It lives until redis_link_forget(). */
    void (*reply)(struct link *l, const struct reply *reply);
    void (*lost)(struct link *l); /* it is down now; called by redis_link_end() too */
};

struct link {
    struct redis *r;
    const struct link_events *events;
    struct ev_io readable, writable;
    struct resp in;
    struct buf out;   /* to be sent */
    size_t out_sent;  /* how much of it the kernel has */
    uint64_t sent;    /* bytes of earlier outputs of this connection */
    uint64_t heard;   /* when bytes came last, by redis.turn_ms */
    uint64_t asked;   /* when the oldest that is awaited was sent; likewise */
    uint64_t opened;  /* when the last attempt to connect began; 0: never */
    uint64_t oldest;  /* `since` of the oldest call that is being sent; UINT64_MAX: none */
    uint32_t awaited; /* replies to come that are the owner's */
    uint32_t own;     /* replies to come before them that are the link's: greeting, TIME */
    int fd;           /* -1: none */
    uint16_t port;    /* of the last attempt */
    uint8_t state;    /* enum link_state */
    uint32_t silence; /* ms without a word until it is ended, once it is ready; 0: LINK_SILENCE */
    bool pushes; /* the owner's: once it is ready all that is said is the owner's, whether or not it was asked for, and
                  * the owner asks for signs of life */
    char host[LINK_HOST_MAX]; /* likewise; numeric */
};

/* events: static. Allocates nothing. */
void redis_link_init(struct link *l, struct redis *r, const struct link_events *events);
/* Ends it without telling its owner, and frees what it has. */
void redis_link_fini(struct link *l);
/* Begins to connect; the link is down. Not sooner than LINK_AGAIN after the last attempt: then nothing happens. host:
 * a numeric address. */
void redis_link_open(struct link *l, const char *host, uint16_t port);
/* Ends it at once: the kernel forgets what it has not delivered. Tells the owner, unless it was down. why: for the log;
 * static. */
void redis_link_end(struct link *l, const char *why);
/* After appending to l->out: that many replies are awaited for it. */
void redis_link_sent(struct link *l, uint32_t replies);
/* Turn's end: sends what is in the output. */
void redis_link_flush(struct link *l);
/* Several times a second: looks for silence, asks an idle link TIME. */
void redis_link_tick(struct link *l);
/* Frees the replies that were handed over. */
void redis_link_forget(struct link *l);

/* Whether those bytes of this connection, counted from its beginning, are with the kernel. */
static inline bool redis_link_gone(const struct link *l, uint64_t end)
{
    return l->sent + l->out_sent >= end;
}
/* Where the output ends now, counted likewise. */
static inline uint64_t redis_link_end_of_output(const struct link *l)
{
    return l->sent + l->out.n;
}

#endif
