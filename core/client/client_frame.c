/* From frames to bytes and back, over both transports. See client.h. */
#include "core/client/client_frame.h"

#include "core/client/client_conn.h"
#include "core/client/client_fields.h"
#include "core/client/client_gzip.h"
#include "core/client/client_pending.h"
#include "core/client/client_private.h"
#include "core/client/client_tls.h"
#include "core/client/client_ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    TCP_HEADER = 8, /* bytes: length, action, seq */
    WS_HEADER = 4,  /* bytes: action, seq */
    GZIP = 0x8000   /* bit of an action over TCP: the body is compressed */
};

/* Not for secrets: masks only need to differ so that no proxy can be made to see what a client sends as HTTP. */
static uint32_t mask_next(struct client *client)
{
    uint64_t x = client->mask_state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    client->mask_state = x;
    return (uint32_t)((x * 0x2545f4914f6cdd1dULL) >> 32);
}

/* Queues a WebSocket frame whose payload is `head` followed by `body`. */
static int ws_put(struct client_conn *conn, uint8_t opcode, struct slice head, struct slice body)
{
    uint8_t header[CLIENT_WS_HEADER_MAX];
    uint32_t mask = mask_next(conn->client);
    size_t n = client_ws_header(header, opcode, head.n + body.n, mask);
    char *room = client_conn_room(conn, n + head.n + body.n);

    if (!room)
        return ERR_FULL;
    memcpy(room, header, n);
    client_ws_mask(room + n, head.p, head.n, mask, 0);
    client_ws_mask(room + n + head.n, body.p, body.n, mask, head.n);
    return 0;
}

static int frame_put(struct client_conn *conn, uint16_t action, uint16_t seq, struct slice body)
{
    char header[TCP_HEADER];

    store_be32(header, (uint32_t)(TCP_HEADER + body.n));
    store_be16(header + 4, action);
    store_be16(header + 6, seq);
    if (conn->websocket)
        return ws_put(conn, CLIENT_WS_BINARY, slice_of(header + 4, WS_HEADER), body);
    char *room = client_conn_room(conn, TCP_HEADER + body.n);
    if (!room)
        return ERR_FULL;
    memcpy(room, header, TCP_HEADER);
    if (body.n)
        memcpy(room + TCP_HEADER, body.p, body.n);
    return 0;
}

int client_request(struct client_conn *conn, uint16_t action, struct slice body, CLIENT_ANSWER_FN(answer), void *arg)
{
    struct client_slot slot = {.answer = answer, .arg = arg, .action = action};

    if (conn->state != CLIENT_OPEN)
        return conn->state == CLIENT_GONE ? ERR_CLOSED : ERR_AGAIN;
    if (body.n > CLIENT_BACKLOG_MAX)
        return ERR_FULL;
    int status = client_pending_add(&conn->pending, &conn->last_seq, &slot);
    if (status < 0)
        return status;
    status = frame_put(conn, action, conn->last_seq, body);
    if (status < 0 && !client_pending_take(&conn->pending, action, conn->last_seq, &slot))
        return ERR_CLOSED;
    return status;
}

/* ---- reading ---- */

/* Hands one frame to whom it belongs. */
static void conn_frame(struct client_conn *conn, uint16_t action, uint16_t seq, struct slice body)
{
    struct client_slot slot;

    if (action == CLIENT_ERROR || (seq == 0 && action >= 100)) {
        if (conn->handlers->push)
            conn->handlers->push(conn, conn->user, action, body);
    } else if (!client_pending_take(&conn->pending, action, seq, &slot)) {
        conn->client->strays++;
    } else if (slot.answer) {
        slot.answer(conn, slot.arg, client_body_refused(body) ? ERR_INVALID : 0, body);
    }
}

/* A frame over TCP, whose body may be compressed. */
static void tcp_frame(struct client_conn *conn, uint16_t action, uint16_t seq, struct slice body)
{
    int status = action & GZIP ? client_gunzip(conn->client, body, &body) : 0;

    if (status < 0)
        client_conn_fail(conn, status, status == ERR_INVALID ? "gzip that is none" : err_str(status));
    else
        conn_frame(conn, action & (uint16_t)~GZIP, seq, body);
}

/* Each feeder returns how many bytes it used up; the connection may be gone afterwards. *need is raised to the size of
 * a frame that has only begun. */
static size_t tcp_feed(struct client_conn *conn, struct slice bytes, size_t *need)
{
    size_t at = 0;

    while (conn->state == CLIENT_OPEN && bytes.n - at >= TCP_HEADER) {
        const char *p = bytes.p + at;
        uint32_t length = load_be32(p);
        if (length < TCP_HEADER || length > CLIENT_FRAME_MAX) {
            bool small = length < TCP_HEADER;
            client_conn_fail(conn, small ? ERR_INVALID : ERR_TOOLARGE,
                             small ? "a frame of less than 8 bytes" : "a frame larger than is taken");
            break;
        }
        if (bytes.n - at < length) {
            *need = length;
            break;
        }
        at += length;
        tcp_frame(conn, load_be16(p + 4), load_be16(p + 6), slice_of(p + TCP_HEADER, length - TCP_HEADER));
    }
    return at;
}

static void ws_message(struct client_conn *conn, struct slice message)
{
    if (message.n < WS_HEADER) {
        client_conn_fail(conn, ERR_INVALID, "a message of less than 4 bytes");
        return;
    }
    conn_frame(conn, load_be16(message.p), load_be16(message.p + 2),
               slice_of(message.p + WS_HEADER, message.n - WS_HEADER));
}

/* A piece of a fragmented message: collected, and handed on with the last. */
static void ws_piece(struct client_conn *conn, const struct client_ws_frame *frame)
{
    struct buf *whole = conn->ws.fragment;

    if ((frame->opcode == CLIENT_WS_CONTINUATION) != (whole != NULL)) {
        client_conn_fail(conn, ERR_INVALID, whole ? "a message inside another" : "a continuation of nothing");
        return;
    }
    if (!whole)
        whole = conn->ws.fragment = calloc(1, sizeof(*whole));
    if (whole && whole->n + frame->payload.n > CLIENT_FRAME_MAX) {
        client_conn_fail(conn, ERR_TOOLARGE, "a message larger than is taken");
        return;
    }
    if (whole)
        buf_slice_put(whole, frame->payload);
    if (!whole || !buf_ok(whole)) {
        client_conn_fail(conn, ERR_NOMEM, err_str(ERR_NOMEM));
        return;
    }
    if (frame->fin) {
        conn->ws.fragment = NULL;
        ws_message(conn, buf_slice(whole));
        buf_free(whole);
        free(whole);
    }
}

/* The other side said goodbye, and waits for the echo. That is sent past the queue, and lost if it cannot go at once:
 * it is a courtesy, and a failure to write must not hide the reason to close. */
static void ws_closed(struct client_conn *conn, struct slice payload)
{
    char echo[CLIENT_WS_HEADER_MAX + 2];
    char why[160];
    size_t n = payload.n < 2 ? 0 : 2;
    uint32_t mask = mask_next(conn->client);
    size_t header = client_ws_header((uint8_t *)echo, CLIENT_WS_CLOSE, n, mask);

    client_ws_mask(echo + header, payload.p, n, mask, 0);
    if (!conn->out)
        (void)!client_tls_send(conn, echo, header + n);
    snprintf(why, sizeof(why), "closed by the server with %u%s%.*s", n ? load_be16(payload.p) : 1005,
             payload.n > 2 ? ": " : "", (int)(payload.n - n), payload.p + n);
    for (char *p = why; *p; p++)
        *p = (unsigned char)*p < ' ' || *p == 127 ? '?' : *p; /* it may be shown on a terminal */
    client_conn_fail(conn, ERR_CLOSED, why);
}

static void ws_frame(struct client_conn *conn, const struct client_ws_frame *frame)
{
    switch (frame->opcode) {
    case CLIENT_WS_PING:
        if (ws_put(conn, CLIENT_WS_PONG, SLICE_NONE, frame->payload) < 0)
            client_conn_fail(conn, ERR_FULL, "too much waits to be written");
        break;
    case CLIENT_WS_PONG:
        break;
    case CLIENT_WS_CLOSE:
        ws_closed(conn, frame->payload);
        break;
    case CLIENT_WS_TEXT:
        client_conn_fail(conn, ERR_INVALID, "a text message");
        break;
    default:
        if (frame->fin && frame->opcode == CLIENT_WS_BINARY && !conn->ws.fragment)
            ws_message(conn, frame->payload);
        else
            ws_piece(conn, frame);
    }
}

static size_t ws_feed(struct client_conn *conn, struct slice bytes, size_t *need)
{
    size_t at = 0;

    while (conn->state == CLIENT_OPEN && at < bytes.n) {
        struct client_ws_frame frame;
        const char *why;
        int status = client_ws_parse(slice_of(bytes.p + at, bytes.n - at), CLIENT_FRAME_MAX, &frame, &why);
        if (status < 0) {
            client_conn_fail(conn, status, why);
            break;
        }
        if (status == 0) {
            *need = frame.size;
            break;
        }
        at += frame.size;
        ws_frame(conn, &frame);
    }
    return at;
}

static size_t upgrade_feed(struct client_conn *conn, struct slice bytes)
{
    const char *why;
    int n = client_ws_response(bytes, conn->ws.accept, &why);

    if (n < 0) {
        client_conn_fail(conn, ERR_CLOSED, why);
        return 0;
    }
    if (n > 0) {
        free(conn->ws.accept);
        conn->ws.fragment = NULL;
        conn->state = CLIENT_OPEN;
        if (conn->handlers->open)
            conn->handlers->open(conn, conn->user);
    }
    return (size_t)n;
}

size_t client_frame_feed(struct client_conn *conn, struct slice bytes, size_t *need)
{
    size_t at = 0;

    if (conn->state == CLIENT_UPGRADING)
        at = upgrade_feed(conn, bytes);
    if (conn->state != CLIENT_OPEN)
        return at;
    struct slice rest = slice_of(bytes.p + at, bytes.n - at);
    return at + (conn->websocket ? ws_feed(conn, rest, need) : tcp_feed(conn, rest, need));
}
