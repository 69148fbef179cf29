#include "core/net/http.h"
#include "tests/unit/net_kit.h"
#include "tests/unit/ws_kit.h"
#include "core/hub/registry/route.h"
#include "core/base/clock.h"
#include "core/net/http_conn.h"
#include "core/net/net.h"
#include "core/net/send.h"

#include <sys/epoll.h>

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define ASK "Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" KEY

static const char accepted[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static void upgrades_byte_by_byte(void **state)
{
    (void)state;
    static const char request[] = "GET /any?path HTTP/1.1\r\n" ASK "\r\n";
    struct kit k;
    char got[sizeof accepted - 1];
    kit_start(&k, CONN_WEBSOCKET, NULL);
    int fd = kit_connect(&k);
    for (size_t i = 0; i < sizeof request - 2; i++) {
        kit_put(fd, request + i, 1);
        kit_turn(&k, 1);
    }
    kit_turn(&k, 20);
    assert_int_equal(k.opened, 0);
    kit_put(fd, "\n", 1);
    kit_take(&k, fd, got, sizeof got);
    assert_memory_equal(got, accepted, sizeof got);
    assert_int_equal(k.opened, 1);
    /* Nothing is kept of the head. */
    assert_null(conn_at(k.net, k.last)->in);
    assert_int_equal(k.net->inbuf_memory, 0);
    close(fd);
    KIT_UNTIL(&k, k.closed == 1);
    kit_stop(&k);
}

/* What follows the head in the same packet is frames already. */
static void frames_behind_the_head(void **state)
{
    (void)state;
    struct kit k;
    struct buf b = BUF_INIT;
    char got[sizeof accepted - 1];
    kit_start(&k, CONN_WEBSOCKET, NULL);
    int fd = kit_connect(&k);
    buf_str(&b, "GET / HTTP/1.1\r\n" ASK "\r\n");
    ws_put_message(&b, 1, 7, "{\"name\":\"ada\"}");
    ws_put_message(&b, 9, 8, "");
    kit_put(fd, b.p, b.n - 3); /* and a part of the last one later */
    kit_take(&k, fd, got, sizeof got);
    KIT_UNTIL(&k, k.count == 1);
    assert_int_equal(k.messages[0].action, 1);
    assert_int_equal(k.messages[0].seq, 7);
    assert_memory_equal(k.messages[0].head, "{\"name\":\"ada\"}", 14);
    kit_put(fd, b.p + b.n - 3, 3);
    KIT_UNTIL(&k, k.count == 2);
    assert_int_equal(k.messages[1].action, 9);
    buf_free(&b);
    close(fd);
    kit_stop(&k);
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *request, *answer; /* the answer's beginning */
        const char *holds;            /* and something in it */
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 426 ", "\r\nUpgrade: websocket\r\n"},
        {"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 426 ", "\r\nSec-WebSocket-Version: 13\r\n\r\n"},
        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 405 ", "\r\nAllow: GET\r\n"},
        {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 413 ", "body"},
        {"GET / HTTP/1.1\r\n" ASK "Origin: http://evil.example\r\n\r\n", "HTTP/1.1 403 ", "origin"},
        {"GET / HTTP/1.1\r\n" ASK "Origin: null\r\n\r\n", "HTTP/1.1 403 ", "origin"},
        {"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n" KEY
         "\r\n",
         "HTTP/1.1 426 ", "\r\nSec-WebSocket-Version: 13\r\n"},
        {"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", "HTTP/1.1 400 ", "Host"},
        {"\x16\x03\x01\x02\x05\x01", "HTTP/1.1 400 ", "this is TLS, and the port speaks none"},
        {"GET / HTTP/3.0\r\n", "HTTP/1.1 505 ", "HTTP/1.1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kit k;
        char got[1024] = "";
        print_message("%s\n", cases[i].request);
        kit_start(&k, CONN_WEBSOCKET, NULL);
        int fd = kit_connect(&k);
        kit_put(fd, cases[i].request, strlen(cases[i].request));
        ssize_t n = kit_drain(&k, fd, got, sizeof got - 1);
        assert_true(n > 0);
        got[n] = 0;
        assert_memory_equal(got, cases[i].answer, strlen(cases[i].answer));
        assert_non_null(strstr(got, cases[i].holds));
        assert_non_null(strstr(got, "\r\nConnection: close"));
        /* The length that is given is that of the text. */
        const char *length = strstr(got, "Content-Length: "), *end = strstr(got, "\r\n\r\n");
        assert_non_null(length);
        size_t text = (size_t)(got + n - end - 4);
        assert_int_equal(text, cases[i].request[0] == 'H' ? 0 : (size_t)atoi(length + 16));
        assert_int_equal(k.opened, 0);
        close(fd);
        KIT_UNTIL(&k, net_count(k.net) == 0);
        kit_stop(&k);
    }
}

static void heads_are_bounded(void **state)
{
    (void)state;
    struct kit k;
    char got[1024] = "", text[18000];
    static const struct {
        struct http_limits limits; /* as configured; 0: the usual ones */
        size_t fits;               /* bytes of an unfinished head that wait for more */
    } cases[] = {{{0, 0}, 16383}, {{5000, 20}, 4999}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_limits limits = {.frame = 65536, .output_queue = 1 << 20, .login_timeout = 10};
        limits.http = cases[i].limits;
        kit_start(&k, CONN_WEBSOCKET, &limits);
        int fd = kit_connect(&k);
        memset(text, 'x', sizeof text);
        memcpy(text, "GET / HTTP/1.1\r\nA: ", 19);
        kit_put(fd, text, cases[i].fits);
        kit_turn(&k, 20);
        assert_int_equal(net_count(k.net), 1);
        kit_put(fd, text, 1);
        assert_true(kit_drain(&k, fd, got, sizeof got - 1) > 0);
        assert_memory_equal(got, "HTTP/1.1 431 ", 13);
        close(fd);
        kit_stop(&k);
    }
}

/* An upgrade with what a site's cookies may come to. */
static void upgrades_with_large_heads(void **state)
{
    (void)state;
    struct kit k;
    struct buf b = BUF_INIT;
    char got[sizeof accepted - 1], cookie[12001];
    kit_start(&k, CONN_WEBSOCKET, NULL);
    memset(cookie, 'c', sizeof cookie - 1);
    cookie[sizeof cookie - 1] = '\0';
    buf_str(&b, "GET / HTTP/1.1\r\n" ASK "Cookie: ");
    buf_str(&b, cookie);
    buf_lit(&b, "\r\n");
    for (int i = 0; i < 94; i++)
        buf_printf(&b, "X-%d: y\r\n", i); /* 100 fields in all */
    buf_lit(&b, "\r\n");
    int fd = kit_connect(&k);
    kit_put(fd, b.p, 5000); /* in two parts */
    kit_turn(&k, 20);
    assert_int_equal(k.opened, 0);
    kit_put(fd, b.p + 5000, b.n - 5000);
    kit_take(&k, fd, got, sizeof got);
    assert_memory_equal(got, accepted, sizeof got);
    assert_int_equal(k.net->inbuf_memory, 0);
    assert_int_equal(net_shared_early(k.shared), 0);
    close(fd);
    buf_free(&b);
    kit_stop(&k);
}

/* What those hold who have not logged in is bounded, by address and in all; who asks in one go holds nothing. */
static void memory_before_login_is_bounded(void **state)
{
    (void)state;
    enum { N = 12, HEAD = 10000, FITS = 4 };
    static const struct {
        uint64_t total, per_ip;
    } caps[] = {{0, FITS * HEAD + HEAD / 2}, {FITS * HEAD + HEAD / 2, 0}};
    for (size_t i = 0; i < sizeof caps / sizeof *caps; i++) {
        struct kit k;
        static char text[HEAD];
        char got[1024] = "", ok[sizeof accepted - 1];
        int fds[N];
        unsigned refused = 0;
        struct net_limits limits = {.frame = 65536,
                                    .output_queue = 1 << 20,
                                    .login_timeout = 10,
                                    .early_total = caps[i].total,
                                    .early_per_ip = caps[i].per_ip};
        kit_start(&k, CONN_WEBSOCKET, &limits);
        memset(text, 'x', sizeof text);
        memcpy(text, "GET / HTTP/1.1\r\nA: ", 19);
        for (int j = 0; j < N; j++) {
            fds[j] = kit_connect(&k);
            kit_put(fds[j], text, sizeof text);
            kit_turn(&k, 20);
        }
        assert_in_range(net_shared_early(k.shared), 1, FITS * HEAD + HEAD / 2);
        for (int j = FITS; j < N; j++) {
            refused += kit_drain(&k, fds[j], got, sizeof got - 1) > 0;
            assert_memory_equal(got, "HTTP/1.1 503 ", 13);
            close(fds[j]);
        }
        assert_int_equal(refused, N - FITS);
        int fd = kit_connect(&k);
        kit_put(fd, "GET / HTTP/1.1\r\n" ASK "\r\n", strlen("GET / HTTP/1.1\r\n" ASK "\r\n"));
        kit_take(&k, fd, ok, sizeof ok);
        assert_memory_equal(ok, accepted, sizeof ok);
        /* One of those who hold goes: there is room for another. */
        close(fds[0]);
        KIT_UNTIL(&k, net_shared_early(k.shared) <= (FITS - 1) * HEAD);
        fds[0] = kit_connect(&k);
        kit_put(fds[0], text, sizeof text);
        KIT_UNTIL(&k, net_shared_early(k.shared) > (FITS - 1) * HEAD);
        for (int j = 0; j < FITS; j++)
            close(fds[j]);
        close(fd);
        KIT_UNTIL(&k, net_count(k.net) == 0);
        assert_int_equal(net_shared_early(k.shared), 0);
        kit_stop(&k);
    }
}

/* A message that is finished after login is no longer of those, and an unfinished one of a client that goes is given
 * back. */
static void memory_before_login_ends_with_it(void **state)
{
    (void)state;
    static char frame[9000];
    struct kit k;
    struct net_limits limits = {
        .frame = 65536, .output_queue = 1 << 20, .login_timeout = 10, .early_total = 5000, .early_per_ip = 5000};
    kit_start(&k, CONN_TCP, &limits);
    int fd = kit_client(&k);
    store_be32(frame, sizeof frame);
    store_be16(frame + 4, 77);
    kit_put(fd, frame, 4000);
    KIT_UNTIL(&k, net_shared_early(k.shared) == 4000);
    conn_set(k.net, k.last, CONN_F_READY);
    assert_int_equal(net_shared_early(k.shared), 0);
    kit_put(fd, frame + 4000, 4000); /* more than would have been taken before */
    KIT_UNTIL(&k, conn_at(k.net, k.last)->in->end >= 8000);
    kit_put(fd, frame + 8000, sizeof frame - 8000);
    KIT_UNTIL(&k, k.count == 1);
    assert_int_equal(k.messages[0].action, 77);
    close(fd);
    /* Who has not logged in is told why it goes. */
    fd = kit_client(&k);
    kit_put(fd, frame, 6000);
    kit_expect_frame(
        &k, fd, 105,
        "{\"reason\":\"slow\",\"message\":\"too much waits of those who have not logged in\",\"retryAfter\":1000}");
    close(fd);
    fd = kit_client(&k);
    kit_put(fd, frame, 3000);
    KIT_UNTIL(&k, net_shared_early(k.shared) == 3000);
    close(fd);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    assert_int_equal(net_shared_early(k.shared), 0);
    kit_stop(&k);
}

static void slow_heads_time_out(void **state)
{
    (void)state;
    struct kit k;
    char got[1024] = "";
    struct net_limits limits = {.frame = 65536, .output_queue = 1 << 20, .login_timeout = 3, .idle_timeout = 300};
    kit_start(&k, CONN_WEBSOCKET, &limits);
    int fd = kit_connect(&k);
    for (int i = 0; i < 4; i++) {
        kit_put(fd, &"GET / "[i], 1); /* a byte a second changes nothing */
        KIT_UNTIL(&k, net_count(k.net) == 1);
        kit_turn(&k, 5);
        net_tick(k.net);
    }
    assert_true(kit_drain(&k, fd, got, sizeof got - 1) > 0);
    assert_memory_equal(got, "HTTP/1.1 408 ", 13);
    close(fd);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    /* An upgraded one that does not log in has no more time than that in all. */
    fd = kit_connect(&k);
    KIT_UNTIL(&k, net_count(k.net) == 1);
    net_tick(k.net);
    net_tick(k.net);
    kit_put(fd, "GET / HTTP/1.1\r\n" ASK "\r\n", strlen("GET / HTTP/1.1\r\n" ASK "\r\n"));
    KIT_UNTIL(&k, k.opened == 1);
    net_tick(k.net);
    assert_int_equal(k.closing, 0);
    net_tick(k.net);
    assert_int_equal(k.closing, 1);
    assert_int_equal(k.closing_reason, CLOSE_IDLE);
    close(fd);
    kit_stop(&k);
}

static void own_origins(void **state)
{
    (void)state;
    static const char *const list[] = {"https://chat.example", NULL};
    struct kit k;
    char got[sizeof accepted - 1], text[1024] = "";
    struct net_limits limits = {.frame = 65536, .output_queue = 1 << 20, .login_timeout = 10, .origins = list};
    static const char good[] = "GET / HTTP/1.1\r\n" ASK "Origin: https://chat.example\r\n\r\n";
    static const char bad[] = "GET / HTTP/1.1\r\n" ASK "Origin: http://127.0.0.1\r\n\r\n";
    kit_start(&k, CONN_WEBSOCKET, &limits);
    int fd = kit_connect(&k);
    kit_put(fd, good, sizeof good - 1);
    kit_take(&k, fd, got, sizeof got);
    assert_memory_equal(got, accepted, sizeof got);
    close(fd);
    fd = kit_connect(&k);
    kit_put(fd, bad, sizeof bad - 1);
    assert_true(kit_drain(&k, fd, text, sizeof text - 1) > 0);
    assert_memory_equal(text, "HTTP/1.1 403 ", 13);
    close(fd);
    kit_stop(&k);
}

/* A page whose name was made to point to this machine is "of the same host" (DNS rebinding). */
static void names_on_loopback(void **state)
{
    (void)state;
    static const struct {
        const char *host, *origin;
        bool ok;
    } cases[] = {
        {"evil.example:8082", "http://evil.example:8082", false},
        {"evil.example", "http://localhost", false},
        {"localhost:8082", "http://localhost:8082", true},
        {"127.0.0.1:8082", "http://127.0.0.1:8082", true},
        {"myhost:8082", "http://myhost:8082", true},
        {"evil.example:8082", NULL, true}, /* no browser */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kit k;
        struct buf b = BUF_INIT;
        char got[1024] = "";
        kit_start(&k, CONN_WEBSOCKET, NULL);
        buf_printf(&b, "GET / HTTP/1.1\r\nHost: %s\r\n", cases[i].host);
        buf_lit(&b, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" KEY);
        if (cases[i].origin)
            buf_printf(&b, "Origin: %s\r\n", cases[i].origin);
        buf_lit(&b, "\r\n");
        int fd = kit_connect(&k);
        kit_put(fd, b.p, b.n);
        if (cases[i].ok) {
            kit_take(&k, fd, got, sizeof accepted - 1);
            assert_memory_equal(got, accepted, sizeof accepted - 1);
        } else {
            assert_true(kit_drain(&k, fd, got, sizeof got - 1) > 0);
            assert_memory_equal(got, "HTTP/1.1 403 ", 13);
            assert_non_null(strstr(got, "localhost"));
            assert_non_null(strstr(got, "origins"));
        }
        buf_free(&b);
        close(fd);
        kit_stop(&k);
    }
}

/* --- Requests that the owner serves, and paths that it claims --------------------------------------------------- */

/* What the last request was. */
static struct {
    uint32_t count, conn, generation;
    char path[64], body[64];
    size_t body_n;
} asked;

static int32_t serves(void *owner, uint32_t conn, const struct http_head *h)
{
    (void)owner, (void)conn;
    if (!slice_eq(h->path, SLICE_LIT("/api")))
        return slice_eq(h->path, SLICE_LIT("/none")) ? -404 : -426;
    return http_is(h->method, "GET") || http_is(h->method, "HEAD") ? 0 : http_is(h->method, "POST") ? 50000 : -405;
}

static void request_came(void *owner, uint32_t conn, const struct http_head *h, struct slice body)
{
    struct kit *k = owner;
    asked.count++;
    asked.conn = conn;
    asked.generation = conn_at(k->net, conn)->generation;
    snprintf(asked.path, sizeof asked.path, "%.*s?%.*s", (int)h->path.n, h->path.p, (int)h->query.n, h->query.p);
    asked.body_n = body.n;
    snprintf(asked.body, sizeof asked.body, "%.*s", (int)(body.n < 60 ? body.n : 60), body.n ? body.p : "");
}

static bool claims(void *owner, uint32_t conn, struct slice path)
{
    (void)owner, (void)conn;
    return slice_eq(path, SLICE_LIT("/echo"));
}

static uint32_t claimed_limit(void *owner, const struct conn *c)
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

static void serve(struct kit *k)
{
    kit_start(k, CONN_WEBSOCKET, NULL);
    k->net->ops = &serving;
    memset(&asked, 0, sizeof asked);
}

static int ask(struct kit *k, const char *request)
{
    int fd = kit_connect(k);
    kit_put(fd, request, strlen(request));
    return fd;
}

static int answer(struct kit *k, unsigned status, struct slice body, bool no_body)
{
    return conn_http_answer(k->net, asked.conn, asked.generation, status, SLICE_LIT("X-A: b\r\n"), body, no_body);
}

/* The whole answer that comes at fd; closes it. */
static const char *answered(struct kit *k, int fd)
{
    static char got[4096];
    ssize_t n = kit_drain(k, fd, got, sizeof got - 1);
    assert_true(n >= 0 && n < (ssize_t)sizeof got);
    got[n] = 0;
    close(fd);
    return got;
}

/* Answers that nobody reads count like all that waits: over a cap no more of them is kept, and who reads has its
 * answer. */
static void answers_are_bounded(void **state)
{
    (void)state;
    enum { N = 8, BODY = 2 << 20 };
    static char body[BODY];
    for (int per_ip = 0; per_ip < 2; per_ip++) {
        struct kit k;
        int fds[N];
        serve(&k);
        k.limits.output_total = per_ip ? 0 : 5 << 20;
        k.limits.output_per_ip = per_ip ? 5 << 20 : 0;
        net_configure(k.net, &k.limits);
        for (uint32_t i = 0; i < N; i++) {
            fds[i] = ask(&k, "GET /api HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            KIT_UNTIL(&k, asked.count == i + 1);
            int small = 4096;
            setsockopt(conn_at(k.net, asked.conn)->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
            assert_int_equal(answer(&k, 200, slice_of(body, BODY), false), 0);
            kit_turn(&k, 5);
        }
        assert_in_range(net_shared_queued(k.shared), 1 << 20, 8 << 20);
        char first[14] = "";
        kit_take(&k, fds[0], first, 13);
        assert_string_equal(first, "HTTP/1.1 200 ");
        char rest[16];
        assert_true(kit_drain(&k, fds[N - 1], rest, sizeof rest) < BODY);
        close(fds[N - 1]);
        fds[N - 1] = ask(&k, "GET /api HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        KIT_UNTIL(&k, asked.count == N + 1);
        assert_int_equal(answer(&k, 200, SLICE_LIT("small"), false), 0);
        assert_non_null(strstr(answered(&k, fds[N - 1]), "small"));
        for (int i = 0; i < N - 1; i++)
            close(fds[i]);
        KIT_UNTIL(&k, net_count(k.net) == 0);
        kit_stop(&k);
    }
}

static void requests_are_answered(void **state)
{
    (void)state;
    struct kit k;
    serve(&k);
    int fd = ask(&k, "GET /api?a=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /api HTTP/1.1\r\nHost: "
                     "h\r\nConnection: close\r\n\r\n");
    KIT_UNTIL(&k, asked.count == 1);
    assert_string_equal(asked.path, "/api?a=1");
    kit_turn(&k, 20); /* the answer may come whenever it wants */
    assert_int_equal(answer(&k, 200, SLICE_LIT("hello"), false), 0);
    assert_int_equal(answer(&k, 200, SLICE_LIT("again"), false), ERR_CLOSED);
    const char *got = answered(&k, fd);
    assert_memory_equal(got, "HTTP/1.1 200 OK\r\nDate: ", 23);
    assert_non_null(strstr(got, " GMT\r\nX-A: b\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"));
    assert_string_equal(got + strlen(got) - 5, "hello");
    assert_int_equal(asked.count, 1); /* it was to be the last one */
    fd = ask(&k, "HEAD /api HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    KIT_UNTIL(&k, asked.count == 2);
    assert_int_equal(answer(&k, 200, SLICE_LIT("hello"), true), 0);
    got = answered(&k, fd);
    assert_non_null(strstr(got, "\r\nContent-Length: 5\r\n"));
    assert_string_equal(got + strlen(got) - 4, "\r\n\r\n");
    assert_int_equal(k.opened, 0);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    assert_int_equal(answer(&k, 200, SLICE_LIT("late"), false), ERR_CLOSED);
    kit_stop(&k);
}

static void bodies(void **state)
{
    (void)state;
    static const char request[] =
        "POST /api HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 12\r\n\r\n{\"x\":\"0123\"}";
    static const char large[] =
        "POST /api HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 50000\r\nExpect: 100-continue\r\n\r\n";
    struct kit k;
    char block[1000];
    serve(&k);
    int fd = kit_connect(&k);
    for (size_t i = 0; i < sizeof request - 1; i++) {
        assert_int_equal(asked.count, 0);
        kit_put(fd, request + i, 1);
        kit_turn(&k, 3);
    }
    KIT_UNTIL(&k, asked.count == 1);
    assert_string_equal(asked.body, "{\"x\":\"0123\"}");
    assert_int_equal(answer(&k, 204, SLICE_NONE, false), 0);
    assert_null(strstr(answered(&k, fd), "Content-Length"));
    /* A large one, for which leave is asked. */
    fd = ask(&k, large);
    kit_take(&k, fd, block, 25);
    assert_memory_equal(block, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 50; i++) {
        kit_put(fd, block, sizeof block);
        kit_turn(&k, 2);
    }
    KIT_UNTIL(&k, asked.count == 2);
    assert_int_equal(asked.body_n, 50000);
    assert_int_equal(answer(&k, 200, SLICE_NONE, false), 0);
    assert_memory_equal(answered(&k, fd), "HTTP/1.1 200 ", 13);
    assert_memory_equal(
        answered(&k, ask(&k, "POST /api HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 50001\r\n\r\n")),
        "HTTP/1.1 413 ", 13);
    assert_non_null(strstr(answered(&k, ask(&k, "PUT /api HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")),
                           "\r\nAllow: GET, HEAD, POST\r\n"));
    assert_memory_equal(answered(&k, ask(&k, "GET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")),
                        "HTTP/1.1 404 ", 13);
    assert_memory_equal(answered(&k, ask(&k, "GET /other HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")),
                        "HTTP/1.1 426 ", 13);
    assert_int_equal(asked.count, 2);
    kit_stop(&k);
}

/* What comes at fd until `end` is the last of it; it stays open. */
static const char *next_answer(struct kit *k, int fd, const char *end)
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

/* Requests follow each other on a connection, one at a time, and are answered in their order. */
static void connections_are_kept(void **state)
{
    (void)state;
    struct kit k;
    char got[sizeof accepted - 1];
    serve(&k);
    int fd = ask(&k, "GET /api?a=1 HTTP/1.1\r\nHost: h\r\n\r\n"
                     "POST /api?a=2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz"
                     "GET /api?a=3 HTTP/1.1\r\nHo");
    KIT_UNTIL(&k, asked.count == 1);
    kit_turn(&k, 20);
    assert_int_equal(asked.count, 1); /* the next one waits for the answer */
    assert_int_equal(answer(&k, 200, SLICE_LIT("one"), false), 0);
    assert_int_equal(answer(&k, 200, SLICE_LIT("twice"), false), ERR_CLOSED);
    assert_null(strstr(next_answer(&k, fd, "one"), "Connection:"));
    KIT_UNTIL(&k, asked.count == 2);
    assert_string_equal(asked.path, "/api?a=2");
    assert_string_equal(asked.body, "xyz");
    assert_int_equal(answer(&k, 404, SLICE_LIT("two"), false), 0);
    next_answer(&k, fd, "two");
    kit_turn(&k, 20);
    assert_int_equal(asked.count, 2);
    kit_put(fd, "st: h\r\n\r\n", 9);
    KIT_UNTIL(&k, asked.count == 3);
    assert_int_equal(answer(&k, 204, SLICE_NONE, false), 0);
    next_answer(&k, fd, "\r\n\r\n");
    /* … and a WebSocket may come of it. */
    kit_put(fd, "GET / HTTP/1.1\r\n" ASK "\r\n", strlen("GET / HTTP/1.1\r\n" ASK "\r\n"));
    kit_take(&k, fd, got, sizeof got);
    assert_memory_equal(got, accepted, sizeof got);
    KIT_UNTIL(&k, k.opened == 1);
    assert_int_equal(asked.count, 3);
    close(fd);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    kit_stop(&k);
}

/* When a connection ends after an answer: the client says so, or it was refused altogether, or it asks no more. */
static void kept_connections_end(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        unsigned status;
    } last[] = {{"GET /api HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n", 200},
                {"GET /api HTTP/1.1\r\nHost: h\r\nConnection: x, close\r\n\r\n", 200},
                {"GET /api HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", 200},
                {"GET /api HTTP/1.1\r\nHost: h\r\n\r\n", 401},
                {"GET /api HTTP/1.1\r\nHost: h\r\n\r\n", 503}};
    struct kit k;
    serve(&k);
    for (unsigned i = 0; i < sizeof last / sizeof *last; i++) {
        int fd = ask(&k, last[i].head);
        KIT_UNTIL(&k, asked.count == i + 1);
        assert_int_equal(answer(&k, last[i].status, SLICE_LIT("x"), false), 0);
        assert_non_null(strstr(answered(&k, fd), "\r\nConnection: close\r\n"));
    }
    KIT_UNTIL(&k, net_count(k.net) == 0);
    /* Who asks nothing any more is closed without a word, by and by. */
    asked.count = 0;
    int fd = ask(&k, "GET /api HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, asked.count == 1);
    assert_int_equal(answer(&k, 200, SLICE_LIT("x"), false), 0);
    next_answer(&k, fd, "\r\n\r\nx");
    for (int i = 0; i < 12; i++)
        net_tick(k.net);
    assert_string_equal(answered(&k, fd), "");
    /* Who closes its half has what it asked for. */
    fd = ask(&k, "GET /api HTTP/1.1\r\nHost: h\r\n\r\nGET /api HTTP/1.1\r\nHost: h\r\n\r\n");
    shutdown(fd, SHUT_WR);
    for (unsigned i = 2; i <= 3; i++) {
        KIT_UNTIL(&k, asked.count == i);
        assert_int_equal(answer(&k, 200, SLICE_LIT("x"), false), 0);
    }
    const char *got = answered(&k, fd), *second = strstr(got + 1, "HTTP/1.1 200 ");
    assert_non_null(second);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    kit_stop(&k);
}

#define CHUNKED "POST /api HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"

static void chunked_bodies(void **state)
{
    (void)state;
    static const char whole[] = CHUNKED "5\r\n{\"x\":\r\n0000B;name=\"v\"\r\n\"0123456\"}\n\r\n0;a\r\n\r\n"
                                        "GET /api HTTP/1.1\r\nHost: h\r\n\r\n";
    static const char *const none[] = {CHUNKED "0\r\n\r\n", CHUNKED "00000000\r\n\r\n"};
    struct kit k;
    serve(&k);
    for (int step = 1; step < (int)sizeof whole; step = step < 4 ? step + 1 : step * 5) { /* cut in every way */
        asked.count = 0;
        int fd = kit_connect(&k);
        for (size_t i = 0; i < sizeof whole - 1; i += (size_t)step) {
            size_t left = sizeof whole - 1 - i;
            kit_put(fd, whole + i, left < (size_t)step ? left : (size_t)step);
            kit_turn(&k, step < 4 ? 2 : 5);
        }
        KIT_UNTIL(&k, asked.count == 1);
        assert_string_equal(asked.body, "{\"x\":\"0123456\"}\n");
        assert_int_equal(asked.body_n, 16);
        assert_int_equal(answer(&k, 200, SLICE_LIT("one"), false), 0);
        next_answer(&k, fd, "one");
        KIT_UNTIL(&k, asked.count == 2);
        assert_int_equal(asked.body_n, 0);
        assert_int_equal(answer(&k, 200, SLICE_NONE, false), 0);
        close(fd);
        KIT_UNTIL(&k, net_count(k.net) == 0);
    }
    for (int i = 0; i < 2; i++) {
        asked.count = 0;
        int fd = ask(&k, none[i]);
        KIT_UNTIL(&k, asked.count == 1);
        assert_int_equal(asked.body_n, 0);
        assert_int_equal(answer(&k, 200, SLICE_NONE, false), 0);
        close(fd);
        KIT_UNTIL(&k, net_count(k.net) == 0);
    }
    kit_stop(&k);
}

static void chunks_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *status;
    } cases[] = {
        {CHUNKED "x\r\n", "400"},
        {CHUNKED "\r\n", "400"},
        {CHUNKED "-1\r\n", "400"},
        {CHUNKED "0x5\r\n", "400"},
        {CHUNKED " 5\r\n", "400"},
        {CHUNKED "5 \r\n", "400"},
        {CHUNKED "5\n", "400"},
        {CHUNKED "100000000\r\n", "400"},
        {CHUNKED "5\r\nhelloX", "400"},
        {CHUNKED "5\r\nhello\rX", "400"},
        {CHUNKED "5\r\nhello\n", "400"},
        {CHUNKED "0\r\nX: y\r\n\r\n", "400"},
        {CHUNKED "0\r\n\n", "400"},
        {CHUNKED "c351\r\n", "413"}, /* 50001, of 50000 */
        {CHUNKED "1\r\nx\r\nc350\r\n", "413"},
        {"POST /api HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", "400"},
        {"POST /api HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
        {"POST /api HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "501"},
        {"POST /api HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", "501"},
        {"POST /api HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "501"},
        {"POST /api HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n", "501"},
        {"POST /api HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
        {"GET /other HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "413"},
    };
    struct kit k;
    char line[400] = CHUNKED "5;";
    serve(&k);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = answered(&k, ask(&k, cases[i].text));
        if (strncmp(got + 9, cases[i].status, 3) != 0)
            fail_msg("case %zu: expected %s, got %.40s", i, cases[i].status, got);
        assert_non_null(strstr(got, "\r\nConnection: close\r\n"));
    }
    size_t n = strlen(line);
    memset(line + n, 'x', 300);
    line[n + 300] = 0;
    assert_memory_equal(answered(&k, ask(&k, line)), "HTTP/1.1 400 ", 13);
    assert_int_equal(asked.count, 0);
    kit_stop(&k);
}

/* A large body in many small chunks is gone through once, and leave is given for it. */
static void many_chunks(void **state)
{
    (void)state;
    struct kit k;
    char got[25];
    serve(&k);
    int fd = ask(&k, "POST /api HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    kit_take(&k, fd, got, 25);
    assert_memory_equal(got, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    for (int i = 0; i < 50000; i++) {
        kit_put(fd, "1\r\ny\r\n", 6);
        if (i % 1000 == 0)
            kit_turn(&k, 2);
    }
    kit_put(fd, "0\r\n\r\n", 5);
    KIT_UNTIL(&k, asked.count == 1);
    assert_int_equal(asked.body_n, 50000);
    assert_int_equal(answer(&k, 200, SLICE_LIT("x"), false), 0);
    next_answer(&k, fd, "\r\n\r\nx");
    close(fd);
    kit_stop(&k);
}

/* A request never claims an upgrade, whatever its path. */
static void upgrades_are_no_requests(void **state)
{
    (void)state;
    struct kit k;
    char got[sizeof accepted - 1];
    serve(&k);
    int fd = ask(&k, "GET /api HTTP/1.1\r\n" ASK "\r\n");
    kit_take(&k, fd, got, sizeof got);
    assert_memory_equal(got, accepted, sizeof got);
    assert_int_equal(asked.count, 0);
    assert_int_equal(k.opened, 1);
    close(fd);
    kit_stop(&k);
}

/* An answer that never comes, and a client that does not wait for it. */
static void unanswered(void **state)
{
    (void)state;
    struct kit k;
    serve(&k);
    int fd = ask(&k, "GET /api HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, asked.count == 1);
    for (int i = 0; i < ANSWER_TICKS; i++)
        net_tick(k.net);
    assert_memory_equal(answered(&k, fd), "HTTP/1.1 504 ", 13);
    assert_int_equal(answer(&k, 200, SLICE_NONE, false), ERR_CLOSED);
    fd = ask(&k, "GET /api HTTP/1.1\r\nHost: h\r\n\r\n");
    KIT_UNTIL(&k, asked.count == 2);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(fd);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    assert_int_equal(answer(&k, 200, SLICE_NONE, false), ERR_CLOSED);
    kit_stop(&k);
}

/* A client that has closed its own half gets the whole answer, however large. */
static void half_closed_clients(void **state)
{
    (void)state;
    enum { LARGE = 6 << 20 };
    struct kit k;
    char *text = malloc(LARGE), *got = malloc(LARGE + 4096);
    memset(text, 'x', LARGE);
    serve(&k);
    int fd = ask(&k, "GET /api HTTP/1.1\r\nHost: h\r\n\r\n");
    shutdown(fd, SHUT_WR);
    KIT_UNTIL(&k, asked.count == 1);
    assert_int_equal(answer(&k, 200, slice_of(text, LARGE), false), 0);
    KIT_UNTIL(&k, conn_at(k.net, asked.conn)->inner & CONN_I_MUTED);
    kit_turn(&k, 50);
    struct epoll_event e;
    assert_int_equal(epoll_wait(k.net->epoll_fd, &e, 1, 0), 0); /* and costs nothing while it does not read */
    ssize_t n = 0;
    for (ssize_t r = 1; r != 0;) {
        r = recv(fd, got + n, LARGE + 4096 - (size_t)n, MSG_DONTWAIT);
        assert_true(r >= 0 || errno == EAGAIN);
        n += r > 0 ? r : 0;
        kit_turn(&k, 1);
    }
    assert_true(n > LARGE);
    assert_memory_equal(got + n - LARGE, text, LARGE);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    close(fd);
    free(text);
    free(got);
    kit_stop(&k);
}

/* On a claimed path messages are told whole, and the errors of our protocol do not exist. */
static void claimed(void **state)
{
    (void)state;
    struct kit k;
    struct buf b = BUF_INIT;
    char got[sizeof accepted - 1], *large = calloc(1, 150000);
    serve(&k);
    int fd = ask(&k, "GET /echo HTTP/1.1\r\n" ASK "\r\n");
    kit_take(&k, fd, got, sizeof got);
    ws_put(&b, 0x82, SLICE_LIT("ab"));
    ws_put(&b, 0x81, SLICE_LIT("text"));
    kit_put(fd, b.p, b.n);
    buf_reset(&b);
    KIT_UNTIL(&k, k.count == 2);
    assert_false(k.messages[0].text);
    assert_int_equal(k.messages[0].n, 2);
    assert_memory_equal(k.messages[0].head, "ab", 2);
    assert_true(k.messages[1].text);
    ws_put(&b, 0x82, slice_of(large, 150000)); /* over limits.frame */
    kit_put(fd, b.p, b.n);
    buf_reset(&b);
    KIT_UNTIL(&k, k.count == 3);
    assert_int_equal(k.messages[2].n, 150000);
    for (int i = 0; i < 20; i++) /* no login is awaited */
        net_tick(k.net);
    assert_int_equal(k.closing, 0);
    ws_put(&b, 0x83, SLICE_NONE);
    kit_put(fd, b.p, b.n);
    kit_take(&k, fd, got, 4);
    assert_memory_equal(got, "\x88", 1); /* nothing but the close frame */
    assert_int_equal(load_be16(got + 2), 1002);
    KIT_UNTIL(&k, k.closing == 1);
    close(fd);
    fd = ask(&k, "GET /echo HTTP/1.1\r\n" ASK "\r\n");
    kit_take(&k, fd, got, sizeof got);
    conn_close_raw(k.net, k.last, 4001, SLICE_LIT("enough"));
    kit_take(&k, fd, got, 10);
    assert_memory_equal(got,
                        "\x88\x08\x0f\xa1"
                        "enough",
                        10);
    close(fd);
    free(large);
    buf_free(&b);
    kit_stop(&k);
}

/* A client of /echo that has sent n bytes of a message of `whole` bytes, masked with zeros. */
static int unfinished(struct kit *k, uint32_t whole, uint32_t n)
{
    char got[sizeof accepted - 1], head[14] = {(char)0x82, (char)0xff};
    char *zeros = calloc(1, n);
    int fd = ask(k, "GET /echo HTTP/1.1\r\n" ASK "\r\n");
    kit_take(k, fd, got, sizeof got);
    store_be32(head + 6, whole);
    kit_put(fd, head, sizeof head);
    for (uint32_t sent = 0; sent < n; sent += 50000) {
        kit_put(fd, zeros + sent, n - sent < 50000 ? n - sent : 50000);
        kit_turn(k, 20);
    }
    free(zeros);
    return fd;
}

/* What clients of claimed paths, who never log in, have sent of a message is bounded, by address and in all, and
 * does not keep others from logging in; but one message always fits. */
static void claimed_input_is_bounded(void **state)
{
    (void)state;
    enum { N = 6, BYTES = 150000, CAP = 620000 }; /* a buffer may be a third larger than what is in it */
    static const struct {
        uint64_t total, per_ip;
    } caps[] = {{0, CAP}, {CAP, 0}};
    for (size_t i = 0; i < sizeof caps / sizeof *caps; i++) {
        struct kit k;
        int fds[N];
        serve(&k);
        net_configure(k.net, &(struct net_limits){.frame = 65536,
                                                  .output_queue = 1000,
                                                  .login_timeout = 10,
                                                  .early_total = caps[i].total,
                                                  .early_per_ip = caps[i].per_ip});
        for (int j = 0; j < N; j++)
            fds[j] = unfinished(&k, BYTES + 1, BYTES);
        unsigned fit = N - (unsigned)k.closing;
        assert_in_range(fit, 3, 4);
        assert_in_range(net_shared_claimed(k.shared), fit * BYTES, CAP);
        assert_int_equal(net_shared_early(k.shared), 0);
        for (unsigned j = 0; j < N; j++) {
            char got[4];
            if (j >= fit) {
                kit_take(&k, fds[j], got, sizeof got);
                assert_memory_equal(got, "\x88", 1);
                assert_int_equal(load_be16(got + 2), 1008);
            } else {
                kit_put(fds[j], "", 1);
                KIT_UNTIL(&k, k.count == j + 1);
            }
        }
        KIT_UNTIL(&k, net_shared_claimed(k.shared) == 0);
        /* Less than one message: room for one there is. */
        net_configure(
            k.net, &(struct net_limits){.frame = 65536, .output_queue = 1000, .early_total = 10, .early_per_ip = 10});
        int fd = unfinished(&k, 200000, 200000);
        KIT_UNTIL(&k, k.count == fit + 1);
        close(fd);
        for (int j = 0; j < N; j++)
            close(fds[j]);
        KIT_UNTIL(&k, net_count(k.net) == 0);
        kit_stop(&k);
    }
}

/* What they do not read is counted in the same way. */
static void claimed_output_is_bounded(void **state)
{
    (void)state;
    enum { N = 5, BYTES = 8 << 20, FITS = 2 };
    struct kit k;
    int fds[N];
    uint32_t conns[N];
    char *zeros = calloc(1, BYTES);
    serve(&k);
    net_configure(k.net, &(struct net_limits){.frame = 65536, .output_queue = 1000, .early_per_ip = FITS * BYTES});
    for (int j = 0; j < N; j++) {
        char got[sizeof accepted - 1];
        fds[j] = ask(&k, "GET /echo HTTP/1.1\r\n" ASK "\r\n");
        kit_take(&k, fds[j], got, sizeof got);
        conns[j] = k.last;
        (void)conn_send_claimed(k.net, k.last, false, slice_of(zeros, BYTES));
        kit_turn(&k, 20);
    }
    assert_true(k.closing >= 1 && k.closing <= N - FITS);
    assert_in_range(net_shared_claimed(k.shared), BYTES, FITS * BYTES);
    assert_int_equal(conn_at(k.net, conns[0])->flags & CONN_F_CLOSING, 0);
    /* Whoever reads is held against nobody. */
    uint64_t before = net_shared_claimed(k.shared);
    static char sink[65536];
    for (size_t n = 0; n < BYTES / 2; kit_turn(&k, 1)) {
        ssize_t r = recv(fds[0], sink, sizeof sink, MSG_DONTWAIT);
        n += r > 0 ? (size_t)r : 0;
    }
    KIT_UNTIL(&k, net_shared_claimed(k.shared) < before - BYTES / 4);
    for (int j = 0; j < N; j++)
        close(fds[j]);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    assert_int_equal(net_shared_claimed(k.shared), 0);
    free(zeros);
    kit_stop(&k);
}

static enum conn_verdict echo_back(struct kit *k, uint32_t conn, const struct net_message *m)
{
    assert_int_equal(conn_send_claimed(k->net, conn, m->text, m->body), 0);
    return CONN_CONTINUE;
}

/* The beginning of a frame behind a large message is counted as what it is, not as the buffer that the message was in:
 * else whoever echoes large messages would be refused while the echo is on its way. */
static void a_rest_behind_a_large_message(void **state)
{
    (void)state;
    enum { BYTES = 190000, FEW = 4096 };
    struct kit k;
    int few = FEW;
    char *zeros = calloc(1, BYTES);
    struct buf b = BUF_INIT;
    serve(&k);
    k.on_message = echo_back;
    net_configure(k.net, &(struct net_limits){.frame = 65536, .output_queue = 1000, .early_per_ip = 10});
    char got[sizeof accepted - 1];
    int fd = ask(&k, "GET /echo HTTP/1.1\r\n" ASK "\r\n");
    kit_take(&k, fd, got, sizeof got);
    assert_int_equal(setsockopt(conn_at(k.net, k.last)->fd, SOL_SOCKET, SO_SNDBUF, &few, sizeof few), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &few, sizeof few), 0);
    ws_put(&b, 0x82, slice_of(zeros, BYTES));
    buf_put(&b, "\x82", 1);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (size_t at = 0; at < b.n; kit_turn(&k, 1)) {
        ssize_t n = send(fd, b.p + at, b.n - at, MSG_NOSIGNAL);
        at += n > 0 ? (size_t)n : 0;
    }
    KIT_UNTIL(&k, k.count == 1);
    kit_turn(&k, 50);
    assert_int_equal(k.closing, 0);
    assert_in_range(net_shared_claimed(k.shared), BYTES / 2, BYTES); /* the echo is not read yet */
    assert_true(k.net->inbuf_memory < 4096);
    for (size_t n = 0; n < BYTES + 10; kit_turn(&k, 1)) {
        static char sink[65536];
        ssize_t r = recv(fd, sink, sizeof sink, MSG_DONTWAIT);
        n += r > 0 ? (size_t)r : 0;
    }
    assert_int_equal(k.closing, 0);
    close(fd);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    assert_int_equal(net_shared_claimed(k.shared), 0);
    buf_free(&b);
    free(zeros);
    kit_stop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upgrades_byte_by_byte),
        cmocka_unit_test(frames_behind_the_head),
        cmocka_unit_test(refuses),
        cmocka_unit_test(heads_are_bounded),
        cmocka_unit_test(slow_heads_time_out),
        cmocka_unit_test(upgrades_with_large_heads),
        cmocka_unit_test(memory_before_login_is_bounded),
        cmocka_unit_test(memory_before_login_ends_with_it),
        cmocka_unit_test(own_origins),
        cmocka_unit_test(names_on_loopback),
        cmocka_unit_test(answers_are_bounded),
        cmocka_unit_test(requests_are_answered),
        cmocka_unit_test(bodies),
        cmocka_unit_test(connections_are_kept),
        cmocka_unit_test(kept_connections_end),
        cmocka_unit_test(chunked_bodies),
        cmocka_unit_test(chunks_that_are_refused),
        cmocka_unit_test(many_chunks),
        cmocka_unit_test(upgrades_are_no_requests),
        cmocka_unit_test(unanswered),
        cmocka_unit_test(half_closed_clients),
        cmocka_unit_test(claimed),
        cmocka_unit_test(claimed_input_is_bounded),
        cmocka_unit_test(claimed_output_is_bounded),
        cmocka_unit_test(a_rest_behind_a_large_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
