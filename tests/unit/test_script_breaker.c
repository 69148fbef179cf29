/* When a script's function is left out, and for whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/script/breaker.h"

enum { ADA = 1, BOB = 3, EVE = 5, MORE = 7, FAILURES = 10, SHUT_MS = 5000 };

static struct breaker b;

static int begin(void **state)
{
    (void)state;
    b = (struct breaker){.failures = 0};
    return 0;
}

static int end(void **state)
{
    (void)state;
    breaker_fini(&b);
    return 0;
}

/* So many costly failures of a caller; returns what the last led to. */
static struct breaker_news fail_times(uint64_t caller, int n, uint64_t now)
{
    struct breaker_news news = {.failures = 0};
    for (int i = 0; i < n; i++)
        news = breaker_failed(&b, caller, true, now);
    return news;
}

static void test_errors_cost_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(breaker_failed(&b, ADA + (unsigned)i % 7, false, 0).failures, 0);
        assert_int_equal(breaker_ask(&b, ADA, 0), BREAKER_ASK);
    }
    assert_true(breaker_quiet(&b));
}

static void test_one_caller(void **state)
{
    (void)state;
    breaker_worked(&b);
    assert_int_equal(fail_times(ADA, FAILURES - 1, 0).failures, 0);
    assert_int_equal(breaker_ask(&b, ADA, 0), BREAKER_ASK);
    struct breaker_news news = fail_times(ADA, 1, 0);
    assert_int_equal(news.failures, FAILURES);
    assert_int_equal(news.ms, SHUT_MS);
    assert_false(news.for_all);
    assert_int_equal(breaker_ask(&b, ADA, SHUT_MS - 1), BREAKER_REFUSE);
    assert_int_equal(breaker_ask(&b, BOB, 0), BREAKER_ASK);
    /* Another's success does not help, nor does one's own between failures. */
    breaker_worked(&b);
    assert_int_equal(breaker_ask(&b, ADA, SHUT_MS - 1), BREAKER_REFUSE);
    assert_int_equal(breaker_ask(&b, ADA, SHUT_MS), BREAKER_ASK);
    breaker_worked(&b);
    assert_int_equal(fail_times(ADA, 1, SHUT_MS).ms, 2 * SHUT_MS);
    uint64_t now = SHUT_MS;
    for (int i = 0; i < 20; i++) {
        news = fail_times(ADA, 1, now);
        now += news.ms;
    }
    assert_int_equal(news.ms, 300000);
    assert_int_equal(breaker_ask(&b, BOB, now - 1), BREAKER_ASK);
    assert_int_equal(breaker_ask(&b, ADA, now - 1), BREAKER_REFUSE);
}

static void test_forgotten(void **state)
{
    (void)state;
    breaker_worked(&b);
    fail_times(ADA, FAILURES - 1, 0);
    /* One in ten seconds. */
    assert_int_equal(fail_times(ADA, 1, 10000).failures, 0);
    assert_int_equal(fail_times(ADA, 1, 10000).failures, FAILURES);
    assert_int_equal(breaker_ask(&b, ADA, 10000 + SHUT_MS), BREAKER_ASK);
    assert_int_equal(fail_times(ADA, FAILURES - 1, 500000).failures, 0);
}

/* Seldom enough, it goes on for ever. */
static void test_seldom(void **state)
{
    (void)state;
    breaker_worked(&b);
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(fail_times(ADA, 1, i * 10000).failures, 0);
        breaker_worked(&b);
    }
}

static void test_broken_for_several(void **state)
{
    (void)state;
    breaker_worked(&b);
    fail_times(ADA, 8, 0);
    assert_false(fail_times(BOB, 8, 0).for_all);
    struct breaker_news news = fail_times(EVE, 1, 0);
    assert_true(news.for_all);
    assert_int_equal(news.ms, SHUT_MS);
    assert_int_equal(breaker_ask(&b, ADA, 1), BREAKER_LEFT_OUT);
    assert_int_equal(breaker_ask(&b, EVE, 1), BREAKER_LEFT_OUT);
    /* One stranger a second; the first that works ends it for all. */
    assert_int_equal(breaker_ask(&b, MORE, 1), BREAKER_ASK);
    assert_int_equal(breaker_ask(&b, MORE + 2, 2), BREAKER_LEFT_OUT);
    assert_int_equal(breaker_ask(&b, MORE + 2, 1001), BREAKER_ASK);
    breaker_worked(&b);
    assert_int_equal(breaker_ask(&b, MORE + 4, 1002), BREAKER_ASK);
    assert_int_equal(breaker_ask(&b, ADA, 1002), BREAKER_ASK);
}

/* One caller alone never switches it off for others, also while nobody has made it work yet. */
static void test_one_is_not_all(void **state)
{
    (void)state;
    assert_false(fail_times(ADA, 100, 0).for_all);
    assert_int_equal(breaker_ask(&b, BOB, 1), BREAKER_ASK);
    assert_false(fail_times(BOB, 100, 1).for_all);
    assert_int_equal(breaker_ask(&b, EVE, 2), BREAKER_ASK);
    breaker_worked(&b);
    assert_int_equal(breaker_ask(&b, ADA, 2), BREAKER_REFUSE);
}

static void test_pauses_double(void **state)
{
    (void)state;
    fail_times(ADA, 4, 0);
    fail_times(BOB, 4, 0);
    uint64_t now = 0, ms = fail_times(EVE, 2, now).ms, strangers = 0;
    for (int i = 0; i < 10; i++) {
        for (uint64_t at = now; at < now + ms; at += 100)
            if (breaker_ask(&b, 1000 + at, at) == BREAKER_ASK)
                strangers++;
        now += ms;
        assert_int_equal(breaker_ask(&b, MORE + (unsigned)i, now), BREAKER_ASK);
        struct breaker_news news = fail_times(MORE + (unsigned)i, 1, now);
        assert_true(news.for_all);
        assert_int_equal(news.ms, ms < 150000 ? 2 * ms : 300000);
        ms = news.ms;
    }
    assert_in_range(strangers, 10, 100);
}

static void test_timers(void **state)
{
    (void)state;
    breaker_worked(&b);
    for (int i = 1; i < FAILURES; i++)
        assert_int_equal(breaker_failed(&b, BREAKER_NOBODY, false, 0).failures, 0);
    assert_true(breaker_failed(&b, BREAKER_NOBODY, false, 0).for_all);
    assert_int_equal(breaker_ask(&b, BREAKER_NOBODY, SHUT_MS - 1), BREAKER_LEFT_OUT);
    assert_int_equal(breaker_ask(&b, BREAKER_NOBODY, SHUT_MS), BREAKER_ASK);
    breaker_worked(&b);
    assert_int_equal(breaker_ask(&b, BREAKER_NOBODY, SHUT_MS), BREAKER_ASK);
}

/* More callers than it remembers: the worst stay known. */
static void test_many_callers(void **state)
{
    (void)state;
    breaker_worked(&b);
    fail_times(ADA, FAILURES, 0);
    for (uint64_t i = 0; i < 1000; i++) {
        breaker_worked(&b);
        fail_times(100 + i, 1, 1);
    }
    breaker_worked(&b);
    assert_int_equal(breaker_ask(&b, ADA, 1), BREAKER_REFUSE);
    assert_int_equal(breaker_ask(&b, BOB, 1), BREAKER_ASK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_errors_cost_nothing, begin, end),
        cmocka_unit_test_setup_teardown(test_one_caller, begin, end),
        cmocka_unit_test_setup_teardown(test_forgotten, begin, end),
        cmocka_unit_test_setup_teardown(test_seldom, begin, end),
        cmocka_unit_test_setup_teardown(test_broken_for_several, begin, end),
        cmocka_unit_test_setup_teardown(test_one_is_not_all, begin, end),
        cmocka_unit_test_setup_teardown(test_pauses_double, begin, end),
        cmocka_unit_test_setup_teardown(test_timers, begin, end),
        cmocka_unit_test_setup_teardown(test_many_callers, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
