/* The guarded clock and the ids that go by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/buf.h"
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

/* As a database of before left it: the guarded time alone. 0: a new one. */
static void start(struct guard *g, struct clocks *c, struct expiry *e, uint64_t persisted)
{
    struct guard_source source = {wall, boot, c, NULL};
    char row[8];
    log_open(NULL, LOG_TEXT, LOG_ERROR + 1);
    store_be64(row, persisted);
    guard_init(g, &source, e, persisted ? slice_of(row, sizeof row) : SLICE_NONE);
}

static const uint8_t boot_a[CLOCK_BOOT_ID_SIZE] = "one boot", boot_b[CLOCK_BOOT_ID_SIZE] = "another";

/* Closes, lets the world go on, and opens again. */
static void restart(struct guard *g, struct clocks *c, const uint8_t *boot_id, uint64_t closed_ms, int64_t wall_by)
{
    struct guard_source source = {wall, boot, c, boot_id};
    struct expiry *e = g->expiry;
    char row[GUARD_SIZE];
    size_t n = guard_encode(g, row);
    assert_true(n <= GUARD_SIZE);
    assert_int_equal(load_be64(row), guard_now(g));
    guard_fini(g);
    pass(c, closed_ms);
    c->wall += (uint64_t)wall_by;
    guard_init(g, &source, e, slice_of(row, n));
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

/* --- Stamps ------------------------------------------------------------------------------------------------------- */

/* Whatever the wall clock does, a stamp is as old as it is: while running, over restarts within one boot, and back. */
static void stamps(void **state)
{
    (void)state;
    static const int64_t by[] = {(int64_t)HOUR,        -(int64_t)HOUR,       3650 * (int64_t)DAY, -3650 * (int64_t)DAY,
                                 5 * (int64_t)HOUR,    -5 * (int64_t)HOUR,   20 * (int64_t)DAY,   -20 * (int64_t)DAY,
                                 (int64_t)HOUR + 5000, -(int64_t)HOUR - 5000};
    for (unsigned i = 0; i < sizeof by / sizeof by[0]; i++) {
        for (unsigned running = 0; running < 2; running++) {
            struct clocks c = {T0, 5000};
            struct expiry e = {0};
            struct guard g;
            start(&g, &c, &e, 0);
            restart(&g, &c, boot_a, 0, 0); /* now it knows the boot */
            uint64_t before = guard_steady(&g), age = 0;
            assert_int_equal(before, T0);
            for (unsigned round = 0; round < 3; round++) {
                /* It jumps; it stays there over a restart; and it comes back. */
                int64_t jump = round == 0 ? by[i] : round == 1 ? 0 : -by[i];
                if (running) {
                    c.wall += (uint64_t)jump;
                    pass(&c, 700);
                    restart(&g, &c, boot_a, 300, 0);
                } else {
                    restart(&g, &c, boot_a, 1000, jump);
                }
                age += 1000;
                assert_int_equal(guard_age(&g, before), age);
                assert_int_equal(guard_steady(&g), T0 + age);
                uint64_t during = guard_steady(&g);
                pass(&c, 50);
                age += 50;
                assert_int_equal(guard_age(&g, during), 50);
            }
            /* At the end the clock is right, and the operator says so: nothing gets older, whenever it was stamped. */
            guard_accept(&g);
            assert_int_equal(guard_age(&g, before), age);
            assert_int_equal(guard_age(&g, T0 + DAY), 0);
            guard_fini(&g);
        }
    }
}

/* An hour's jump over a restart makes no message older either. */
static void an_hour_over_a_restart(void **state)
{
    (void)state;
    struct clocks c = {T0, 5000};
    struct expiry e = {0};
    struct guard g;
    start(&g, &c, &e, 0);
    restart(&g, &c, boot_a, 0, 0);
    restart(&g, &c, boot_a, 10, (int64_t)HOUR);
    assert_int_equal(guard_now(&g), T0 + 10);
    restart(&g, &c, boot_a, 10, -2 * (int64_t)HOUR);
    assert_int_equal(guard_now(&g), T0 + 20);
    assert_false(guard_paused(&g));
    guard_fini(&g);
}

/* The machine was off: the wall clock alone knows for how long, and is believed for up to 30 days. */
static void another_boot(void **state)
{
    (void)state;
    struct clocks c = {T0, 5000};
    struct expiry e = {0};
    struct guard g;
    start(&g, &c, &e, 0);
    restart(&g, &c, boot_a, 0, 0);
    c.boot = 3; /* counts anew */
    restart(&g, &c, boot_b, 0, 10 * (int64_t)DAY);
    assert_int_equal(guard_age(&g, T0), 10 * DAY + 1);
    assert_int_equal(guard_now(&g), T0 + 10 * DAY);
    restart(&g, &c, boot_a, 0, -(int64_t)DAY);
    assert_int_equal(guard_age(&g, T0), 10 * DAY + 1);
    assert_false(guard_paused(&g));
    /* A boot clock that counts a month at once is not believed, though the boot is the same. */
    restart(&g, &c, boot_a, 0, (int64_t)DAY);
    c.boot += 40 * DAY;
    restart(&g, &c, boot_a, 0, (int64_t)DAY);
    assert_int_equal(guard_age(&g, T0), 10 * DAY + 2); /* two leaps of the boot clock */
    guard_fini(&g);
}

/* Off for longer than it is believed. Accepted, the time has passed for what was stamped before, and not for what was
 * stamped while that was in doubt: over restarts, too. */
static void accepted(void **state)
{
    (void)state;
    for (unsigned again = 0; again < 3; again++) {
        struct clocks c = {T0, 5000};
        struct expiry e = {0};
        struct guard g;
        start(&g, &c, &e, 0);
        restart(&g, &c, boot_a, 0, 0);
        pass(&c, 10);
        restart(&g, &c, boot_b, 0, 40 * (int64_t)DAY);
        assert_true(guard_paused(&g));
        assert_int_equal(guard_age(&g, T0), 11);  /* one of the jump */
        assert_int_equal(guard_date(&g), c.wall); /* who knows? */
        pass(&c, 100);
        uint64_t during = guard_steady(&g);
        pass(&c, 100);
        for (unsigned i = 0; i < again; i++)
            restart(&g, &c, i ? boot_a : boot_b, 0, 0);
        assert_true(guard_paused(&g));
        assert_int_equal(guard_date(&g), c.wall);
        assert_true(guard_accept(&g));
        assert_int_equal(guard_now(&g), c.wall);
        assert_int_equal(guard_age(&g, T0), 40 * DAY + 211);
        assert_int_equal(guard_age(&g, during), 100);
        restart(&g, &c, boot_b, 5, 0);
        assert_int_equal(guard_age(&g, T0), 40 * DAY + 216);
        assert_int_equal(guard_age(&g, during), 105);
        guard_fini(&g);
    }
}

/* What was stamped in the millisecond of a jump is told apart by which came first. */
static void one_millisecond(void **state)
{
    (void)state;
    for (unsigned closed = 0; closed < 2; closed++) {
        struct clocks c = {T0, 5000};
        struct expiry e = {0};
        struct guard g;
        start(&g, &c, &e, 0);
        uint64_t before = guard_steady(&g);
        if (closed)
            restart(&g, &c, boot_b, 0, 40 * (int64_t)DAY);
        else
            c.wall += 40 * DAY;
        uint64_t during = guard_steady(&g);
        assert_true(guard_paused(&g));
        assert_true(guard_accept(&g));
        assert_int_equal(guard_age(&g, before), 40 * DAY + 1);
        assert_int_equal(guard_age(&g, during), 0);
        guard_fini(&g);
    }
}

/* While running the guarded clock is right until somebody says otherwise. */
static void dates(void **state)
{
    (void)state;
    struct clocks c = {T0, 5000};
    struct expiry e = {0};
    struct guard g;
    start(&g, &c, &e, 0);
    restart(&g, &c, boot_a, 0, 0);
    c.wall += 3650 * DAY;
    pass(&c, 10);
    assert_int_equal(guard_date(&g), T0 + 10);
    restart(&g, &c, boot_a, 10, 0);
    assert_true(guard_paused(&g));
    assert_int_equal(guard_date(&g), T0 + 20);
    guard_fini(&g);
}

/* More accepts than are remembered: what is left makes nothing older than all together do, and nothing young again. */
static void many_moves(void **state)
{
    (void)state;
    struct clocks c = {T0, 5000};
    struct expiry e = {0};
    struct guard g;
    start(&g, &c, &e, 0);
    for (uint64_t i = 1; i <= 3 * CLOCK_MOVES; i++) {
        c.wall += 2 * HOUR;
        pass(&c, 1);
        (void)guard_now(&g);
        assert_true(guard_accept(&g));
        restart(&g, &c, boot_a, 0, 0);
        assert_int_equal(guard_age(&g, T0), i * 2 * HOUR + i);
        assert_int_equal(guard_age(&g, T0 + i), 0);
    }
    /* A damaged record counts no further than it reaches. */
    char row[GUARD_SIZE];
    size_t n = guard_encode(&g, row);
    for (size_t cut = 8; cut < n; cut++) {
        struct guard h;
        guard_init(&h, &(struct guard_source){wall, boot, &c, boot_a}, &e, slice_of(row, cut));
        assert_true(h.moves.n <= CLOCK_MOVES);
        assert_int_equal(guard_now(&h), guard_now(&g));
        guard_fini(&h);
    }
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
        cmocka_unit_test(runs),
        cmocka_unit_test(jumps),
        cmocka_unit_test(restarts),
        cmocka_unit_test(leaps),
        cmocka_unit_test(ids),
        cmocka_unit_test(stamps),
        cmocka_unit_test(an_hour_over_a_restart),
        cmocka_unit_test(another_boot),
        cmocka_unit_test(accepted),
        cmocka_unit_test(one_millisecond),
        cmocka_unit_test(dates),
        cmocka_unit_test(many_moves),
    };
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
