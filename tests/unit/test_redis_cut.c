/* Whether a node is cut off from Redis as no other is (node_cut.c). No Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "storage/redis/nodes/node_cut.h"

enum { LIMIT = 5000, SOON = LIMIT - 1, LONG = LIMIT };

#define WHY(...)                                                                                                       \
    node_cut_why((const struct cut_master[]){__VA_ARGS__},                                                             \
                 sizeof((const struct cut_master[]){__VA_ARGS__}) / sizeof(struct cut_master), LIMIT)
/* clang-format off */
#define ZERO(away, ok) {.away_ms = (away), .well = (ok), .zero = true}
#define OTHER(away) {.away_ms = (away), .well = true}
/* clang-format on */

static void most_masters(void **state)
{
    (void)state;
    assert_null(node_cut_why(NULL, 0, LIMIT)); /* nothing is known yet */
    assert_null(WHY(ZERO(0, true), OTHER(0), OTHER(0)));
    assert_null(WHY(ZERO(0, true), OTHER(0), OTHER(LONG)));
    assert_null(WHY(ZERO(0, true), OTHER(SOON), OTHER(LONG)));
    assert_non_null(WHY(ZERO(0, true), OTHER(LONG), OTHER(LONG)));
    assert_non_null(WHY(ZERO(LONG, false), OTHER(LONG), OTHER(LONG)));
    assert_non_null(WHY(ZERO(0, true), OTHER(0), OTHER(LONG), OTHER(LONG))); /* half is no majority */
    assert_non_null(WHY(ZERO(LONG, true)));
}

/* The one that has the table of nodes: only if it is well for others. */
static void the_table(void **state)
{
    (void)state;
    assert_null(WHY(ZERO(SOON, true), OTHER(0), OTHER(0)));
    assert_null(WHY(ZERO(LONG, false), OTHER(0), OTHER(0))); /* it is dead: that is everybody's */
    assert_non_null(WHY(ZERO(LONG, true), OTHER(0), OTHER(0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(most_masters), cmocka_unit_test(the_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
