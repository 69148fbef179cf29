#include "core/net/inbuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void fill(struct inbuf *in, uint32_t start, uint32_t end)
{
    in->start = start;
    in->end = end;
    for (uint32_t i = start; i < end; i++)
        in->data[i] = (uint8_t)i;
}

static void compacting(void **state)
{
    (void)state;
    struct inbuf *in = inbuf_new(100);
    assert_int_equal(in->cap, 100);
    assert_int_equal(in->end, 0);
    fill(in, 40, 100);
    inbuf_compact(in);
    assert_int_equal(in->start, 0);
    assert_int_equal(in->end, 60);
    for (uint32_t i = 0; i < 60; i++)
        assert_int_equal(in->data[i], i + 40);
    free(in);
}

static void growing(void **state)
{
    (void)state;
    struct inbuf *in = inbuf_new(100);
    fill(in, 0, 100);
    in = inbuf_grow(in, 0, 1000);
    assert_int_equal(in->cap, 100);
    in = inbuf_grow(in, 10, 1000); /* half as much again */
    assert_int_equal(in->cap, 150);
    in = inbuf_grow(in, 300, 1000); /* what is needed */
    assert_int_equal(in->cap, 400);
    in = inbuf_grow(in, 350, 500); /* no more than the most */
    assert_int_equal(in->cap, 500);
    in = inbuf_grow(in, 450, 500); /* but what is needed */
    assert_int_equal(in->cap, 550);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(in->data[i], i);
    free(in);
}

static void shrinking(void **state)
{
    (void)state;
    struct inbuf *in = inbuf_new(8000);
    fill(in, 4000, 6001);
    in = inbuf_shrink(in); /* more than a quarter is in use */
    assert_int_equal(in->cap, 8000);
    fill(in, 7000, 7100);
    in = inbuf_shrink(in);
    assert_int_equal(in->cap, 100);
    assert_int_equal(in->start, 0);
    assert_int_equal(in->end, 100);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(in->data[i], (uint8_t)(i + 7000));
    in = inbuf_grow(in, 1000, 5000);
    fill(in, 0, 1);
    in = inbuf_shrink(in); /* not worth it */
    assert_int_equal(in->cap, 1100);
    free(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compacting),
        cmocka_unit_test(growing),
        cmocka_unit_test(shrinking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
