/*
 * RFC 6455 framing, the server's side. Pure functions over bytes: nothing here knows of sockets.
 *
 * Payload is unmasked in place as it arrives, and moved behind what the message has so far. So a message is always
 * contiguous, and invalid UTF-8 is known at the first wrong byte. Only control frames and headers wait until they are
 * complete.
 */
#ifndef MAGPIE_NET_WEBSOCKET_H
#define MAGPIE_NET_WEBSOCKET_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_opcode { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

/* What a header's first byte has beside the opcode. */
enum { WS_FIN = 0x80, WS_RSV = 0x70, WS_RSV1 = 0x40 /* permessage-deflate: the message is compressed */ };

enum ws_code {
    WS_CODE_NORMAL = 1000,
    WS_CODE_GOING_AWAY = 1001,
    WS_CODE_PROTOCOL = 1002,
    WS_CODE_NONE = 1005, /* a close frame without a code; never on the wire */
    WS_CODE_TEXT = 1007,
    WS_CODE_POLICY = 1008,
    WS_CODE_TOO_LARGE = 1009
};

/* What must be kept between two reads: of the frame whose payload is arriving, and of the message that it belongs to.
 * All 0 at first. */
struct ws_parser {
    uint64_t left;   /* payload bytes of the current frame that have not arrived */
    uint8_t mask[4]; /* of the current frame, rotated to the next payload byte */
    uint32_t utf8;   /* utf8_check()'s state */
    uint8_t opcode;  /* of the message: WS_TEXT, WS_BINARY; 0: none is under way */
    uint8_t rsv;     /* RSV bits of the message's first frame (WS_RSV1: compressed) */
    bool fin;        /* the current frame ends the message */
    bool in_frame;   /* the current frame's header is taken */
};

/* Where the bytes are. [msg, msg + msg_n) is the message so far, [pos, end) is unparsed; msg + msg_n <= pos. */
struct ws_input {
    uint8_t *p;
    size_t msg, msg_n, pos, end;
};

enum ws_event {
    WS_EV_MORE,    /* all that has arrived is taken in */
    WS_EV_MESSAGE, /* a whole message: opcode, data */
    WS_EV_PING,    /* data to send back */
    WS_EV_PONG,    /* data */
    WS_EV_CLOSE,   /* code (valid, or WS_CODE_NONE); data is the reason */
    WS_EV_ERROR    /* code is what to close with; why says it for people */
};

struct ws_result {
    enum ws_event event;
    uint8_t opcode, rsv; /* of a message */
    uint16_t code;       /* enum ws_code, or the other side's */
    struct slice data;   /* within the input, until the next call */
    const char *why;     /* static */
};

/* What a compressed message of at most `limit` bytes may have: some bytes cannot be made fewer. */
static inline uint64_t ws_packed_max(uint64_t limit)
{
    return limit + limit / 64 + 64;
}
/* Takes input until something is to be told. `limit`: bytes of a message, all fragments together; of a compressed one
 * those that it came as may be ws_packed_max(limit). `rsv_allowed`: RSV bits (WS_RSV1 …) that a negotiated extension
 * gives a meaning to; compressed text is not checked for UTF-8 here. */
struct ws_result ws_parse(struct ws_parser *ws, struct ws_input *in, uint64_t limit, uint8_t rsv_allowed);

/* The header of a whole message as the server sends it, of n bytes of payload: FIN and the opcode, no mask. Its size.
 * */
enum { WS_HEADER_MAX = 10 };
size_t ws_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, size_t n);
/* XORs n bytes with the mask; p[0] meets mask[0]. Returns nothing, rotates `mask` for the byte after. */
void ws_unmask(uint8_t *p, size_t n, uint8_t mask[4]);
/* Whether a close code may stand in a frame from a client. */
bool ws_code_valid(uint16_t code);
/* A close frame as the server sends it, at most 127 bytes; WS_CODE_NONE makes an empty one. Returns its size. */
size_t ws_close_frame(uint8_t out[127], uint16_t code, struct slice reason);
/* A control frame as the server sends it; payload of at most 125 bytes. Returns its size. */
size_t ws_control_frame(uint8_t out[127], enum ws_opcode opcode, struct slice payload);

#endif
