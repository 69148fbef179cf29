/* ws_parse(): however the bytes are cut into pieces, the same is told; nothing outside the input is touched; no message
 * is over the limit. */
#include "core/base/hash.h"
#include "core/net/websocket.h"

#include <stdlib.h>

enum { LIMIT = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was told, as one number, and where it ended. */
struct story {
    uint64_t hash;
    unsigned events;
};

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void tell(struct story *s, const struct ws_result *r)
{
    uint64_t parts[] = {s->hash, r->event, r->opcode, r->rsv, r->code, r->data.n, hash_bytes(r->data)};
    s->hash = hash_bytes(slice_of(parts, sizeof parts));
    s->events++;
    check(r->data.n <= (r->rsv ? ws_packed_max(LIMIT) : LIMIT));
    check((r->why != NULL) == (r->event == WS_EV_ERROR));
    check(r->event != WS_EV_CLOSE || r->code == WS_CODE_NONE || ws_code_valid(r->code));
}

/* As a connection does it: what cannot be used yet is kept in a buffer of just that size. */
static struct story play(const uint8_t *data, size_t size, size_t piece, uint8_t rsv)
{
    struct story s = {.hash = 0};
    struct ws_parser ws = {.opcode = 0};
    uint8_t *kept = malloc(1);
    size_t msg_n = 0, n = 0;
    bool over = false;
    for (size_t at = 0; at < size && !over; at += piece) {
        size_t fresh = size - at < piece ? size - at : piece;
        uint8_t *bytes = malloc(n + fresh);
        memcpy(bytes, kept, n);
        memcpy(bytes + n, data + at, fresh);
        struct ws_input in = {.p = bytes, .msg_n = msg_n, .pos = msg_n, .end = n + fresh};
        for (;;) {
            struct ws_result r = ws_parse(&ws, &in, LIMIT, rsv);
            check(in.pos <= in.end && in.end == n + fresh && in.msg_n <= ws_packed_max(LIMIT) &&
                  (in.msg_n == 0 || in.msg + in.msg_n <= in.pos));
            if (r.event == WS_EV_MORE)
                break;
            tell(&s, &r);
            over = r.event == WS_EV_CLOSE || r.event == WS_EV_ERROR;
            if (over)
                break;
        }
        msg_n = in.msg_n;
        n = msg_n + in.end - in.pos;
        check(over || in.end - in.pos < 131); /* only a header or a control frame waits */
        free(kept);
        kept = malloc(n ? n : 1);
        if (msg_n)
            memcpy(kept, bytes + in.msg, msg_n);
        memcpy(kept + msg_n, bytes + in.pos, in.end - in.pos);
        free(bytes);
    }
    free(kept);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint8_t rsv = data[0] & 1 ? 0x40 : 0;
    size_t piece = (data[0] >> 1) + 1U;
    data++, size--;
    struct story whole = play(data, size, size, rsv), cut = play(data, size, piece, rsv);
    check(whole.events == cut.events && whole.hash == cut.hash);
    return 0;
}
