#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/net/tcp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void frames(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0, 0, 0, 10, 0x80, 1, 0xff, 0xfe, '{', '}', 0, 0, 0, 8, 0, 9, 0, 0};
    struct tcp_frame f;
    for (size_t n = 0; n < 10; n++)
        assert_int_equal(tcp_parse(bytes, n, 100, &f), 0);
    assert_int_equal(tcp_parse(bytes, sizeof bytes, 100, &f), 10);
    assert_int_equal(f.action, 0x8001);
    assert_int_equal(f.seq, 0xfffe);
    assert_true(slice_eq(f.body, SLICE_LIT("{}")));
    assert_int_equal(tcp_parse(bytes + 10, 8, 100, &f), 8);
    assert_int_equal(f.action, 9);
    assert_int_equal(f.body.n, 0);
}

/* A bad length is told by its four bytes. */
static void lengths(void **state)
{
    (void)state;
    static const struct {
        uint32_t length;
        ssize_t rc;
    } cases[] = {{0, ERR_INVALID}, {1, ERR_INVALID},    {7, ERR_INVALID},          {8, 0},
                 {256, 0},         {257, ERR_TOOLARGE}, {0xFFFFFFFF, ERR_TOOLARGE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[4];
        struct tcp_frame f;
        store_be32(bytes, cases[i].length);
        assert_int_equal(tcp_parse(bytes, 4, 256, &f), cases[i].rc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames),
        cmocka_unit_test(lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
