/*
 * A whole connection against a client that does anything: it is fed pieces, paused, resumed, flooded, closed, moved to
 * another net, timed out, in any order. Each `opened` must get its `closing` and its `closed`, and nothing may be left
 * in any account.
 */
#include "core/base/log.h"
#include "core/net/http.h"
#include "core/net/net_private.h"
#include "core/net/net_shared.h"
#include "core/net/http_conn.h"
#include "core/net/input.h"
#include "core/net/net.h"
#include "core/net/send.h"
#include "core/net/conn_private.h"
#include "core/net/net_shared_private.h"
#include "core/net/proxy_conn_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct ev_loop *loop;
    struct net_shared *shared;
    struct net *nets[2];
    unsigned at; /* the net that has the connection */
    uint32_t conn, generation;
    uint32_t opened, closing, closed;
    uint8_t mood;               /* what callbacks do; set by the input */
    bool moving;                /* it is to be detached in its next message */
    int64_t unsent;             /* what its user's connections hold, as it was told */
    uint32_t asked, asked_conn; /* generation (0: none) and index of a connection whose HTTP request waits */
};

static void check(bool ok)
{
    if (!ok)
        abort();
}

static struct conn *here(struct world *w)
{
    return w->conn == CONN_NONE ? NULL : conn_find(w->nets[w->at], w->conn, w->generation);
}

static void say(struct world *w, uint32_t n, uint32_t tag, enum conn_class class)
{
    static const char body[4096];
    const struct conn *c = here(w);
    struct wire *wire = c ? conn_wire(w->nets[w->at], w->conn, 102, 0, slice_of(body, n), tag) : NULL;
    if (!wire)
        return;
    (void)conn_send(w->nets[w->at], w->conn, wire, class);
    wire_unref(wire);
}

static void move(struct world *w)
{
    struct conn_record r;
    const struct conn *c = here(w);
    if (!c || !(c->flags & CONN_F_PAUSED || w->nets[w->at]->cur.conn == w->conn))
        return;
    if (conn_detach(w->nets[w->at], w->conn, &r) != 0)
        return;
    w->at ^= 1;
    w->conn = conn_attach(w->nets[w->at], &r);
    check(w->conn != CONN_NONE);
    w->generation = conn_at(w->nets[w->at], w->conn)->generation;
    conn_at(w->nets[w->at], w->conn)->user = 1;
}

static void on_opened(void *owner, uint32_t conn)
{
    struct world *w = owner;
    w->opened++;
    w->conn = conn;
    w->generation = conn_at(w->nets[w->at], conn)->generation;
    conn_at(w->nets[w->at], conn)->user = 1;
    if (w->mood & 1)
        conn_set(w->nets[w->at], conn, CONN_F_READY);
    if ((w->mood & 0x70) == 0x70)
        conn_close(w->nets[w->at], conn, CLOSE_KICKED, "no", 0);
}

static enum conn_verdict on_message(void *owner, uint32_t conn, const struct net_message *m)
{
    struct world *w = owner;
    volatile char sum = 0;
    (void)conn;
    if (w->moving) {
        w->moving = false;
        move(w);
    }
    for (size_t i = 0; i < m->body.n; i++) /* it stays readable, whatever became of the connection */
        sum = (char)(sum + m->body.p[i]);
    if (!here(w))
        return CONN_CONTINUE;
    switch (w->mood >> 1 & 7) {
    case 1:
        return CONN_PAUSE;
    case 2:
        conn_resume(w->nets[w->at], w->conn);
        return CONN_PAUSE;
    case 3:
        say(w, 100, WIRE_TAG_NONE, CONN_MUST);
        return CONN_CONTINUE;
    case 4:
        conn_close(w->nets[w->at], w->conn, CLOSE_LOGOUT, NULL, 0);
        return CONN_CONTINUE;
    case 5:
        conn_close(w->nets[w->at], w->conn, CLOSE_PEER, NULL, 0);
        return CONN_PAUSE;
    case 6:
        say(w, 4000, 7, CONN_MAY);
        net_flush(w->nets[w->at]);
        return CONN_PAUSE;
    default:
        return CONN_CONTINUE;
    }
}

static bool on_ended(void *owner, uint32_t conn, uint16_t code)
{
    const struct world *w = owner;
    (void)conn, (void)code;
    return w->mood & 0x10;
}

static uint32_t on_unsent(void *owner, uint32_t conn, int32_t bytes)
{
    struct world *w = owner;
    check(conn_at(w->nets[w->at], conn)->user == 1);
    w->unsent += bytes;
    check(w->unsent >= 0);
    return w->mood & 0x20 && w->unsent > 20000 ? 0 : UINT32_MAX;
}

static void on_closing(void *owner, uint32_t conn, enum close_reason reason)
{
    struct world *w = owner;
    (void)reason;
    check(w->unsent == 0);
    conn_at(w->nets[w->at], conn)->user = CONN_NONE;
    w->closing++;
}

static void on_closed(void *owner, uint32_t conn, enum close_reason reason)
{
    struct world *w = owner;
    (void)conn, (void)reason;
    w->closed++;
    check(w->closed == w->closing);
    w->conn = CONN_NONE;
}

static void on_drained(void *owner, uint32_t conn, const uint32_t *tags, uint32_t n)
{
    (void)conn;
    for (uint32_t i = 0; i < n; i++)
        check(tags[i] == 7);
    say(owner, 20, 7, CONN_MUST);
}

/* One step that a byte of the input asks for; the bytes behind it that it used. */
static size_t step(struct world *w, int fd, uint8_t op, const uint8_t *p, size_t n)
{
    static const enum close_reason reasons[] = {CLOSE_KICKED, CLOSE_SHUTDOWN, CLOSE_SLOW, CLOSE_LOGOUT, CLOSE_PEER};
    char sink[65536];
    struct net *net = w->nets[w->at];
    size_t take = (op & 0x7fU) + 1 < n ? (op & 0x7fU) + 1 : n;
    if (op < 0x80) {
        (void)!send(fd, p, take, MSG_NOSIGNAL | MSG_DONTWAIT);
        return take;
    }
    switch (op >> 4) {
    case 8:
        w->mood = n ? *p : 0;
        return n ? 1 : 0;
    case 9:
        if (here(w) && op & 8)
            conn_set(net, w->conn, CONN_F_PACKED);
        else if (here(w) && op & 1)
            conn_hang_up(net, w->conn, 1000);
        else if (here(w))
            conn_resume(net, w->conn);
        return 0;
    case 10:
        for (unsigned i = 0; i < (op & 15U) * 8; i++)
            say(w, 4000, 7, CONN_MAY);
        return 0;
    case 11:
        if (here(w))
            conn_close(net, w->conn, reasons[(op & 15) % 5], NULL, 5);
        return 0;
    case 12:
        net_tick(w->nets[0]);
        net_tick(w->nets[1]);
        return 0;
    case 13:
        if (op & 1)
            w->moving = true;
        else
            move(w);
        return 0;
    case 14:
        while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0)
            ;
        return 0;
    default:
        if (op & 1)
            shutdown(fd, op & 2 ? SHUT_WR : SHUT_RD);
        else if (here(w))
            conn_purge(net, w->conn, 7);
        return 0;
    }
}

/* Answers the HTTP request that waits, if there is one. */
static void answer(struct world *w)
{
    if (w->asked)
        (void)conn_http_answer(w->nets[0], w->asked_conn, w->asked, 200, SLICE_LIT("A: b\r\n"), SLICE_LIT("body"),
                               w->mood & 1);
    w->asked = 0;
}

static bool on_claim(void *owner, uint32_t conn, struct slice path)
{
    (void)owner, (void)conn;
    return path.n > 1 && path.p[1] == 'r';
}

static uint32_t on_claim_limit(void *owner, const struct conn *c)
{
    (void)owner;
    check(c->flags & CONN_F_RAW);
    return 4000;
}

static int32_t on_http_wanted(void *owner, uint32_t conn, const struct http_head *h)
{
    (void)owner, (void)conn;
    return h->path.n > 1 && h->path.p[1] == 'p' ? h->method.n == 4 ? 500 : -405 : -426;
}

static void on_http(void *owner, uint32_t conn, const struct http_head *h, struct slice body)
{
    struct world *w = owner;
    volatile char sum = 0;
    check(body.n == h->content_length && body.n <= 500);
    for (size_t i = 0; i < body.n; i++)
        sum = (char)(sum + body.p[i]);
    w->asked_conn = conn;
    w->asked = conn_at(w->nets[0], conn)->generation;
    if (w->mood & 2)
        answer(w);
}

static const struct net_ops ops = {.opened = on_opened,
                                   .message = on_message,
                                   .closed = on_closed,
                                   .closing = on_closing,
                                   .ended = on_ended,
                                   .unsent = on_unsent,
                                   .drained = on_drained,
                                   .claim = on_claim,
                                   .claim_limit = on_claim_limit,
                                   .http_wanted = on_http_wanted,
                                   .http = on_http};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const proxies[] = {"unix:", NULL}; /* the client is one of them */
    static const struct net_limits limits = {.frame = 2048,
                                             .output_queue = 65536,
                                             .output_total = 50000,
                                             .early_total = 1500,
                                             .login_timeout = 3,
                                             .idle_timeout = 4,
                                             .compress_threshold = 16,
                                             .compress_level = 1,
                                             .http = {.head = 1024, .fields = 16},
                                             .proxies = proxies};
    if (size < 2)
        return 0;
    (void)!log_open(NULL, LOG_TEXT, LOG_ERROR);
    struct world w = {.loop = ev_loop_new(EVFLAG_AUTO), .shared = net_shared_new(), .conn = CONN_NONE};
    int fds[2], small = 4096;
    check(w.loop && w.shared && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    for (int i = 0; i < 2; i++)
        check((w.nets[i] = net_new(w.loop, w.shared, &limits, &ops, &w)) != NULL);
    enum conn_transport transport = data[0] & 1 ? CONN_WEBSOCKET : CONN_TCP;
    w.mood = data[0];
    check(shared_connection_add(w.shared, 0));
    uint32_t idx = conn_new(w.nets[0], fds[0], transport, STREAM_PLAIN);
    conn_arm(w.nets[0], idx, conn_ptr(w.nets[0], idx));
    if (data[0] & 4)
        proxy_await(w.nets[0], idx, conn_ptr(w.nets[0], idx));
    else if (transport == CONN_TCP)
        conn_tell_opened(w.nets[0], idx, conn_ptr(w.nets[0], idx));
    for (size_t at = 1; at < size; ev_run(w.loop, EVRUN_NOWAIT)) {
        uint8_t op = data[at++];
        at += step(&w, fds[1], op, data + at, size - at);
    }
    close(fds[1]);
    /* Whatever it was doing: it ends by itself within its timeouts. A paused one waits for its owner. */
    answer(&w);
    for (int i = 0; i < 30; i++) {
        if (here(&w))
            conn_resume(w.nets[w.at], w.conn);
        ev_run(w.loop, EVRUN_NOWAIT);
        net_tick(w.nets[0]);
        net_tick(w.nets[1]);
    }
    check(net_count(w.nets[0]) == 0 && net_count(w.nets[1]) == 0);
    check(w.closed == w.opened && w.closing == w.opened);
    for (int i = 0; i < 2; i++) {
        net_work(w.nets[i]);
        check(w.nets[i]->queued == 0 && w.nets[i]->inbuf_memory == 0 && w.nets[i]->blocked == 0);
        net_free(w.nets[i]);
    }
    check(w.unsent == 0 && net_shared_early(w.shared) == 0);
    check(net_shared_connections(w.shared) == 0 && net_shared_queued(w.shared) == 0 && shared_blocked(w.shared) == 0);
    net_shared_free(w.shared);
    ev_loop_destroy(w.loop);
    return 0;
}
