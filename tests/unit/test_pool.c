/* Pools: indexes and addresses that stay, memory that goes back, walks. */
#include "core/base/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 24, CHUNK = 64 };

static void items_are_zeroed_and_stay_where_they_are(void **state)
{
    struct pool p;
    void *at[5 * CHUNK];
    static const char zero[SIZE];
    (void)state;
    pool_init(&p, SIZE, CHUNK);
    assert_int_equal(pool_memory(&p), 0); /* nothing for nothing */
    assert_null(pool_find(&p, 0));
    assert_int_equal(pool_next(&p, 0), POOL_NONE);
    for (uint32_t i = 0; i < 5 * CHUNK; i++) {
        uint32_t index = pool_alloc(&p);
        assert_int_equal(index, i); /* low ones first */
        at[i] = pool_at(&p, index);
        assert_memory_equal(at[i], zero, SIZE);
        memset(at[i], (int)i | 1, SIZE);
    }
    for (uint32_t i = 0; i < 5 * CHUNK; i++) {
        assert_ptr_equal(pool_at(&p, i), at[i]);
        assert_ptr_equal(pool_find(&p, i), at[i]);
        assert_int_equal(*(char *)at[i], (char)(i | 1));
    }
    assert_int_equal(p.live, 5 * CHUNK);
    assert_int_equal(p.peak, 5 * CHUNK);
    assert_true(pool_memory(&p) >= 5 * CHUNK * SIZE);
    pool_free(&p, 7);
    assert_null(pool_find(&p, 7));
    assert_int_equal(pool_alloc(&p), 7);
    assert_memory_equal(pool_at(&p, 7), zero, SIZE); /* zeroed again */
    assert_null(pool_find(&p, 5 * CHUNK));
    assert_null(pool_find(&p, UINT32_MAX));
    assert_null(pool_find(&p, 1u << 31));
    pool_fini(&p);
    assert_int_equal(pool_memory(&p), 0);
}

static void memory_goes_back(void **state)
{
    struct pool p;
    (void)state;
    pool_init(&p, SIZE, CHUNK);
    for (uint32_t i = 0; i < 100 * CHUNK; i++)
        (void)pool_alloc(&p);
    uint64_t full = pool_memory(&p);
    for (uint32_t i = 0; i < 100 * CHUNK; i++)
        if (i / CHUNK != 50)
            pool_free(&p, i);
    assert_int_equal(p.live, CHUNK);
    assert_true(pool_memory(&p) < full / 10);
    assert_non_null(pool_find(&p, 50 * CHUNK));
    assert_null(pool_find(&p, 49 * CHUNK));
    for (uint32_t i = 0; i < 99 * CHUNK; i++) /* the gaps are filled, no index above is used */
        assert_true(pool_alloc(&p) < 100 * CHUNK);
    assert_int_equal(p.peak, 100 * CHUNK);
    pool_fini(&p);
}

/* Against a plain array, in random order. */
static void random_use(void **state)
{
    enum { MANY = 2000 };
    static uint32_t value[MANY];
    struct pool p;
    uint32_t seed = 7, live = 0;
    (void)state;
    memset(value, 0, sizeof value);
    pool_init(&p, 8, CHUNK);
    for (int step = 0; step < 200000; step++) {
        seed = seed * 1664525 + 1013904223;
        if (seed >> 31 ? live < MANY - CHUNK : live == 0) {
            uint32_t i = pool_alloc(&p);
            assert_true(i < MANY && !value[i]);
            value[i] = seed | 1;
            memcpy(pool_at(&p, i), &value[i], 4);
            live++;
        } else {
            uint32_t i = pool_next(&p, (seed >> 8) % MANY);
            if (i == POOL_NONE)
                i = pool_next(&p, 0);
            assert_int_equal(*(uint32_t *)pool_at(&p, i), value[i]);
            value[i] = 0;
            pool_free(&p, i);
            live--;
        }
        assert_int_equal(p.live, live);
    }
    uint32_t next = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        if (!value[i])
            continue;
        next = pool_next(&p, next);
        assert_int_equal(next++, i);
    }
    assert_int_equal(pool_next(&p, next), POOL_NONE);
    pool_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_are_zeroed_and_stay_where_they_are),
        cmocka_unit_test(memory_goes_back),
        cmocka_unit_test(random_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
