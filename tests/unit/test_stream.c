/* Another way for bytes to travel than the socket: a row of the tests' own, in memory. It gives and takes what it
 * likes, says EAGAIN at any time, and fails on demand. What the net does by it is right only if nothing touches the
 * socket: the socket's own bytes stay unread, and its other side hears nothing. */
#include "core/net/stream.h"
#include "tests/unit/net_kit.h"
#include "tests/unit/ws_kit.h"
#include "core/net/input.h"
#include "core/net/net.h"
#include "core/net/send.h"
#include "core/net/accept_private.h"
#include "core/net/conn_private.h"
#include "core/net/input_private.h"
#include "core/net/net_shared_private.h"

#include <sys/ioctl.h>
#include <sys/uio.h>

enum { ROW = 1 };

/* What the row is asked for and what it does. One connection at a time. */
static struct {
    int fd;             /* of the connection */
    struct buf in, out; /* to be received; what was sent */
    size_t in_at;       /* received so far */
    size_t most;        /* bytes that one call gives or takes */
    unsigned again;     /* of so many calls one is done, the others say EAGAIN; 0: all are done */
    unsigned calls[2];  /* of recv and of send */
    size_t kept;        /* bytes that pending() tells of: `in` is in the row already, and no descriptor says so */
    int recv_error, send_error; /* errno of every call from now on; 0: none */
    bool ended;                 /* the other side says no more */
    unsigned shutdowns, closes;
} row;

static bool not_now(int which)
{
    if (row.again && ++row.calls[which] % row.again) {
        errno = EAGAIN;
        return true;
    }
    return false;
}

static ssize_t row_recv(const struct stream *self, int fd, void *p, size_t n)
{
    (void)self;
    assert_int_equal(fd, row.fd);
    size_t left = row.in.n - row.in_at;
    if (row.recv_error) {
        errno = row.recv_error;
        return -1;
    }
    if (not_now(0))
        return -1;
    if (left == 0) {
        errno = EAGAIN;
        return row.ended ? 0 : -1;
    }
    n = n < left ? n : left;
    n = n < row.most ? n : row.most;
    memcpy(p, row.in.p + row.in_at, n);
    row.in_at += n;
    return (ssize_t)n;
}

static ssize_t row_recvv(const struct stream *self, int fd, const struct iovec *v, int n)
{
    for (int i = 0; i < n; i++)
        if (v[i].iov_len)
            return row_recv(self, fd, v[i].iov_base, v[i].iov_len);
    return row_recv(self, fd, NULL, 0);
}

static ssize_t row_send(const struct stream *self, int fd, const void *p, size_t n, struct wire **rest)
{
    (void)self, (void)rest;
    assert_int_equal(fd, row.fd);
    if (row.send_error) {
        errno = row.send_error;
        return -1;
    }
    if (not_now(1))
        return -1;
    n = n < row.most ? n : row.most;
    buf_put(&row.out, p, n);
    return (ssize_t)n;
}

static ssize_t row_sendv(const struct stream *self, int fd, const struct iovec *v, int n, struct wire **rest)
{
    assert_true(n > 0);
    return row_send(self, fd, v[0].iov_base, v[0].iov_len, rest);
}

static int row_shutdown(const struct stream *self, int fd)
{
    (void)self;
    assert_int_equal(fd, row.fd);
    row.shutdowns++;
    return 0;
}

static void row_close(const struct stream *self, int fd)
{
    (void)self;
    assert_int_equal(fd, row.fd);
    row.closes++;
    close(fd);
}

static size_t row_pending(const struct stream *self, int fd)
{
    (void)self;
    assert_int_equal(fd, row.fd);
    return row.kept ? row.in.n - row.in_at : 0;
}

static const struct stream stream_row = {.recv = row_recv,
                                         .recvv = row_recvv,
                                         .send = row_send,
                                         .sendv = row_sendv,
                                         .shutdown = row_shutdown,
                                         .close = row_close,
                                         .pending = row_pending};

/* A client whose bytes travel by the row. Its socket is readable all the time by a byte that nobody takes, and
 * writable. Returns the other side of that. */
static int start(struct kit *k, enum conn_transport transport, const struct net_limits *limits)
{
    kit_start(k, transport, limits);
    k->net->streams[ROW] = &stream_row;
    k->net->listening[0].stream = ROW;
    buf_free(&row.in);
    buf_free(&row.out);
    memset(&row, 0, sizeof row);
    row.most = SIZE_MAX;
    int fd = kit_connect(k);
    kit_put(fd, "!", 1);
    row.fd = -1;
    return fd;
}

/* Runs until it is accepted; the row learns its descriptor. */
static void accepted(struct kit *k)
{
    uint32_t i = CONN_NONE;
    row.recv_error = EAGAIN;
    row.fd = 0;
    for (int turn = 0; turn < 100 && (i = net_next(k->net, 0)) == CONN_NONE; turn++) {
        /* The first look at it comes in a later event of the loop. */
        struct pollfd p = {.fd = k->listening, .events = POLLIN};
        poll(&p, 1, 10);
        accept_ready(k->net, 0);
    }
    assert_int_not_equal(i, CONN_NONE);
    row.fd = conn_at(k->net, i)->fd;
    row.recv_error = 0;
    assert_int_equal(conn_at(k->net, i)->stream, ROW);
    k->last = i;
}

/* The socket was neither read nor written. */
static void untouched(int fd)
{
    int there = 0;
    char c;
    assert_int_equal(ioctl(row.fd, FIONREAD, &there), 0);
    assert_int_equal(there, 1);
    assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
}

static enum conn_verdict echo(struct kit *k, uint32_t conn, const struct net_message *m)
{
    struct wire *w = wire_new((enum wire_form)conn_at(k->net, conn)->form, m->action, m->seq, m->body, WIRE_TAG_NONE);
    assert_non_null(w);
    conn_send(k->net, conn, w, CONN_MUST);
    wire_unref(w);
    return CONN_CONTINUE;
}

/* How the row behaves. */
static const struct {
    size_t most;
    unsigned again;
} moods[] = {{SIZE_MAX, 0}, {1, 0}, {1, 3}, {7, 2}, {1000, 5}};
enum { MOODS = sizeof moods / sizeof *moods };

static void frames_over_tcp(void **state)
{
    (void)state;
    for (int mood = 0; mood < MOODS; mood++) {
        struct kit k;
        int fd = start(&k, CONN_TCP, NULL);
        k.on_message = echo;
        accepted(&k);
        conn_set(k.net, k.last, CONN_F_READY);
        row.most = moods[mood].most;
        row.again = moods[mood].again;
        char body[300];
        memset(body, 'x', sizeof body);
        for (uint16_t i = 0; i < 12; i++)
            kit_frame(&row.in, 5, i, slice_of(body, i * 7));
        KIT_UNTIL(&k, row.out.n == row.in.n);
        assert_memory_equal(row.out.p, row.in.p, row.in.n);
        assert_int_equal(k.count, 12);
        untouched(fd);
        /* A fan-out's way past the queue. */
        buf_reset(&row.out);
        struct frame *f = frame_new(102, 0, slice_of(body, sizeof body), 3);
        struct bundle b = {.n = 0};
        assert_true(bundle_add(&b, f));
        KIT_UNTIL(&k, conn_at(k.net, k.last)->out == NULL);
        assert_true(conn_send_now(k.net, k.last, &b));
        bundle_clear(&b);
        frame_unref(f);
        KIT_UNTIL(&k, row.out.n == 8 + sizeof body);
        /* The end: our last words, our half, and then the other side's. */
        buf_reset(&row.out);
        conn_close(k.net, k.last, CLOSE_KICKED, NULL, 0);
        KIT_UNTIL(&k, row.shutdowns == 1);
        assert_int_equal(row.out.n, 8 + strlen("{\"reason\":\"kicked\"}"));
        assert_int_equal(k.closed + row.closes, 0);
        untouched(fd);
        row.ended = true;
        KIT_UNTIL(&k, k.closed == 1);
        assert_int_equal(row.closes, 1);
        close(fd);
        kit_stop(&k);
    }
}

static void a_websocket(void **state)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    enum { ANSWER = 129 };
    (void)state;
    for (int mood = 0; mood < MOODS; mood++) {
        struct kit k;
        int fd = start(&k, CONN_WEBSOCKET, NULL);
        k.on_message = echo;
        accepted(&k);
        row.most = moods[mood].most;
        row.again = moods[mood].again;
        buf_str(&row.in, request);
        ws_put_message(&row.in, 9, 5, "{}");
        ws_put(&row.in, 0x89, SLICE_LIT("ping"));
        ws_put(&row.in, 0x88, slice_of("\x03\xe8", 2));
        KIT_UNTIL(&k, row.out.n == ANSWER + 8 + 6 + 4);
        assert_memory_equal(row.out.p, "HTTP/1.1 101 ", 13);
        assert_memory_equal(row.out.p + ANSWER, "\x82\6\0\x09\0\5{}\x8a\4ping\x88\2\x03\xe8", 18);
        KIT_UNTIL(&k, row.shutdowns == 1);
        untouched(fd);
        row.ended = true;
        KIT_UNTIL(&k, k.closed == 1);
        assert_int_equal(row.closes, 1);
        close(fd);
        kit_stop(&k);
    }
}

/* What the row has read ahead is taken though no descriptor tells of it, also when it was paused meanwhile. */
static enum conn_verdict pause_often(struct kit *k, uint32_t conn, const struct net_message *m)
{
    (void)echo(k, conn, m);
    return m->seq % 3 == 0 ? CONN_PAUSE : CONN_CONTINUE;
}

static void bytes_that_the_row_keeps(void **state)
{
    (void)state;
    struct kit k;
    int fd = start(&k, CONN_TCP, NULL);
    char c;
    k.on_message = pause_often;
    accepted(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    row.most = 5;
    row.kept = 1;
    for (uint16_t i = 0; i < 20; i++)
        kit_frame(&row.in, 5, i, SLICE_LIT("{\"x\":1}"));
    kit_turn(&k, 3);
    assert_int_equal(recv(row.fd, &c, 1, 0), 1); /* the descriptor is readable no more */
    for (int i = 0; i < 400 && row.out.n < row.in.n; i++) {
        kit_turn(&k, 5);
        conn_resume(k.net, k.last);
    }
    assert_int_equal(row.out.n, row.in.n);
    assert_memory_equal(row.out.p, row.in.p, row.in.n);
    close(fd);
    kit_stop(&k);
}

/* Whatever fails and wherever: the connection ends, is told of once, and is closed by its row. */
static void failures(void **state)
{
    (void)state;
    static const int errors[] = {ECONNRESET, EPIPE, ETIMEDOUT, EIO};
    for (int i = 0; i < 8; i++) {
        struct kit k;
        int fd = start(&k, CONN_TCP, NULL);
        k.on_message = echo;
        accepted(&k);
        conn_set(k.net, k.last, CONN_F_READY);
        kit_frame(&row.in, 5, 1, SLICE_LIT("{}"));
        if (i % 2)
            row.send_error = errors[i / 2];
        else
            KIT_UNTIL(&k, row.out.n == 10);
        if (i % 2 == 0)
            row.recv_error = errors[i / 2];
        KIT_UNTIL(&k, k.closed == 1);
        assert_int_equal(k.closed_reason, CLOSE_PEER);
        assert_int_equal(row.closes, 1);
        close(fd);
        kit_stop(&k);
    }
}

/* It takes its row along to another net, and one that finds no net is closed by it. */
static void moves(void **state)
{
    (void)state;
    struct kit k, other;
    struct conn_record r;
    int fd = start(&k, CONN_TCP, NULL);
    kit_start(&other, CONN_TCP, NULL);
    other.net->streams[ROW] = &stream_row;
    other.on_message = echo;
    accepted(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(conn_detach(k.net, k.last, &r), 0);
        assert_int_equal(r.stream, ROW);
        shared_connection_remove(k.shared);
        assert_true(shared_connection_add(other.shared, 0));
        if (round == 1) {
            conn_record_discard(other.shared, &r);
            break;
        }
        uint32_t idx = conn_attach(other.net, &r);
        conn_resume(other.net, idx);
        kit_frame(&row.in, 5, 1, SLICE_LIT("{}"));
        KIT_UNTIL(&other, row.out.n == 10);
        conn_at(other.net, idx)->flags |= CONN_F_PAUSED;
        assert_int_equal(conn_detach(other.net, idx, &r), 0);
        shared_connection_remove(other.shared);
        assert_true(shared_connection_add(k.shared, 0));
        k.last = conn_attach(k.net, &r);
    }
    assert_int_equal(row.closes, 1);
    close(fd);
    kit_stop(&k);
    kit_stop(&other);
}

/* Who is over a cap hears so by the same way. */
static void refused(void **state)
{
    (void)state;
    static const struct net_limits limits = {.frame = 65536, .output_queue = 1 << 20, .connections = 1};
    struct kit k;
    int first = start(&k, CONN_WEBSOCKET, &limits);
    accepted(&k);
    int held = row.fd, fd = kit_connect(&k);
    uint32_t idx = CONN_NONE;
    for (int turn = 0; turn < 100 && idx == CONN_NONE; turn++) {
        struct pollfd p = {.fd = k.listening, .events = POLLIN};
        poll(&p, 1, 10);
        accept_ready(k.net, 0);
        idx = net_next(k.net, k.last + 1);
    }
    assert_int_not_equal(idx, CONN_NONE);
    row.fd = conn_at(k.net, idx)->fd;
    buf_str(&row.in, "GET / HTTP/1.1\r\n");
    conn_readable(k.net, idx, 1);
    net_flush(k.net);
    assert_memory_equal(row.out.p, "HTTP/1.1 503 ", 13);
    assert_int_equal(row.shutdowns, 1);
    conn_finish(k.net, idx);
    row.fd = held;
    close(first);
    close(fd);
    kit_stop(&k);
    assert_int_equal(row.closes, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_over_tcp), cmocka_unit_test(a_websocket), cmocka_unit_test(bytes_that_the_row_keeps),
        cmocka_unit_test(failures),        cmocka_unit_test(moves),       cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
