#include "core/base/random.h"
#include "core/base/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { ITEMS = 500, SLOTS = 64, TICKS = 5000 };

struct item {
    struct wheel_node node;
    uint64_t when; /* 0: not set */
    unsigned rung;
};

struct model {
    struct wheel wheel;
    struct item items[ITEMS];
    uint64_t now;
    unsigned rung;
};

static struct wheel_node *node_of(void *ctx, uint32_t i)
{
    return &((struct model *)ctx)->items[i].node;
}

static uint64_t due(void *ctx, uint32_t i)
{
    struct model *m = ctx;
    struct item *t = &m->items[i];
    assert_int_not_equal(t->when, 0);
    if (t->when > m->now)
        return t->when; /* more than a turn ahead: called early */
    assert_int_equal(t->when, m->now);
    t->when = 0;
    t->rung++;
    m->rung++;
    /* Now and then a neighbour is cancelled from within, also one that is due at this very tick. */
    uint32_t other = (i + 1) % ITEMS;
    if (random_below(8) == 0) {
        wheel_cancel(&m->wheel, other);
        m->items[other].when = 0;
    }
    return 0;
}

static void follows_the_model(void **state)
{
    (void)state;
    static struct model m;
    assert_int_equal(wheel_init(&m.wheel, SLOTS, 0, node_of, due, &m), 0);
    for (unsigned i = 0; i < ITEMS; i++)
        m.items[i].node = WHEEL_NODE_INIT;
    for (m.now = 1; m.now < TICKS; m.now++) {
        for (unsigned k = 0; k < 5; k++) {
            uint32_t i = random_below(ITEMS);
            uint64_t when = m.now + random_below(4 * SLOTS);
            wheel_set(&m.wheel, i, when);
            m.items[i].when = when;
        }
        while (wheel_run(&m.wheel, m.now, m.now % 2 ? UINT32_MAX : 2)) /* at once, or in helpings */
            assert_int_equal(m.now % 2, 0);
        for (unsigned i = 0; i < ITEMS; i++)
            assert_true(m.items[i].when == 0 || m.items[i].when > m.now);
    }
    assert_true(m.rung > TICKS);
    wheel_fini(&m.wheel);
}

static unsigned calls;

static uint64_t count_calls(void *ctx, uint32_t i)
{
    (void)ctx, (void)i;
    calls++;
    return 0;
}

static void a_long_sleep_calls_everybody_once(void **state)
{
    (void)state;
    static struct model m;
    assert_int_equal(wheel_init(&m.wheel, SLOTS, 0, node_of, count_calls, &m), 0);
    for (uint32_t i = 0; i < ITEMS; i++) {
        m.items[i].node = WHEEL_NODE_INIT;
        wheel_set(&m.wheel, i, 1 + i % SLOTS);
    }
    assert_true(wheel_run(&m.wheel, 1000000000000ull, ITEMS - 1));
    assert_int_equal(calls, ITEMS - 1);
    assert_false(wheel_run(&m.wheel, 1000000000000ull, 10));
    assert_int_equal(calls, ITEMS);
    assert_false(wheel_run(&m.wheel, 1000000000000ull, 0)); /* nothing is due any more */
    wheel_fini(&m.wheel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_model),
        cmocka_unit_test(a_long_sleep_calls_everybody_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
