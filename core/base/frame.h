/*
 * Frames: what the server says, encoded at most once per form whatever the number of receivers.
 *
 * A `frame` is an immutable action + seq + JSON body. Its `wire`s are the bytes as they go to a socket, made when the
 * first receiver of that form appears. Both are reference-counted without atomics: they belong to one shard (what
 * crosses shards is the body's bytes, in a mail). One thread each.
 *
 * A form is a row of a table of encoders, which whoever owns the connections keeps (core/net: TCP, WebSocket in binary
 * and in text, each of them compressed too; room for protocols of others). Frames know a form by its number alone.
 */
#ifndef MAGPIE_BASE_FRAME_H
#define MAGPIE_BASE_FRAME_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define WIRE_TAG_NONE UINT32_MAX

enum {
    WIRE_ROWS = 12,             /* forms at most */
    WIRE_NAMELESS = UINT16_MAX, /* wire.action of what is no frame */
    BUNDLE_MAX = 32,            /* frames */
    BUNDLE_BYTES = 16384        /* bytes of their bodies, if they are more than one */
};

struct wire {
    uint32_t refs;   /* owners on this shard */
    uint32_t len;    /* bytes in data; 0: this form has no words for the frame, and nothing is sent */
    uint32_t tag;    /* what conn_purge() selects by: the shard's channel index, or WIRE_TAG_NONE */
    uint16_t action; /* of its frame, or WIRE_NAMELESS */
    uint16_t seq;
    uint8_t data[]; /* ready for the socket */
};

/* A form: how a frame is said in it. */
struct encoder {
    const char *name; /* for people: "tcp" */
    /* The wire of a frame, made with wire_make(): the same for every receiver, since all share it. NULL: out of memory.
     * `self` is this encoder; on any shard's thread. */
    struct wire *(*encode)(const struct encoder *self, uint16_t action, uint16_t seq, struct slice body, uint32_t tag);
    void *ctx; /* its maker's: a deflater, a plugin */
};

/* A wire of the parts one after the other, with one reference. NULL: out of memory. */
struct wire *wire_make(const struct slice *parts, unsigned n, uint16_t action, uint16_t seq, uint32_t tag);
/* A wire of raw bytes (HTTP answers, WebSocket control frames). */
struct wire *wire_raw(struct slice bytes, uint32_t tag);
static inline void wire_ref(struct wire *w)
{
    w->refs++;
}
void wire_unref(struct wire *w);
/* Copies a wire's bytes to `at`; returns where the next one goes. */
static inline uint8_t *wire_copy(uint8_t *at, const struct wire *w)
{
    memcpy(at, w->data, w->len);
    return at + w->len;
}

struct frame {
    uint32_t refs; /* owners on this shard */
    uint32_t tag;  /* passed on to its wires */
    uint16_t action;
    uint16_t seq;
    uint32_t body_len;             /* bytes in body */
    struct wire *wires[WIRE_ROWS]; /* by form; made on demand; each holds one reference */
    const char *body;              /* UTF-8 JSON object; may be empty; borrowed, or `own` */
    char own[];
};

/* Copies the body. NULL: out of memory. One reference belongs to the caller. */
struct frame *frame_new(uint16_t action, uint16_t seq, struct slice body, uint32_t tag);
/* The same without a copy: the body must stay as it is for as long as somebody may ask for a further form. Wires have
 * bytes of their own. */
struct frame *frame_borrow(uint16_t action, uint16_t seq, struct slice body, uint32_t tag);
void frame_unref(struct frame *f);
/* The frame in a form, whose encoder is `e`; borrowed from the frame. NULL: out of memory. */
struct wire *frame_wire(struct frame *f, unsigned form, const struct encoder *e);

/* Frames of one tag that go out together, joined at most once per form; all zero: none. One thread. */
struct bundle {
    uint32_t n;
    uint32_t bytes;                   /* of the bodies */
    struct frame *frames[BUNDLE_MAX]; /* in order; each a reference */
    struct wire *joined[WIRE_ROWS];   /* by form; made on demand; each a reference */
};

/* Takes a reference. False: it is full, or would be larger than a copy is worth; nothing changed. */
bool bundle_add(struct bundle *b, struct frame *f);
/* All frames in that form, one after the other, borrowed from the bundle; NULL: out of memory, or there is none. */
struct wire *bundle_wire(struct bundle *b, unsigned form, const struct encoder *e);
/* Drops what it holds. */
void bundle_clear(struct bundle *b);

#endif
