#include "core/hub/shard/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void a_second_at_once_then_waits(void **state)
{
    (void)state;
    struct bucket b = {0, 1000};
    for (int i = 0; i < 10; i++)
        assert_int_equal(bucket_take(&b, 10, 1000), 0);
    uint32_t wait = bucket_take(&b, 10, 1000);
    assert_in_range(wait, 99, 101);
    /* What is refused costs nothing. */
    assert_in_range(bucket_take(&b, 10, 1050), 49, 51);
    assert_int_equal(bucket_take(&b, 10, 1101), 0);
    assert_int_not_equal(bucket_take(&b, 10, 1101), 0);
}

static void refills_to_a_second_and_no_more(void **state)
{
    (void)state;
    struct bucket b = {0, 0};
    for (int i = 0; i < 5; i++)
        assert_int_equal(bucket_take(&b, 5, 0), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(bucket_take(&b, 5, 3600000), 0);
    assert_int_not_equal(bucket_take(&b, 5, 3600000), 0);
}

static void more_than_a_second_at_once(void **state)
{
    (void)state;
    struct bucket b = {0, 0};
    for (int i = 0; i < 100; i++)
        assert_int_equal(bucket_take_of(&b, 10, 100, 0), 0);
    assert_in_range(bucket_take_of(&b, 10, 100, 0), 99, 101);
    for (int i = 0; i < 20; i++) /* refilled by the rate */
        assert_int_equal(bucket_take_of(&b, 10, 100, 2001), 0);
    assert_int_not_equal(bucket_take_of(&b, 10, 100, 2001), 0);
    for (int i = 0; i < 100; i++) /* up to the size */
        assert_int_equal(bucket_take_of(&b, 10, 100, 1000000), 0);
    assert_int_not_equal(bucket_take_of(&b, 10, 100, 1000000), 0);
    assert_int_equal(bucket_take_of(&b, 0, 0, 1000000), 0);
}

static void zero_is_no_limit(void **state)
{
    (void)state;
    struct bucket b = {0, 0};
    for (int i = 0; i < 100000; i++)
        assert_int_equal(bucket_take(&b, 0, 0), 0);
}

static void returning_gives_one_back(void **state)
{
    (void)state;
    struct bucket b = {0, 0};
    assert_int_equal(bucket_take(&b, 1, 0), 0);
    assert_int_not_equal(bucket_take(&b, 1, 0), 0);
    bucket_return(&b);
    assert_int_equal(bucket_take(&b, 1, 0), 0);
}

static void survives_the_wrap_of_its_clock(void **state)
{
    (void)state;
    struct bucket b = {0, UINT32_MAX - 100};
    for (int i = 0; i < 10; i++)
        assert_int_equal(bucket_take(&b, 10, UINT32_MAX - 100), 0);
    assert_int_not_equal(bucket_take(&b, 10, UINT32_MAX - 99), 0);
    assert_int_equal(bucket_take(&b, 10, 100), 0);
}

/* Over many seconds of an eager sender the rate holds exactly. */
static void long_run_rate_is_exact(void **state)
{
    (void)state;
    struct bucket b = {0, 0};
    unsigned taken = 0;
    for (uint32_t t = 0; t < 60000; t++)
        while (bucket_take(&b, 40, t) == 0)
            taken++;
    assert_in_range(taken, 40 + 60 * 40 - 45, 40 + 60 * 40 + 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_at_once_then_waits), cmocka_unit_test(refills_to_a_second_and_no_more),
        cmocka_unit_test(more_than_a_second_at_once),  cmocka_unit_test(zero_is_no_limit),
        cmocka_unit_test(returning_gives_one_back),    cmocka_unit_test(survives_the_wrap_of_its_clock),
        cmocka_unit_test(long_run_rate_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
