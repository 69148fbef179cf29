/* Random bytes and numbers. */
#include "core/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void random_numbers(void **state)
{
    uint8_t a[64] = {0}, b[64] = {0}, none[64] = {0};
    unsigned seen[10] = {0};
    (void)state;
    random_bytes(a, sizeof a);
    random_bytes(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a, none, sizeof a);
    random_bytes(none, 0);
    for (int i = 0; i < 100000; i++) {
        uint32_t r = random_below(10);
        assert_true(r < 10);
        seen[r]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(seen[i], 9000, 11000); /* ten standard deviations */
    assert_int_equal(random_below(1), 0);
    assert_int_equal(random_below(0), 0);
    bool large = false;
    for (int i = 0; i < 100; i++)
        large = large || random_below(UINT32_MAX) > UINT32_MAX / 2;
    assert_true(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
