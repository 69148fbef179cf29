/*
 * An upgraded connection: messages to the owner, pings answered, the closing handshake, and what framing errors lead
 * to.
 */
#include "core/base/buf.h"
#include "core/base/utf8.h"
#include "core/net/conn_private.h"
#include "core/net/input_private.h"
#include "core/net/net_private.h"
#include "core/net/send.h"
#include "core/net/websocket_conn_private.h"

#include <stdio.h>

enum { HEADER = 4, PONG = 0x8A, PONGS_MAX = 64 };

static bool is_pong(const struct wire *w)
{
    return w->len >= 2 && w->data[0] == PONG;
}

/* RFC 6455 section 5.5.3 lets one pong answer all pings before it: where pongs pile up, a new one takes the place of
 * the last, so that a client that pings and does not read costs no more memory than one that is idle. */
static void pong(struct net *net, uint32_t idx, struct conn *c, struct slice data)
{
    uint8_t frame[127];
    struct outq *q = c->out;
    struct wire *w = wire_raw(slice_of(frame, ws_control_frame(frame, WS_PONG, data)), WIRE_TAG_NONE);
    if (c->flags & CONN_F_CLOSING || !w) {
        if (w)
            wire_unref(w);
        return;
    }
    if (q && (c->flags & CONN_F_WRITABLE || q->count >= PONGS_MAX)) {
        const struct wire *last = outq_last(q);
        if (last && is_pong(last)) {
            net->queued -= last->len;
            outq_pop_last(q);
        }
    }
    (void)conn_send(net, idx, w, CONN_MUST);
    wire_unref(w);
}

/* The other side closes, or answers our close. What it has asked for before is answered first: RFC 6455 section
 * 5.5.1 lets us put off our close frame. */
static void closed(struct net *net, uint32_t idx, struct conn *c, uint16_t code)
{
    if (c->flags & CONN_F_CLOSING)
        conn_dirty(net, idx, c);
    else if (!conn_ended(net, idx, c, code, false))
        conn_end(net, idx, CLOSE_PEER, code, NULL, 0); /* the code goes back as it came */
    c->inner |= CONN_I_DEAF;
}

/* A message that is whole, and not compressed any more. */
static void message(struct net *net, uint32_t idx, struct conn *c, const struct ws_result *r)
{
    struct net_message m = {.text = r->opcode == WS_TEXT, .body = r->data};
    if (c->flags & CONN_F_RAW) {
        conn_deliver(net, idx, c, &m);
        return;
    }
    if (!m.text && r->data.n < HEADER) {
        conn_protocol_error(net, idx, WS_CODE_PROTOCOL, "bad_request",
                            "a binary message has at least 4 bytes: action and seq");
        return;
    }
    if (!(c->flags & CONN_F_FORM)) {
        c->flags |= CONN_F_FORM;
        c->form = wire_form_ws(m.text, c->flags & CONN_F_PACKED, c->flags & CONN_F_NARROW);
    }
    if (!m.text) {
        m.action = load_be16(r->data.p);
        m.seq = load_be16(r->data.p + 2);
        m.body = slice_of(r->data.p + HEADER, r->data.n - HEADER);
    }
    conn_deliver(net, idx, c, &m);
}

static void error(struct net *net, uint32_t idx, struct conn *c, const struct ws_result *r)
{
    char text[80];
    if (r->code == WS_CODE_TOO_LARGE) {
        snprintf(text, sizeof text, "message: at most %u bytes", conn_frame_limit(net, c));
        conn_protocol_error(net, idx, r->code, "too_large", text);
    } else {
        conn_protocol_error(net, idx, r->code, "bad_request", r->why);
    }
    /* Framing is lost: no close frame can be found in what follows. */
    c->inner |= CONN_I_DEAF;
}

/* Puts what a message inflates to in its place. False: the connection closes. */
static bool unpack(struct net *net, uint32_t idx, struct conn *c, struct ws_result *r)
{
    int rc = inflate_message(&net->inflater, r->data, conn_frame_limit(net, c), &r->data);
    net->cur.heavy = r->data.n >= HEAVY_BYTES;
    if (rc == 0 && (r->opcode != WS_TEXT || utf8_valid(r->data)))
        return true;
    if (rc == ERR_NOMEM) {
        conn_end(net, idx, CLOSE_SLOW, WS_CODE_POLICY, "the server is out of memory", 1000);
        return false;
    }
    r->code = rc == ERR_TOOLARGE ? WS_CODE_TOO_LARGE : rc == 0 ? WS_CODE_TEXT : WS_CODE_PROTOCOL;
    r->why = rc == 0 ? "the text is not UTF-8" : "the message cannot be inflated (permessage-deflate)";
    error(net, idx, c, r);
    return false;
}

bool websocket_step(struct net *net, uint32_t idx, struct conn *c, struct ws_parser *ws, struct ws_input *in)
{
    uint8_t rsv_allowed = c->flags & CONN_F_PACKED ? WS_RSV1 : 0;
    struct ws_result r = ws_parse(ws, in, conn_frame_limit(net, c), rsv_allowed);
    net->cur.rest = in->p + in->pos;
    net->cur.rest_n = in->end - in->pos;
    switch (r.event) {
    case WS_EV_MORE:
        return false;
    case WS_EV_MESSAGE:
        if (c->flags & CONN_F_CLOSING)
            return true; /* only a Close is awaited */
        if (r.rsv && !unpack(net, idx, c, &r)) {
            in->pos = in->end;
            return false;
        }
        message(net, idx, c, &r);
        return true;
    case WS_EV_PING:
        pong(net, idx, c, r.data);
        return true;
    case WS_EV_PONG: /* that something came was noted where it was read */
        return true;
    case WS_EV_CLOSE:
        closed(net, idx, c, r.code);
        return false;
    case WS_EV_ERROR:
        in->pos = in->end;
        error(net, idx, c, &r);
        return false;
    }
    return false;
}
