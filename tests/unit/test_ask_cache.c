/* The cache of plugins/ask: bounded by bytes, what was used longest ago goes first, answers are shared. */
#include "plugins/ask/answer.c"
#include "plugins/ask/cache.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void key_of(unsigned n, unsigned char key[KEY_SIZE])
{
    memset(key, 0, KEY_SIZE);
    key[0] = (unsigned char)(n % 3); /* many in one bucket */
    memcpy(key + 8, &n, sizeof n);
}

static void keep(struct cache *c, unsigned n, uint64_t until)
{
    unsigned char key[KEY_SIZE];
    struct answer *a = answer_plain(MP_REJECT, MP_CODE_FORBIDDEN, "no");
    assert_non_null(a);
    a->retry_after_ms = n;
    key_of(n, key);
    cache_put(c, key, a, until);
    answer_unref(a);
}

/* What is kept under n: its number; -1: nothing. */
static int get(struct cache *c, unsigned n, uint64_t now)
{
    unsigned char key[KEY_SIZE];
    key_of(n, key);
    struct answer *a = cache_get(c, key, now);
    int found = a ? (int)a->retry_after_ms : -1;
    answer_unref(a);
    return found;
}

static void keeps_and_forgets(void **state)
{
    (void)state;
    struct cache *c = cache_new();
    keep(c, 1, 100);
    assert_int_equal(get(c, 1, 50), -1); /* without a limit nothing is kept */
    cache_limit(c, 1 << 20);
    for (unsigned i = 0; i < 50; i++)
        keep(c, i, 100 + i);
    assert_int_equal(cache_count(c), 50);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(get(c, i, 100 + i - 1), i);
    assert_int_equal(get(c, 7, 107), -1); /* too old, and gone */
    assert_int_equal(get(c, 7, 0), -1);
    assert_int_equal(cache_count(c), 49);
    keep(c, 8, 1000); /* in place of the old one */
    assert_int_equal(cache_count(c), 49);
    assert_int_equal(get(c, 8, 900), 8);
    cache_clear(c);
    assert_int_equal(cache_count(c), 0);
    cache_free(c);
}

static void the_longest_unused_goes(void **state)
{
    (void)state;
    struct cache *c = cache_new();
    size_t one = sizeof(struct entry) + sizeof(struct answer);
    cache_limit(c, 10 * one);
    for (unsigned i = 0; i < 10; i++)
        keep(c, i, 100);
    assert_int_equal(get(c, 0, 1), 0); /* used just now */
    keep(c, 10, 100);
    assert_int_equal(get(c, 1, 1), -1);
    assert_int_equal(get(c, 0, 1), 0);
    assert_int_equal(cache_count(c), 10);
    cache_limit(c, 3 * one);
    assert_int_equal(cache_count(c), 3);
    assert_int_equal(get(c, 0, 1), 0);
    cache_limit(c, one - 1);
    assert_int_equal(cache_count(c), 0);
    keep(c, 1, 100);
    assert_int_equal(cache_count(c), 0);
    cache_free(c);
}

/* Who has an answer keeps it, whatever becomes of the cache. */
static void answers_are_shared(void **state)
{
    unsigned char key[KEY_SIZE];
    (void)state;
    struct cache *c = cache_new();
    cache_limit(c, 1 << 20);
    keep(c, 5, 100);
    key_of(5, key);
    struct answer *a = cache_get(c, key, 1);
    cache_free(c);
    assert_int_equal(a->retry_after_ms, 5);
    answer_unref(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keeps_and_forgets), cmocka_unit_test(the_longest_unused_goes),
                                       cmocka_unit_test(answers_are_shared)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
