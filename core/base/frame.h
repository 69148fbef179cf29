/*
 * Frames: what the server says, encoded at most once per wire form whatever the number of receivers.
 *
 * A `frame` is an immutable action + seq + JSON body. Its `wire`s are the bytes as they go to a socket, made when the
 * first receiver of that form appears. Both are reference-counted without atomics: they belong to one shard (what
 * crosses shards is the body's bytes, in a mail). One thread each.
 */
#ifndef MAGPIE_BASE_FRAME_H
#define MAGPIE_BASE_FRAME_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum wire_form {
    WIRE_TCP,       /* length u32 | action u16 | seq u16 | body */
    WIRE_WS_BINARY, /* RFC 6455 binary message: action u16 | seq u16 | body */
    WIRE_WS_TEXT,   /* RFC 6455 text message: {"action":N,"seq":N,"body":{…}} */
    WIRE_FORMS
};

#define WIRE_TAG_NONE UINT32_MAX

enum { BUNDLE_MAX = 32, BUNDLE_BYTES = 16384 }; /* frames; bytes of their bodies, if they are more than one */

struct wire {
    uint32_t refs;  /* owners on this shard */
    uint32_t len;   /* bytes in data */
    uint32_t tag;   /* what conn_purge() selects by: the shard's channel index, or WIRE_TAG_NONE */
    uint8_t data[]; /* ready for the socket */
};

struct frame {
    uint32_t refs; /* owners on this shard */
    uint32_t tag;  /* passed on to its wires */
    uint16_t action;
    uint16_t seq;
    uint32_t body_len;              /* bytes in body */
    struct wire *wires[WIRE_FORMS]; /* made on demand; each holds one reference */
    char body[];                    /* UTF-8 JSON object; may be empty */
};

/* Copies the body. NULL: out of memory. One reference belongs to the caller. */
struct frame *frame_new(uint16_t action, uint16_t seq, struct slice body, uint32_t tag);
void frame_unref(struct frame *f);
/* The frame in that form, borrowed from the frame; NULL: out of memory. */
struct wire *frame_wire(struct frame *f, enum wire_form form);

/* Frames of one tag that go out together, joined at most once per wire form; all zero: none. One thread. */
struct bundle {
    uint32_t n;
    uint32_t bytes;                   /* of the bodies */
    struct frame *frames[BUNDLE_MAX]; /* in order; each a reference */
    struct wire *joined[WIRE_FORMS];  /* made on demand; each a reference */
};

/* Takes a reference. False: it is full, or would be larger than a copy is worth; nothing changed. */
bool bundle_add(struct bundle *b, struct frame *f);
/* All frames in that form, one after the other, borrowed from the bundle; NULL: out of memory, or there is none. */
struct wire *bundle_wire(struct bundle *b, enum wire_form form);
/* Drops what it holds. */
void bundle_clear(struct bundle *b);

/* A wire without a frame, for answers that go to one connection. NULL: out of memory. */
struct wire *wire_new(enum wire_form form, uint16_t action, uint16_t seq, struct slice body, uint32_t tag);
/* A WebSocket message as it is given. NULL: out of memory. */
struct wire *wire_message(bool text, struct slice data);
/* A wire of raw bytes (HTTP answers, WebSocket control frames). */
struct wire *wire_raw(struct slice bytes, uint32_t tag);
static inline void wire_ref(struct wire *w)
{
    w->refs++;
}
void wire_unref(struct wire *w);

#endif
