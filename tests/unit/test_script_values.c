/* What scripts remember: bounds, times to live, several threads; and the table of token buckets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/hash.h"
#include "core/script/buckets.h"
#include "core/script/values.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 4, ROUNDS = 20000 };

static struct slice key(char *room, int n)
{
    snprintf(room, 32, "key-%d", n);
    return slice_str(room);
}

static void *count_up(void *arg)
{
    char room[32];
    double value;
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(values_incr(arg, SLICE_LIT("all"), 1, 0, 1, &value), 0);
        assert_int_equal(
            values_set(arg, key(room, i % 100), &(struct script_value){.type = VALUE_NUMBER, .number = i}, 0, 1), 0);
        if (i % 3 == 0)
            values_del(arg, key(room, i % 50), 1);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct values *k = values_new(8, 1 << 20);
    pthread_t threads[THREADS];
    struct script_value v;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, k), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(values_get(k, SLICE_LIT("all"), 1, &v), 0);
    assert_int_equal((int)v.number, THREADS * ROUNDS);
    values_free(k);
}

/* What has expired makes room, and the count of bytes comes back to nothing. */
static void test_room(void **state)
{
    (void)state;
    struct values *k = values_new(1, 10000);
    char room[32], text[100] = {0};
    struct script_value v = {.type = VALUE_TEXT, .text = slice_of(text, sizeof text)};
    int n = 0;
    while (values_set(k, key(room, n), &v, 1000, 1) == 0)
        n++;
    assert_in_range(n, 20, 100);
    assert_true(values_bytes(k) <= 10000);
    /* What is there can be replaced by something as large, though all is full. */
    assert_int_equal(values_set(k, key(room, 3), &v, 1000, 1), 0);
    assert_int_equal(values_set(k, key(room, n), &v, 1000, 500), ERR_FULL);
    assert_int_equal(values_set(k, key(room, n), &v, 1000, 1001), 0);
    for (int i = 0; i < n; i++)
        assert_int_equal(values_get(k, key(room, i), 1001, &v), ERR_NOTFOUND);
    key(room, n);
    assert_true(values_del(k, slice_str(room), 1002));
    assert_int_equal(values_bytes(k), 0);
    values_free(k);
}

static void test_many(void **state)
{
    (void)state;
    struct values *k = values_new(4, 64 << 20);
    char room[32];
    struct script_value v;
    for (int i = 0; i < 50000; i++)
        assert_int_equal(values_set(k, key(room, i), &(struct script_value){.type = VALUE_NUMBER, .number = i}, 0, 1),
                         0);
    for (int i = 0; i < 50000; i++) {
        assert_int_equal(values_get(k, key(room, i), 1, &v), 0);
        assert_int_equal((int)v.number, i);
    }
    values_free(k);
}

/* More names than places: a bucket that somebody empties at that time is not forgotten for idle ones. */
static void test_buckets(void **state)
{
    (void)state;
    struct buckets *b = buckets_new();
    uint64_t taken, now = 1000;
    for (int i = 0; i < 5; i++)
        assert_int_equal(buckets_take(b, 12345, 1, 5, 1, now, &taken), 0);
    assert_int_equal(buckets_take(b, 12345, 1, 5, 1, now, &taken), 1000);
    for (uint64_t i = 0; i < 200000; i++) {
        char room[32];
        (void)!buckets_take(b, hash_bytes(key(room, (int)i)), 100, 100, 1, now + i / 1000, &taken);
    }
    assert_int_not_equal(buckets_take(b, 12345, 1, 5, 1, now + 200, &taken), 0);
    assert_int_equal(buckets_take(b, 12345, 1, 5, 1, now + 1000, &taken), 0);
    buckets_return(b, taken, 1);
    assert_int_equal(buckets_take(b, 12345, 1, 5, 1, now + 1000, &taken), 0);
    /* A clock that steps back gives nothing and takes nothing. */
    assert_int_not_equal(buckets_take(b, 12345, 1, 5, 1, now, &taken), 0);
    assert_int_equal(buckets_take(b, 99, 1, 5, 6, now, &taken), UINT32_MAX);
    buckets_free(b);
}

/* Another node has taken some: below zero, by one burst at most; of a bucket that is not used here nothing. */
static void test_buckets_of_others(void **state)
{
    (void)state;
    struct buckets *b = buckets_new();
    uint64_t taken, none, now = 1000;
    assert_int_equal(buckets_take(b, 12345, 1, 5, 1, now, &taken), 0);
    buckets_charge(b, taken, 4, now);
    assert_int_equal(buckets_take(b, 12345, 1, 5, 1, now, &taken), 1000);
    buckets_charge(b, taken, 100, now);
    assert_int_equal(buckets_take(b, 12345, 1, 5, 1, now, &taken), 6000);
    assert_int_equal(buckets_take(b, 12345, 1, 5, 1, now + 6000, &taken), 0);
    buckets_charge(b, 999, 100, now);
    assert_int_equal(buckets_take(b, 999, 1, 5, 5, now, &none), 0);
    buckets_free(b);
}

static void before(struct shard *s, uint64_t what)
{
    (void)s;
    *(int *)(uintptr_t)what += 1;
}

/* Records are as many as sends can be under way; an old one that was overwritten gives nothing back. */
static void test_refunds(void **state)
{
    (void)state;
    struct buckets *b = buckets_new();
    struct refunds *r = refunds_new(b);
    uint64_t taken;
    int called = 0;
    uint64_t first = refunds_begin(r, before, (uint64_t)(uintptr_t)&called);
    assert_int_equal(buckets_take(b, 7, 1, 1, 1, 1, &taken), 0);
    refunds_add(r, first, taken, 1);
    refunds_give(r, NULL, first);
    assert_int_equal(called, 1);
    assert_int_equal(buckets_take(b, 7, 1, 1, 1, 1, &taken), 0);
    uint64_t old = refunds_begin(r, NULL, 0);
    refunds_add(r, old, taken, 1);
    for (int i = 0; i < 2000; i++)
        refunds_begin(r, NULL, 0);
    refunds_give(r, NULL, old);
    assert_int_not_equal(buckets_take(b, 7, 1, 1, 1, 1, &taken), 0);
    refunds_free(r);
    buckets_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_buckets_of_others),
        cmocka_unit_test(test_refunds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
