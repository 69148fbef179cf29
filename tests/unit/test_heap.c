/* When memory is given back: after many have gone, and not again and again. */
#include "core/base/heap.h"

#include "core/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Not asked for where a sanitizer keeps what was freed. */
__attribute__((unused)) static size_t resident(void)
{
    size_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*u %zu", &pages), 1);
    fclose(f);
    return pages * 4096;
}

enum { SIZE_NOW = 50 << 20 }; /* of the process, where that is not what is tested */

static void few_connections_are_not_worth_it(void **state)
{
    (void)state;
    struct heap_watch w = {0};
    assert_int_equal(heap_breathe(&w, 900, SIZE_NOW), 0);
    assert_int_equal(w.peak, 900);
    assert_int_equal(heap_breathe(&w, 0, SIZE_NOW), 0);
    assert_int_equal(w.peak, 900);
}

static void half_of_many_gone_is_the_moment(void **state)
{
    (void)state;
    struct heap_watch w = {0};
    assert_int_equal(heap_breathe(&w, 100000, SIZE_NOW), 0);
    assert_int_equal(heap_breathe(&w, 60000, SIZE_NOW), 0);
    assert_int_equal(w.peak, 100000);
    (void)heap_breathe(&w, 40000, SIZE_NOW);
    assert_int_equal(w.peak, 40000);
    assert_int_equal(heap_breathe(&w, 39000, SIZE_NOW), 0);
    assert_int_equal(w.peak, 40000);
}

/* What grew for another reason than connections is looked at, and not again until it has grown again. */
static void growth_is_a_moment(void **state)
{
    (void)state;
    struct heap_watch w = {0};
    assert_int_equal(heap_breathe(&w, 10, SIZE_NOW), 0);
    assert_int_equal(heap_breathe(&w, 10, SIZE_NOW + 1300000), 0);
    assert_true(w.resident == SIZE_NOW);
    (void)heap_breathe(&w, 10, SIZE_NOW + 1400000);
    assert_true(w.resident == 0);
    assert_int_equal(heap_breathe(&w, 10, SIZE_NOW + 1400000), 0);
    assert_true(w.resident == SIZE_NOW + 1400000);
    assert_int_equal(heap_breathe(&w, 10, SIZE_NOW + 2000000), 0);
    assert_int_equal(heap_breathe(&w, 10, SIZE_NOW), 0);
    assert_true(w.resident == SIZE_NOW);
}

/* Calls until it looks without another reason, at most 100; 0: it does not. */
static int calls_until_later(struct heap_watch *w, uint64_t size)
{
    for (int i = 1; i <= 100; i++) {
        (void)heap_breathe(w, 0, size);
        if (w->size)
            return i;
    }
    return 0;
}

/* What was in use at the moment may be free some time later: looked at once more, until that gives nothing back. */
static void and_once_more_later(void **state)
{
    (void)state;
    struct heap_watch w = {.peak = 10000};
    (void)heap_breathe(&w, 0, SIZE_NOW);
    assert_int_equal(w.size, 0);
    assert_true(calls_until_later(&w, SIZE_NOW) > 1);
    assert_true(calls_until_later(&w, SIZE_NOW - (2 << 20)) > 1);
    assert_int_equal(calls_until_later(&w, SIZE_NOW - (2 << 20)), 0);
}

/* Small things between which others stay: free() alone cannot give their pages back. */
static void pages_between_what_stays_go_back(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)state;
    skip(); /* those have a heap of their own */
#else
    enum { N = 40000, SIZE = 1000, KEPT_EVERY = 64 };
    (void)state;
    heap_setup();
    char **p = malloc(N * sizeof *p);
    assert_non_null(p);
    for (int i = 0; i < N; i++) {
        p[i] = malloc(SIZE);
        assert_non_null(p[i]);
        memset(p[i], 1, SIZE);
    }
    size_t full = resident();
    for (int i = 0; i < N; i++)
        if (i % KEPT_EVERY)
            free(p[i]);
    struct heap_watch w = {.peak = 10000};
    assert_int_equal(heap_breathe(&w, 0, SIZE_NOW), 1);
    assert_true(resident() + (size_t)N * SIZE / 2 < full);
    for (int i = 0; i < N; i += KEPT_EVERY)
        free(p[i]);
    free(p);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_connections_are_not_worth_it),
        cmocka_unit_test(half_of_many_gone_is_the_moment),
        cmocka_unit_test(growth_is_a_moment),
        cmocka_unit_test(and_once_more_later),
        cmocka_unit_test(pages_between_what_stays_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
