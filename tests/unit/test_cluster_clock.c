/* Cluster time as one node has it (cluster_clock.c). */
#include "cluster_clock_kit.h"

/* A clock alone, of which the test turns the boot clock. */
struct one {
    struct cluster_clock c;
    struct expiry e;
    uint64_t boot;
};

static void one_start(struct one *o)
{
    memset(o, 0, sizeof *o);
    o->boot = 5000;
    cluster_clock_init(&o->c, &(struct clock_source){boot, &o->boot}, &o->e);
}

/* All nodes have ended, and one starts on another machine: with what stands in Redis. */
static bool one_restart(struct one *o, uint64_t median, uint64_t told)
{
    struct clock_record record = cluster_clock_record_get(&o->c);
    char bytes[CLOCK_RECORD_SIZE];
    size_t n = clock_record_encode(&record, bytes);
    cluster_clock_fini(&o->c);
    memset(&o->e, 0, sizeof o->e);
    o->boot = 77;
    cluster_clock_init(&o->c, &(struct clock_source){boot, &o->boot}, &o->e);
    assert_int_equal(clock_record_decode(slice_of(bytes, n), &record), 0);
    cluster_clock_record_set(&o->c, &record, 0);
    return cluster_clock_first(&o->c, median, told);
}

static void runs(void **state)
{
    (void)state;
    struct one o;
    one_start(&o);
    assert_false(cluster_clock_first(&o.c, T0, 0));
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(cluster_clock_now(&o.c), T0 + i);
        assert_int_equal(expiry_now(&o.e), T0 + i);
        assert_int_equal(cluster_clock_steady(&o.c), T0 + i);
        assert_int_equal(cluster_clock_date(&o.c), T0 + i);
        o.boot++;
    }
    o.boot += 20 * DAY; /* asleep */
    assert_int_equal(cluster_clock_now(&o.c), T0 + 100 + 20 * DAY);
    uint64_t now = cluster_clock_now(&o.c);
    o.boot += 31 * DAY; /* a trick */
    assert_int_equal(cluster_clock_now(&o.c), now);
    o.boot = 3;
    assert_int_equal(cluster_clock_now(&o.c), now);
    o.boot += 9;
    assert_int_equal(cluster_clock_now(&o.c), now + 9);
    cluster_clock_fini(&o.c);
}

/* Following is spread over the second, and never lets time stand or go back. */
static void follows(void **state)
{
    (void)state;
    static const struct {
        int64_t by, most, gets;
    } cases[] = {{0, 10, 0},      {3, 10, 3},          {-3, 10, -3},         {10, 10, 10},     {500, 10, 10},
                 {-500, 10, -10}, {INT64_MAX, 10, 10}, {INT64_MIN, 10, -10}, {86400000, 1, 1}, {-86400000, 1, -1}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct one o;
        one_start(&o);
        (void)cluster_clock_first(&o.c, T0, 0);
        cluster_clock_follow(&o.c, cases[i].by, (uint32_t)cases[i].most);
        uint64_t last = cluster_clock_now(&o.c);
        assert_int_equal(last, T0);
        for (unsigned ms = 0; ms < 3000; ms++) {
            o.boot++;
            uint64_t now = cluster_clock_now(&o.c);
            assert_true(now >= last && now <= last + 2);
            last = now;
        }
        assert_int_equal((int64_t)(last - T0), 3000 + cases[i].gets);
        /* Called more often than each second it is no faster. */
        for (unsigned ms = 0; ms < 10000; ms++) {
            o.boot++;
            if (ms % 7 == 0)
                cluster_clock_follow(&o.c, cases[i].by, (uint32_t)cases[i].most);
        }
        int64_t moved = (int64_t)(cluster_clock_now(&o.c) - last) - 10000;
        assert_true(llabs(moved) <= cases[i].most * 10);
        cluster_clock_fini(&o.c);
    }
}

static void leads(void **state)
{
    (void)state;
    struct one o;
    one_start(&o);
    (void)cluster_clock_first(&o.c, T0, 0);
    assert_true(cluster_clock_lead(&o.c, (int64_t)HOUR));
    assert_true(cluster_clock_lead(&o.c, -(int64_t)HOUR));
    assert_false(cluster_clock_lead(&o.c, (int64_t)HOUR + 1));
    assert_false(cluster_clock_lead(&o.c, -(int64_t)HOUR - 1));
    o.boot += 1000;
    assert_int_equal(cluster_clock_now(&o.c), T0 + 1000);
    cluster_clock_fini(&o.c);
}

/* All nodes have ended: where the next one begins, and whether that is believed. */
static void first_node(void **state)
{
    (void)state;
    static const struct {
        int64_t median_by; /* against the largest time told */
        int64_t begins_by;
        bool paused;
    } cases[] = {{0, 0, false},
                 {5000, 5000, false},
                 {20 * (int64_t)DAY, 20 * (int64_t)DAY, false},
                 {30 * (int64_t)DAY, 30 * (int64_t)DAY, false},
                 {30 * (int64_t)DAY + 1, 30 * (int64_t)DAY + 1, true},
                 {3650 * (int64_t)DAY, 3650 * (int64_t)DAY, true},
                 {-5000, 0, false},
                 {-(int64_t)HOUR, 0, false},
                 {-(int64_t)HOUR - 1, 0, true},
                 {-3650 * (int64_t)DAY, 0, true}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct one o;
        one_start(&o);
        (void)cluster_clock_first(&o.c, T0, 0);
        uint64_t median = T0 + (uint64_t)cases[i].median_by, begins = T0 + (uint64_t)cases[i].begins_by;
        assert_int_equal(one_restart(&o, median, T0), cases[i].paused);
        assert_int_equal(cluster_clock_paused(&o.c), cases[i].paused);
        assert_int_equal(cluster_clock_now(&o.c), begins);
        o.boot += 10;
        assert_int_equal(cluster_clock_now(&o.c), begins + 10);
        assert_int_equal(expiry_now(&o.e), cases[i].paused ? T0 : begins + 10);
        /* In doubt stamps do not age by the leap, and others' clocks are as likely right. */
        assert_int_equal(cluster_clock_age(&o.c, T0), cases[i].paused ? 10 : begins - T0 + 10);
        assert_int_equal(cluster_clock_date(&o.c), cases[i].paused ? median + 10 : begins + 10);
        /* The pause outlives restarts, until somebody accepts; then the masters' time counts, and it has passed. */
        (void)one_restart(&o, median + 50, begins + 50);
        assert_int_equal(cluster_clock_paused(&o.c), cases[i].paused);
        uint64_t during = cluster_clock_steady(&o.c), era = cluster_clock_record_get(&o.c).era;
        o.boot += 10;
        median += 60;
        assert_int_equal(cluster_clock_accept(&o.c, median), cases[i].paused);
        assert_int_equal(cluster_clock_record_get(&o.c).era, era + cases[i].paused);
        assert_false(cluster_clock_paused(&o.c));
        if (cases[i].paused) {
            assert_int_equal(cluster_clock_now(&o.c), median);
            assert_int_equal(expiry_now(&o.e), median);
            assert_int_equal(cluster_clock_age(&o.c, T0 - 1), median > T0 ? median - T0 + 1 : 61);
            assert_int_equal(cluster_clock_age(&o.c, during), 10);
        }
        assert_false(cluster_clock_accept(&o.c, median));
        cluster_clock_fini(&o.c);
    }
}

/* While running a wall clock moves nothing, but an operator can say that it is right. */
static void accepted_while_running(void **state)
{
    (void)state;
    for (unsigned ahead = 0; ahead < 2; ahead++) {
        struct one o;
        one_start(&o);
        (void)cluster_clock_first(&o.c, T0, 0);
        o.boot += 10;
        uint64_t stamp = cluster_clock_steady(&o.c), wall = ahead ? T0 + 5 * HOUR : T0 - 5 * HOUR;
        assert_false(cluster_clock_accept(&o.c, T0 + HOUR));
        assert_int_equal(cluster_clock_now(&o.c), T0 + 10);
        assert_true(cluster_clock_accept(&o.c, wall));
        assert_int_equal(cluster_clock_now(&o.c), wall);
        assert_int_equal(cluster_clock_steady(&o.c), stamp);
        o.boot += 7;
        assert_int_equal(cluster_clock_age(&o.c, stamp), 7);
        assert_int_equal(cluster_clock_age(&o.c, T0), ahead ? 5 * HOUR + 7 : 17);
        cluster_clock_fini(&o.c);
    }
}

/* More accepts than are remembered: nothing gets younger, and what was stamped last no older. */
static void many_moves(void **state)
{
    (void)state;
    struct one o;
    one_start(&o);
    (void)cluster_clock_first(&o.c, T0, 0);
    for (uint64_t i = 1; i <= 3 * CLOCK_MOVES; i++) {
        o.boot++;
        assert_true(cluster_clock_accept(&o.c, cluster_clock_now(&o.c) + 2 * HOUR));
        assert_int_equal(cluster_clock_age(&o.c, T0), i * 2 * HOUR + i);
        assert_int_equal(cluster_clock_age(&o.c, T0 + i), 0);
    }
    struct clock_record r = cluster_clock_record_get(&o.c), again;
    char bytes[CLOCK_RECORD_SIZE];
    size_t n = clock_record_encode(&r, bytes);
    assert_int_equal(n, CLOCK_RECORD_SIZE);
    assert_int_equal(clock_record_decode(slice_of(bytes, n), &again), 0);
    assert_int_equal(again.moves.n, CLOCK_MOVES);
    assert_memory_equal(r.moves.list, again.moves.list, sizeof r.moves.list);
    for (size_t cut = 1; cut < n; cut++)
        assert_int_equal(clock_record_decode(slice_of(bytes, cut), &again), ERR_INVALID);
    bytes[0] = 2;
    assert_int_equal(clock_record_decode(slice_of(bytes, n), &again), ERR_INVALID);
    assert_int_equal(clock_record_decode(SLICE_NONE, &again), 0);
    cluster_clock_fini(&o.c);
}

static void limits(void **state)
{
    (void)state;
    struct clock_record r = {0}, other;
    const uint64_t day[] = {0, DAY, DAY, 600000}, longer[] = {DAY, 9 * DAY, 0, 600000};
    assert_true(clock_record_limit(&r, day, T0));
    assert_false(clock_record_limit(&r, day, T0 + 5));
    other = r;
    for (unsigned c = 0; c < 4; c++)
        assert_int_equal(r.limits[c].ended_ms, 0);
    assert_true(clock_record_limit(&r, longer, T0 + 9));
    assert_int_equal(r.limits[0].ended_ms, 0);
    assert_int_equal(r.limits[1].ended_ms, T0 + 9 - DAY + 1); /* born a day ago, and not later: ended */
    assert_int_equal(r.limits[2].ended_ms, T0 + 9 - DAY + 1);
    assert_int_equal(r.limits[3].ended_ms, 0);
    assert_true(clock_record_limit(&r, day, T0 + DAY)); /* shorter: ended stays */
    assert_int_equal(r.limits[1].ended_ms, T0 + 9 - DAY + 1);
    /* Two nodes change it at once. */
    assert_true(clock_record_limit(&other, longer, T0 + DAY));
    clock_record_join(&other, &r);
    assert_int_equal(other.limits[1].ended_ms, T0 + 1);
    assert_int_equal(other.limits[1].ttl_ms, DAY);
    /* Counts. */
    bool raised;
    const uint32_t some[3] = {0, 10, 5}, fewer[3] = {0, 4, 5}, more[3] = {7, 6, 0}, many[3] = {7, 0, 3};
    struct clock_record n = {0};
    assert_true(clock_record_count(&n, some, 100, &raised) && !raised);
    assert_false(clock_record_count(&n, some, 150, &raised) || raised);
    assert_true(clock_record_count(&n, fewer, 200, &raised) && !raised);
    struct clock_record n2 = n;
    assert_true(clock_record_count(&n, more, 300, &raised) && raised);
    assert_true(n.counts[1].past[0].until == 300 && n.counts[1].past[0].max == 4 && !n.counts[1].past[1].max);
    assert_true(n.counts[2].past[0].until == 300 && n.counts[2].past[0].max == 5 && !n.counts[0].past[0].max);
    assert_true(clock_record_count(&n, many, 400, &raised) && raised);
    assert_true(n.counts[1].past[0].until == 400 && n.counts[1].past[0].max == 6 && n.counts[1].past[1].max == 4);
    assert_int_equal(n.counts[2].past[0].max, 0); /* 5 keeps more than 3 does */
    assert_true(clock_record_count(&n2, many, 350, &raised));
    clock_record_join(&n2, &n);
    assert_true(n2.counts[1].past[0].max == 6 && n2.counts[1].past[1].until == 350 && n2.counts[1].past[1].max == 4 &&
                n2.counts[1].max == 0);
    struct clock_record step = {0}; /* many raises in one moment, under which nothing was said: the first one hides */
    for (uint32_t i = 3; i < 50; i++)
        (void)clock_record_count(&step, (const uint32_t[3]){0, i, 0}, 500, &raised);
    assert_true(raised && step.counts[1].past[0].max == 3 && step.counts[1].past[0].until == 500);
    assert_true(!step.counts[1].past[1].max && step.counts[1].max == 49);
    char counted[CLOCK_RECORD_SIZE];
    assert_int_equal(clock_record_decode(slice_of(counted, clock_record_encode(&n, counted)), &n2), 0);
    for (unsigned t = 0; t < EXPIRY_CLASSES - 2; t++) { /* by fields: there is padding between them */
        assert_int_equal(n.counts[t].max, n2.counts[t].max);
        for (unsigned i = 0; i < CLOCK_COUNTS; i++)
            assert_true(n.counts[t].past[i].until == n2.counts[t].past[i].until &&
                        n.counts[t].past[i].max == n2.counts[t].past[i].max);
    }
    /* It is in force where the record is. */
    struct one o;
    one_start(&o);
    atomic_store(&o.e.ended_ms[EXPIRY_LARGE], T0 + 5 * DAY);
    cluster_clock_record_set(&o.c, &other, T0);
    assert_int_equal(atomic_load(&o.e.ended_ms[EXPIRY_SMALL]), T0 + 1);
    assert_int_equal(atomic_load(&o.e.ended_ms[EXPIRY_LARGE]), T0 + 5 * DAY);
    assert_int_equal(cluster_clock_now(&o.c), T0);
    cluster_clock_fini(&o.c);
}

int main(void)
{
    log_open(NULL, LOG_TEXT, LOG_ERROR + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs),
        cmocka_unit_test(follows),
        cmocka_unit_test(leads),
        cmocka_unit_test(first_node),
        cmocka_unit_test(accepted_while_running),
        cmocka_unit_test(many_moves),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests_name("cluster_clock", tests, NULL, NULL);
}
