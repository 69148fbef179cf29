/* A server played by the test, on a real socket, and the connection that is tested against it. For test_client_conn.c
 * and test_client_conn_ws.c. */
#ifndef MAGPIE_TESTS_UNIT_CLIENT_PEER_H
#define MAGPIE_TESTS_UNIT_CLIENT_PEER_H

#include "core/client/client.h"

#include "core/base/buf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROUNDS = 400 }; /* turns of the loop, of at most 5 ms each, that anything may take */

struct fixture {
    struct ev_loop *loop;        /* owned */
    struct client *client;       /* owned */
    struct client_target target; /* the listener */
    struct client_conn *conn;    /* the connection under test; NULL once closed */
    int listener;                /* the test's server */
    int peer;                    /* its side of the connection */
    unsigned opened;             /* calls of the open handler */
    unsigned closed;             /* of the close handler */
    unsigned pushes;             /* of the push handler */
    unsigned answers;            /* of answered() */
    int code;                    /* that the close handler was given */
    int status;                  /* of the newest answer */
    uint16_t action;             /* of the newest push */
    size_t push_size;            /* of its body */
    bool close_on_push;          /* the handler closes the connection */
    char why[200];               /* that the close handler was given */
    char body[256];              /* of the newest answer or push; cut */
};

static inline void body_keep(struct fixture *f, struct slice body)
{
    snprintf(f->body, sizeof(f->body), "%.*s", (int)body.n, body.n ? body.p : "");
}

static inline void on_open(struct client_conn *conn, void *user)
{
    struct fixture *f = user;
    assert_ptr_equal(conn, f->conn);
    f->opened++;
}

static inline void on_push(struct client_conn *conn, void *user, uint16_t action, struct slice body)
{
    struct fixture *f = user;

    f->pushes++;
    f->action = action;
    f->push_size = body.n;
    body_keep(f, body);
    if (f->close_on_push) {
        client_conn_close(conn);
        f->conn = NULL;
    }
}

static inline void on_close(struct client_conn *conn, void *user, int code, const char *why)
{
    struct fixture *f = user;

    assert_ptr_equal(conn, f->conn);
    f->conn = NULL;
    f->closed++;
    f->code = code;
    snprintf(f->why, sizeof(f->why), "%s", why);
}

static inline void answered(struct client_conn *conn, void *arg, int status, struct slice body)
{
    struct fixture *f = arg;

    (void)conn;
    f->answers++;
    f->status = status;
    body_keep(f, body);
}

static const struct client_handlers handlers = {.open = on_open, .push = on_push, .close = on_close};

static inline void nothing(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    (void)loop;
    (void)timer;
    (void)revents;
}

/* One turn of the loop, of 5 ms at most. */
static inline void turn(struct fixture *f)
{
    struct ev_timer timer;

    ev_timer_init(&timer, nothing, 0.005, 0);
    ev_now_update(f->loop);
    ev_timer_start(f->loop, &timer);
    ev_run(f->loop, EVRUN_ONCE);
    ev_timer_stop(f->loop, &timer);
}

/* Turns the loop until the counter has the value. */
static inline void until(struct fixture *f, const unsigned *counter, unsigned value)
{
    for (int i = 0; i < ROUNDS && *counter < value; i++)
        turn(f);
    assert_int_equal(*counter, value);
}

static inline int fixture_make(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    char text[64];
    const char *why;

    assert_non_null(f);
    f->loop = ev_loop_new(EVFLAG_AUTO);
    f->client = client_new(f->loop);
    assert_non_null(f->client);
    f->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(f->listener, 8), 0);
    assert_int_equal(getsockname(f->listener, (struct sockaddr *)&address, &len), 0);
    snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(client_target_set(&f->target, CLIENT_TCP, text, &why), 0);
    f->peer = -1;
    *state = f;
    return 0;
}

static inline int fixture_free(void **state)
{
    struct fixture *f = *state;

    if (f->conn)
        client_conn_close(f->conn);
    assert_int_equal(client_count(f->client), 0);
    client_free(f->client);
    ev_loop_destroy(f->loop);
    if (f->peer >= 0)
        close(f->peer);
    close(f->listener);
    free(f);
    return 0;
}

static inline void peer_send(struct fixture *f, const void *p, size_t n)
{
    assert_int_equal(send(f->peer, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* Reads exactly n bytes that the client has written or will write. */
static inline void peer_read(struct fixture *f, void *p, size_t n)
{
    size_t have = 0;

    for (int i = 0; i < ROUNDS && have < n; i++) {
        ssize_t got = recv(f->peer, (char *)p + have, n - have, MSG_DONTWAIT);
        assert_true(got != 0 && (got > 0 || errno == EAGAIN));
        have += got > 0 ? (size_t)got : 0;
        if (have < n)
            turn(f);
    }
    assert_int_equal(have, n);
}

/* A frame as the server says it, into `out`; returns its size. */
static inline size_t frame_make(char *out, uint16_t action, uint16_t seq, const char *body, bool websocket)
{
    size_t n = strlen(body), at = websocket ? 2 : 4;

    assert_true(n < 120);
    if (websocket) {
        out[0] = (char)0x82;
        out[1] = (char)(n + 4);
    } else {
        store_be32(out, (uint32_t)(n + 8));
    }
    store_be16(out + at, action);
    store_be16(out + at + 2, seq);
    memcpy(out + at + 4, body, n);
    return at + 4 + n;
}

static inline void peer_frame(struct fixture *f, uint16_t action, uint16_t seq, const char *body)
{
    char bytes[160];
    peer_send(f, bytes, frame_make(bytes, action, seq, body, f->target.transport == CLIENT_WEBSOCKET));
}

static inline void connect_tcp(struct fixture *f)
{
    f->conn = client_conn_open(f->client, &f->target, &handlers, f);
    assert_non_null(f->conn);
    assert_int_equal(f->opened, 0);
    f->peer = accept(f->listener, NULL, NULL);
    assert_true(f->peer >= 0);
    until(f, &f->opened, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_make, fixture_free)

#endif
