#include "core/net/handshake.h"
#include "core/net/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct http_limits limits = {.head = HTTP_HEAD_USUAL, .fields = HTTP_FIELDS_USUAL};

#define KEY        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION    "Sec-WebSocket-Version: 13\r\n"
#define UPGRADE    "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"

static void checks(void **state)
{
    (void)state;
    static const struct {
        const char *line, *fields;
        bool wanted;
        unsigned status;
    } cases[] = {
        {"GET / HTTP/1.1", UPGRADE CONNECTION VERSION KEY, true, 101},
        {"GET /any/path?at=all HTTP/1.1", "UPGRADE: foo, WebSocket\r\nconnection: keep-alive, uPGRADE\r\n" VERSION KEY,
         true, 101},
        {"GET / HTTP/1.1", UPGRADE CONNECTION VERSION KEY "Content-Length: 0\r\nOrigin: http://h\r\n", true, 101},
        {"GET / HTTP/1.1", CONNECTION VERSION KEY, false, 0},
        {"GET / HTTP/1.1", "Upgrade: h2c\r\n" CONNECTION, false, 0},
        {"POST / HTTP/1.1", UPGRADE CONNECTION VERSION KEY, true, 405},
        {"get / HTTP/1.1", UPGRADE CONNECTION VERSION KEY, true, 405},
        {"GET / HTTP/1.0", UPGRADE CONNECTION VERSION KEY, true, 400},
        {"GET / HTTP/1.1", UPGRADE CONNECTION VERSION KEY "Content-Length: 1\r\n", true, 413},
        {"GET / HTTP/1.1", UPGRADE CONNECTION VERSION KEY "Transfer-Encoding: chunked\r\n", true, 413},
        {"GET / HTTP/1.1", UPGRADE VERSION KEY, true, 400},
        {"GET / HTTP/1.1", UPGRADE "Connection: close\r\n" VERSION KEY, true, 400},
        {"GET / HTTP/1.1", UPGRADE CONNECTION KEY, true, 426},
        {"GET / HTTP/1.1", UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 12\r\n", true, 426},
        {"GET / HTTP/1.1", UPGRADE CONNECTION KEY VERSION VERSION, true, 426},
        {"GET / HTTP/1.1", UPGRADE CONNECTION VERSION, true, 400},
        {"GET / HTTP/1.1", UPGRADE CONNECTION VERSION KEY KEY, true, 400},
        {"GET / HTTP/1.1", UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n", true, 400},
        {"GET / HTTP/1.1", UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA\r\n", true, 400},
        {"GET / HTTP/1.1", UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==\r\n", true, 400},
        {"GET / HTTP/1.1", UPGRADE CONNECTION VERSION KEY "Origin: http://h\r\nOrigin: http://h\r\n", true, 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        const char *why = NULL;
        struct http_head h;
        int n = snprintf(text, sizeof text, "%s\r\nHost: h\r\n%s\r\n", cases[i].line, cases[i].fields);
        print_message("%s\n", text);
        assert_int_equal(http_parse((const uint8_t *)text, (size_t)n, &limits, &h), n);
        assert_int_equal(handshake_wanted(&h), cases[i].wanted);
        if (!cases[i].wanted)
            continue;
        assert_int_equal(handshake_check(&h, &why), cases[i].status);
        assert_int_equal(why == NULL, cases[i].status == 101);
    }
}

/* The example of RFC 6455 section 1.3. */
static void accepting(void **state)
{
    (void)state;
    char out[HANDSHAKE_ACCEPT + 1];
    assert_true(handshake_accept(SLICE_LIT("dGhlIHNhbXBsZSBub25jZQ=="), out));
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_false(handshake_accept(SLICE_LIT("short"), out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks),
        cmocka_unit_test(accepting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
