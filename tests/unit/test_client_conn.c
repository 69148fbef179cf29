/* Connections of the client library over TCP: core/client/client_conn.c, client_frame.c, client.c, client_calls.c. */
#include "tests/unit/client_peer.h"

static void a_request_is_answered(void **state)
{
    struct fixture *f = *state;
    char bytes[64];

    connect_tcp(f);
    assert_int_equal(client_login(f->conn, SLICE_LIT("a\"b"), SLICE_NONE, true, answered, f), 0);
    assert_int_equal(client_conn_pending(f->conn), 1);
    peer_read(f, bytes, 42);
    assert_memory_equal(bytes, "\0\0\0\x2a\0\1\0\1{\"name\":\"a\\\"b\",\"accept\":[\"merge\"]}", 42);
    peer_frame(f, CLIENT_LOGIN, 1, "{\"id\":\"7\"}");
    until(f, &f->answers, 1);
    assert_int_equal(f->status, 0);
    assert_string_equal(f->body, "{\"id\":\"7\"}");
    assert_int_equal(client_conn_pending(f->conn), 0);
    assert_int_equal(client_strays(f->client), 0);
    peer_frame(f, CLIENT_LOGIN, 1, "{}");
    peer_frame(f, CLIENT_PUSH_INBOX, 0, "{\"inbox\":3}");
    until(f, &f->pushes, 1);
    assert_int_equal(client_strays(f->client), 1);
    assert_int_equal(f->answers, 1);
}

/* gzip, when it is asked for: in the login, and read whatever its size; what is none ends the connection. */
static void gzip_is_read(void **state)
{
    static const uint8_t gzip[] =
        "\x1f\x8b\x08\0\0\0\0\0\x02\x03\xab\x56\x4a\x54\xb2\x52\xca\x48\xcd\xc9\xc9\x57\xaa\x05\0"
        "\x90\xfc\x22\x7b\x0d\0\0";
    struct fixture *f = *state;
    uint8_t frame[8 + sizeof gzip] = {0, 0, 0, sizeof frame, 0x80, CLIENT_PUSH_CHANNEL, 0, 0};
    char bytes[64];

    memcpy(frame + 8, gzip, sizeof gzip); /* with the 0 that ends the literal */
    connect_tcp(f);
    client_accept_gzip(f->client, true);
    assert_int_equal(client_login(f->conn, SLICE_LIT("a"), SLICE_NONE, true, NULL, NULL), 0);
    peer_read(f, bytes, 46);
    assert_memory_equal(bytes + 8, "{\"name\":\"a\",\"accept\":[\"merge\",\"gzip\"]}", 38);
    assert_int_equal(client_login(f->conn, SLICE_LIT("a"), SLICE_NONE, false, NULL, NULL), 0);
    peer_read(f, bytes, 38);
    assert_memory_equal(bytes + 8, "{\"name\":\"a\",\"accept\":[\"gzip\"]}", 30);
    for (unsigned i = 0; i < 2; i++) {
        peer_send(f, frame, sizeof frame);
        until(f, &f->pushes, i + 1);
        assert_int_equal(f->action, CLIENT_PUSH_CHANNEL);
        assert_string_equal(f->body, "{\"a\":\"hello\"}");
    }
    frame[sizeof frame - 5] ^= 1;
    peer_send(f, frame, sizeof frame);
    until(f, &f->closed, 1);
    assert_int_equal(f->code, ERR_INVALID);
    assert_string_equal(f->why, "gzip that is none");
}

static void a_refusal_is_told(void **state)
{
    struct fixture *f = *state;
    struct client_error error;

    connect_tcp(f);
    assert_int_equal(client_send_channel(f->conn, SLICE_LIT("c"), SLICE_LIT("x"), SLICE_LIT("id"), answered, f), 0);
    peer_frame(f, CLIENT_SEND_CHANNEL, 1,
               "{\"error\":{\"code\":\"rate_limited\",\"message\":\"4\\u0030/s\",\"retryAfter\":250}}");
    until(f, &f->answers, 1);
    assert_int_equal(f->status, ERR_INVALID);
    client_error_read(slice_str(f->body), &error);
    assert_string_equal(error.code, "rate_limited");
    assert_string_equal(error.message, "40/s");
    assert_int_equal(error.retry_after_ms, 250);
    client_error_read(slice_str("{}"), &error);
    assert_string_equal(error.code, "");
    assert_int_equal(error.retry_after_ms, 0);
}

/* What one iteration of the loop asks for leaves in one write: the peer finds it all at once. */
static void requests_leave_together(void **state)
{
    struct fixture *f = *state;
    char bytes[256];

    connect_tcp(f);
    for (int i = 0; i < 10; i++)
        assert_int_equal(client_request(f->conn, CLIENT_PING, SLICE_NONE, answered, f), 0);
    assert_int_equal(recv(f->peer, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
    client_flush(f->client);
    assert_int_equal(recv(f->peer, bytes, sizeof(bytes), MSG_DONTWAIT), 80);
    for (uint16_t i = 0; i < 10; i++) {
        assert_int_equal(load_be16(bytes + 8 * i + 6), i + 1);
        peer_frame(f, CLIENT_PING, (uint16_t)(10 - i), "{}"); /* answers may overtake each other */
    }
    until(f, &f->answers, 10);
}

static void frames_come_in_any_pieces(void **state)
{
    struct fixture *f = *state;
    char bytes[512];
    size_t n = 0;

    connect_tcp(f);
    for (int i = 0; i < 3; i++)
        n += frame_make(bytes + n, CLIENT_PUSH_CHANNEL, 0, i ? "{\"content\":\"xyz\",\"seq\":2}" : "", false);
    for (size_t i = 0; i < n; i++) {
        peer_send(f, bytes + i, 1);
        turn(f);
    }
    until(f, &f->pushes, 3);
    peer_send(f, bytes, n);
    until(f, &f->pushes, 6);
    assert_string_equal(f->body, "{\"content\":\"xyz\",\"seq\":2}");
    assert_int_equal(f->action, CLIENT_PUSH_CHANNEL);
    assert_true(client_read_us(f->client) > 0);
}

/* Larger than the read buffer, which grows, in both directions. */
static void large_frames_pass(void **state)
{
    struct fixture *f = *state;
    size_t n = 3000000, sent = 0, read = 0;
    char *bytes = calloc(1, n);

    assert_non_null(bytes);
    connect_tcp(f);
    store_be32(bytes, (uint32_t)n);
    store_be16(bytes + 4, CLIENT_PUSH_USER);
    for (int i = 0; i < 10 * ROUNDS && sent < n; i++) {
        ssize_t put = send(f->peer, bytes + sent, n - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += put > 0 ? (size_t)put : 0;
        turn(f);
    }
    assert_int_equal(sent, n);
    until(f, &f->pushes, 1);
    assert_int_equal(f->push_size, n - 8);
    assert_int_equal(client_request(f->conn, CLIENT_PING, slice_of(bytes, n - 8), answered, f), 0);
    turn(f); /* takes what the socket takes, and waits for room */
    for (int i = 0; i < 10 * ROUNDS && read < n; i++) {
        ssize_t got = recv(f->peer, bytes + read, n - read, MSG_DONTWAIT);
        read += got > 0 ? (size_t)got : 0;
        turn(f);
    }
    assert_int_equal(read, n);
    assert_int_equal(load_be32(bytes), n);
    assert_int_equal(client_request(f->conn, CLIENT_PING, slice_of(bytes, CLIENT_BACKLOG_MAX + 1), answered, f),
                     ERR_FULL);
    free(bytes);
}

static void a_closed_connection_answers_all(void **state)
{
    struct fixture *f = *state;

    connect_tcp(f);
    assert_int_equal(client_request(f->conn, CLIENT_PING, SLICE_NONE, answered, f), 0);
    assert_int_equal(client_request(f->conn, CLIENT_PING, SLICE_NONE, NULL, NULL), 0);
    turn(f);
    char bytes[64];
    peer_read(f, bytes, 16); /* unread bytes would turn the close into a reset */
    peer_frame(f, CLIENT_PUSH_CLOSING, 0, "{\"reason\":\"kicked\"}");
    close(f->peer);
    f->peer = -1;
    until(f, &f->closed, 1);
    assert_int_equal(f->pushes, 1);
    assert_int_equal(f->action, CLIENT_PUSH_CLOSING);
    assert_int_equal(f->code, ERR_CLOSED);
    assert_int_equal(f->answers, 1);
    assert_int_equal(f->status, ERR_CLOSED);
}

/* The last words are read even when a write finds the connection broken first. */
static void last_words_are_heard(void **state)
{
    struct fixture *f = *state;

    connect_tcp(f);
    peer_frame(f, CLIENT_PUSH_CLOSING, 0, "{\"reason\":\"slow\"}");
    close(f->peer);
    f->peer = -1;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(client_request(f->conn, CLIENT_PING, SLICE_NONE, answered, f), 0);
        client_flush(f->client);
        usleep(1000); /* the reset comes back */
    }
    until(f, &f->closed, 1);
    assert_int_equal(f->pushes, 1);
    assert_int_equal(f->answers, 3);
}

static void closing_is_quiet(void **state)
{
    struct fixture *f = *state;

    connect_tcp(f);
    assert_int_equal(client_request(f->conn, CLIENT_PING, SLICE_NONE, answered, f), 0);
    client_conn_close(f->conn);
    f->conn = NULL;
    assert_int_equal(f->answers, 1);
    assert_int_equal(f->status, ERR_CLOSED);
    turn(f);
    assert_int_equal(f->closed, 0);
}

/* A handler closes its connection while more frames wait in the same read. */
static void closing_inside_a_handler(void **state)
{
    struct fixture *f = *state;
    char bytes[256];
    size_t n = frame_make(bytes, CLIENT_PUSH_CHANNEL, 0, "{}", false);

    connect_tcp(f);
    f->close_on_push = true;
    n += frame_make(bytes + n, CLIENT_PUSH_CHANNEL, 0, "{}", false);
    peer_send(f, bytes, n);
    until(f, &f->pushes, 1);
    turn(f);
    assert_int_equal(f->pushes, 1);
    assert_int_equal(f->closed, 0);
}

/* What comes for a deaf connection stays where it is, and the other side's socket fills; requests still leave. */
static void a_deaf_connection_reads_nothing(void **state)
{
    struct fixture *f = *state;
    char bytes[65536] = {0};
    ssize_t n, sent = 0;

    f->target.receive_buffer = 4096;
    connect_tcp(f);
    client_conn_deafen(f->conn);
    peer_frame(f, CLIENT_PUSH_CHANNEL, 0, "{}");
    while ((n = send(f->peer, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
        sent += n;
    assert_int_equal(errno, EAGAIN);
    assert_true(sent > 0);
    assert_int_equal(client_request(f->conn, CLIENT_PING, SLICE_NONE, answered, f), 0);
    turn(f);
    assert_int_equal(recv(f->peer, bytes, sizeof(bytes), 0), 8);
    assert_int_equal(f->pushes, 0);
    assert_int_equal(f->closed, 0);
    assert_int_equal(setsockopt(f->peer, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger)),
                     0);
    close(f->peer);
    f->peer = -1;
    until(f, &f->closed, 1);
    assert_int_equal(f->code, ERR_IO);
}

static void bad_lengths_end_it(void **state)
{
    struct fixture *f = *state;

    connect_tcp(f);
    peer_send(f, "\0\0\0\7\0\1\0\1", 8);
    until(f, &f->closed, 1);
    assert_int_equal(f->code, ERR_INVALID);
    close(f->peer);
    f->opened = 0;
    connect_tcp(f);
    peer_send(f, "\x7f\0\0\0\0\1\0\1", 8);
    until(f, &f->closed, 2);
    assert_int_equal(f->code, ERR_TOOLARGE);
}

static void nobody_listens(void **state)
{
    struct fixture *f = *state;
    struct client_target target = f->target;

    close(f->listener);
    f->conn = client_conn_open(f->client, &target, &handlers, f);
    if (f->conn) {
        until(f, &f->closed, 1);
        assert_int_equal(f->code, ERR_IO);
        assert_string_equal(f->why, "Connection refused");
    }
    assert_int_equal(f->opened, 0);
    f->listener = -1;
}

static void sources_are_chosen(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in from;
    socklen_t len = sizeof(from);

    f->target.source = htonl(0x7f000005);
    f->conn = client_conn_open(f->client, &f->target, &handlers, f);
    assert_non_null(f->conn);
    f->peer = accept(f->listener, (struct sockaddr *)&from, &len);
    assert_int_equal(ntohl(from.sin_addr.s_addr), 0x7f000005);
    until(f, &f->opened, 1);
    struct client_target foreign = f->target;
    foreign.source = htonl(0x01010101);
    assert_null(client_conn_open(f->client, &foreign, &handlers, f));
    assert_int_equal(errno, EADDRNOTAVAIL);
}

static void targets_are_read(void **state)
{
    static const char *const bad[] = {"", "host", ":80", "127.0.0.1:", "::1:80", "127.0.0.1:x", "unix:", "[]:1"};
    struct client_target target;
    const char *why;

    (void)state;
    assert_int_equal(client_target_set(&target, CLIENT_TCP, "[::1]:80", &why), 0);
    assert_int_equal(target.address.ss_family, AF_INET6);
    assert_int_equal(client_target_set(&target, CLIENT_TCP, "unix:/tmp/x", &why), 0);
    assert_int_equal(target.address.ss_family, AF_UNIX);
    assert_int_equal(client_target_set(&target, CLIENT_WEBSOCKET, "127.0.0.1:80", &why), 0);
    assert_string_equal(target.host, "127.0.0.1:80");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        why = NULL;
        assert_int_equal(client_target_set(&target, CLIENT_TCP, bad[i], &why), ERR_INVALID);
        assert_non_null(why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_answered),
        TEST(a_refusal_is_told),
        TEST(requests_leave_together),
        TEST(frames_come_in_any_pieces),
        TEST(large_frames_pass),
        TEST(a_closed_connection_answers_all),
        TEST(last_words_are_heard),
        TEST(closing_is_quiet),
        TEST(closing_inside_a_handler),
        TEST(bad_lengths_end_it),
        TEST(nobody_listens),
        TEST(sources_are_chosen),
        TEST(targets_are_read),
        TEST(a_deaf_connection_reads_nothing),
        TEST(gzip_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
