/* Requests that wait for answers: core/client/client_pending.c. */
#include "core/client/client_pending.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static uint16_t add(struct client_pending **table, uint16_t *last, uint16_t action)
{
    struct client_slot slot = {.action = action, .arg = table};
    assert_int_equal(client_pending_add(table, last, &slot), 0);
    return *last;
}

static bool take(struct client_pending **table, uint16_t action, uint16_t seq)
{
    struct client_slot slot;
    return client_pending_take(table, action, seq, &slot) && slot.seq == seq && slot.arg == table;
}

static void the_table_lives_while_needed(void **state)
{
    struct client_pending *table = NULL;
    uint16_t last = 0;

    (void)state;
    assert_false(take(&table, 1, 1));
    assert_int_equal(add(&table, &last, 1), 1);
    assert_int_equal(add(&table, &last, 4), 2);
    assert_false(take(&table, 4, 1)); /* another action */
    assert_false(take(&table, 1, 5)); /* the same slot, another seq */
    assert_false(take(&table, 0, 0));
    assert_true(take(&table, 4, 2));
    assert_false(take(&table, 4, 2));
    assert_true(take(&table, 1, 1));
    assert_null(table);
}

static void a_window_may_be_wide(void **state)
{
    struct client_pending *table = NULL;
    uint16_t last = 65000;

    (void)state;
    /* One old request stays while others come and go: the seqs run on around it, past the wrap, and never hit it. */
    uint16_t old = add(&table, &last, 9);
    for (int i = 0; i < 200000; i++) {
        uint16_t seq = add(&table, &last, 4);
        assert_int_not_equal(seq, 0);
        assert_int_not_equal(seq, old);
        assert_true(take(&table, 4, seq));
    }
    assert_true(take(&table, 9, old));
    assert_null(table);
}

static void answers_may_overtake(void **state)
{
    struct client_pending *table = NULL;
    uint16_t last = 0, seqs[1000];

    (void)state;
    for (int i = 0; i < 1000; i++)
        seqs[i] = add(&table, &last, (uint16_t)(i % 7));
    assert_int_equal(table->used, 1000);
    assert_int_equal(table->size, 1024);
    for (int i = 0; i < 1000; i++) {
        int k = i * 617 % 1000;
        assert_true(take(&table, (uint16_t)(k % 7), seqs[k]));
    }
    assert_null(table);
}

static void all_seqs_can_be_under_way(void **state)
{
    struct client_pending *table = NULL;
    struct client_slot slot = {.action = 4};
    uint16_t last = 12345;

    (void)state;
    for (int i = 0; i < UINT16_MAX; i++)
        add(&table, &last, 4);
    assert_int_equal(client_pending_add(&table, &last, &slot), ERR_FULL);
    assert_true(take(&table, 4, 777));
    assert_int_equal(add(&table, &last, 4), 777); /* the only one that is free */
    for (uint32_t seq = 1; seq <= UINT16_MAX; seq++)
        assert_true(take(&table, 4, (uint16_t)seq));
    assert_null(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_lives_while_needed),
        cmocka_unit_test(a_window_may_be_wide),
        cmocka_unit_test(answers_may_overtake),
        cmocka_unit_test(all_seqs_can_be_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
