/* The latency histogram of magpie-bench: core/tools/bench_hist.c. */
#include "core/tools/bench_hist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct bench_hist *hist_new(void)
{
    struct bench_hist *h = malloc(sizeof(*h));
    assert_non_null(h);
    bench_hist_reset(h);
    return h;
}

static void an_empty_one_is_zero(void **state)
{
    struct bench_hist *h = hist_new();

    (void)state;
    assert_int_equal(bench_hist_percentile(h, 50), 0);
    assert_int_equal(bench_hist_percentile(h, 100), 0);
    assert_true(bench_hist_mean(h) == 0);
    free(h);
}

/* Whatever the value: its percentile is it, but for 1.6 % above. */
static void every_value_is_kept(void **state)
{
    struct bench_hist *h = hist_new();

    (void)state;
    for (uint64_t v = 0; v < 1ull << 39; v = v < 1000 ? v + 1 : v + v / 37) {
        bench_hist_reset(h);
        bench_hist_record(h, v);
        bench_hist_record(h, 1ull << 39);
        uint64_t got = bench_hist_percentile(h, 50);
        assert_true(got >= v && got <= v + v / 63);
        assert_int_equal(h->min, v);
        assert_int_equal(bench_hist_percentile(h, 100), 1ull << 39);
    }
    free(h);
}

static void edges_of_buckets_do_not_mix(void **state)
{
    struct bench_hist *h = hist_new();

    (void)state;
    for (unsigned bit = 8; bit < 39; bit++) {
        bench_hist_reset(h);
        bench_hist_record(h, (1ull << bit) - 1);
        bench_hist_record(h, 1ull << bit);
        assert_int_equal(bench_hist_percentile(h, 50), (1ull << bit) - 1);
        assert_int_equal(bench_hist_percentile(h, 99), 1ull << bit); /* never above the largest */
    }
    free(h);
}

static void percentiles_are_ranks(void **state)
{
    struct bench_hist *h = hist_new();

    (void)state;
    for (uint64_t v = 1; v <= 100; v++)
        bench_hist_record(h, v);
    assert_int_equal(bench_hist_percentile(h, 0), 1);
    assert_int_equal(bench_hist_percentile(h, 1), 1);
    assert_int_equal(bench_hist_percentile(h, 50), 50);
    assert_int_equal(bench_hist_percentile(h, 99), 99);
    assert_int_equal(bench_hist_percentile(h, 99.9), 100);
    assert_int_equal(bench_hist_percentile(h, 100), 100);
    assert_true(bench_hist_mean(h) == 50.5);
    free(h);
}

static void the_largest_values_fit(void **state)
{
    struct bench_hist *h = hist_new();

    (void)state;
    bench_hist_record(h, UINT64_MAX);
    assert_int_equal(bench_hist_percentile(h, 50), UINT64_MAX);
    bench_hist_reset(h);
    bench_hist_record(h, 1ull << 40);
    bench_hist_record(h, (1ull << 40) - 1);
    assert_int_equal(h->max, 1ull << 40);
    assert_int_equal(bench_hist_percentile(h, 99), 1ull << 40);
    free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_one_is_zero),        cmocka_unit_test(every_value_is_kept),
        cmocka_unit_test(edges_of_buckets_do_not_mix), cmocka_unit_test(percentiles_are_ranks),
        cmocka_unit_test(the_largest_values_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
