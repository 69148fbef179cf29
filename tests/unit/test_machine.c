/* What the machine gives. */
#include "core/config/machine.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

static void test_processors_follow_the_affinity(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_true(machine_processors() >= 1);
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &before)) {
            CPU_SET(i, &one);
            break;
        }
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(machine_processors(), 1);
    sched_setaffinity(0, sizeof before, &before);
}

static void test_descriptors(void **state)
{
    (void)state;
    char why[256];
    struct rlimit now;
    /* Few fit everywhere. */
    assert_true(machine_raise_descriptors(100, why, sizeof why) >= 100);
    assert_string_equal(why, "");
    /* No machine has room for these. */
    uint32_t room = machine_raise_descriptors(4000000000u, why, sizeof why);
    assert_true(room < 4000000000u);
    assert_non_null(strstr(why, "are needed"));
    /* What could be raised was. */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    assert_true(now.rlim_cur >= room);
    assert_true(machine_raise_descriptors(0, why, sizeof why) > 0);
    assert_string_equal(why, "");
}

static void a_processor_is_left_to_others(void **state)
{
    (void)state;
    assert_int_equal(machine_shards(1), 1);
    assert_int_equal(machine_shards(2), 1);
    assert_int_equal(machine_shards(3), 2);
    assert_int_equal(machine_shards(64), 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_processor_is_left_to_others),
        cmocka_unit_test(test_processors_follow_the_affinity),
        cmocka_unit_test(test_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
