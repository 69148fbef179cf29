/*
 * What Redis says: its protocol (RESP2), read with hiredis's reader, and the packed strings that our functions return.
 *
 * Replies live in the reader's own memory until resp_forget(): a whole group's replies are looked at together, once its
 * WAIT has been answered. One thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_RESP_H
#define MAGPIE_STORAGE_REDIS_RESP_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum reply_type { REPLY_STRING, REPLY_LIST, REPLY_NUMBER, REPLY_NIL, REPLY_STATUS, REPLY_ERROR };

struct reply {
    enum reply_type type;
    uint32_t n;         /* LIST: its length */
    int64_t number;     /* NUMBER */
    struct slice text;  /* STRING, STATUS, ERROR; borrowed from the reader */
    struct reply *list; /* LIST: n of them; borrowed from the reader */
};

/* --- The reader --------------------------------------------------------------------------------------------------- */

enum {
    RESP_MAX = 64 << 20,     /* bytes of one string of a reply; more is taken for garbage */
    RESP_REPLY = 512 << 20,  /* bytes of one reply with all that is in it; likewise */
    RESP_LIST_MAX = 1 << 20, /* elements of one list; likewise */
    RESP_KEEP = 1 << 20,     /* bytes of an empty buffer that are not given back */
    RESP_DEPTH = 7           /* lists in lists, which hiredis refuses beyond */
};

struct redisReader;
struct resp_chunk;

struct resp {
    struct redisReader *reader; /* owned */
    struct resp_chunk *chunks;  /* what replies are made in: the newest first; owned */
    size_t made;                /* bytes of the reply that is being made, … */
    size_t most;                /* … and how many it may have: RESP_REPLY */
};

/* ERR_NOMEM. */
MUST_CHECK int resp_init(struct resp *in);
void resp_fini(struct resp *in);
/* Adds bytes that have come. ERR_NOMEM; ERR_TOOLARGE: a reply is larger than RESP_MAX. */
MUST_CHECK int resp_feed(struct resp *in, const char *p, size_t n);
/* The next whole reply: 1, and *out, which lives until resp_forget(). 0: more bytes are needed. ERR_INVALID: this is
 * not the protocol, or it is past a limit above; ERR_NOMEM: out of memory, or RESP_REPLY. After an error the reader is
 * of no use any more. */
MUST_CHECK int resp_next(struct resp *in, const struct reply **out);
/* Gives back the memory of all replies that were returned. Not while one is half read, but between two. */
void resp_forget(struct resp *in);

/* --- Commands ----------------------------------------------------------------------------------------------------- */

/* Appends a bulk string: one argument of a command. */
void resp_put(struct buf *b, struct slice s);
/* Appends a command of n arguments. */
void resp_command(struct buf *b, const struct slice *argv, unsigned n);
/* Appends a number as an argument, in decimal. */
void resp_put_u64(struct buf *b, uint64_t v);
/* Appends the beginning of a command of n arguments. */
void resp_open(struct buf *b, unsigned n);
/* Appends the beginning of an argument of n bytes: they follow, and a CR LF. */
void resp_bulk(struct buf *b, size_t n);

/* --- Packed replies ----------------------------------------------------------------------------------------------- */

/* Reads a packed string from its beginning. What is not there reads as 0, and from then on `bad` says so: whoever reads
 * looks at reply_ok() once, at the end. */
struct reply_in {
    const char *p, *end; /* what is left; borrowed from the reply */
    bool bad;            /* it was too short, or no string */
};

static inline struct reply_in reply_in(const struct reply *r)
{
    bool string = r->type == REPLY_STRING;
    return (struct reply_in){string ? r->text.p : NULL, string ? r->text.p + r->text.n : NULL, !string};
}
static inline bool reply_ok(const struct reply_in *in)
{
    return !in->bad;
}
static inline size_t reply_left(const struct reply_in *in)
{
    return (size_t)(in->end - in->p);
}

/* The next n bytes, borrowed from the reply. */
static inline struct slice reply_slice(struct reply_in *in, size_t n)
{
    if (in->bad || reply_left(in) < n) {
        in->bad = true;
        return SLICE_NONE;
    }
    struct slice s = slice_of(in->p, n);
    in->p += n;
    return s;
}
/* All that is left. */
static inline struct slice reply_rest(struct reply_in *in)
{
    return reply_slice(in, in->bad ? 0 : reply_left(in));
}

/* Big-endian integers. */
static inline uint8_t reply_u8(struct reply_in *in)
{
    struct slice s = reply_slice(in, 1);
    return s.n ? (uint8_t)*s.p : 0;
}
static inline uint16_t reply_u16(struct reply_in *in)
{
    struct slice s = reply_slice(in, 2);
    return s.n ? load_be16(s.p) : 0;
}
static inline uint32_t reply_u32(struct reply_in *in)
{
    struct slice s = reply_slice(in, 4);
    return s.n ? load_be32(s.p) : 0;
}
static inline uint64_t reply_u48(struct reply_in *in)
{
    struct slice s = reply_slice(in, 6);
    return s.n ? (uint64_t)load_be16(s.p) << 32 | load_be32(s.p + 2) : 0;
}
static inline uint64_t reply_u64(struct reply_in *in)
{
    struct slice s = reply_slice(in, 8);
    return s.n ? load_be64(s.p) : 0;
}
/* Bytes with their length before them. */
static inline struct slice reply_slice8(struct reply_in *in)
{
    return reply_slice(in, reply_u8(in));
}
static inline struct slice reply_slice16(struct reply_in *in)
{
    return reply_slice(in, reply_u16(in));
}
static inline struct slice reply_slice32(struct reply_in *in)
{
    return reply_slice(in, reply_u32(in));
}

#endif
