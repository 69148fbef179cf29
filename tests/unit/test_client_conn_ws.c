/* Connections of the client library over WebSocket: core/client/client_conn.c, client_frame.c. */
#include "tests/unit/client_peer.h"

#include "core/client/client_ws.h"

/* Connects and upgrades; the answer comes in two pieces, the second with `more` behind it. */
static void connect_ws(struct fixture *f, const void *more, size_t n)
{
    char request[1024], answer[512], accept_text[CLIENT_WS_ACCEPT_LEN];
    size_t have = 0;

    f->target.transport = CLIENT_WEBSOCKET;
    f->conn = client_conn_open(f->client, &f->target, &handlers, f);
    assert_non_null(f->conn);
    f->peer = accept(f->listener, NULL, NULL);
    assert_true(f->peer >= 0);
    for (int i = 0; i < ROUNDS && (have < 4 || memcmp(request + have - 4, "\r\n\r\n", 4) != 0); i++) {
        turn(f);
        ssize_t got = recv(f->peer, request + have, sizeof(request) - have, MSG_DONTWAIT);
        have += got > 0 ? (size_t)got : 0;
    }
    const char *key = memmem(request, have, "Sec-WebSocket-Key: ", 19);
    assert_non_null(key);
    client_ws_accept(slice_of(key + 19, 24), accept_text);
    assert_int_equal(client_request(f->conn, CLIENT_PING, SLICE_NONE, NULL, NULL), ERR_AGAIN);
    int size = snprintf(answer, sizeof(answer),
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Accept: %.*s\r\n\r\n",
                        CLIENT_WS_ACCEPT_LEN, accept_text);
    memcpy(answer + size, more, n);
    peer_send(f, answer, 50);
    turn(f);
    turn(f);
    peer_send(f, answer + 50, (size_t)size - 50 + n);
    until(f, &f->opened, 1);
}

/* Reads one masked frame of the client's; returns the payload's size. */
static size_t peer_read_ws(struct fixture *f, uint8_t *first, char *payload)
{
    uint8_t head[6];
    uint32_t mask;

    peer_read(f, head, 6);
    assert_true(head[1] & 0x80);
    size_t n = head[1] & 127;
    assert_true(n < 126);
    memcpy(&mask, head + 2, 4);
    peer_read(f, payload, n);
    client_ws_mask(payload, payload, n, mask, 0);
    *first = head[0];
    return n;
}

static void websocket_requests_are_answered(void **state)
{
    struct fixture *f = *state;
    char more[64], payload[128];
    uint8_t first;

    connect_ws(f, more, frame_make(more, CLIENT_PUSH_ANNOUNCEMENT, 0, "{\"a\":1}", true));
    until(f, &f->pushes, 1); /* it came with the handshake's answer */
    assert_int_equal(f->action, CLIENT_PUSH_ANNOUNCEMENT);
    assert_int_equal(client_history(f->conn, SLICE_LIT("c"), 9, 0, 50, answered, f), 0);
    assert_int_equal(peer_read_ws(f, &first, payload), 41);
    assert_int_equal(first, 0x82);
    assert_memory_equal(payload, "\0\5\0\1{\"channel\":\"c\",\"before\":9,\"limit\":50}", 41);
    peer_frame(f, CLIENT_HISTORY, 1, "{\"messages\":[]}");
    until(f, &f->answers, 1);
    assert_int_equal(f->status, 0);
}

static void websocket_fragments_and_pings(void **state)
{
    struct fixture *f = *state;
    char payload[128];
    uint8_t first;

    connect_ws(f, "", 0);
    /* A message in three frames, of which one is empty, with a ping between them. */
    peer_send(f,
              "\x02\x05\0\x66\0\0{"
              "\x89\x02hi"
              "\0\0"
              "\x80\x01}",
              16);
    until(f, &f->pushes, 1);
    assert_string_equal(f->body, "{}");
    assert_int_equal(peer_read_ws(f, &first, payload), 2);
    assert_int_equal(first, 0x8a);
    assert_memory_equal(payload, "hi", 2);
    peer_frame(f, CLIENT_PUSH_CHANNEL, 0, "{\"x\":1}");
    until(f, &f->pushes, 2);
    peer_send(f, "\x02\x05\0\x66\0\0{", 7); /* begun, and never ended */
    turn(f);
}

static void websocket_says_why_it_closed(void **state)
{
    struct fixture *f = *state;
    char payload[128];
    uint8_t first;

    connect_ws(f, "", 0);
    peer_send(f,
              "\x88\x09\x03\xf0kick\x1b"
              "ed",
              11);
    until(f, &f->closed, 1);
    assert_int_equal(f->code, ERR_CLOSED);
    assert_string_equal(f->why, "closed by the server with 1008: kick?ed");
    assert_int_equal(peer_read_ws(f, &first, payload), 2);
    assert_int_equal(first, 0x88);
    assert_memory_equal(payload, "\x03\xf0", 2);
}

static void websocket_errors_end_it(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
    } rows[] = {
        {"\x82\x03\0\1\0", 5},              /* less than action and seq */
        {"\x81\x02{}", 4},                  /* text */
        {"\x80\x01x", 3},                   /* a continuation of nothing */
        {"\x02\x01x\x82\x04\0\x66\0\0", 9}, /* a message inside another */
        {"\xc2\x04\0\x66\0\0", 6},          /* compressed, which nobody asked for */
    };
    struct fixture *f = *state;

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        f->opened = 0;
        connect_ws(f, "", 0);
        peer_send(f, rows[i].bytes, rows[i].n);
        until(f, &f->closed, i + 1);
        assert_int_equal(f->code, ERR_INVALID);
        close(f->peer);
        f->peer = -1;
    }
    assert_int_equal(f->pushes, 0);
}

static void websocket_refusals_are_told(void **state)
{
    struct fixture *f = *state;
    const char *answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

    f->target.transport = CLIENT_WEBSOCKET;
    f->conn = client_conn_open(f->client, &f->target, &handlers, f);
    f->peer = accept(f->listener, NULL, NULL);
    peer_send(f, answer, strlen(answer));
    until(f, &f->closed, 1);
    assert_string_equal(f->why, "refused with HTTP status 503");
    assert_int_equal(f->opened, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(websocket_requests_are_answered), TEST(websocket_fragments_and_pings), TEST(websocket_says_why_it_closed),
        TEST(websocket_errors_end_it),         TEST(websocket_refusals_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
