/*
 * What the tests of core/net share: a net on a loop of its own, an owner that records what it is told, and blocking
 * clients on loopback or a socketpair.
 */
#ifndef MAGPIE_TESTS_NET_KIT_H
#define MAGPIE_TESTS_NET_KIT_H

#include "core/base/buf.h"
#include "core/net/net_private.h"
#include "core/net/net_shared.h"
#include "core/net/accept.h"
#include "core/net/net.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { KIT_MESSAGES = 4096 };

struct kit_message {
    uint32_t conn;
    bool text;
    uint16_t action, seq;
    size_t n;
    char head[128]; /* the body's first bytes */
};

struct kit {
    struct ev_loop *loop;
    struct net_shared *shared;
    struct net_limits limits;
    struct net *net;
    int listening; /* -1: none */
    struct sockaddr_in address;

    uint32_t opened, closing, closed, drained;
    uint32_t last; /* connection that was opened last */
    enum close_reason closing_reason, closed_reason;
    uint32_t tags[64], tag_count;
    uint32_t count; /* messages */
    struct kit_message messages[KIT_MESSAGES];
    /* Called for each message when set; else CONN_CONTINUE. */
    enum conn_verdict (*on_message)(struct kit *k, uint32_t conn, const struct net_message *m);
    void (*on_opened)(struct kit *k, uint32_t conn);
    void (*on_drained)(struct kit *k, uint32_t conn);
    void *extra;
};

static inline void kit_opened(void *owner, uint32_t conn)
{
    struct kit *k = owner;
    k->opened++;
    k->last = conn;
    if (k->on_opened)
        k->on_opened(k, conn);
}

static inline enum conn_verdict kit_message(void *owner, uint32_t conn, const struct net_message *m)
{
    struct kit *k = owner;
    struct kit_message *r = &k->messages[k->count % KIT_MESSAGES];
    *r = (struct kit_message){.conn = conn, .text = m->text, .action = m->action, .seq = m->seq, .n = m->body.n};
    if (m->body.n)
        memcpy(r->head, m->body.p, m->body.n < sizeof r->head ? m->body.n : sizeof r->head);
    k->count++;
    return k->on_message ? k->on_message(k, conn, m) : CONN_CONTINUE;
}

static inline void kit_closing(void *owner, uint32_t conn, enum close_reason reason)
{
    struct kit *k = owner;
    (void)conn;
    k->closing++;
    k->closing_reason = reason;
}

static inline void kit_closed(void *owner, uint32_t conn, enum close_reason reason)
{
    struct kit *k = owner;
    (void)conn;
    k->closed++;
    k->closed_reason = reason;
    assert_true(k->closed <= k->closing);
}

static inline void kit_drained(void *owner, uint32_t conn, const uint32_t *tags, uint32_t n)
{
    struct kit *k = owner;
    k->drained++;
    for (uint32_t i = 0; i < n && k->tag_count < 64; i++)
        k->tags[k->tag_count++] = tags[i];
    if (k->on_drained)
        k->on_drained(k, conn);
}

static const struct net_ops kit_ops = {
    .opened = kit_opened, .message = kit_message, .closed = kit_closed, .closing = kit_closing, .drained = kit_drained};

static inline void kit_start(struct kit *k, enum conn_transport transport, const struct net_limits *limits)
{
    static const struct net_limits usual = {
        .frame = 65536, .output_queue = 1 << 20, .login_timeout = 10, .idle_timeout = 300};
    memset(k, 0, sizeof *k);
    k->limits = limits ? *limits : usual;
    k->loop = ev_loop_new(EVFLAG_AUTO);
    k->shared = net_shared_new();
    assert_non_null(k->loop);
    assert_non_null(k->shared);
    k->net = net_new(k->loop, k->shared, &k->limits, &kit_ops, k);
    assert_non_null(k->net);
    k->listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    k->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof k->address;
    assert_int_equal(bind(k->listening, (struct sockaddr *)&k->address, n), 0);
    assert_int_equal(getsockname(k->listening, (struct sockaddr *)&k->address, &n), 0);
    assert_int_equal(listen(k->listening, 1024), 0);
    assert_int_equal(net_listen(k->net, k->listening, transport, STREAM_PLAIN), 0);
}

static inline void kit_stop(struct kit *k)
{
    net_free(k->net);
    assert_int_equal(k->closed, k->closing);
    assert_int_equal(net_shared_connections(k->shared), 0);
    assert_int_equal(net_shared_queued(k->shared), 0);
    net_shared_free(k->shared);
    close(k->listening);
    ev_loop_destroy(k->loop);
}

/* Turns of the loop that do not sleep. */
static inline void kit_turn(struct kit *k, int n)
{
    while (n-- > 0)
        ev_run(k->loop, EVRUN_NOWAIT);
}

#define KIT_UNTIL(k, condition)                                                                                        \
    do {                                                                                                               \
        for (int kit_i = 0; kit_i < 3000 && !(condition); kit_i++) {                                                   \
            kit_turn((k), 1);                                                                                          \
            if (!(condition))                                                                                          \
                usleep(500);                                                                                           \
        }                                                                                                              \
        assert_true(condition);                                                                                        \
    } while (0)

/* A client's socket, blocking; the net has not accepted it yet. */
static inline int kit_connect(struct kit *k)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&k->address, sizeof k->address), 0);
    return fd;
}

/* A client that is accepted. */
static inline int kit_client(struct kit *k)
{
    uint32_t before = k->opened;
    int fd = kit_connect(k);
    KIT_UNTIL(k, k->opened > before);
    return fd;
}

static inline void kit_put(int fd, const void *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* Reads exactly n bytes while the loop runs. */
static inline void kit_take(struct kit *k, int fd, void *out, size_t n)
{
    size_t got = 0;
    for (int i = 0; i < 5000 && got < n; i++) {
        ssize_t r = recv(fd, (char *)out + got, n - got, MSG_DONTWAIT);
        if (r > 0)
            got += (size_t)r;
        else if (r == 0)
            break;
        else
            usleep(200);
        kit_turn(k, 1);
    }
    assert_int_equal(got, n);
}

/* Whether the other side ends within the time; throws away what comes before. Returns the bytes that came, or -1. */
static inline ssize_t kit_drain(struct kit *k, int fd, char *out, size_t size)
{
    size_t got = 0;
    for (int i = 0; i < 5000; i++) {
        char b[4096];
        ssize_t r = recv(fd, b, sizeof b, MSG_DONTWAIT);
        if (r == 0)
            return (ssize_t)got;
        if (r < 0 && errno != EAGAIN)
            return -1;
        for (ssize_t j = 0; j < r; j++, got++)
            if (got < size)
                out[got] = b[j];
        if (r < 0)
            usleep(200);
        kit_turn(k, 1);
    }
    return -1;
}

/* Appends a TCP frame. */
static inline void kit_frame(struct buf *b, uint16_t action, uint16_t seq, struct slice body)
{
    buf_u32(b, (uint32_t)(8 + body.n));
    buf_u16(b, action);
    buf_u16(b, seq);
    buf_slice_put(b, body);
}

static inline void kit_put_frame(int fd, uint16_t action, uint16_t seq, const char *body)
{
    struct buf b = BUF_INIT;
    kit_frame(&b, action, seq, slice_str(body));
    kit_put(fd, b.p, b.n);
    buf_free(&b);
}

/* Reads a TCP frame and compares its action and body (NULL: any). */
static inline void kit_expect_frame(struct kit *k, int fd, uint16_t action, const char *body)
{
    char head[8], text[65536];
    kit_take(k, fd, head, 8);
    uint32_t n = load_be32(head) - 8;
    assert_int_equal(load_be16(head + 4), action);
    assert_true(n < sizeof text);
    kit_take(k, fd, text, n);
    text[n] = 0;
    if (body)
        assert_string_equal(text, body);
}

#endif
