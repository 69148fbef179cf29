/*
 * A WebSocket listener whose owner serves requests at /api and claims /echo, for the tests of HTTP. It is of one test
 * program: its state is static.
 */
#ifndef MAGPIE_TEST_HTTP_KIT_H
#define MAGPIE_TEST_HTTP_KIT_H

#include "core/base/clock.h"
#include "core/net/http.h"
#include "core/net/http_conn.h"
#include "core/net/net.h"
#include "core/net/send.h"
#include "tests/unit/net_kit.h"
#include "tests/unit/ws_kit.h"

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define ASK "Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" KEY

static const char accepted[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/* What the last request was. */
static struct {
    uint32_t count, conn, generation;
    char path[64], body[64];
    size_t body_n;
} asked;

static inline int32_t serves(void *owner, uint32_t conn, const struct http_head *h)
{
    (void)owner, (void)conn;
    if (!slice_eq(h->path, SLICE_LIT("/api")))
        return slice_eq(h->path, SLICE_LIT("/none")) ? -404 : -426;
    return http_is(h->method, "GET") || http_is(h->method, "HEAD") ? 0 : http_is(h->method, "POST") ? 50000 : -405;
}

static inline void request_came(void *owner, uint32_t conn, const struct http_head *h, struct slice body)
{
    struct kit *k = owner;
    asked.count++;
    asked.conn = conn;
    asked.generation = conn_at(k->net, conn)->generation;
    snprintf(asked.path, sizeof asked.path, "%.*s?%.*s", (int)h->path.n, h->path.p, (int)h->query.n, h->query.p);
    asked.body_n = body.n;
    snprintf(asked.body, sizeof asked.body, "%.*s", (int)(body.n < 60 ? body.n : 60), body.n ? body.p : "");
}

static inline bool claims(void *owner, uint32_t conn, struct slice path)
{
    (void)owner, (void)conn;
    return slice_eq(path, SLICE_LIT("/echo"));
}

static inline uint32_t claimed_limit(void *owner, const struct conn *c)
{
    (void)owner, (void)c;
    return 200000;
}

static const struct net_ops serving = {.opened = kit_opened,
                                       .message = kit_message,
                                       .closed = kit_closed,
                                       .closing = kit_closing,
                                       .drained = kit_drained,
                                       .claim = claims,
                                       .claim_limit = claimed_limit,
                                       .http_wanted = serves,
                                       .http = request_came};

static inline void serve(struct kit *k)
{
    kit_start(k, CONN_WEBSOCKET, NULL);
    k->net->ops = &serving;
    memset(&asked, 0, sizeof asked);
}

static inline int ask(struct kit *k, const char *request)
{
    int fd = kit_connect(k);
    kit_put(fd, request, strlen(request));
    return fd;
}

static inline int answer(struct kit *k, unsigned status, struct slice body, bool no_body)
{
    return conn_http_answer(k->net, asked.conn, asked.generation, status, SLICE_LIT("X-A: b\r\n"), body, no_body);
}

/* The whole answer that comes at fd; closes it. */
static inline const char *answered(struct kit *k, int fd)
{
    static char got[4096];
    ssize_t n = kit_drain(k, fd, got, sizeof got - 1);
    assert_true(n >= 0 && n < (ssize_t)sizeof got);
    got[n] = 0;
    close(fd);
    return got;
}

/* What comes at fd until `end` is the last of it; it stays open. */
static inline const char *next_answer(struct kit *k, int fd, const char *end)
{
    static char got[4096];
    size_t n = 0;
    uint64_t until = clock_mono_ms() + 10000;
    got[0] = 0;
    while ((n < strlen(end) || strcmp(got + n - strlen(end), end) != 0) && clock_mono_ms() < until) {
        ssize_t r = recv(fd, got + n, sizeof got - 1 - n, MSG_DONTWAIT);
        assert_true(r > 0 || (r < 0 && errno == EAGAIN));
        n += r > 0 ? (size_t)r : 0;
        got[n] = 0;
        kit_turn(k, 1);
    }
    assert_true(n >= strlen(end) && strcmp(got + n - strlen(end), end) == 0);
    return got;
}

#endif
