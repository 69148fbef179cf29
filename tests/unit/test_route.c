/* HTTP requests and claimed paths: from the net's owner (net_ops.http, claim) back to the socket. */
#include "tests/unit/net_kit.h"

#include "core/net/http.h"
#include "core/net/http_conn.h"
#include "core/net/send.h"

/* The owner serves /small (no body) and /take (POST, up to a million bytes), and claims /raw. */
static struct {
    uint32_t conn, generation;
    unsigned requests;
    size_t body;
    char first, last;
    char method[8];
    bool later; /* answered by the test */
} seen;

static int32_t wanted(void *owner, uint32_t conn, const struct http_head *h)
{
    (void)owner, (void)conn;
    bool post = slice_eq(h->method, SLICE_LIT("POST"));
    if (slice_eq(h->path, SLICE_LIT("/take")))
        return post ? 1000000 : -405;
    return slice_eq(h->path, SLICE_LIT("/small")) && !post ? 0 : -426;
}

static void serve(void *owner, uint32_t conn, const struct http_head *h, struct slice body)
{
    struct kit *k = owner;
    seen.requests++;
    seen.conn = conn;
    seen.generation = conn_at(k->net, conn)->generation;
    seen.body = body.n;
    seen.first = body.n ? body.p[0] : 0;
    seen.last = body.n ? body.p[body.n - 1] : 0;
    snprintf(seen.method, sizeof seen.method, "%.*s", (int)h->method.n, h->method.p);
    if (!seen.later)
        assert_int_equal(conn_http_answer(k->net, conn, seen.generation, 200, SLICE_LIT("X-A: b\r\n"),
                                          SLICE_LIT("hello"), slice_eq(h->method, SLICE_LIT("HEAD"))),
                         0);
}

static bool claim(void *owner, uint32_t conn, struct slice path)
{
    (void)owner, (void)conn;
    return slice_eq(path, SLICE_LIT("/raw"));
}

static uint32_t claim_limit(void *owner, const struct conn *c)
{
    (void)owner, (void)c;
    return 300000;
}

static const struct net_ops ops = {.opened = kit_opened,
                                   .message = kit_message,
                                   .closed = kit_closed,
                                   .closing = kit_closing,
                                   .drained = kit_drained,
                                   .claim = claim,
                                   .claim_limit = claim_limit,
                                   .http_wanted = wanted,
                                   .http = serve};

static void start(struct kit *k)
{
    memset(&seen, 0, sizeof seen);
    kit_start(k, CONN_WEBSOCKET, NULL);
    k->net->ops = &ops;
}

/* Everything that comes until the end. */
static void all(struct kit *k, int fd, char *out, size_t size)
{
    size_t n = 0;
    for (int i = 0; i < 5000; i++) {
        ssize_t r = recv(fd, out + n, size - 1 - n, MSG_DONTWAIT);
        if (r == 0)
            break;
        if (r > 0)
            n += (size_t)r;
        else
            usleep(200);
        kit_turn(k, 1);
    }
    out[n] = '\0';
    close(fd);
}

static void ask(struct kit *k, const char *request, char *out, size_t size)
{
    int fd = kit_connect(k);
    kit_put(fd, request, strlen(request));
    all(k, fd, out, size);
}

static void answers_at_once(void **state)
{
    struct kit k;
    char out[2048];
    (void)state;
    start(&k);
    ask(&k, "GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /small HTTP/1.1\r\n", out, sizeof out);
    assert_non_null(strstr(out, "HTTP/1.1 200 OK\r\nDate: "));
    assert_non_null(strstr(out, "X-A: b\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"));
    ask(&k, "HEAD /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, "Content-Length: 5\r\n"));
    assert_null(strstr(out, "hello"));
    assert_int_equal(seen.requests, 2);
    assert_int_equal(k.opened, 0);
    assert_int_equal(k.closed, 0);
    kit_stop(&k);
}

static void refusals(void **state)
{
    struct kit k;
    char out[2048];
    (void)state;
    start(&k);
    ask(&k, "GET /else HTTP/1.1\r\nHost: a\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, " 426 "));
    ask(&k, "DELETE /take HTTP/1.1\r\nHost: a\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, " 405 "));
    assert_non_null(strstr(out, "\r\nAllow: POST\r\n"));
    ask(&k, "GET /small HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", out, sizeof out);
    assert_non_null(strstr(out, " 413 "));
    ask(&k, "POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 1000001\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, " 413 "));
    ask(&k, "POST /take HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nF4241\r\n", out, sizeof out);
    assert_non_null(strstr(out, " 413 "));
    assert_int_equal(seen.requests, 0);
    kit_stop(&k);
}

static void body_in_pieces(void **state)
{
    struct kit k;
    char out[2048], head[128];
    static char body[900000];
    (void)state;
    start(&k);
    memset(body, 'm', sizeof body);
    body[0] = 'a';
    body[sizeof body - 1] = 'z';
    int fd = kit_connect(&k);
    int n =
        snprintf(head, sizeof head,
                 "POST /take HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %zu\r\n\r\n", sizeof body);
    kit_put(fd, head, (size_t)n);
    kit_take(&k, fd, out, 25);
    assert_memory_equal(out, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    for (size_t at = 0; at < sizeof body; at += 9000) {
        kit_put(fd, body + at, 9000);
        kit_turn(&k, 2);
    }
    all(&k, fd, out, sizeof out);
    assert_non_null(strstr(out, "HTTP/1.1 200 OK"));
    assert_int_equal(seen.requests, 1);
    assert_int_equal(seen.body, sizeof body);
    assert_int_equal(seen.first, 'a');
    assert_int_equal(seen.last, 'z');
    kit_stop(&k);
}

static void answered_later(void **state)
{
    struct kit k;
    char out[2048];
    (void)state;
    start(&k);
    seen.later = true;
    int fd = kit_connect(&k);
    kit_put(fd, "GET /small HTTP/1.1\r\nHost: a\r\n\r\n", 32);
    KIT_UNTIL(&k, seen.requests == 1);
    for (int i = 0; i < 30; i++) /* the login timeout is none of its */
        net_tick(k.net);
    kit_turn(&k, 2);
    assert_int_equal(conn_http_answer(k.net, seen.conn, seen.generation, 404, SLICE_NONE, SLICE_LIT("no"), false), 0);
    assert_int_equal(conn_http_answer(k.net, seen.conn, seen.generation, 200, SLICE_NONE, SLICE_NONE, false),
                     ERR_CLOSED);
    all(&k, fd, out, sizeof out);
    assert_non_null(strstr(out, "HTTP/1.1 404 Not Found\r\n"));
    /* Never answered. */
    fd = kit_connect(&k);
    kit_put(fd, "GET /small HTTP/1.1\r\nHost: a\r\n\r\n", 32);
    KIT_UNTIL(&k, seen.requests == 2);
    for (int i = 0; i <= ANSWER_TICKS; i++)
        net_tick(k.net);
    all(&k, fd, out, sizeof out);
    assert_non_null(strstr(out, " 504 "));
    assert_int_equal(conn_http_answer(k.net, seen.conn, seen.generation, 200, SLICE_NONE, SLICE_NONE, false),
                     ERR_CLOSED);
    kit_stop(&k);
}

/* A masked client frame (the mask is 0). */
static void put_frame(int fd, uint8_t first, const void *p, size_t n)
{
    uint8_t head[14] = {first, (uint8_t)(0x80 | (n < 126 ? n : 127))};
    size_t h = 2;
    if (n >= 126) {
        store_be64(head + 2, n);
        h = 10;
    }
    kit_put(fd, head, h + 4);
    if (n)
        kit_put(fd, p, n);
}

static int client(struct kit *k, const char *request)
{
    int fd = kit_connect(k);
    kit_put(fd, request, strlen(request));
    KIT_UNTIL(k, k->opened == 1);
    return fd;
}

static enum conn_verdict echo(struct kit *k, uint32_t conn, const struct net_message *m)
{
    assert_true(conn_at(k->net, conn)->flags & CONN_F_RAW);
    struct wire *w = wire_message(m->text, m->body);
    conn_send(k->net, conn, w, CONN_MUST);
    wire_unref(w);
    return CONN_CONTINUE;
}

static void claimed_path(void **state)
{
    static const char request[] =
        "GET /raw HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct kit k;
    char out[512];
    static char big[300001], back[300001];
    (void)state;
    start(&k);
    k.on_message = echo;
    int fd = client(&k, request);
    for (size_t n = 0; n < 4 || memcmp(out + n - 4, "\r\n\r\n", 4) != 0; n++)
        kit_take(&k, fd, out + n, 1);
    put_frame(fd, 0x81, "hi", 2);
    kit_take(&k, fd, out, 4);
    assert_memory_equal(out, "\x81\x02hi", 4);
    put_frame(fd, 0x82, "\0", 1); /* too short for our protocol */
    kit_take(&k, fd, out, 3);
    assert_memory_equal(out, "\x82\x01\0", 3);
    memset(big, 'q', sizeof big);
    put_frame(fd, 0x02, big, 100000);
    put_frame(fd, 0x80, big, 200000);
    kit_take(&k, fd, out, 10);
    assert_int_equal(load_be64(out + 2), 300000);
    kit_take(&k, fd, back, 300000);
    assert_memory_equal(big, back, 300000);
    for (int i = 0; i < 30; i++) /* no login is awaited */
        net_tick(k.net);
    put_frame(fd, 0x82, big, 300001); /* over its limit: the code, and no words of our protocol */
    kit_take(&k, fd, out, 4);
    assert_int_equal((uint8_t)out[0], 0x88);
    assert_int_equal(load_be16(out + 2), 1009);
    close(fd);
    KIT_UNTIL(&k, k.closed == 1);
    kit_stop(&k);
}

static void closed_with_reason(void **state)
{
    static const char request[] =
        "GET /raw HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct kit k;
    char out[512];
    (void)state;
    start(&k);
    int fd = client(&k, request);
    for (size_t n = 0; n < 4 || memcmp(out + n - 4, "\r\n\r\n", 4) != 0; n++)
        kit_take(&k, fd, out + n, 1);
    char reason[130];
    memset(reason, 'x', sizeof reason);
    memcpy(reason + 122, "\xc3\xa4", 2); /* does not fit as a whole */
    conn_close_raw(k.net, k.last, 4000, slice_of(reason, sizeof reason));
    kit_take(&k, fd, out, 4);
    assert_int_equal((uint8_t)out[0], 0x88);
    assert_int_equal((uint8_t)out[1], 124);
    assert_int_equal(load_be16(out + 2), 4000);
    close(fd);
    KIT_UNTIL(&k, k.closed == 1);
    kit_stop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_at_once), cmocka_unit_test(refusals),     cmocka_unit_test(body_in_pieces),
        cmocka_unit_test(answered_later),  cmocka_unit_test(claimed_path), cmocka_unit_test(closed_with_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
