#include "core/base/err.h"
#include "core/net/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct http_limits limits = {.head = HTTP_HEAD_USUAL, .fields = HTTP_FIELDS_USUAL};

/* Parses a copy of just that size. */
static ssize_t parse(const char *text, size_t n, struct http_head *h, char **copy)
{
    *copy = malloc(n ? n : 1);
    memcpy(*copy, text, n);
    return http_parse((const uint8_t *)*copy, n, &limits, h);
}

static void a_request(void **state)
{
    (void)state;
    static const char text[] = "GET /chat/room?x=1&y=%20 HTTP/1.1\r\n"
                               "Host: chat.example:8082\r\n"
                               "X-Empty:\r\n"
                               "Connection: keep-alive, \t Upgrade\r\n"
                               "connection:close\r\n"
                               "UPGRADE:   WebSocket  \r\n"
                               "\r\n"
                               "rest";
    struct http_head h;
    unsigned count;
    ssize_t n = http_parse((const uint8_t *)text, sizeof text - 1, &limits, &h);
    assert_int_equal(n, sizeof text - 1 - 4);
    assert_true(slice_eq(h.method, SLICE_LIT("GET")));
    assert_true(slice_eq(h.target, SLICE_LIT("/chat/room?x=1&y=%20")));
    assert_true(slice_eq(h.path, SLICE_LIT("/chat/room")));
    assert_true(slice_eq(h.query, SLICE_LIT("x=1&y=%20")));
    assert_true(slice_eq(h.host, SLICE_LIT("chat.example:8082")));
    assert_int_equal(h.minor, 1);
    assert_int_equal(h.field_count, 5);
    assert_true(slice_eq(http_get(&h, "upgrade", &count), SLICE_LIT("WebSocket")));
    assert_int_equal(count, 1);
    assert_int_equal(http_get(&h, "x-empty", &count).n, 0);
    assert_int_equal(count, 1);
    assert_null(http_get(&h, "x-empt", &count).p);
    assert_int_equal(count, 0);
    http_get(&h, "connection", &count);
    assert_int_equal(count, 2);
    assert_true(http_has_token(&h, "connection", "upgrade"));
    assert_true(http_has_token(&h, "connection", "close"));
    assert_true(http_has_token(&h, "upgrade", "websocket"));
    assert_false(http_has_token(&h, "connection", "up"));
    assert_false(http_has_token(&h, "connection", ""));
    assert_false(http_has_token(&h, "x-empty", "x"));
}

/* Every part of a good head is incomplete, never wrong. */
static void parts(void **state)
{
    (void)state;
    static const char text[] =
        "POST http://A.example/x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 12\r\nA:\xc3\xa9\t!\r\n\r\n";
    struct http_head h;
    for (size_t n = 0; n < sizeof text - 1; n++) {
        char *copy;
        assert_int_equal(parse(text, n, &h, &copy), 0);
        free(copy);
    }
    assert_int_equal(http_parse((const uint8_t *)text, sizeof text - 1, &limits, &h), sizeof text - 1);
    assert_true(slice_eq(h.path, SLICE_LIT("/x")));
    assert_int_equal(h.content_length, 12);
}

/* RFC 9112 section 2.2: a client may have ended what it said before with a line too many. */
static void empty_lines_before(void **state)
{
    (void)state;
    static const char text[] = "\r\n\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n";
    for (size_t from = 0; from <= 6; from += 2) {
        struct http_head h;
        size_t size = sizeof text - 1 - from;
        for (size_t n = 0; n < size; n++) {
            char *copy;
            assert_int_equal(parse(text + from, n, &h, &copy), 0);
            free(copy);
        }
        assert_int_equal(http_parse((const uint8_t *)text + from, size, &limits, &h), size);
        assert_true(slice_eq(h.path, SLICE_LIT("/x")));
    }
}

/* What comes byte by byte is read again when a line may have ended or the head is too large, and else not. */
static void changes(void **state)
{
    (void)state;
    static const char text[] = "GET / HTTP/1.1\r\nHost: h\r\nA: \t!\r\n\r\n";
    unsigned looks = 0;
    for (size_t n = 1; n < sizeof text; n++)
        looks += http_changed((const uint8_t *)text, n, 1, &limits);
    assert_int_equal(looks, 3 + 8); /* each line's first byte, and each CR and LF */
    assert_true(http_changed((const uint8_t *)text, 10, 10, &limits));
    assert_true(http_changed((const uint8_t *)text, 10, SIZE_MAX, &limits));
    assert_true(http_changed((const uint8_t *)"GET / HTTP/1.1\rX", 16, 1, &limits));
    assert_true(http_changed((const uint8_t *)"GET / HTTP\x01", 11, 1, &limits));
    assert_false(http_changed((const uint8_t *)"GET / HTTP/1", 12, 5, &limits));
    static char large[HTTP_HEAD_USUAL];
    memset(large, 'x', sizeof large);
    assert_false(http_changed((const uint8_t *)large, sizeof large - 1, 1, &limits));
    assert_true(http_changed((const uint8_t *)large, sizeof large, 1, &limits));
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned status;
    } cases[] = {
#define HOST "Host: h\r\n"
        {"\x16\x03\x01", 400},                       /* TLS */
        {"GET /\r\n", 400},                          /* HTTP/0.9 */
        {"GET / HTTP/1.1\n", 400},                   /* a bare LF */
        {"GET / HTTP/1.1\rX", 400},                  /* a bare CR */
        {"\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n", 400}, /* too many empty lines */
        {"\nGET / HTTP/1.1\r\n", 400},
        {"\r\n\nGET / HTTP/1.1\r\n", 400},
        {"\r\n\x16\x03\x01", 400},
        {"\rGET / HTTP/1.1\r\n", 400},
        {"GET  / HTTP/1.1\r\n", 400},
        {"GET / HTTP/1.1 \r\n", 400},
        {"GET / x HTTP/1.1\r\n", 400},
        {"G\xc3\xa9T / HTTP/1.1\r\n", 400},
        {"GET\t/ HTTP/1.1\r\n", 400},
        {"GET x HTTP/1.1\r\n", 400},
        {"GET /a#b HTTP/1.1\r\n", 400},
        {"GET /\xc3\xa9 HTTP/1.1\r\n", 400},
        {"GET ftp://h/ HTTP/1.1\r\n", 400},
        {"GET / http/1.1\r\n", 400},
        {"GET / HTTP/1.10\r\n", 400},
        {"GET / HTTP/2.0\r\n", 505},
        {"GET / HTTP/1.1\r\n\r\n", 400}, /* no Host */
        {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h:8x\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h, g\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: user@h\r\n\r\n", 400},
        {"GET http://g/ HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1\r\nHost : h\r\n", 400}, /* a space before the colon */
        {"GET / HTTP/1.1\r\n" HOST " folded\r\n", 400},
        {"GET / HTTP/1.1\r\n Host: h\r\n", 400},
        {"GET / HTTP/1.1\r\n: h\r\n", 400},
        {"GET / HTTP/1.1\r\nHost\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\n", 400},
        {"GET / HTTP/1.1\r\nA: \x01\r\n", 400},
        {"GET / HTTP/1.1\r\nA: \x7f\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 1234567890123456\r\n\r\n", 400},
#undef HOST
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_head h;
        char *copy;
        print_message("%s\n", cases[i].text);
        assert_int_equal(parse(cases[i].text, strlen(cases[i].text), &h, &copy), ERR_INVALID);
        assert_int_equal(h.status, cases[i].status);
        assert_non_null(h.why);
        free(copy);
    }
    struct http_head h;
    assert_int_equal(http_parse((const uint8_t *)"GET / HTTP/1.1\r\nA: x\0y", 22, &limits, &h), ERR_INVALID);
    assert_int_equal(h.status, 400);
}

static void bounds(void **state)
{
    (void)state;
    struct http_head h;
    char text[HTTP_HEAD_USUAL + 64];
    int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\nA: ");
    size_t at = (size_t)n;
    memset(text + at, 'x', sizeof text - at);
    /* Just 16 KiB. */
    memcpy(text + HTTP_HEAD_USUAL - 4, "\r\n\r\n", 4);
    assert_int_equal(http_parse((const uint8_t *)text, sizeof text, &limits, &h), HTTP_HEAD_USUAL);
    assert_int_equal(http_parse((const uint8_t *)text, HTTP_HEAD_USUAL - 1, &limits, &h), 0);
    /* A byte more. */
    memcpy(text + HTTP_HEAD_USUAL - 4, "x\r\n\r\n", 5);
    assert_int_equal(http_parse((const uint8_t *)text, HTTP_HEAD_USUAL - 1, &limits, &h), 0);
    assert_int_equal(http_parse((const uint8_t *)text, HTTP_HEAD_USUAL, &limits, &h), ERR_INVALID);
    assert_int_equal(h.status, 431);
    assert_int_equal(http_parse((const uint8_t *)text, sizeof text, &limits, &h), ERR_INVALID);
    assert_int_equal(h.status, 431);
    /* Fields. */
    at = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 1; i < HTTP_FIELDS_USUAL; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "a:\r\n");
    snprintf(text + at, sizeof text - at, "\r\n");
    assert_int_equal(http_parse((const uint8_t *)text, at + 2, &limits, &h), at + 2);
    assert_int_equal(h.field_count, HTTP_FIELDS_USUAL);
    at += (size_t)snprintf(text + at, sizeof text - at, "a:\r\n");
    assert_int_equal(http_parse((const uint8_t *)text, at, &limits, &h), ERR_INVALID);
    assert_int_equal(h.status, 431);
}

static void hosts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host, *port; /* host NULL: refused */
    } cases[] = {
        {"a.example", "a.example", ""},
        {"a.example:80", "a.example", "80"},
        {"[::1]", "[::1]", ""},
        {"[::1]:8082", "[::1]", "8082"},
        {"127.0.0.1:1", "127.0.0.1", "1"},
        {"a:", "a", ""},
        {"", NULL, NULL},
        {":80", NULL, NULL},
        {"[]", NULL, NULL},
        {"[::1", NULL, NULL},
        {"[::1]x", NULL, NULL},
        {"a:b", NULL, NULL},
        {"a:123456", NULL, NULL},
        {"a/b", NULL, NULL},
        {"a@b", NULL, NULL},
        {"[::g]", NULL, NULL},
        {"::1", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice host, port;
        print_message("%s\n", cases[i].text);
        bool ok = http_split_host(slice_str(cases[i].text), &host, &port);
        assert_int_equal(ok, cases[i].host != NULL);
        if (ok) {
            assert_true(slice_eq(host, slice_str(cases[i].host)));
            assert_true(slice_eq(port, slice_str(cases[i].port)));
        }
    }
}

static void phrases(void **state)
{
    (void)state;
    assert_string_equal(http_phrase(431), "Request Header Fields Too Large");
    assert_string_equal(http_phrase(299), "Error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request), cmocka_unit_test(parts),    cmocka_unit_test(empty_lines_before),
        cmocka_unit_test(changes),   cmocka_unit_test(refusals), cmocka_unit_test(bounds),
        cmocka_unit_test(hosts),     cmocka_unit_test(phrases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
