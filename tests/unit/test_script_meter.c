/* The CPU time that scripts are said to have used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/clock.h"
#include "core/script/meter.h"

#include <time.h>

static struct meter m;
static struct meter_thread t;
static uint64_t told_ns, used_us; /* by the meter; really */

static int begin(void **state)
{
    (void)state;
    meter_init(&m);
    t = (struct meter_thread){.tick = 0};
    told_ns = used_us = 0;
    return 0;
}

/* A call that takes so long. */
static void call(uint64_t us, bool always, bool stopped)
{
    uint64_t from = clock_thread_cpu_us();
    struct meter_call c = meter_begin(&m, &t, always);
    while (clock_thread_cpu_us() < from + us)
        ;
    told_ns += meter_end(&m, &t, &c, stopped);
    used_us += clock_thread_cpu_us() - from;
}

/* Within so many per cent, and what the clocks themselves take. */
static void check(unsigned percent, uint64_t calls)
{
    uint64_t told = told_ns / 1000, slack = used_us * percent / 100 + calls * 10 + 100;
    if (told + slack < used_us || told > used_us + slack)
        fail_msg("%llu us told, %llu used", (unsigned long long)told, (unsigned long long)used_us);
}

static void test_few(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++)
        call(10000, false, true);
    check(1, 6);
}

static void test_one_long_among_short(void **state)
{
    (void)state;
    call(20000, false, false);
    for (int i = 0; i < 50; i++)
        call(5, false, false);
    check(1, 51);
}

/* Not one of those that are measured for the mean. */
static void test_long_after_many(void **state)
{
    (void)state;
    for (int i = 0; i < 5000; i++)
        call(5, false, false);
    for (int i = 0; i < 10; i++) {
        call(40000, false, i % 2);
        for (int n = 0; n < 10; n++)
            call(5, false, false);
    }
    check(10, 100);
}

static void test_seldom(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++)
        call(5, false, false); /* past the first ones */
    told_ns = used_us = 0;
    for (int i = 0; i < 10; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 40000000}, NULL);
        call(3000, false, false);
    }
    check(1, 10);
}

static void test_measured_always(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++)
        call(i % 3 * 200, true, false);
    check(1, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_few, begin),
        cmocka_unit_test_setup(test_one_long_among_short, begin),
        cmocka_unit_test_setup(test_long_after_many, begin),
        cmocka_unit_test_setup(test_seldom, begin),
        cmocka_unit_test_setup(test_measured_always, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
