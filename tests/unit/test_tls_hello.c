#include "core/net/tls/hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* A ClientHello of `body` bytes, in records of at most `piece`. Returns its size. */
static size_t make(uint8_t *out, size_t body, size_t piece)
{
    uint8_t message[20000];
    size_t n = 4 + body, at = 0;
    memset(message, 0x55, sizeof message);
    message[0] = 1;
    message[1] = (uint8_t)(body >> 16);
    message[2] = (uint8_t)(body >> 8);
    message[3] = (uint8_t)body;
    for (size_t i = 0; i < n; i += piece) {
        size_t m = n - i < piece ? n - i : piece;
        const uint8_t head[] = {22, 3, 1, (uint8_t)(m >> 8), (uint8_t)m};
        memcpy(out + at, head, sizeof head);
        memcpy(out + at + sizeof head, message + i, m);
        at += sizeof head + m;
    }
    return at;
}

/* However it is cut, it is whole with its last byte and not before. */
static void whole(void **state)
{
    (void)state;
    static uint8_t bytes[60000];
    static const size_t bodies[] = {0, 1, 200, 517, 1800, 9000}, pieces[] = {1, 3, 4, 5, 100, 16000};
    for (unsigned i = 0; i < 6; i++) {
        for (unsigned j = 0; j < 6; j++) {
            size_t n = make(bytes, bodies[i], pieces[j]);
            bool scattered = (bodies[i] + 4 + pieces[j] - 1) / pieces[j] > 64;
            for (size_t k = 0; k < n && !scattered; k++)
                assert_int_equal(hello_look(bytes, k), HELLO_MORE);
            assert_int_equal(hello_look(bytes, n), scattered ? HELLO_LONG : HELLO_WHOLE);
            bytes[n] = 0xAA; /* more may follow */
            assert_int_equal(hello_look(bytes, n + 1), scattered ? HELLO_LONG : HELLO_WHOLE);
        }
    }
    assert_int_equal(hello_look(bytes, make(bytes, HELLO_MAX, 16000)), HELLO_LONG);
    assert_int_equal(hello_look((const uint8_t *)"\x16\3\1\0\5\1\xff\xff\xff\0", 10), HELLO_LONG);
}

static void others(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        enum hello is;
    } cases[] = {
        {"G", 1, HELLO_MORE},
        {"GET / HTTP/1.1\r\n", 16, HELLO_HTTP},
        {"POST /", 6, HELLO_HTTP},
        {"OPTIONS *", 9, HELLO_HTTP},
        {"OPTI", 4, HELLO_MORE},
        {"OPTI\1", 5, HELLO_OTHER}, /* as when it comes in one piece */
        {"CONNECTS", 8, HELLO_OTHER},
        {"GO", 2, HELLO_OTHER},
        {"\0\0\0\x10\0\1\0\1", 8, HELLO_OTHER},            /* a frame in the clear */
        {"\x80\x2e\1\3\1", 5, HELLO_OTHER},                /* SSL 2 */
        {"\x16\2", 2, HELLO_OTHER},                        /* no version of TLS */
        {"\x16\3\1\0\0", 5, HELLO_OTHER},                  /* an empty record */
        {"\x16\3\1\0\5\2", 6, HELLO_OTHER},                /* another message */
        {"\x15\3\1\0\2\1\0", 7, HELLO_OTHER},              /* an alert */
        {"\x16\3\1\0\2\1\0\x17\3\1\0\1", 12, HELLO_OTHER}, /* data between */
        {"\x16\3\1\xff\xff\1", 6, HELLO_LONG},
    };
    assert_int_equal(hello_look(NULL, 0), HELLO_MORE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (hello_look((const uint8_t *)cases[i].bytes, cases[i].n) != cases[i].is)
            fail_msg("case %zu is %d", i, hello_look((const uint8_t *)cases[i].bytes, cases[i].n));
}

static void records(void **state)
{
    (void)state;
    const uint8_t *r = (const uint8_t *)"\x17\3\3\0\3abcd";
    for (size_t n = 0; n < 8; n++)
        assert_int_equal(hello_record(r, n), 0);
    assert_int_equal(hello_record(r, 8), 8);
    assert_int_equal(hello_record(r, 9), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole), cmocka_unit_test(others), cmocka_unit_test(records)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
