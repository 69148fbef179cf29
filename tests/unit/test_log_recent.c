/* The newest lines of the log: what is kept, in which order, and what makes room. */
#include "core/base/log.h"
#include "core/base/log_recent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Line `number`, of `n` bytes with its line feed. */
static void put(struct log_recent *r, unsigned number, size_t n)
{
    struct log_line l = {.n = n};
    memset(l.p, 'x', n);
    int digits = snprintf(l.p, sizeof l.p, "%u", number);
    l.p[digits] = 'x';
    l.p[n - 1] = '\n';
    log_recent_put(r, &l);
}

/* The lines that are kept are `first` to `last`, each of n bytes. */
static void assert_kept(const struct log_recent *r, unsigned wanted, unsigned first, unsigned last, size_t n)
{
    struct buf b = BUF_INIT;
    log_recent_get(r, wanted, &b);
    assert_int_equal(b.n, n * (last - first + 1));
    for (unsigned i = first; i <= last; i++) {
        const char *line = b.p + (i - first) * n;
        assert_int_equal(atoi(line), i);
        assert_int_equal(line[n - 1], '\n');
    }
    buf_free(&b);
}

static void few(void **state)
{
    struct log_recent *r = calloc(1, sizeof *r);
    struct buf b = BUF_INIT;
    (void)state;
    log_recent_get(r, 10, &b);
    assert_int_equal(b.n, 0);
    for (unsigned i = 1; i <= 5; i++)
        put(r, i, 20);
    assert_kept(r, 100, 1, 5, 20);
    assert_kept(r, 2, 4, 5, 20);
    free(r);
}

static void by_number(void **state)
{
    struct log_recent *r = calloc(1, sizeof *r);
    (void)state;
    for (unsigned i = 1; i <= 3 * LOG_RECENT_LINES + 7; i++)
        put(r, i, 30);
    assert_kept(r, 10000, 2 * LOG_RECENT_LINES + 8, 3 * LOG_RECENT_LINES + 7, 30);
    assert_kept(r, 1, 3 * LOG_RECENT_LINES + 7, 3 * LOG_RECENT_LINES + 7, 30);
    free(r);
}

/* Long lines: fewer of them, and one goes on at the beginning of the room. */
static void by_bytes(void **state)
{
    struct log_recent *r = calloc(1, sizeof *r);
    enum { N = LOG_LINE_MAX - 3, FIT = LOG_RECENT_BYTES / N };
    (void)state;
    for (unsigned i = 1; i <= 1000; i++) {
        put(r, i, N);
        assert_kept(r, 10000, i > FIT ? i - FIT + 1 : 1, i, N);
    }
    put(r, 1001, LOG_LINE_MAX);
    struct buf b = BUF_INIT;
    log_recent_get(r, 1, &b);
    assert_int_equal(b.n, LOG_LINE_MAX);
    assert_int_equal(atoi(b.p), 1001);
    buf_free(&b);
    free(r);
}

/* What the log writes is what it keeps; what the level leaves out is not kept. */
static void of_the_log(void **state)
{
    struct buf b = BUF_INIT;
    (void)state;
    assert_int_equal(log_open("/dev/null", LOG_TEXT, LOG_INFO), 0);
    log_event(LOG_INFO, "test.one", LOG_STR("word", "a b"));
    log_event(LOG_DEBUG, "test.quiet");
    log_event(LOG_WARN, "test.two", LOG_INT("n", 7));
    log_tail(2, &b);
    buf_byte(&b, '\0');
    char *one = strstr(b.p, "test.one"), *two = strstr(b.p, "test.two");
    assert_non_null(one);
    assert_non_null(two);
    assert_true(one < two);
    assert_null(strstr(b.p, "quiet"));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(few), cmocka_unit_test(by_number), cmocka_unit_test(by_bytes),
                                       cmocka_unit_test(of_the_log)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
