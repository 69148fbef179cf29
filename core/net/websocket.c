#include "core/net/websocket.h"

#include "core/base/buf.h"
#include "core/base/utf8.h"

#include <string.h>

enum { OPCODE = 0x0F, MASKED = 0x80, CONTROL = 0x08, CONTROL_MAX = 125 };

/* A header as it came. */
struct header {
    uint8_t rsv, opcode;
    bool fin;
    uint64_t length; /* of the payload */
    uint8_t mask[4];
};

/* --- Pieces ------------------------------------------------------------------------------------------------------- */

void ws_unmask(uint8_t *p, size_t n, uint8_t mask[4])
{
    uint64_t wide;
    uint8_t turned[8];
    size_t i = 0;
    memcpy(turned, mask, 4);
    memcpy(turned + 4, mask, 4);
    memcpy(&wide, turned, 8);
    for (; i + 32 <= n; i += 32) { /* four words at a time: compilers make vectors of it */
        uint64_t w[4];
        memcpy(w, p + i, 32);
        w[0] ^= wide;
        w[1] ^= wide;
        w[2] ^= wide;
        w[3] ^= wide;
        memcpy(p + i, w, 32);
    }
    for (; i + 8 <= n; i += 8) {
        uint64_t w;
        memcpy(&w, p + i, 8);
        w ^= wide;
        memcpy(p + i, &w, 8);
    }
    for (; i < n; i++)
        p[i] ^= turned[i & 7];
    memcpy(mask, turned + (n & 3), 4);
}

bool ws_code_valid(uint16_t code)
{
    /* RFC 6455 section 7.4 and IANA's registry; 1004-1006 and 1015 are for local use only. */
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

size_t ws_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, size_t n)
{
    out[0] = (uint8_t)(WS_FIN | opcode);
    if (n <= CONTROL_MAX) {
        out[1] = (uint8_t)n;
        return 2;
    }
    if (n <= UINT16_MAX) {
        out[1] = 126;
        store_be16(out + 2, (uint16_t)n);
        return 4;
    }
    out[1] = 127;
    store_be64(out + 2, n);
    return WS_HEADER_MAX;
}

size_t ws_control_frame(uint8_t out[127], enum ws_opcode opcode, struct slice payload)
{
    size_t n = payload.n < CONTROL_MAX ? payload.n : CONTROL_MAX;
    out[0] = (uint8_t)(WS_FIN | opcode);
    out[1] = (uint8_t)n;
    if (n)
        memcpy(out + 2, payload.p, n);
    return n + 2;
}

size_t ws_close_frame(uint8_t out[127], uint16_t code, struct slice reason)
{
    uint8_t payload[CONTROL_MAX];
    size_t n = reason.n < CONTROL_MAX - 2 ? reason.n : CONTROL_MAX - 2;
    if (code == WS_CODE_NONE)
        return ws_control_frame(out, WS_CLOSE, SLICE_NONE);
    if (n < reason.n)
        while (n && ((uint8_t)reason.p[n] & 0xC0) == 0x80) /* not in the middle of a character */
            n--;
    store_be16(payload, code);
    if (n)
        memcpy(payload + 2, reason.p, n);
    return ws_control_frame(out, WS_CLOSE, slice_of(payload, n + 2));
}

static struct ws_result event_of(enum ws_event event)
{
    return (struct ws_result){.event = event, .data = SLICE_NONE};
}

static struct ws_result error_of(uint16_t code, const char *why)
{
    return (struct ws_result){.event = WS_EV_ERROR, .code = code, .why = why, .data = SLICE_NONE};
}

/* --- Headers ------------------------------------------------------------------------------------------------------ */

/* What is wrong with the first two bytes of a frame, whatever the length; NULL: nothing. */
static const char *flaw(const struct ws_parser *ws, const struct header *h, bool masked, uint8_t rsv_allowed)
{
    bool control = h->opcode & CONTROL;
    if (h->rsv & ~(control || h->opcode == WS_CONTINUATION ? 0 : rsv_allowed))
        return "a reserved bit is set";
    if (h->opcode > WS_PONG || (h->opcode > WS_BINARY && !control))
        return "unknown opcode";
    if (!masked)
        return "frames from clients must be masked";
    if (control && !h->fin)
        return "a control frame in fragments";
    if (control && h->length > CONTROL_MAX)
        return "a control frame of more than 125 bytes";
    if (h->opcode == WS_CONTINUATION && !ws->opcode)
        return "a continuation without a beginning";
    if (!control && h->opcode != WS_CONTINUATION && ws->opcode)
        return "a new message inside another";
    return NULL;
}

/* Reads a header at p. Its size; 0: not complete (or `why` is set). All that can be known from a part is checked at
 * once. */
static size_t read_header(const struct ws_parser *ws, const uint8_t *p, size_t n, uint8_t rsv_allowed, struct header *h,
                          const char **why)
{
    size_t size = 2;
    if (n < 2)
        return 0;
    *h = (struct header){.rsv = p[0] & WS_RSV, .opcode = p[0] & OPCODE, .fin = p[0] & WS_FIN, .length = p[1] & 0x7FU};
    *why = flaw(ws, h, p[1] & MASKED, rsv_allowed);
    if (*why)
        return 0;
    if (h->length >= 126) {
        size = h->length == 126 ? 4 : 10;
        if (n < size)
            return 0;
        h->length = size == 4 ? load_be16(p + 2) : load_be64(p + 2);
        if (h->length < (size == 4 ? 126U : 65536U) || h->length > INT64_MAX)
            *why = "a length that is not in its shortest form, or is over 2^63";
        if (*why)
            return 0;
    }
    if (n < size + 4)
        return 0;
    memcpy(h->mask, p + size, 4);
    return size + 4;
}

/* --- Frames ------------------------------------------------------------------------------------------------------- */

/* A whole control frame, its header taken. */
static struct ws_result control(const struct header *h, struct slice payload)
{
    struct ws_result r = event_of(h->opcode == WS_PING ? WS_EV_PING : h->opcode == WS_PONG ? WS_EV_PONG : WS_EV_CLOSE);
    r.data = payload;
    if (h->opcode != WS_CLOSE)
        return r;
    r.code = WS_CODE_NONE;
    if (payload.n == 0)
        return r;
    if (payload.n == 1)
        return error_of(WS_CODE_PROTOCOL, "half a close code");
    r.code = load_be16(payload.p);
    r.data = slice_of(payload.p + 2, payload.n - 2);
    if (!ws_code_valid(r.code))
        return error_of(WS_CODE_PROTOCOL, "a close code that may not be sent");
    if (!utf8_valid(r.data))
        return error_of(WS_CODE_TEXT, "the close reason is not UTF-8");
    return r;
}

/* Takes the payload that is there. False: it is text that is not UTF-8. */
static bool take_payload(struct ws_parser *ws, struct ws_input *in)
{
    size_t there = in->end - in->pos, n = ws->left < there ? (size_t)ws->left : there;
    uint8_t *at = in->p + in->pos;
    if (n == 0)
        return true;
    ws_unmask(at, n, ws->mask);
    if (ws->opcode == WS_TEXT && !ws->rsv && !utf8_check(&ws->utf8, at, n))
        return false;
    if (in->msg_n == 0)
        in->msg = in->pos;
    else if (in->msg + in->msg_n != in->pos)
        memmove(in->p + in->msg + in->msg_n, at, n);
    in->msg_n += n;
    in->pos += n;
    ws->left -= n;
    return true;
}

/* The message under way is complete. Leaves everything ready for the next one. */
static struct ws_result finish(struct ws_parser *ws, struct ws_input *in)
{
    struct ws_result r = event_of(WS_EV_MESSAGE);
    if (ws->utf8)
        return error_of(WS_CODE_TEXT, "the text ends within a character");
    r.opcode = ws->opcode;
    r.rsv = ws->rsv;
    r.data = slice_of(in->p + in->msg, in->msg_n);
    in->msg_n = 0;
    *ws = (struct ws_parser){.opcode = 0};
    return r;
}

/* Takes the header of a data frame. NULL, or what is wrong with its size. */
static const char *begin_frame(struct ws_parser *ws, const struct ws_input *in, const struct header *h, uint64_t limit)
{
    if ((h->opcode == WS_CONTINUATION ? ws->rsv : h->rsv) & WS_RSV1)
        limit = ws_packed_max(limit);
    if (in->msg_n > limit || h->length > limit - in->msg_n)
        return "the message is too large";
    if (h->opcode != WS_CONTINUATION) {
        ws->opcode = h->opcode;
        ws->rsv = h->rsv;
        ws->utf8 = 0;
    }
    ws->left = h->length;
    ws->fin = h->fin;
    ws->in_frame = true;
    memcpy(ws->mask, h->mask, 4);
    return NULL;
}

struct ws_result ws_parse(struct ws_parser *ws, struct ws_input *in, uint64_t limit, uint8_t rsv_allowed)
{
    for (;;) {
        if (!ws->in_frame) {
            struct header h;
            const char *why = NULL;
            uint8_t *at = in->p + in->pos;
            size_t there = in->end - in->pos, n = read_header(ws, at, there, rsv_allowed, &h, &why);
            if (why)
                return error_of(WS_CODE_PROTOCOL, why);
            if (n == 0)
                return event_of(WS_EV_MORE);
            if (h.opcode & CONTROL) {
                if (there - n < h.length)
                    return event_of(WS_EV_MORE);
                in->pos += n + (size_t)h.length;
                ws_unmask(at + n, (size_t)h.length, h.mask);
                return control(&h, slice_of(at + n, (size_t)h.length));
            }
            why = begin_frame(ws, in, &h, limit);
            if (why)
                return error_of(WS_CODE_TOO_LARGE, why);
            in->pos += n;
        }
        if (!take_payload(ws, in))
            return error_of(WS_CODE_TEXT, "the text is not UTF-8");
        if (ws->left)
            return event_of(WS_EV_MORE);
        ws->in_frame = false;
        if (ws->fin)
            return finish(ws, in);
    }
}
