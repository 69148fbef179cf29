/* The guarded clock and the ids that go by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/log.h"
#include "storage/local/guard.h"
#include "storage/local/idgen.h"

#define T0   UINT64_C(1700000000000)
#define HOUR UINT64_C(3600000)
#define DAY  (24 * HOUR)

struct clocks {
    uint64_t wall, boot;
};

static uint64_t wall(void *ctx)
{
    return ((struct clocks *)ctx)->wall;
}
static uint64_t boot(void *ctx)
{
    return ((struct clocks *)ctx)->boot;
}
static void pass(struct clocks *c, uint64_t ms)
{
    c->wall += ms;
    c->boot += ms;
}

static void start(struct guard *g, struct clocks *c, struct expiry *e, uint64_t persisted)
{
    struct guard_source source = {wall, boot, c};
    log_open(NULL, LOG_TEXT, LOG_ERROR + 1);
    guard_init(g, &source, e, persisted);
}

static void runs(void **state)
{
    (void)state;
    struct clocks c = {T0, 5000};
    struct expiry e = {0};
    struct guard g;
    start(&g, &c, &e, 0);
    assert_int_equal(guard_now(&g), T0);
    assert_int_equal(expiry_now(&e), T0);
    pass(&c, 1234);
    assert_int_equal(guard_now(&g), T0 + 1234);
    assert_int_equal(expiry_now(&e), T0 + 1234);
    c.wall += HOUR; /* just not a jump; and what the wall clock says does not count while running */
    assert_int_equal(guard_now(&g), T0 + 1234);
    c.wall -= 2 * HOUR;
    assert_int_equal(guard_now(&g), T0 + 1234);
    assert_true(guard_paused(&g)); /* two hours back is one */
    guard_fini(&g);
}

/* A jump while running: expiry stands, ids' time runs, accept takes the wall clock's word. */
static void jumps(void **state)
{
    (void)state;
    static const int64_t by[] = {(int64_t)HOUR + 1, -(int64_t)HOUR - 1, 3650 * (int64_t)DAY, -(int64_t)(T0 - 1000)};
    for (unsigned i = 0; i < 4; i++) {
        struct clocks c = {T0, 5000};
        struct expiry e = {0};
        struct guard g;
        start(&g, &c, &e, 0);
        pass(&c, 100);
        (void)guard_now(&g);
        c.wall += (uint64_t)by[i];
        assert_int_equal(guard_now(&g), T0 + 100);
        assert_true(guard_paused(&g));
        pass(&c, 50);
        assert_int_equal(guard_now(&g), T0 + 150);
        assert_int_equal(expiry_now(&e), T0 + 100);
        c.wall -= (uint64_t)by[i]; /* back to the truth: it still waits for a word */
        pass(&c, 50);
        assert_int_equal(guard_now(&g), T0 + 200);
        assert_int_equal(expiry_now(&e), T0 + 100);
        assert_true(guard_accept(&g));
        assert_false(guard_paused(&g));
        assert_int_equal(guard_now(&g), T0 + 200);
        assert_int_equal(expiry_now(&e), T0 + 200);
        assert_false(guard_accept(&g));
        guard_fini(&g);
    }
}

static void restarts(void **state)
{
    (void)state;
    static const struct {
        int64_t wall_by; /* against the persisted time */
        bool paused;
        int64_t base_by;
    } cases[] = {
        {0, false, 0},
        {(int64_t)DAY, false, (int64_t)DAY}, /* a day's stop */
        {-(int64_t)DAY, false, 0},           /* back by less than 30 days: the persisted time goes on */
        {30 * (int64_t)DAY, false, 30 * (int64_t)DAY},
        {30 * (int64_t)DAY + 1, true, 0},
        {-30 * (int64_t)DAY - 1, true, 0},
        {3650 * (int64_t)DAY, true, 0},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct clocks c = {T0 + (uint64_t)cases[i].wall_by, 777};
        struct expiry e = {0};
        struct guard g;
        start(&g, &c, &e, T0);
        assert_int_equal(guard_paused(&g), cases[i].paused);
        assert_int_equal(expiry_now(&e), T0 + (uint64_t)cases[i].base_by);
        pass(&c, 10);
        assert_int_equal(guard_now(&g), T0 + 10 + (uint64_t)cases[i].base_by);
        assert_int_equal(expiry_now(&e), T0 + (uint64_t)cases[i].base_by + (cases[i].paused ? 0 : 10));
        if (cases[i].paused) {
            assert_true(guard_accept(&g));
            assert_int_equal(expiry_now(&e), c.wall);
        }
        guard_fini(&g);
    }
}

/* The boot clock itself leaps (a faked one): that moves nothing. Sleep of days does. */
static void leaps(void **state)
{
    (void)state;
    struct clocks c = {T0, 5000};
    struct expiry e = {0};
    struct guard g;
    start(&g, &c, &e, 0);
    pass(&c, 20 * DAY); /* asleep */
    assert_int_equal(guard_now(&g), T0 + 20 * DAY);
    assert_false(guard_paused(&g));
    pass(&c, 3650 * DAY);
    assert_int_equal(guard_now(&g), T0 + 20 * DAY);
    assert_true(guard_paused(&g));
    assert_int_equal(expiry_now(&e), T0 + 20 * DAY);
    c.boot = 10; /* and back */
    assert_int_equal(guard_now(&g), T0 + 20 * DAY);
    c.boot += 7;
    assert_int_equal(guard_now(&g), T0 + 20 * DAY + 7);
    guard_fini(&g);
}

/* --- Ids ---------------------------------------------------------------------------------------------------------- */

static void ids(void **state)
{
    (void)state;
    struct idgen g;
    idgen_init(&g, 1023, 0);
    uint64_t last = 0;
    for (int i = 0; i < 10000; i++) { /* more than fit into one ms */
        uint64_t id = idgen_next(&g, T0);
        assert_true(id > last && id >> 63 == 0);
        assert_int_equal(id >> 12 & 1023, 1023);
        last = id;
    }
    assert_int_equal(last >> 22, T0 - ID_EPOCH_MS + 10000 / 4096);
    static const uint64_t clock[] = {T0 - DAY, 0, ID_EPOCH_MS - 1, ID_EPOCH_MS, T0 + DAY, T0, UINT64_MAX, 0, T0};
    for (unsigned i = 0; i < 9; i++) { /* wherever the clock goes */
        for (int k = 0; k < 5000; k++) {
            uint64_t id = idgen_next(&g, clock[i]);
            assert_true(id > last && id >> 63 == 0);
            last = id;
        }
    }
    idgen_init(&g, 5, g.last_ms); /* a restart: all after the last */
    uint64_t id = idgen_next(&g, T0);
    assert_true(id > last);
    idgen_init(&g, 2000, 0); /* nodes are taken modulo 1024 */
    assert_int_equal(idgen_next(&g, 0) >> 12 & 1023, 2000 & 1023);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs),  cmocka_unit_test(jumps), cmocka_unit_test(restarts),
        cmocka_unit_test(leaps), cmocka_unit_test(ids),
    };
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
