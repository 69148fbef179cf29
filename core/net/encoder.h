/*
 * The forms that this server speaks, and their encoders (frame.h). A connection points to one of them by conn.form;
 * each net has the table, so that a further form is one more row: a compressed one, or a gateway's.
 */
#ifndef MAGPIE_NET_ENCODER_H
#define MAGPIE_NET_ENCODER_H

#include "core/base/frame.h"

enum wire_form {
    WIRE_TCP,       /* length u32 | action u16 | seq u16 | body */
    WIRE_WS_BINARY, /* RFC 6455 binary message: action u16 | seq u16 | body */
    WIRE_WS_TEXT,   /* RFC 6455 text message: {"action":N,"seq":N,"body":{…}} */
    WIRE_SILENT,    /* nothing: a connection of a claimed path, to which its owner alone speaks */
    WIRE_FORMS      /* rows from here on are others' */
};

extern const struct encoder *const encoders_own[WIRE_FORMS];

/* A wire without a frame. NULL: out of memory. */
struct wire *wire_new(enum wire_form form, uint16_t action, uint16_t seq, struct slice body, uint32_t tag);
/* A WebSocket message as it is given. NULL: out of memory. */
struct wire *wire_message(bool text, struct slice data);

#endif
