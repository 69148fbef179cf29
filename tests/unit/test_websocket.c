#include "core/net/websocket.h"
#include "tests/unit/ws_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* What a connection keeps between two reads, in a buffer of just that size: a sanitizer sees a byte too far. */
struct stream {
    struct ws_parser ws;
    uint8_t *p;
    size_t msg_n, n;
    struct buf told; /* the events as text */
    bool over;
};

static void tell(struct stream *s, const struct ws_result *r)
{
    switch (r->event) {
    case WS_EV_MESSAGE:
        buf_printf(&s->told, "%s:%.*s ", r->opcode == WS_TEXT ? "text" : "binary", (int)r->data.n,
                   r->data.n ? r->data.p : "");
        break;
    case WS_EV_PING:
    case WS_EV_PONG:
        buf_printf(&s->told, "%s:%.*s ", r->event == WS_EV_PING ? "ping" : "pong", (int)r->data.n,
                   r->data.n ? r->data.p : "");
        break;
    case WS_EV_CLOSE:
        buf_printf(&s->told, "close:%u:%.*s ", r->code, (int)r->data.n, r->data.n ? r->data.p : "");
        break;
    case WS_EV_ERROR:
        assert_non_null(r->why);
        buf_printf(&s->told, "error:%u ", r->code);
        break;
    case WS_EV_MORE:
        break;
    }
}

static void stream_feed(struct stream *s, const void *p, size_t n, uint64_t limit, uint8_t rsv)
{
    uint8_t *bytes = malloc(s->n + n + 1);
    if (s->n)
        memcpy(bytes, s->p, s->n);
    memcpy(bytes + s->n, p, n);
    free(s->p);
    struct ws_input in = {.p = bytes, .msg = 0, .msg_n = s->msg_n, .pos = s->msg_n, .end = s->n + n};
    struct ws_result r = {.event = WS_EV_MORE};
    while (!s->over && (r = ws_parse(&s->ws, &in, limit, rsv)).event != WS_EV_MORE) {
        tell(s, &r);
        s->over = r.event == WS_EV_ERROR || r.event == WS_EV_CLOSE;
    }
    assert_true(in.msg_n <= limit);
    s->msg_n = in.msg_n;
    s->n = in.msg_n + (in.end - in.pos);
    s->p = malloc(s->n + 1);
    if (in.msg_n)
        memcpy(s->p, bytes + in.msg, in.msg_n);
    memcpy(s->p + in.msg_n, bytes + in.pos, in.end - in.pos);
    free(bytes);
}

/* Feeds the bytes in pieces of that size; the events as text. */
static char *play(const struct buf *b, size_t piece, uint64_t limit, uint8_t rsv)
{
    struct stream s = {.told = BUF_INIT};
    for (size_t at = 0; at < b->n; at += piece)
        stream_feed(&s, b->p + at, b->n - at < piece ? b->n - at : piece, limit, rsv);
    free(s.p);
    buf_byte(&s.told, 0);
    return s.told.p;
}

/* However the bytes arrive, the same is told. */
static void expect_limited(struct buf *b, const char *told, uint64_t limit, uint8_t rsv)
{
    for (size_t piece = 1; piece <= 9; piece++) {
        char *got = play(b, piece, limit, rsv);
        assert_string_equal(got, told);
        free(got);
    }
    char *got = play(b, b->n + 1, limit, rsv);
    assert_string_equal(got, told);
    free(got);
    buf_free(b);
    *b = BUF_INIT;
}

static void expect(struct buf *b, const char *told)
{
    expect_limited(b, told, 1 << 20, 0);
}

static void messages_and_fragments(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    ws_put(&b, 0x81, SLICE_LIT("hello"));
    ws_put(&b, 0x82, SLICE_NONE);
    ws_put(&b, 0x82, SLICE_LIT("abcd"));
    expect(&b, "text:hello binary: binary:abcd ");
    ws_put(&b, 0x01, SLICE_LIT("one "));
    ws_put(&b, 0x89, SLICE_LIT("are you there"));
    ws_put(&b, 0x00, SLICE_NONE);
    ws_put(&b, 0x8A, SLICE_NONE);
    ws_put(&b, 0x00, SLICE_LIT("two "));
    ws_put(&b, 0x80, SLICE_LIT("three"));
    ws_put(&b, 0x81, SLICE_LIT("next"));
    expect(&b, "ping:are you there pong: text:one two three text:next ");
    ws_put(&b, 0x02, SLICE_NONE);
    ws_put(&b, 0x80, SLICE_NONE);
    ws_put(&b, 0x88,
           SLICE_LIT("\x03\xe8"
                     "bye"));
    ws_put(&b, 0x81, SLICE_LIT("never seen"));
    expect(&b, "binary: close:1000:bye ");
    ws_put(&b, 0x88, SLICE_NONE);
    expect(&b, "close:1005: ");
}

/* Every length at which the header changes, and what a word-wise loop could get wrong. */
static void lengths(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 3, 7, 8, 31, 32, 33, 125, 126, 127, 65535, 65536, 70001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        struct buf b = BUF_INIT;
        char *payload = malloc(n);
        for (size_t j = 0; j < n; j++)
            payload[j] = (char)('a' + j % 26);
        ws_put(&b, 0x81, slice_of(payload, n));
        for (size_t piece = n > 1000 ? 4093 : 1; piece<b.n + 2; piece += n> 1000 ? 30011 : 5) {
            char *got = play(&b, piece, 1 << 20, 0);
            assert_int_equal(strlen(got), n + 6);
            assert_memory_equal(got, "text:", 5);
            assert_memory_equal(got + 5, payload, n);
            free(got);
        }
        free(payload);
        buf_free(&b);
    }
}

static void framing_errors(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t n;
        const char *bytes, *told;
    } cases[] = {
#define CASE(name, bytes, told) {name, sizeof(bytes) - 1, bytes, told}
        CASE("RSV1", "\xc1\x80", "error:1002 "),
        CASE("RSV2", "\xa1\x80", "error:1002 "),
        CASE("RSV3", "\x91\x80", "error:1002 "),
        CASE("opcode 3", "\x83\x80", "error:1002 "),
        CASE("opcode 7", "\x87\x80", "error:1002 "),
        CASE("opcode 11", "\x8b\x80", "error:1002 "),
        CASE("opcode 15", "\x8f\x80", "error:1002 "),
        CASE("unmasked", "\x81\x01x", "error:1002 "),
        CASE("continuation of nothing", "\x80\x80", "error:1002 "),
        CASE("a fragmented ping", "\x09\x80", "error:1002 "),
        CASE("a fragmented close", "\x08\x80", "error:1002 "),
        CASE("a ping of 126", "\x89\xfe", "error:1002 "),
        CASE("a close of 2^16", "\x88\xff", "error:1002 "),
        CASE("5 in 16 bits", "\x81\xfe\0\x05", "error:1002 "),
        CASE("65535 in 64 bits", "\x81\xff\0\0\0\0\0\0\xff\xff", "error:1002 "),
        CASE("2^63", "\x82\xff\x80\0\0\0\0\0\0\0", "error:1002 "),
        CASE("2^64-1", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", "error:1002 "),
        CASE("2^63-1",
             "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff"
             "mask",
             "error:1009 "),
        CASE("a message within another", "\x01\x80mask\x81\x80mask", "error:1002 "),
        CASE("RSV1 on a continuation", "\x01\x80mask\xc0\x80mask", "error:1002 "),
        CASE("half a close code", "\x88\x81\0\0\0\0\x03", "error:1002 "),
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = BUF_INIT;
        print_message("%s\n", cases[i].name);
        buf_put(&b, cases[i].bytes, cases[i].n);
        expect(&b, cases[i].told);
    }
}

static void close_codes(void **state)
{
    (void)state;
    static const uint16_t good[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010,
                                    1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999};
    static const uint16_t bad[] = {0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(ws_code_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf b = BUF_INIT;
        uint8_t payload[2];
        assert_false(ws_code_valid(bad[i]));
        store_be16(payload, bad[i]);
        ws_put(&b, 0x88, slice_of(payload, 2));
        expect(&b, "error:1002 ");
    }
    struct buf b = BUF_INIT;
    ws_put(&b, 0x88, SLICE_LIT("\x03\xe8\xff"));
    expect(&b, "error:1007 ");
}

static void text_is_utf8(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    ws_put(&b, 0x81, SLICE_LIT("\xce\xba\xe1\xbd\xb9\xf0\x9f\x90\xa6"));
    expect(&b, "text:\xce\xba\xe1\xbd\xb9\xf0\x9f\x90\xa6 ");
    /* A character may end in another frame, and even wait for a ping. */
    ws_put(&b, 0x01, SLICE_LIT("\xf0\x9f"));
    ws_put(&b, 0x89, SLICE_NONE);
    ws_put(&b, 0x80, SLICE_LIT("\x90\xa6"));
    expect(&b, "ping: text:\xf0\x9f\x90\xa6 ");
    ws_put(&b, 0x81, SLICE_LIT("\xf0\x9f\x90"));
    expect(&b, "error:1007 ");
    ws_put(&b, 0x81, SLICE_LIT("\xed\xa0\x80"));
    expect(&b, "error:1007 ");
    /* Known at the first wrong byte, long before the message ends. */
    ws_put(&b, 0x01, SLICE_LIT("fine \xc0"));
    expect(&b, "error:1007 ");
    /* The next message starts afresh; binary messages are not looked into, nor compressed ones. */
    ws_put(&b, 0x82, SLICE_LIT("\xff\xfe\xfd\xfc"));
    ws_put(&b, 0x81, SLICE_LIT("ok"));
    expect(&b, "binary:\xff\xfe\xfd\xfc text:ok ");
    ws_put(&b, 0xC1, SLICE_LIT("\xff"));
    expect_limited(&b, "text:\xff ", 1 << 20, 0x40);
}

static void too_large(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    ws_put(&b, 0x82, SLICE_LIT("12345678"));
    ws_put(&b, 0x82, SLICE_LIT("123456789"));
    expect_limited(&b, "binary:12345678 error:1009 ", 8, 0);
    /* All fragments together; control frames do not count. */
    ws_put(&b, 0x02, SLICE_LIT("1234"));
    ws_put(&b, 0x89, SLICE_LIT("0123456789"));
    ws_put(&b, 0x00, SLICE_LIT("5678"));
    ws_put(&b, 0x00, SLICE_NONE);
    ws_put(&b, 0x00, SLICE_LIT("9"));
    expect_limited(&b, "ping:0123456789 error:1009 ", 8, 0);
    /* The header is enough to know. */
    buf_put(&b,
            "\x82\xfe\xff\xff"
            "mask",
            8);
    expect_limited(&b, "error:1009 ", 65534, 0);
}

static void reserved_bits_of_an_extension(void **state)
{
    (void)state;
    struct stream s = {.told = BUF_INIT};
    struct buf b = BUF_INIT;
    ws_put(&b, 0x41, SLICE_LIT("de"));
    ws_put(&b, 0x80, SLICE_LIT("flated"));
    struct ws_input in = {.p = (uint8_t *)b.p, .end = b.n};
    struct ws_result r = ws_parse(&s.ws, &in, 100, 0x40);
    assert_int_equal(r.event, WS_EV_MESSAGE);
    assert_int_equal(r.rsv, 0x40);
    assert_true(slice_eq(r.data, SLICE_LIT("deflated")));
    buf_reset(&b);
    ws_put(&b, 0xC9, SLICE_NONE);
    expect_limited(&b, "error:1002 ", 100, 0x40);
}

static void unmasking(void **state)
{
    (void)state;
    uint8_t bytes[160], plain[160];
    for (size_t n = 0; n < 150; n++) {
        for (size_t offset = 0; offset < 8; offset++) {
            uint8_t mask[4] = {1, 2, 4, 8}, before[4] = {1, 2, 4, 8};
            for (size_t i = 0; i < sizeof bytes; i++)
                bytes[i] = plain[i] = (uint8_t)(i * 7);
            for (size_t i = 0; i < n; i++)
                plain[offset + i] ^= mask[i & 3];
            ws_unmask(bytes + offset, n, mask);
            assert_memory_equal(bytes, plain, sizeof bytes);
            for (size_t i = 0; i < 4; i++)
                assert_int_equal(mask[i], before[(i + n) & 3]);
        }
    }
}

static void frames_of_ours(void **state)
{
    (void)state;
    uint8_t out[127];
    char long_reason[200];
    assert_int_equal(ws_control_frame(out, WS_PING, SLICE_NONE), 2);
    assert_memory_equal(out, "\x89\0", 2);
    assert_int_equal(ws_close_frame(out, 1001, SLICE_LIT("bye")), 7);
    assert_memory_equal(out,
                        "\x88\x05\x03\xe9"
                        "bye",
                        7);
    assert_int_equal(ws_close_frame(out, WS_CODE_NONE, SLICE_LIT("bye")), 2);
    memset(long_reason, 'x', sizeof long_reason);
    assert_int_equal(ws_close_frame(out, 1001, slice_of(long_reason, sizeof long_reason)), 127);
    memcpy(long_reason + 122, "\xc3\xa9", 2); /* would be cut in two */
    assert_int_equal(ws_close_frame(out, 1001, slice_of(long_reason, sizeof long_reason)), 126);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_and_fragments),
        cmocka_unit_test(lengths),
        cmocka_unit_test(framing_errors),
        cmocka_unit_test(close_codes),
        cmocka_unit_test(text_is_utf8),
        cmocka_unit_test(too_large),
        cmocka_unit_test(reserved_bits_of_an_extension),
        cmocka_unit_test(unmasking),
        cmocka_unit_test(frames_of_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
