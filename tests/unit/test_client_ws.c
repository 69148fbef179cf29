/* The client's WebSocket codec: core/client/client_ws.c and client_sha1.c. */
#include "core/client/client_ws.h"

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/client/client_sha1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void digest_is(const char *text, const char *hex)
{
    uint8_t digest[CLIENT_SHA1_LEN];
    char got[2 * CLIENT_SHA1_LEN + 1];

    client_sha1(text, strlen(text), digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(got + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(got, hex);
}

/* FIPS 180's examples, and lengths around the padding's edges. */
static void sha1_is_right(void **state)
{
    (void)state;
    digest_is("", "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    digest_is("abc", "a9993e364706816aba3e25717850c26c9cd0d89d");
    digest_is("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    digest_is("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "c1c8bbdc22796e28c0e15163d20899b65621d65a");
    digest_is("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
              "0098ba824b5c16427bd7a1122a5a442a25ec644d");
}

/* RFC 6455 section 1.3. */
static void accept_is_right(void **state)
{
    char accept[CLIENT_WS_ACCEPT_LEN];

    (void)state;
    client_ws_accept(SLICE_LIT("dGhlIHNhbXBsZSBub25jZQ=="), accept);
    assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", sizeof(accept));
}

static void masking_is_its_own_inverse(void **state)
{
    char text[64], masked[64], back[64];
    const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint32_t mask;

    (void)state;
    memcpy(&mask, key, 4);
    /* RFC 6455 section 5.7. */
    client_ws_mask(masked, "Hello", 5, mask, 0);
    assert_memory_equal(masked, "\x7f\x9f\x4d\x51\x58", 5);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 7);
    for (size_t cut = 0; cut <= sizeof(text); cut++) {
        client_ws_mask(masked, text, cut, mask, 0);
        client_ws_mask(masked + cut, text + cut, sizeof(text) - cut, mask, cut);
        for (size_t i = 0; i < sizeof(text); i++)
            assert_int_equal((uint8_t)masked[i], (uint8_t)text[i] ^ key[i & 3]);
    }
    memcpy(back, masked, sizeof(back));
    client_ws_mask(back, back, sizeof(back), mask, 0);
    assert_memory_equal(back, text, sizeof(text));
}

static void headers_are_shortest(void **state)
{
    static const struct {
        uint64_t payload;
        size_t header;
        uint8_t second;
    } rows[] = {{0, 6, 0x80},     {125, 6, 0xfd},    {126, 8, 0xfe},
                {65535, 8, 0xfe}, {65536, 14, 0xff}, {1ull << 32, 14, 0xff}};
    uint8_t out[CLIENT_WS_HEADER_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(client_ws_header(out, CLIENT_WS_BINARY, rows[i].payload, 0x01020304), rows[i].header);
        assert_int_equal(out[0], 0x82);
        assert_int_equal(out[1], rows[i].second);
    }
    assert_int_equal(load_be64(out + 2), 1ull << 32);
}

static void frames_are_parsed(void **state)
{
    static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536};
    struct client_ws_frame frame;
    const char *why = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t n = sizes[i], header = n < 126 ? 2 : n < 65536 ? 4 : 10;
        char *bytes = calloc(1, header + n + 1);
        assert_non_null(bytes);
        bytes[0] = (char)0x82;
        bytes[1] = (char)(n < 126 ? n : n < 65536 ? 126 : 127);
        if (header == 4)
            store_be16(bytes + 2, (uint16_t)n);
        else if (header == 10)
            store_be64(bytes + 2, n);
        for (size_t have = 0; have < header + n; have += have < 16 ? 1 : n / 7 + 1) {
            assert_int_equal(client_ws_parse(slice_of(bytes, have), 1 << 20, &frame, &why), 0);
            assert_int_equal(frame.size, have < header ? 0 : header + n);
        }
        assert_int_equal(client_ws_parse(slice_of(bytes, header + n + 1), 1 << 20, &frame, &why), 1);
        assert_int_equal(frame.size, header + n);
        assert_int_equal(frame.payload.n, n);
        assert_ptr_equal(frame.payload.p, bytes + header);
        assert_int_equal(frame.opcode, CLIENT_WS_BINARY);
        assert_true(frame.fin);
        free(bytes);
    }
}

static void bad_frames_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        int status;
    } rows[] = {
        {"\xc2\x00", 2, ERR_INVALID},                                  /* RSV1 */
        {"\x83\x00", 2, ERR_INVALID},                                  /* reserved opcode */
        {"\x8b\x00", 2, ERR_INVALID},                                  /* reserved control opcode */
        {"\x82\x80", 2, ERR_INVALID},                                  /* masked */
        {"\x09\x00", 2, ERR_INVALID},                                  /* fragmented ping */
        {"\x89\x7e", 2, ERR_INVALID},                                  /* long ping */
        {"\x82\x7e\x00\x7d", 4, ERR_INVALID},                          /* 125 in 16 bits */
        {"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", 10, ERR_INVALID}, /* 65535 in 64 bits */
        {"\x82\x7f\x00\x00\x00\x00\x00\x10\x00\x01", 10, ERR_TOOLARGE},
        {"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10, ERR_TOOLARGE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct client_ws_frame frame;
        const char *why = NULL;
        assert_int_equal(client_ws_parse(slice_of(rows[i].bytes, rows[i].n), 1 << 20, &frame, &why), rows[i].status);
        assert_non_null(why);
    }
}

#define GOOD_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define STATUS      "HTTP/1.1 101 Switching Protocols\r\n"

static void responses_are_checked(void **state)
{
    static const struct {
        const char *text;
        int sign;
    } rows[] = {
        {STATUS "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " GOOD_ACCEPT "\r\n\r\n", 1},
        {STATUS "sec-websocket-accept:" GOOD_ACCEPT
                " \r\nX: y\r\nnonsense\r\nUPGRADE:  WebSocket\r\nconnection: keep-alive , upgrade\r\n\r\n",
         1},
        {STATUS "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " GOOD_ACCEPT "\r\n", 0},
        {STATUS "Connection: Upgrade\r\nSec-WebSocket-Accept: " GOOD_ACCEPT "\r\n\r\n", -1},
        {STATUS "Upgrade: websocket\r\nConnection: close\r\nSec-WebSocket-Accept: " GOOD_ACCEPT "\r\n\r\n", -1},
        {STATUS
         "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
         -1},
        {STATUS "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", -1},
        {STATUS "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " GOOD_ACCEPT
                "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
         -1},
        {"HTTP/1.1 503 Service Unavailable\r\n\r\n", -1},
        {"HTTP/1.1 200 OK\r\n\r\n", -1},
        {"\r\n\r\n", -1},
        {"HTTP", 0},
        {"", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t n = strlen(rows[i].text);
        char *copy = malloc(n + 2); /* the first frame comes right behind */
        const char *why = NULL;
        assert_non_null(copy);
        memcpy(copy, rows[i].text, n);
        memcpy(copy + n, "\x82", 1);
        int status = client_ws_response(slice_of(copy, rows[i].sign ? n + 1 : n), GOOD_ACCEPT, &why);
        assert_int_equal(status, rows[i].sign > 0 ? (int)n : rows[i].sign < 0 ? ERR_INVALID : 0);
        assert_true(rows[i].sign >= 0 || why);
        free(copy);
    }
}

static void endless_responses_are_refused(void **state)
{
    char *text = malloc(CLIENT_WS_RESPONSE_MAX + 1);
    const char *why;

    (void)state;
    assert_non_null(text);
    memset(text, 'x', CLIENT_WS_RESPONSE_MAX + 1);
    assert_int_equal(client_ws_response(slice_of(text, CLIENT_WS_RESPONSE_MAX), GOOD_ACCEPT, &why), 0);
    assert_int_equal(client_ws_response(slice_of(text, CLIENT_WS_RESPONSE_MAX + 1), GOOD_ACCEPT, &why), ERR_INVALID);
    free(text);
}

static void requests_hold_what_they_must(void **state)
{
    struct buf one = BUF_INIT, two = BUF_INIT;
    char accept[CLIENT_WS_ACCEPT_LEN], expected[CLIENT_WS_ACCEPT_LEN];

    (void)state;
    client_ws_request(&one, "host:1", "/chat", accept);
    assert_memory_equal(one.p, "GET /chat HTTP/1.1\r\nHost: host:1\r\n", 34);
    const char *key = memmem(one.p, one.n, "Sec-WebSocket-Key: ", 19);
    assert_non_null(key);
    client_ws_accept(slice_of(key + 19, 24), expected);
    assert_memory_equal(accept, expected, sizeof(accept));
    assert_memory_equal(one.p + one.n - 4, "\r\n\r\n", 4);
    client_ws_request(&two, "host:1", "/chat", accept);
    assert_int_equal(one.n, two.n);
    assert_memory_not_equal(one.p, two.p, one.n); /* another key */
    buf_free(&one);
    buf_free(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha1_is_right),
        cmocka_unit_test(accept_is_right),
        cmocka_unit_test(masking_is_its_own_inverse),
        cmocka_unit_test(headers_are_shortest),
        cmocka_unit_test(frames_are_parsed),
        cmocka_unit_test(bad_frames_are_refused),
        cmocka_unit_test(responses_are_checked),
        cmocka_unit_test(endless_responses_are_refused),
        cmocka_unit_test(requests_hold_what_they_must),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
