/*
 * The forms that this server speaks, and their encoders (frame.h). A connection points to one of them by conn.form;
 * each net has the table, so that a further form is one more row: a gateway's.
 *
 * A compressed form is a row beside the plain one. What is not worth compressing, or is to stay as it is, looks the
 * same in both.
 */
#ifndef MAGPIE_NET_ENCODER_H
#define MAGPIE_NET_ENCODER_H

#include "core/base/frame.h"

struct deflater;

enum wire_form {
    WIRE_TCP,               /* length u32 | action u16 | seq u16 | body */
    WIRE_WS_BINARY,         /* RFC 6455 binary message: action u16 | seq u16 | body */
    WIRE_WS_TEXT,           /* RFC 6455 text message: {"action":N,"seq":N,"body":{…}} */
    WIRE_SILENT,            /* nothing: a connection of a claimed path, to which its owner alone speaks */
    WIRE_TCP_GZIP,          /* as WIRE_TCP; bit 15 of action: the body is gzip */
    WIRE_WS_BINARY_DEFLATE, /* RFC 7692, permessage-deflate: RSV1 */
    WIRE_WS_TEXT_DEFLATE,
    WIRE_WS_BINARY_NARROW, /* the same for receivers with a smaller window */
    WIRE_WS_TEXT_NARROW,
    WIRE_FORMS /* rows from here on are others' */
};

enum {
    ACTION_GZIP = 0x8000 /* bit 15 of action */
};

/* The rows. The compressed ones say the same as the plain ones until their ctx is a struct deflater, of the net that
 * they are in. */
extern const struct encoder *const encoders_own[WIRE_FORMS];

/* The form that says the same uncompressed. */
uint8_t wire_form_plain(uint8_t form);
/* The form of a WebSocket. packed: permessage-deflate was negotiated; narrow: its window is small. */
uint8_t wire_form_ws(bool text, bool packed, bool narrow);

/* A wire without a frame. NULL: out of memory. */
struct wire *wire_new(enum wire_form form, uint16_t action, uint16_t seq, struct slice body, uint32_t tag);
/* A WebSocket message as it is given. NULL: out of memory. */
struct wire *wire_message(bool text, struct slice data);
/* The same, compressed where that makes it smaller. */
struct wire *wire_message_packed(struct deflater *d, bool narrow, bool text, struct slice data);

#endif
