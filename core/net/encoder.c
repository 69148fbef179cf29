#include "core/net/encoder.h"

#include "core/base/buf.h"
#include "core/net/tcp.h"
#include "core/net/websocket.h"

#include <stdio.h>

enum { ACTION_AND_SEQ = 4 };

static struct wire *tcp(const struct encoder *self, uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    uint8_t head[TCP_HEADER];
    (void)self;
    store_be32(head, (uint32_t)(TCP_HEADER + body.n));
    store_be16(head + 4, action);
    store_be16(head + 6, seq);
    const struct slice parts[] = {slice_of(head, sizeof head), body};
    return wire_make(parts, 2, action, seq, tag);
}

static struct wire *ws_binary(const struct encoder *self, uint16_t action, uint16_t seq, struct slice body,
                              uint32_t tag)
{
    uint8_t head[WS_HEADER_MAX + ACTION_AND_SEQ];
    (void)self;
    size_t n = ws_header(head, WS_BINARY, ACTION_AND_SEQ + body.n);
    store_be16(head + n, action);
    store_be16(head + n + 2, seq);
    const struct slice parts[] = {slice_of(head, n + ACTION_AND_SEQ), body};
    return wire_make(parts, 2, action, seq, tag);
}

static struct wire *ws_text(const struct encoder *self, uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    uint8_t head[WS_HEADER_MAX];
    char text[64];
    (void)self;
    if (body.n == 0)
        body = SLICE_LIT("{}");
    int t = snprintf(text, sizeof text, "{\"action\":%u,\"seq\":%u,\"body\":", action, seq);
    size_t n = ws_header(head, WS_TEXT, (size_t)t + body.n + 1);
    const struct slice parts[] = {slice_of(head, n), slice_of(text, (size_t)t), body, SLICE_LIT("}")};
    return wire_make(parts, 4, action, seq, tag);
}

static struct wire *silent(const struct encoder *self, uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    (void)self, (void)body;
    return wire_make(NULL, 0, action, seq, tag);
}

const struct encoder *const encoders_own[WIRE_FORMS] = {
    [WIRE_TCP] = &(const struct encoder){.name = "tcp", .encode = tcp},
    [WIRE_WS_BINARY] = &(const struct encoder){.name = "binary", .encode = ws_binary},
    [WIRE_WS_TEXT] = &(const struct encoder){.name = "text", .encode = ws_text},
    [WIRE_SILENT] = &(const struct encoder){.name = "claimed", .encode = silent},
};

struct wire *wire_new(enum wire_form form, uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    return encoders_own[form]->encode(encoders_own[form], action, seq, body, tag);
}

struct wire *wire_message(bool text, struct slice data)
{
    uint8_t head[WS_HEADER_MAX];
    const struct slice parts[] = {slice_of(head, ws_header(head, text ? WS_TEXT : WS_BINARY, data.n)), data};
    return wire_make(parts, 2, WIRE_NAMELESS, 0, WIRE_TAG_NONE);
}
