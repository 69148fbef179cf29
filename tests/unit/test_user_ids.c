/* Ids for new users. */
#include "core/hub/shard/user_ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { N = 5000 };

static void ascend_and_differ(void **state)
{
    struct user_ids f = {0};
    char ids[N][USER_ID_SIZE];
    (void)state;
    for (unsigned i = 0; i < N; i++)
        user_id_new(&f, ids[i]);
    for (unsigned i = 0; i < N; i++) {
        for (unsigned k = 0; k < USER_ID_SIZE; k++)
            assert_non_null(memchr("0123456789abcdefghjkmnpqrstvwxyz", ids[i][k], 32));
        /* even the time alone, which comes first: a shard gives none twice */
        assert_true(i == 0 || memcmp(ids[i - 1], ids[i], 9) < 0);
    }
}

/* A clock that steps back is passed by: the times go on from the last one. */
static void clock_back(void **state)
{
    struct user_ids f = {.last = UINT64_C(1) << 44};
    char a[USER_ID_SIZE], b[USER_ID_SIZE];
    (void)state;
    user_id_new(&f, a);
    user_id_new(&f, b);
    assert_int_equal(f.last, (UINT64_C(1) << 44) + 2);
    assert_memory_equal(a, "g00000001", 9);
    assert_memory_equal(b, "g00000002", 9);
}

static void another_random_part(void **state)
{
    struct user_ids f = {0};
    char id[USER_ID_SIZE], again[USER_ID_SIZE];
    unsigned same = 0;
    (void)state;
    user_id_new(&f, id);
    for (int i = 0; i < 1000; i++) {
        memcpy(again, id, sizeof again);
        user_id_again(&f, again);
        assert_memory_equal(id, again, 9);
        same += memcmp(id, again, sizeof again) == 0;
    }
    assert_in_range(same, 0, 1); /* of 2^35 */
}

/* Two makers of the same moment, as two servers are. */
static void two_makers(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct user_ids f = {.last = UINT64_C(1) << 44}, g = f;
        char a[USER_ID_SIZE], b[USER_ID_SIZE];
        user_id_new(&f, a);
        user_id_new(&g, b);
        assert_memory_equal(a, b, 9);
        assert_memory_not_equal(a, b, sizeof a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ascend_and_differ),
        cmocka_unit_test(clock_back),
        cmocka_unit_test(another_random_part),
        cmocka_unit_test(two_makers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
