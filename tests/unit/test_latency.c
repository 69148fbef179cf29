/* Histograms of how long something took. */
#include "core/base/latency.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void buckets(void **state)
{
    static const struct {
        uint64_t us;
        unsigned bucket;
    } cases[] = {{0, 0},    {100, 0},      {101, 1},      {250, 1},        {1000, 3},
                 {1001, 4}, {5000000, 14}, {5000001, 15}, {1ull << 50, 15}};
    struct latency l = {.us = 0};
    (void)state;
    for (unsigned i = 1; i < LATENCY_BUCKETS - 1; i++)
        assert_true(latency_bounds[i] > latency_bounds[i - 1]);
    uint64_t us = 0;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct latency_sum before = {.us = 0}, after = {.us = 0};
        latency_read(&l, &before);
        latency_add(&l, cases[i].us);
        us += cases[i].us;
        latency_read(&l, &after);
        assert_int_equal(after.count, i + 1);
        assert_int_equal(after.us, us);
        for (unsigned k = 0; k < LATENCY_BUCKETS; k++)
            assert_int_equal(after.buckets[k] - before.buckets[k], k == cases[i].bucket);
    }
    /* Of several together. */
    struct latency_sum both = {.us = 0};
    latency_read(&l, &both);
    latency_read(&l, &both);
    assert_int_equal(both.count, 2 * (sizeof cases / sizeof cases[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(buckets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
