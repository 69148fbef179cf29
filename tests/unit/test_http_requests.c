#include "tests/unit/http_kit.h"

#include <sys/epoll.h>

#define CHUNKED "POST /api HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
