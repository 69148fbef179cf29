/* Lines that wait: their order, the end of the room, and lines that go on at the beginning. */
#include "core/base/log_ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int make(void **state)
{
    *state = calloc(1, sizeof(struct log_ring));
    return *state ? 0 : -1;
}

static int destroy(void **state)
{
    free(*state);
    return 0;
}

/* A line of `n` bytes that can be told from others. */
static void fill(struct log_line *l, size_t n, unsigned number)
{
    l->n = n;
    for (size_t i = 0; i < n; i++)
        l->p[i] = (char)('!' + (number * 7 + i) % 90);
}

static void assert_line(const struct log_ring *r, size_t n, unsigned number)
{
    struct log_line is, wanted;
    fill(&wanted, n, number);
    assert_true(log_ring_peek(r, &is));
    assert_int_equal(is.n, n);
    assert_memory_equal(is.p, wanted.p, n);
}

static void one_line(void **state)
{
    struct log_ring *r = *state;
    struct log_line l;
    assert_false(log_ring_peek(r, &l));
    assert_true(log_ring_has_room(r));
    fill(&l, 300, 1);
    log_ring_put(r, &l);
    assert_line(r, 300, 1);
    assert_line(r, 300, 1); /* still there */
    log_ring_pop(r);
    assert_false(log_ring_peek(r, &l));
    assert_int_equal(r->used, 0);
}

/* Sizes that do not divide the ring: each place of it is the seam once. */
static void many_rounds(void **state)
{
    struct log_ring *r = *state;
    unsigned in = 0, out = 0, fullest = 0;
    for (unsigned round = 0; round < 40; round++) {
        struct log_line l;
        while (log_ring_has_room(r)) {
            fill(&l, 1 + in * 37 % LOG_LINE_MAX, in);
            log_ring_put(r, &l);
            in++;
        }
        fullest = in - out > fullest ? in - out : fullest;
        for (unsigned keep = round % 5; in - out > keep; out++) {
            assert_line(r, 1 + out * 37 % LOG_LINE_MAX, out);
            log_ring_pop(r);
        }
    }
    assert_true(fullest > LOG_RING_BYTES / LOG_LINE_MAX);
    for (; out < in; out++) {
        assert_line(r, 1 + out * 37 % LOG_LINE_MAX, out);
        log_ring_pop(r);
    }
    assert_int_equal(r->used, 0);
}

/* Room means room for the longest line; the longest lines fill the ring to the last one. */
static void longest_lines(void **state)
{
    struct log_ring *r = *state;
    struct log_line l;
    unsigned n = 0;
    for (; log_ring_has_room(r); n++) {
        fill(&l, LOG_LINE_MAX, n);
        log_ring_put(r, &l);
        assert_true(r->used <= sizeof r->bytes);
    }
    assert_int_equal(n, LOG_RING_BYTES / (LOG_LINE_MAX + 2));
    for (unsigned i = 0; i < n; i++) {
        assert_line(r, LOG_LINE_MAX, i);
        log_ring_pop(r);
    }
}

/* A log that is never behind stays in the first page. */
static void an_empty_ring_begins_anew(void **state)
{
    struct log_ring *r = *state;
    struct log_line l;
    for (unsigned i = 0; i < 1000; i++) {
        fill(&l, 200, i);
        log_ring_put(r, &l);
        assert_int_equal(r->head, 0);
        log_ring_pop(r);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_line),
        TEST(many_rounds),
        TEST(longest_lines),
        TEST(an_empty_ring_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
