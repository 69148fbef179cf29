/* Cluster time as many nodes have it who follow each other, and their table (nodes.c). */
#include "cluster_clock_kit.h"

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
        cmocka_unit_test(nothing_jumps), cmocka_unit_test(comes_nearer), cmocka_unit_test(dead),
        cmocka_unit_test(sweeps),        cmocka_unit_test(known_to_all), cmocka_unit_test(abouts),
    };
    return cmocka_run_group_tests_name("cluster_clocks", tests, NULL, NULL);
}
