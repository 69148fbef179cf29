/*
 * What nodes tell each other, byte by byte.
 *
 * A message of a sharded channel is one or more news, one behind the other, each after its length, u32. A news is
 * version u8, kind u8, origin u64 (the incarnation of the node that tells it), and the fields of its kind. Big-endian,
 * packed; news.c lists the fields.
 *
 * Whoever reaches Redis may publish: readers never read outside, and take only what a node could have written. What
 * another version or kind has is skipped: who misses it finds out by number, as with news that were lost.
 */
#ifndef MAGPIE_STORAGE_REDIS_NEWS_H
#define MAGPIE_STORAGE_REDIS_NEWS_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "storage/bus.h"

enum {
    NEWS_VERSION = 1,
    NEWS_HEAD = 10 /* bytes of version, kind and origin */
};

/* Kinds above enum bus_news_kind: what passes between the engines of two nodes, and no hub hears. */
enum news_more_kind {
    NEWS_ORDER = 64, /* number, time_ms, order, user, body, conn, action */
    NEWS_RECEIPT,    /* number: of the order that was carried out; connections */
    NEWS_CALL,       /* number: the ticket, for the answer; time_ms, what, body */
    NEWS_ANSWER,     /* number: the ticket; body */
    NEWS_LOG,        /* number: place of a note's change in the log of all nodes; body: as it stands there */
    NEWS_MORE_KINDS
};

struct news_more {
    uint8_t kind;  /* enum news_more_kind */
    uint8_t order; /* enum bus_order_kind */
    uint16_t action, what;
    uint32_t connections;
    uint64_t origin;
    uint64_t number;  /* the sender's to give, but that of NEWS_LOG */
    uint64_t time_ms; /* cluster time when it was told: one that comes much later is not done any more */
    struct bus_handle conn;
    struct slice user, body; /* as read: borrowed from the message */
};

/* --- Writing ------------------------------------------------------------------------------------------------------ */

/* Appends a news with its length: version, kind, origin and the fields of its kind; the others are not looked at.
 * n->mail and n->data are not, either. A kind that does not exist, or an id or name above 255 bytes: b->oom. */
void news_put(struct buf *b, const struct bus_news *n);
void news_more_put(struct buf *b, const struct news_more *m);

/* --- Reading ------------------------------------------------------------------------------------------------------ */

/* A news that was not looked into yet. */
struct news_in {
    uint8_t kind;
    uint64_t origin;
    struct slice fields; /* borrowed from the message */
};
/* Takes the next news of a known version off the front of a message: 1; 0: there is none left. ERR_INVALID: the lengths
 * are wrong, and nothing of what is left can be read. */
MUST_CHECK int news_next(struct slice *message, struct news_in *out);

/* What the hub hears: a copy, to be freed. ERR_INVALID: no such kind, or it is not as a node would write it;
 * ERR_NOMEM. */
MUST_CHECK int news_read(const struct news_in *in, struct bus_news **out);
/* The same of the other kinds. */
MUST_CHECK int news_more_read(const struct news_in *in, struct news_more *out);

#endif
