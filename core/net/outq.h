/*
 * A connection's unsent output: a bounded ring of wires.
 *
 * It exists only while something is unsent or a skipped tag is remembered, and comes from a freelist, so that a fan-out
 * allocates nothing. Eight wires fit without a further allocation. One thread.
 */
#ifndef MAGPIE_NET_OUTQ_H
#define MAGPIE_NET_OUTQ_H

#include "core/base/err.h"
#include "core/base/frame.h"

#include <stdbool.h>
#include <stdint.h>

enum { OUTQ_INLINE = 8, GATHER_WIRES = 64, GATHER_BYTES = 16384 };

struct stream;

struct outq {
    struct outq *next_free; /* on the freelist */
    struct wire **ring;     /* cap slots, each in use holds a reference; `few`, or malloc'd and owned */
    struct wire *rest;      /* sealed bytes that go first, as they are (stream.h); a reference; NULL: none */
    uint32_t *tags;         /* tags of skipped wires, ascending, each once; malloc'd, owned; NULL: none */
    uint32_t bytes;         /* left to write, those of `rest` included */
    uint32_t sent;          /* bytes of the first wire that are written */
    uint32_t head;          /* slot of the first wire */
    uint32_t count;         /* wires */
    uint32_t cap;           /* slots, a power of two */
    uint16_t tag_count;     /* in tags */
    uint16_t tag_cap;       /* room in tags */
    bool lost : 1;          /* a skipped tag could not be remembered: the connection must end */
    bool with_user : 1;     /* what is charged is on its user's account too */
    bool over : 1;          /* its address or user held too much when that was last looked at */
    uint16_t charged;       /* pages that are on its address's account (send.c) */
    uint32_t held;          /* bytes that are counted as held without a login (net_shared.h) */
    struct wire *few[OUTQ_INLINE];
};
_Static_assert(sizeof(struct outq) == 128, "ten thousand receivers of one message need as many");

struct outq_pool {
    struct outq *free;   /* freelist */
    uint32_t free_count; /* on it */
    uint32_t low;        /* least free_count since the last trim: that many were not needed */
    uint64_t memory;     /* bytes of all queues, those on the freelist included */
};

/* The bytes of the last gathering: receivers of the same messages share one copy. One a net. (A bundle, frame.h, is the
 * same for a walk, which knows its frames before it knows the form; a queue holds wires of any frames.) */
struct gather {
    /* what `bytes` holds, in order; each a reference, so that no address can come back as another wire */
    struct wire *wires[GATHER_WIRES];
    uint32_t count; /* of wires */
    uint32_t n;     /* bytes in use */
    uint8_t bytes[GATHER_BYTES];
};

/* NULL: out of memory. */
struct outq *outq_get(struct outq_pool *p);
/* Sees to it that the next outq_get() will not fail. ERR_NOMEM. */
MUST_CHECK int outq_ready(struct outq_pool *p);
/* Drops what is in it and gives it back. */
void outq_put(struct outq_pool *p, struct outq *q);
/* Frees a part of what was not needed lately. Once a second. */
void outq_trim(struct outq_pool *p);
void outq_pool_fini(struct outq_pool *p);
/* A queue leaves this pool's account, or enters it (conn_detach(), conn_attach()). */
uint32_t outq_memory(const struct outq *q);

/* ERR_NOMEM: nothing changed. */
MUST_CHECK int outq_grow(struct outq_pool *p, struct outq *q);
/* Appends a wire; takes a reference. */
MUST_CHECK static inline int outq_push(struct outq_pool *p, struct outq *q, struct wire *w)
{
    if (__builtin_expect(q->count == q->cap, 0) && outq_grow(p, q) != 0)
        return ERR_NOMEM;
    q->ring[(q->head + q->count++) & (q->cap - 1)] = w;
    q->bytes += w->len;
    wire_ref(w);
    return 0;
}
/* The wire that was pushed last, if it is not begun; NULL: there is none. Borrowed. */
const struct wire *outq_last(const struct outq *q);
/* Takes back that wire. */
void outq_pop_last(struct outq *q);
/* Removes the wires of a tag that are not begun, and the tag from the skipped ones. */
void outq_purge(struct outq *q, uint32_t tag);
/* The same for all tags. */
void outq_purge_all(struct outq *q);
/* Removes all wires that are not begun, and all skipped tags. */
void outq_drop(struct outq *q);
/* Remembers the tag of a skipped wire; WIRE_TAG_NONE is not remembered. */
void outq_skip(struct outq_pool *p, struct outq *q, uint32_t tag);
/* Whether nobody else refers to its wires. */
bool outq_exclusive(const struct outq *q);

/* Writes what the socket takes, in as few calls as can be. 0: all written; ERR_AGAIN: the socket is full; ERR_CLOSED:
 * it failed. */
MUST_CHECK int outq_write(struct outq *q, struct gather *g, const struct stream *stream, int fd);
/* The first n bytes of the wires that are left have been written, or are in a rest. */
void outq_advance(struct outq *q, size_t n);
/* Takes over what is left of sealed bytes, which leave before anything else. There must be none yet. */
void outq_keep_rest(struct outq *q, struct wire *rest);
/* Drops the references of the gathering. */
void gather_clear(struct gather *g);

#endif
