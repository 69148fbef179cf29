/* WebSocket frames as clients send them, for the tests of core/net. */
#ifndef MAGPIE_TESTS_WS_KIT_H
#define MAGPIE_TESTS_WS_KIT_H

#include "core/base/buf.h"

/* first: FIN, RSV and opcode, such as 0x81. The payload is masked. `wide`: the least header that is used, 0, 2 or 8
 * bytes of length. */
static inline void ws_put_wide(struct buf *b, unsigned first, struct slice payload, unsigned wide)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    buf_byte(b, (uint8_t)first);
    if (payload.n < 126 && wide == 0) {
        buf_byte(b, (uint8_t)(0x80 | payload.n));
    } else if (payload.n <= UINT16_MAX && wide <= 2) {
        buf_byte(b, 0x80 | 126);
        buf_u16(b, (uint16_t)payload.n);
    } else {
        buf_byte(b, 0x80 | 127);
        char n[8];
        store_be64(n, payload.n);
        buf_put(b, n, sizeof n);
    }
    buf_put(b, mask, 4);
    for (size_t i = 0; i < payload.n; i++)
        buf_byte(b, (uint8_t)payload.p[i] ^ mask[i & 3]);
}

static inline void ws_put(struct buf *b, unsigned first, struct slice payload)
{
    ws_put_wide(b, first, payload, 0);
}

/* A binary message of the protocol. */
static inline void ws_put_message(struct buf *b, uint16_t action, uint16_t seq, const char *body)
{
    struct buf m = BUF_INIT;
    buf_u16(&m, action);
    buf_u16(&m, seq);
    buf_str(&m, body);
    ws_put(b, 0x82, buf_slice(&m));
    buf_free(&m);
}

#endif
