/* Clocks. */
#include "core/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void clocks(void **state)
{
    (void)state;
    uint64_t wall = clock_wall_ms(), mono = clock_mono_ms(), us = clock_mono_us(), boot = clock_boot_ms();
    assert_true(wall / 1000 + 1 >= (uint64_t)time(NULL) && wall / 1000 <= (uint64_t)time(NULL) + 1);
    assert_true(us / 1000 >= mono && us / 1000 < mono + 60000);
    assert_true(boot >= mono); /* it counts suspended time too */
    usleep(20000);
    assert_true(clock_mono_ms() >= mono + 19);
    assert_true(clock_mono_us() >= us + 19000);
    assert_true(clock_boot_ms() >= boot + 19);
    /* The thread's own clock stands still while it sleeps, and goes while it works. */
    uint64_t cpu = clock_thread_cpu_us();
    usleep(50000);
    assert_true(clock_thread_cpu_us() - cpu < 40000);
    cpu = clock_thread_cpu_us();
    for (volatile unsigned i = 0; clock_thread_cpu_us() - cpu < 2000; i++)
        assert_true(i < 2000000000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
