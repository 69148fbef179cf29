/* Cluster time as one node has it (cluster_clock.c), and as many have it who follow each other (nodes.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/log.h"
#include "storage/redis/nodes/nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define T0   UINT64_C(1800000000000)
#define HOUR UINT64_C(3600000)
#define DAY  (24 * HOUR)

static uint64_t boot(void *ctx)
{
    return *(uint64_t *)ctx;
}

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

/* --- One node ----------------------------------------------------------------------------------------------------- */

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

/* --- Times to live ------------------------------------------------------------------------------------------------ */

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

/* --- Many nodes --------------------------------------------------------------------------------------------------- */

enum { MASTERS = 3, WORLD_NODES = 4 };

/* Masters, whose clocks the test sets, nodes whose boot clocks run at different rates, and N{z} between them. */
struct world {
    uint64_t passed;         /* ms since the beginning */
    int64_t master[MASTERS]; /* their clocks, less T0 + passed */
    unsigned at;             /* which of them has N{z} */
    uint64_t told;           /* N{z}.clock */
    struct clock_record record;
    struct world_node {
        bool alive;
        int ppm; /* how much faster its boot clock runs, of a million */
        uint64_t boot0, born;
        uint64_t boot;
        struct expiry e;
        struct cluster_clock c;
        struct nodes nodes;
        uint64_t inc, beat;
        int64_t behind; /* as it measured it at its last beat */
        uint64_t told;  /* its time at the last look of the test */
        struct buf about;
    } node[WORLD_NODES];
    uint64_t incs; /* N{z}.# */
};

static uint64_t node_boot(void *ctx)
{
    return ((struct world_node *)ctx)->boot;
}

static uint64_t world_time(const struct world *w, unsigned master)
{
    return T0 + w->passed + (uint64_t)w->master[master];
}

/* Of three. */
static uint64_t world_median(const struct world *w)
{
    uint64_t a = world_time(w, 0), b = world_time(w, 1), c = world_time(w, 2);
    uint64_t low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

static void master_name(const struct world *w, char out[NODES_MASTER])
{
    memset(out, 'a' + (int)w->at, NODES_MASTER);
}

static void put_u48(struct buf *b, uint64_t v)
{
    buf_u16(b, (uint16_t)(v >> 32));
    buf_u32(b, (uint32_t)v);
}

/* What `beat` replies. */
static struct buf world_reply(const struct world *w, const struct world_node *n)
{
    struct buf b = BUF_INIT;
    char master[NODES_MASTER], record[CLOCK_RECORD_SIZE];
    unsigned alive = 0;
    master_name(w, master);
    buf_byte(&b, 'N');
    put_u48(&b, n->inc);
    buf_u16(&b, (uint16_t)n->inc);
    put_u48(&b, world_time(w, w->at));
    buf_put(&b, master, sizeof master);
    put_u48(&b, w->told);
    put_u48(&b, 0); /* of the notes' log */
    size_t size = w->record.version ? clock_record_encode(&w->record, record) : 0;
    buf_u16(&b, (uint16_t)size);
    buf_put(&b, record, size);
    for (unsigned i = 0; i < WORLD_NODES; i++)
        alive += w->node[i].alive && w->node[i].about.n;
    buf_u16(&b, (uint16_t)alive);
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        const struct world_node *m = &w->node[WORLD_NODES - 1 - i]; /* in no order */
        if (!m->alive || !m->about.n)
            continue;
        put_u48(&b, m->inc);
        buf_u16(&b, (uint16_t)m->inc);
        put_u48(&b, m->beat);
        buf_u16(&b, (uint16_t)m->about.n);
        buf_slice_put(&b, buf_slice(&m->about));
    }
    assert_true(buf_ok(&b));
    return b;
}

static void world_beat(struct world *w, struct world_node *n, uint8_t state)
{
    struct node_about a = {.state = state, .era = w->record.era, .behind_ms = n->behind, .host_n = 1, .host = "h"};
    uint64_t now = cluster_clock_now(&n->c);
    master_name(w, a.master);
    if (state != NODE_JOINING) {
        a.behind_ms = (int64_t)(world_time(w, w->at) - now);
        w->told = now > w->told ? now : w->told;
    }
    n->beat++;
    buf_reset(&n->about);
    node_about_put(&n->about, &a);
    struct buf b = world_reply(w, n);
    struct reply reply = {.type = REPLY_STRING, .text = buf_slice(&b)};
    assert_int_equal(nodes_read(&n->nodes, &reply, n->boot), 0);
    assert_int_equal(n->nodes.inc, n->inc);
    buf_free(&b);
}

/* A second of a node's life. */
static void world_turn(struct world *w, struct world_node *n)
{
    world_beat(w, n, NODE_UP);
    const struct node *leader = nodes_leader(&n->nodes), *clock;
    assert_non_null(leader);
    if (leader->inc == n->inc)
        (void)cluster_clock_lead(&n->c, (int64_t)(world_median(w) - cluster_clock_now(&n->c)));
    else if ((clock = nodes_clock(&n->nodes, CLOCK_LEADER)))
        cluster_clock_follow(&n->c, (int64_t)(nodes_time(&n->nodes, clock) - cluster_clock_now(&n->c)),
                             CLOCK_FOLLOW_NODE);
}

/* Time passes; after each step every node's time has run, and by what has passed at most plus what it may follow. */
static void world_pass(struct world *w, uint64_t ms)
{
    for (uint64_t end = w->passed + ms; w->passed < end;) {
        w->passed += 10;
        for (unsigned i = 0; i < WORLD_NODES; i++) {
            struct world_node *n = &w->node[i];
            if (!n->alive)
                continue;
            n->boot = n->boot0 + (w->passed - n->born) + (w->passed - n->born) * (uint64_t)n->ppm / 1000000;
            uint64_t now = cluster_clock_now(&n->c);
            assert_true(now >= n->told + 9 && now <= n->told + 12);
            n->told = now;
            if (w->passed % 1000 == i * 100)
                world_turn(w, n);
        }
    }
}

static void world_join(struct world *w, unsigned i, int ppm)
{
    struct world_node *n = &w->node[i];
    n->alive = true;
    n->ppm = ppm;
    n->born = w->passed;
    n->boot0 = n->boot = 1000 * (i + 3);
    n->inc = ++w->incs;
    cluster_clock_init(&n->c, &(struct clock_source){node_boot, n}, &n->e);
    world_beat(w, n, NODE_JOINING);
    while (nodes_wait(&n->nodes)) {
        const struct node *clock = nodes_clock(&n->nodes, CLOCK_FRESH);
        if (clock) {
            cluster_clock_set(&n->c, nodes_time(&n->nodes, clock));
            break;
        }
        n->told = cluster_clock_now(&n->c);
        world_pass(w, 250);
        world_beat(w, n, NODE_JOINING);
    }
    if (!nodes_wait(&n->nodes))
        (void)cluster_clock_first(&n->c, world_median(w), w->told);
    n->told = cluster_clock_now(&n->c);
}

static void world_end(struct world *w, unsigned i)
{
    struct world_node *n = &w->node[i];
    n->alive = false;
    buf_free(&n->about);
    nodes_fini(&n->nodes);
    cluster_clock_fini(&n->c);
}

/* How far the times of the nodes are apart, and from what has passed. */
static uint64_t world_spread(const struct world *w, int64_t *off)
{
    uint64_t low = UINT64_MAX, high = 0;
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        if (!w->node[i].alive)
            continue;
        uint64_t now = w->node[i].told;
        low = now < low ? now : low;
        high = now > high ? now : high;
    }
    *off = (int64_t)(low - T0 - w->passed);
    return high - low;
}

static const int64_t jumps[] = {(int64_t)HOUR, -(int64_t)HOUR, 3650 * (int64_t)DAY, -3650 * (int64_t)DAY, 1000, -1000};

/* Whatever the masters' clocks do, and wherever N{z} goes: nothing jumps, and all nodes stay together. */
static void nothing_jumps(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof jumps / sizeof *jumps; i++) {
        struct world w = {0};
        int64_t off;
        world_join(&w, 0, 40);
        world_pass(&w, 2000);
        world_join(&w, 1, 0);
        world_join(&w, 2, 200);
        world_pass(&w, 5000);
        assert_true(world_spread(&w, &off) <= 5 && llabs(off) <= 5);
        w.master[1] += jumps[i]; /* one of them is wrong */
        world_pass(&w, 5000);
        w.at = 1; /* and N{z} goes there */
        world_pass(&w, 10000);
        assert_true(world_spread(&w, &off) <= 5 && llabs(off) <= 20);
        world_join(&w, 3, 0); /* who comes now gets the others' time */
        world_pass(&w, 2000);
        assert_true(world_spread(&w, &off) <= 5 && llabs(off) <= 20);
        w.master[1] -= jumps[i]; /* it is mended */
        world_pass(&w, 5000);
        w.at = 2;
        for (unsigned m = 0; m < MASTERS; m++) /* and all are wrong at once */
            w.master[m] += jumps[i];
        world_pass(&w, 10000);
        assert_true(world_spread(&w, &off) <= 5 && llabs(off) <= 60);
        world_end(&w, 0); /* the leader ends */
        world_pass(&w, 10000);
        assert_true(world_spread(&w, &off) <= 5 && llabs(off) <= 60);
        for (unsigned n = 1; n < WORLD_NODES; n++)
            world_end(&w, n);
    }
}

/* A node that is behind the leader comes nearer by 10 ms each second, and the leader to the masters by 1. */
static void comes_nearer(void **state)
{
    (void)state;
    struct world w = {0};
    int64_t off;
    world_join(&w, 0, 0);
    world_pass(&w, 2000);
    world_join(&w, 1, 0);
    cluster_clock_set(&w.node[1].c, cluster_clock_now(&w.node[1].c) - 200);
    w.node[1].told -= 200;
    world_pass(&w, 10000);
    uint64_t spread = world_spread(&w, &off);
    assert_true(spread >= 90 && spread <= 120);
    world_pass(&w, 15000);
    assert_true(world_spread(&w, &off) <= 3);
    for (unsigned m = 0; m < MASTERS; m++)
        w.master[m] += 100;
    world_pass(&w, 50000);
    assert_true(world_spread(&w, &off) <= 3 && off >= 45 && off <= 55);
    world_pass(&w, 60000);
    assert_true(world_spread(&w, &off) <= 3 && off >= 98 && off <= 102);
    world_end(&w, 0);
    world_end(&w, 1);
}

/* --- The table ---------------------------------------------------------------------------------------------------- */

/* Death is counted in looks that worked, and those that come too fast do not count. */
static void dead(void **state)
{
    (void)state;
    struct world w = {0};
    world_join(&w, 0, 0);
    world_pass(&w, 2000);
    world_join(&w, 1, 0);
    world_pass(&w, 2000);
    struct world_node *n = &w.node[1];
    const struct node *other = nodes_find(&n->nodes, 1);
    assert_non_null(other);
    uint64_t boot_ms = n->boot + 500000; /* an outage: nothing was heard, of anybody */
    struct buf b = world_reply(&w, n);
    struct reply reply = {.type = REPLY_STRING, .text = buf_slice(&b)};
    assert_int_equal(nodes_read(&n->nodes, &reply, n->boot), 0);
    for (unsigned look = 0; look < NODES_SAME; look++) {
        assert_false(node_is_dead(nodes_find(&n->nodes, 1)));
        assert_int_equal(nodes_leader(&n->nodes)->inc, 1);
        for (unsigned k = 0; k < 9; k++, boot_ms += 100)
            assert_int_equal(nodes_read(&n->nodes, &reply, boot_ms), 0);
    }
    assert_true(node_is_dead(nodes_find(&n->nodes, 1)));
    assert_int_equal(nodes_leader(&n->nodes)->inc, 2);
    buf_free(&b);
    w.node[0].beat++; /* it lives */
    b = world_reply(&w, n);
    reply.text = buf_slice(&b);
    assert_int_equal(nodes_read(&n->nodes, &reply, boot_ms), 0);
    assert_false(node_is_dead(nodes_find(&n->nodes, 1)));
    /* What cannot be read changes nothing. */
    for (size_t cut = 0; cut < b.n; cut++) {
        reply.text = slice_of(b.p, cut);
        assert_int_equal(nodes_read(&n->nodes, &reply, boot_ms), ERR_INVALID);
        assert_int_equal(n->nodes.n, 2);
    }
    buf_free(&b);
    w.node[0].alive = false; /* it was buried */
    b = world_reply(&w, n);
    reply.text = buf_slice(&b);
    assert_int_equal(nodes_read(&n->nodes, &reply, boot_ms), 0);
    assert_null(nodes_find(&n->nodes, 1));
    buf_free(&b);
    world_end(&w, 0);
    world_end(&w, 1);
}

/* Each partition is swept by one node, and by no more than its share of them. */
static void sweeps(void **state)
{
    (void)state;
    struct world w = {0};
    unsigned mine[WORLD_NODES] = {0};
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        world_join(&w, i, 0);
        world_pass(&w, 2000);
    }
    world_pass(&w, 2000);
    for (uint16_t part = 0; part < 1024; part++) {
        unsigned n = 0;
        for (unsigned i = 0; i < WORLD_NODES; i++)
            if (nodes_sweeps(&w.node[i].nodes, part)) {
                mine[i]++;
                n++;
            }
        assert_int_equal(n, 1);
    }
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        assert_true(mine[i] > 150 && mine[i] < 400);
        world_end(&w, i);
    }
}

/* A node serves once all that live know of it. */
static void known_to_all(void **state)
{
    struct node list[3] = {{.inc = 4, .about = {.known = 8}}, {.inc = 6, .about = {.known = 9}}, {.inc = 7}};
    struct nodes ns = {.list = list, .n = 3, .inc = 7};
    (void)state;
    assert_true(nodes_know(&ns));
    list[1].about.known = 6; /* the table that it has read was of before */
    assert_false(nodes_know(&ns));
    list[1].same = NODES_SAME; /* it lives no more */
    assert_true(nodes_know(&ns));
    list[1].same = 0;
    list[1].about.known = UINT64_MAX;
    assert_true(nodes_know(&ns));
    ns.n = 0;
    assert_true(nodes_know(&ns));
}

static void abouts(void **state)
{
    (void)state;
    struct node_about a = {.state = NODE_DRAINING,
                           .host_n = 3,
                           .host = "abc",
                           .era = 7,
                           .behind_ms = -5,
                           .log = 99,
                           .process = {UINT64_MAX, 5, 6},
                           .known = 77},
                      b;
    struct buf out = BUF_INIT;
    memcpy(a.master, "0123456789abcdef", NODES_MASTER);
    node_about_put(&out, &a);
    assert_int_equal(node_about_read(buf_slice(&out), &b), 0);
    assert_true(b.state == a.state && b.era == a.era && b.behind_ms == a.behind_ms && b.log == a.log);
    assert_true(b.known == a.known && b.host_n == a.host_n && memcmp(b.host, a.host, a.host_n) == 0);
    assert_memory_equal(b.master, a.master, sizeof a.master);
    assert_true(b.process.machine == UINT64_MAX && b.process.started == 5 && b.process.pid == 6);
    for (size_t cut = 0; cut < out.n - 8; cut++)
        assert_int_equal(node_about_read(slice_of(out.p, cut), &b), ERR_INVALID);
    assert_int_equal(node_about_read(slice_of(out.p, out.n - 8), &b), 0); /* of an earlier version */
    assert_true(b.known == UINT64_MAX);
    buf_lit(&out, "of a later version");
    assert_int_equal(node_about_read(buf_slice(&out), &b), 0);
    buf_free(&out);
    struct node_process own = node_process_own(), other = own;
    assert_int_not_equal(own.machine, 0);
    assert_false(node_process_ended(&own));
    other.started++; /* the number was given to another one */
    assert_true(node_process_ended(&other));
    other = own;
    other.pid = 4000000; /* above what the kernel gives */
    assert_true(node_process_ended(&other));
    other.machine++;
    assert_false(node_process_ended(&other));
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
        cmocka_unit_test(nothing_jumps),
        cmocka_unit_test(comes_nearer),
        cmocka_unit_test(dead),
        cmocka_unit_test(sweeps),
        cmocka_unit_test(known_to_all),
        cmocka_unit_test(abouts),
    };
    return cmocka_run_group_tests_name("cluster_clock", tests, NULL, NULL);
}
