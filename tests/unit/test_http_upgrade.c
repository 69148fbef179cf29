#include "core/hub/registry/route.h"
#include "tests/unit/http_kit.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
