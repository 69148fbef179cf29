#include "core/net/encoder.h"

#include "core/base/buf.h"
#include "core/net/deflate.h"
#include "core/net/tcp.h"
#include "core/net/websocket.h"

#include <stdio.h>

enum { ACTION_AND_SEQ = 4, TEXT_HEAD = 64 };

/* --- TCP ---------------------------------------------------------------------------------------------------------- */

/* `shown`: the action as it stands in the frame. */
static struct wire *tcp_frame(uint16_t shown, uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    uint8_t head[TCP_HEADER];
    store_be32(head, (uint32_t)(TCP_HEADER + body.n));
    store_be16(head + 4, shown);
    store_be16(head + 6, seq);
    const struct slice parts[] = {slice_of(head, sizeof head), body};
    return wire_make(parts, 2, action, seq, tag);
}

static struct wire *tcp(const struct encoder *self, uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    (void)self;
    return tcp_frame(action, action, seq, body, tag);
}

static struct wire *tcp_gzip(const struct encoder *self, uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    struct slice packed = self->ctx ? deflate_gzip(self->ctx, body) : SLICE_NONE;
    if (!packed.p)
        return tcp_frame(action, action, seq, body, tag);
    return tcp_frame(action | ACTION_GZIP, action, seq, packed, tag);
}

/* --- WebSocket ---------------------------------------------------------------------------------------------------- */

enum { PARTS_MAX = 3 };

/* A message of those parts, compressed when there is a deflater that makes it smaller. */
static struct wire *ws_message(struct deflater *d, enum deflate_window window, enum ws_opcode opcode,
                               const struct slice *parts, unsigned n, uint16_t action, uint16_t seq, uint32_t tag)
{
    uint8_t head[WS_HEADER_MAX];
    struct slice all[1 + PARTS_MAX], packed = d ? deflate_message(d, window, parts, n) : SLICE_NONE;
    size_t bytes = 0;
    if (packed.p) {
        all[1] = packed;
        bytes = packed.n;
        n = 1;
    } else {
        for (unsigned i = 0; i < n; i++) {
            all[1 + i] = parts[i];
            bytes += parts[i].n;
        }
    }
    all[0] = slice_of(head, ws_header(head, opcode, bytes));
    if (packed.p)
        head[0] |= WS_RSV1;
    return wire_make(all, 1 + n, action, seq, tag);
}

static struct wire *in_binary(struct deflater *d, enum deflate_window window, uint16_t action, uint16_t seq,
                              struct slice body, uint32_t tag)
{
    uint8_t head[ACTION_AND_SEQ];
    store_be16(head, action);
    store_be16(head + 2, seq);
    const struct slice parts[] = {slice_of(head, sizeof head), body};
    return ws_message(d, window, WS_BINARY, parts, 2, action, seq, tag);
}

static struct wire *in_text(struct deflater *d, enum deflate_window window, uint16_t action, uint16_t seq,
                            struct slice body, uint32_t tag)
{
    char head[TEXT_HEAD];
    if (body.n == 0)
        body = SLICE_LIT("{}");
    int n = snprintf(head, sizeof head, "{\"action\":%u,\"seq\":%u,\"body\":", action, seq);
    const struct slice parts[] = {slice_of(head, (size_t)n), body, SLICE_LIT("}")};
    return ws_message(d, window, WS_TEXT, parts, 3, action, seq, tag);
}

static struct wire *ws_binary(const struct encoder *self, uint16_t action, uint16_t seq, struct slice body,
                              uint32_t tag)
{
    return in_binary(self->ctx, DEFLATE_WIDE, action, seq, body, tag);
}

static struct wire *ws_binary_narrow(const struct encoder *self, uint16_t action, uint16_t seq, struct slice body,
                                     uint32_t tag)
{
    return in_binary(self->ctx, DEFLATE_NARROW, action, seq, body, tag);
}

static struct wire *ws_text(const struct encoder *self, uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    return in_text(self->ctx, DEFLATE_WIDE, action, seq, body, tag);
}

static struct wire *ws_text_narrow(const struct encoder *self, uint16_t action, uint16_t seq, struct slice body,
                                   uint32_t tag)
{
    return in_text(self->ctx, DEFLATE_NARROW, action, seq, body, tag);
}

static struct wire *silent(const struct encoder *self, uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    (void)self, (void)body;
    return wire_make(NULL, 0, action, seq, tag);
}

/* --- The table ---------------------------------------------------------------------------------------------------- */

const struct encoder *const encoders_own[WIRE_FORMS] = {
    [WIRE_TCP] = &(const struct encoder){.name = "tcp", .encode = tcp},
    [WIRE_WS_BINARY] = &(const struct encoder){.name = "binary", .encode = ws_binary},
    [WIRE_WS_TEXT] = &(const struct encoder){.name = "text", .encode = ws_text},
    [WIRE_SILENT] = &(const struct encoder){.name = "claimed", .encode = silent},
    [WIRE_TCP_GZIP] = &(const struct encoder){.name = "tcp", .encode = tcp_gzip},
    [WIRE_WS_BINARY_DEFLATE] = &(const struct encoder){.name = "binary", .encode = ws_binary},
    [WIRE_WS_TEXT_DEFLATE] = &(const struct encoder){.name = "text", .encode = ws_text},
    [WIRE_WS_BINARY_NARROW] = &(const struct encoder){.name = "binary", .encode = ws_binary_narrow},
    [WIRE_WS_TEXT_NARROW] = &(const struct encoder){.name = "text", .encode = ws_text_narrow},
};

uint8_t wire_form_plain(uint8_t form)
{
    switch (form) {
    case WIRE_TCP_GZIP:
        return WIRE_TCP;
    case WIRE_WS_BINARY_DEFLATE:
    case WIRE_WS_BINARY_NARROW:
        return WIRE_WS_BINARY;
    case WIRE_WS_TEXT_DEFLATE:
    case WIRE_WS_TEXT_NARROW:
        return WIRE_WS_TEXT;
    default:
        return form;
    }
}

uint8_t wire_form_ws(bool text, bool packed, bool narrow)
{
    if (!packed)
        return text ? WIRE_WS_TEXT : WIRE_WS_BINARY;
    if (narrow)
        return text ? WIRE_WS_TEXT_NARROW : WIRE_WS_BINARY_NARROW;
    return text ? WIRE_WS_TEXT_DEFLATE : WIRE_WS_BINARY_DEFLATE;
}

struct wire *wire_new(enum wire_form form, uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    return encoders_own[form]->encode(encoders_own[form], action, seq, body, tag);
}

struct wire *wire_message(bool text, struct slice data)
{
    return wire_message_packed(NULL, false, text, data);
}

struct wire *wire_message_packed(struct deflater *d, bool narrow, bool text, struct slice data)
{
    return ws_message(d, narrow ? DEFLATE_NARROW : DEFLATE_WIDE, text ? WS_TEXT : WS_BINARY, &data, 1, WIRE_NAMELESS, 0,
                      WIRE_TAG_NONE);
}
