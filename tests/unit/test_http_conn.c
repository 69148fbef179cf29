#include "tests/unit/net_kit.h"
#include "tests/unit/ws_kit.h"

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
        {"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n" KEY "\r\n",
         "HTTP/1.1 426 ", "\r\nSec-WebSocket-Version: 13\r\n"},
        {"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", "HTTP/1.1 400 ", "Host"},
        {"\x16\x03\x01\x02\x05\x01", "HTTP/1.1 400 ", "no HTTP request"},
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
    char got[1024] = "", text[6000];
    kit_start(&k, CONN_WEBSOCKET, NULL);
    int fd = kit_connect(&k);
    memset(text, 'x', sizeof text);
    memcpy(text, "GET / HTTP/1.1\r\nA: ", 19);
    kit_put(fd, text, 4000);
    kit_turn(&k, 20);
    assert_int_equal(net_count(k.net), 1);
    kit_put(fd, text + 4000, 2000);
    assert_true(kit_drain(&k, fd, got, sizeof got - 1) > 0);
    assert_memory_equal(got, "HTTP/1.1 431 ", 13);
    close(fd);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upgrades_byte_by_byte), cmocka_unit_test(frames_behind_the_head), cmocka_unit_test(refuses),
        cmocka_unit_test(heads_are_bounded),     cmocka_unit_test(slow_heads_time_out),    cmocka_unit_test(own_origins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
