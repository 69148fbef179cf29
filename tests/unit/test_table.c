/* Hash tables and pools against simple models, with random operations. */
#include "core/base/hash.h"
#include "core/base/pool.h"
#include "core/base/random.h"
#include "core/base/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

enum { KEYS = 20000 };

/* The key of index i is i itself, but for two that share a hash with others. */
static uint64_t hash_of(void *ctx, uint32_t index)
{
    (void)ctx;
    uint32_t key = index % 7 == 0 ? 7 : index; /* every seventh collides with all its kind */
    return hash_bytes(slice_of(&key, sizeof key));
}

static bool matches(void *ctx, uint32_t index, const void *key)
{
    (void)ctx;
    return index == *(const uint32_t *)key;
}

static void check_all(const struct table *t, const bool *in, uint32_t n)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(table_find(t, hash_of(NULL, i), &i), in[i] ? i : TABLE_NONE);
        count += in[i];
    }
    assert_int_equal(t->count, count);
}

static void run_model(unsigned bits, uint32_t n, unsigned rounds)
{
    static bool in[KEYS];
    memset(in, 0, sizeof in);
    struct table t;
    assert_int_equal(table_init(&t, bits, hash_of, matches, NULL), 0);
    for (unsigned r = 0; r < rounds; r++) {
        uint32_t i = random_below(n);
        /* Phases of growth and of shrinking. */
        bool add = random_below(100) < (r / (rounds / 4) % 2 ? 20u : 80u);
        if (add && !in[i])
            assert_int_equal(table_add(&t, hash_of(NULL, i), i), 0);
        else if (!add)
            assert_int_equal(table_remove(&t, hash_of(NULL, i), i), in[i]);
        in[i] = add;
    }
    check_all(&t, in, n);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(table_remove(&t, hash_of(NULL, i), i), in[i]);
    assert_int_equal(t.count, 0);
    assert_true(table_memory(&t) <= (sizeof(void *) * 4 << bits));
    table_fini(&t);
}

static void table_follows_the_model(void **state)
{
    (void)state;
    hash_init();
    run_model(0, 300, 20000);
    run_model(8, KEYS, 200000);
}

static uint64_t spread_hash(void *ctx, uint32_t index)
{
    (void)ctx;
    return hash_bytes(slice_of(&index, sizeof index));
}

/* What a million users pay for their table. */
static void table_is_lean(void **state)
{
    (void)state;
    struct table t;
    assert_int_equal(table_init(&t, 8, spread_hash, matches, NULL), 0);
    for (uint32_t i = 0; i < 1000000; i++)
        assert_int_equal(table_add(&t, spread_hash(NULL, i), i), 0);
    assert_true(table_memory(&t) < 9 * 1000000);
    table_fini(&t);
}

static void pool_follows_the_model(void **state)
{
    (void)state;
    static uint32_t live[KEYS];
    uint32_t n = 0;
    struct pool p;
    pool_init(&p, 24, 64);
    for (unsigned r = 0; r < 200000; r++) {
        if (random_below(100) < (r / 50000 % 2 ? 30u : 70u) && n < KEYS) {
            uint32_t i = pool_alloc(&p);
            assert_int_not_equal(i, POOL_NONE);
            uint64_t *item = pool_at(&p, i);
            assert_true(item[0] == 0 && item[1] == 0 && item[2] == 0);
            item[0] = i;
            item[2] = ~(uint64_t)i;
            live[n++] = i;
        } else if (n) {
            uint32_t k = random_below(n), i = live[k];
            uint64_t *item = pool_at(&p, i);
            assert_true(item[0] == i && item[2] == ~(uint64_t)i);
            pool_free(&p, i);
            assert_null(pool_find(&p, i));
            live[k] = live[--n];
        }
        assert_int_equal(p.live, n);
    }
    uint32_t seen = 0;
    for (uint32_t i = pool_next(&p, 0); i != POOL_NONE; i = pool_next(&p, i + 1))
        seen++;
    assert_int_equal(seen, n);
    while (n)
        pool_free(&p, live[--n]);
    assert_int_equal(pool_next(&p, 0), POOL_NONE);
    pool_fini(&p);
}

/* "Closing them all leaves nothing behind": the memory goes back, all but a chunk or two. */
static void pool_gives_memory_back(void **state)
{
    (void)state;
    struct pool p;
    pool_init(&p, 64, 1024);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_not_equal(pool_alloc(&p), POOL_NONE);
    assert_true(pool_memory(&p) > 64 * 100000);
    for (uint32_t i = pool_next(&p, 0); i != POOL_NONE; i = pool_next(&p, i + 1))
        pool_free(&p, i);
    assert_true(pool_memory(&p) < 3 * 65 * 1024);
    assert_null(pool_find(&p, UINT32_MAX));
    assert_null(pool_find(&p, 99999));
    pool_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_follows_the_model),
        cmocka_unit_test(table_is_lean),
        cmocka_unit_test(pool_follows_the_model),
        cmocka_unit_test(pool_gives_memory_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
