/*
 * Channels without members: they go when nothing is left of them, their names are remembered for as long as there is
 * room, and no seq is given twice. All kinds of stores; what is kept of names is the embedded one's affair.
 */
#define UTIL_MAIN
#include "tests/unit/test_store_util.h"

static const char *database;

static int setup(void **state)
{
    static struct world w;
    world_init(&w, database);
    w.o.tiers[TIER_SMALL] = (struct store_tier_options){10000, 100, DURABILITY_COMMIT};
    world_open(&w);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    world_fini(*state);
    return 0;
}

static bool persistent(void)
{
    return strcmp(database, "memory") != 0;
}

/* How many rows an embedded store has that begin so. */
static void rows_are(struct world *w, unsigned n, enum kv_family family, struct slice prefix)
{
    if (!util_is_redis(w))
        assert_int_equal(util_rows(w, family, prefix), n);
}

/* For what embedded stores alone have. */
static void embedded_only(struct world *w)
{
    if (util_is_redis(w))
        skip();
}

/* --- Going -------------------------------------------------------------------------------------------------------- */

static void nothing_was_said(void **state)
{
    struct world *w = *state;
    char name[20];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        struct conv_key c = util_channel(name);
        struct store_member_put m = {
            .conv = conv_key_slice(&c), .user = S("ann"), .may_create = true, .channels_max = 2};
        assert_int_equal(CALL(w, store_member_put, &m), STORE_OK); /* there is always room */
        assert_true(m.created && m.members == 1 && m.seq == 0 && m.first == 0);
        if (i % 3 == 0) {
            join(w, &c, "bob");
            assert_false(util_leave(w, &c, "ann").gone);
            assert_true(util_exists(w, &c));
        }
        struct store_member_del d = util_leave(w, &c, i % 3 ? "ann" : "bob");
        assert_true(d.op.status == STORE_OK && d.gone && d.members == 0);
        assert_false(util_exists(w, &c));
        struct store_member_del again = util_leave(w, &c, "bob");
        assert_false(again.existed);
        /* In Redis it may be a repeat, whose first half only is known to be done. */
        assert_true(again.op.status == STORE_NOTFOUND || (util_is_redis(w) && again.op.status == STORE_OK));
        m.may_create = false;
        assert_int_equal(CALL(w, store_member_put, &m), STORE_NOTFOUND);
        if (persistent() && i % 400 == 0)
            world_restart(w);
    }
    rows_are(w, 0, KV_CHANNEL, S("h")); /* nothing is kept of them */
    rows_are(w, 0, KV_CHANNEL, S("m"));
    rows_are(w, 0, KV_USER, S("s"));
    rows_are(w, 0, KV_USER, S("r"));
    rows_are(w, 0, KV_META, S("e"));
    rows_are(w, 0, KV_META, S("o"));
    rows_are(w, 0, KV_META, S("f"));
    util_sound(w);
}

/* What was said keeps a channel until it ends; then it goes by itself, and its numbers go on when it is made again. */
static void what_was_said_ends(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_channel("c");
    uint64_t last_id = 0;
    for (uint64_t life = 0, seq = 0; life < 3; life++, seq += 3) {
        struct store_member_put m = join(w, &c, "ann");
        assert_true(m.created && m.seq == seq && m.first == (seq ? seq + 1 : 0));
        for (uint64_t i = 1; i <= 3; i++) {
            struct store_append a = append_of(&c, TIER_SMALL, "ann", "x");
            assert_int_equal(CALL(w, store_append, &a), STORE_OK);
            assert_true(a.seq == seq + i && a.id > last_id);
            last_id = a.id;
            world_pass(w, 1000);
        }
        assert_false(util_leave(w, &c, "ann").gone);
        assert_true(util_exists(w, &c));
        util_sound(w);
        m = join(w, &c, "bob"); /* it is as it was */
        assert_true(!m.created && m.seq == seq + 3 && m.first == seq + 1);
        assert_false(util_leave(w, &c, "bob").gone);
        if (persistent() && life)
            world_restart(w);
        world_pass(w, 8999);
        util_look(w);
        assert_true(util_exists(w, &c));
        rows_are(w, 3, KV_SMALL, S("c"));
        world_pass(w, 1);
        util_wait_gone(w, &c);
        rows_are(w, 0, KV_SMALL, S("c")); /* the rows went with it */
        struct store_conv_load l = util_load_of(w, &c);
        assert_true(l.seq == seq + 3 && l.first == l.seq + 1 && l.members == 0);
        PAGE(w, &c, -1, -1, 9, "", seq + 4, seq + 3, false);
        if (persistent())
            world_restart(w);
        util_sound(w);
        rows_are(w, 1, KV_META, S("o"));
    }
    struct store_append a = append_of(&c, TIER_SMALL, "ann", "x"); /* nobody says anything in what is not there */
    assert_int_equal(CALL(w, store_append, &a), STORE_NOTFOUND);
    util_sound(w);
}

/* The last one leaves when all has ended already. */
static void with_the_last_member(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_channel("c");
    join(w, &c, "ann");
    for (int i = 0; i < 90; i++) /* more rows than are deleted one by one */
        say(w, &c, i % 2 ? TIER_SMALL : TIER_LARGE, "ann", "x");
    world_pass(w, 7 * DAY);
    util_look(w);
    assert_true(util_exists(w, &c));
    /* In Redis that can be told once the sweep has taken most of so many rows. */
    assert_true(util_leave(w, &c, "ann").gone || util_is_redis(w));
    util_wait_gone(w, &c);
    rows_are(w, 0, KV_SMALL, S("c"));
    rows_are(w, 0, KV_LARGE, S("c"));
    util_sound(w);
    w->o.tiers[TIER_SMALL].ttl_ms = w->o.tiers[TIER_LARGE].ttl_ms = 0; /* nor does a longer life bring it back */
    store_configure(w->s, &w->o);
    assert_int_equal(join(w, &c, "ann").seq, 90);
    PAGE(w, &c, -1, -1, 9, "", 91, 90, false);
    assert_int_equal(say(w, &c, TIER_SMALL, "ann", "x"), 91);
    PAGE(w, &c, -1, -1, 9, "91", 91, 91, false);
}

/* Lives of their own: the newest message ends first. */
static void lives_of_their_own(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_channel("c");
    join(w, &c, "ann");
    for (int i = 0; i < 3; i++) {
        struct store_append a = append_of(&c, TIER_SMALL, "ann", "x");
        a.ttl_ms = 9000 - 2000 * (uint64_t)i;
        assert_int_equal(CALL(w, store_append, &a), STORE_OK);
    }
    assert_false(util_leave(w, &c, "ann").gone);
    for (uint64_t ms = 0; ms < 9000; ms += 1000) {
        util_look(w);
        assert_true(util_exists(w, &c));
        util_sound(w);
        world_pass(w, 1000);
    }
    util_wait_gone(w, &c);
    util_sound(w);
}

/* Somebody who is no member says something in an empty channel: it stays for that. */
static void said_by_a_stranger(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_channel("c");
    join(w, &c, "ann");
    say(w, &c, TIER_SMALL, "ann", "x");
    util_leave(w, &c, "ann");
    world_pass(w, 6000);
    struct store_append a = append_of(&c, TIER_SMALL, "system", "y");
    a.stranger = true;
    assert_int_equal(CALL(w, store_append, &a), STORE_OK);
    world_pass(w, 6000);
    util_look(w);
    assert_true(util_exists(w, &c));
    PAGE(w, &c, -1, -1, 9, "2", 2, 2, false);
    world_pass(w, 4000);
    util_wait_gone(w, &c);
    util_sound(w);
    rows_are(w, 0, KV_USER, S("r")); /* nor is a mark left */
}

/* What lasts for ever today may not tomorrow: it is looked at once a day. */
static void options_change(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_channel("c"), d = util_channel("d");
    w->o.tiers[TIER_SMALL].ttl_ms = 0;
    store_configure(w->s, &w->o);
    join(w, &c, "ann");
    say(w, &c, TIER_SMALL, "ann", "x");
    util_leave(w, &c, "ann");
    for (int i = 0; i < 5; i++) {
        world_pass(w, DAY);
        util_look(w);
        assert_true(util_exists(w, &c));
        util_sound(w);
    }
    w->o.tiers[TIER_SMALL].ttl_ms = 6 * DAY;
    store_configure(w->s, &w->o);
    world_pass(w, DAY);
    util_wait_gone(w, &c);
    /* Where nobody could make them again, they stay. */
    w->o.keep_vacant = true;
    store_configure(w->s, &w->o);
    join(w, &d, "ann");
    assert_false(util_leave(w, &d, "ann").gone);
    for (int i = 0; i < 3; i++) {
        world_pass(w, DAY);
        util_look(w);
        assert_true(util_exists(w, &d));
        assert_false(join(w, &d, "bob").created);
        assert_false(util_leave(w, &d, "bob").gone);
        util_sound(w);
    }
    w->o.keep_vacant = false;
    store_configure(w->s, &w->o);
    world_pass(w, DAY);
    util_wait_gone(w, &d);
    util_sound(w);
}

/* A clock that has gone mad ends nothing. */
static void paused(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_channel("c");
    join(w, &c, "ann");
    say(w, &c, TIER_SMALL, "ann", "x");
    util_leave(w, &c, "ann");
    atomic_fetch_add(&w->wall, 3650 * DAY);
    util_look(w);
    util_look(w);
    assert_true(util_exists(w, &c));
    store_clock_accept(w->s);
    util_wait_gone(w, &c);
    util_sound(w);
}

/* The disk fails while channels go: all of it was done, or nothing; and it goes on when the disk takes data again. */
static void disk_fails(void **state)
{
    struct world *w = *state;
    embedded_only(w);
    struct store_stats stats;
    char name[20];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        struct conv_key c = util_channel(name);
        join(w, &c, "ann");
        if (i % 2)
            say(w, &c, TIER_SMALL, "ann", "x");
        if (i % 4 == 1)
            util_leave(w, &c, "ann");
    }
    world_pass(w, 10000);
    atomic_store(&w->fail_write, ERR_IO);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        struct conv_key c = util_channel(name);
        struct store_member_del d = util_leave(w, &c, "ann");
        assert_true(d.op.status == STORE_UNKNOWN || d.op.status == STORE_RETRY);
        struct store_conv_load l = {.conv = conv_key_slice(&c)};
        assert_int_equal(CALL(w, store_conv_load, &l), STORE_OK);
        assert_true(l.exists); /* the write that failed did nothing */
    }
    atomic_store(&w->fail_write, 0);
    do {
        usleep(10000);
        store_get_stats(w->s, &stats);
    } while (stats.failing);
    util_sound(w);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        struct conv_key c = util_channel(name);
        if (i % 4 == 1)
            util_wait_gone(w, &c);
        else
            assert_true(util_leave(w, &c, "ann").gone);
    }
    util_sound(w);
    assert_int_equal(util_rows(w, KV_META, S("o")), 20);
    assert_int_equal(util_rows(w, KV_META, S("e")), 0);
}

/* --- In one group ------------------------------------------------------------------------------------------------- */

static void in_flight(void **state)
{
    struct world *w = *state;
    enum { N = 300 };
    static struct store_member_put puts[N];
    static struct store_member_del dels[N];
    static struct store_append ops[N];
    struct conv_key c = util_channel("c"), other = util_channel("o");
    join(w, &other, "ann");
    for (int i = 0; i < N; i++) {
        puts[i] = (struct store_member_put){.conv = conv_key_slice(&c), .user = S("ann"), .may_create = true};
        dels[i] = (struct store_member_del){.conv = conv_key_slice(&c), .user = S("ann")};
        ops[i] = append_of(&c, TIER_SMALL, "ann", "x");
        POST(w, store_member_put, &puts[i]);
        if (i >= N / 2)
            POST(w, store_append, &ops[i]);
        POST(w, store_member_del, &dels[i]);
    }
    for (int i = 0; i < N; i++) {
        util_wait(w, &dels[i].op);
        assert_int_equal(puts[i].op.status, STORE_OK);
        assert_int_equal(puts[i].members, 1);
        assert_int_equal(puts[i].created, i <= N / 2);
        assert_int_equal(dels[i].gone, i < N / 2);
        if (i >= N / 2)
            assert_int_equal(ops[i].seq, i - N / 2 + 1);
    }
    /* A join under way when the last one leaves: it finds the channel, or finds that there is none. */
    struct conv_key d = util_channel("d");
    join(w, &d, "ann");
    for (int i = 0; i < 100; i++) {
        dels[0] = (struct store_member_del){.conv = conv_key_slice(&d), .user = S(i % 2 ? "bob" : "ann")};
        puts[0] = (struct store_member_put){.conv = conv_key_slice(&d), .user = S(i % 2 ? "ann" : "bob")};
        puts[1] = puts[0];
        puts[1].may_create = true;
        POST(w, store_member_del, &dels[0]);
        POST(w, store_member_put, &puts[0]);
        POST(w, store_member_put, &puts[1]);
        util_wait(w, &puts[1].op);
        assert_true(dels[0].gone && puts[0].op.status == STORE_NOTFOUND && puts[1].created);
    }
    util_sound(w);
    world_pass(w, 10000);
    util_wait_gone(w, &c);
    assert_int_equal(join(w, &c, "ann").seq, N / 2);
    util_sound(w);
}

/* --- Names -------------------------------------------------------------------------------------------------------- */

/* The name's channel is made, hears n messages and goes. Returns the seq that it went on from. */
static uint64_t lived(struct world *w, const char *name, int n)
{
    struct conv_key c = util_channel(name);
    uint64_t seq = join(w, &c, "ann").seq;
    for (int i = 1; i <= n; i++)
        assert_int_equal(say(w, &c, TIER_SMALL, "ann", "x"), seq + (unsigned)i);
    assert_false(util_leave(w, &c, "ann").gone);
    world_pass(w, 10000);
    util_wait_gone(w, &c);
    return seq;
}

/* The names that went first are dropped: they begin higher when they come back, and nobody else does. */
static void names_are_few(void **state)
{
    struct world *w = *state;
    embedded_only(w);
    world_close(w);
    w->hooks.names_max = 4;
    world_open(w);
    char name[20];
    uint64_t top[12];
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "room%d", i);
        assert_int_equal(lived(w, name, 3 + i), 0); /* a name that nobody had begins at 1, whoever was dropped */
        top[i] = 3 + (unsigned)i;
        assert_true(util_rows(w, KV_META, S("o")) <= 4);
        util_sound(w);
        if (persistent() && i % 4 == 3)
            world_restart(w);
    }
    assert_int_equal(util_rows(w, KV_META, S("o")), 4);
    assert_in_range(util_rows(w, KV_META, S("f")), 2, 16);
    for (int i = 8; i < 12; i++) { /* the newest four are known to the number */
        snprintf(name, sizeof(name), "room%d", i);
        struct conv_key c = util_channel(name);
        assert_int_equal(join(w, &c, "ann").seq, top[i]);
        assert_true(util_leave(w, &c, "ann").gone);
        util_sound(w);
    }
    for (int i = 0; i < 8; i++) { /* the others begin above what they had */
        snprintf(name, sizeof(name), "room%d", i);
        struct conv_key c = util_channel(name);
        struct store_member_put m = join(w, &c, "ann");
        assert_true(m.created && m.seq >= top[i] && m.first == m.seq + 1);
        uint64_t seq = say(w, &c, TIER_SMALL, "ann", "x");
        assert_true(seq > top[i]);
        struct store_range r = page_of(w, &c, 0, -1, 9);
        assert_true(r.page.n == 1 && r.first == seq && r.last == seq);
        store_page_free(&r.page);
    }
    for (int round = 0; round < 3; round++) { /* dropped again, and again */
        for (int i = 0; i < 8; i++) {
            snprintf(name, sizeof(name), "room%d", i);
            struct conv_key c = util_channel(name);
            join(w, &c, "ann");
            uint64_t seq = say(w, &c, TIER_SMALL, "ann", "x");
            assert_true(seq > top[i]);
            top[i] = seq;
            util_leave(w, &c, "ann");
            world_pass(w, 10000);
            util_wait_gone(w, &c);
        }
        util_sound(w);
    }
}

/* --- Databases of older servers ----------------------------------------------------------------------------------- */

/* Empty channels that nobody watches, as servers left them that never removed one. */
static void older_database(void **state)
{
    struct world *w = *state;
    embedded_only(w);
    enum { N = 700 };
    char name[20], value[HEAD_SIZE], one[8];
    struct key key;
    if (!persistent())
        return;
    struct conv_key said = util_channel("said"), full = util_channel("full");
    join(w, &said, "ann");
    say(w, &said, TIER_SMALL, "ann", "x");
    join(w, &full, "ann");
    for (int i = 0; i <= N; i++) {
        snprintf(name, sizeof(name), "old%03d", i);
        struct conv_key c = i == N ? said : util_channel(name);
        struct head_record h = {.flags = HEAD_CHANNEL, .tier = TIER_SMALL, .seq = i % 2 ? 10 : 0, .last_id = 5};
        if (i == N) /* its member has left */
            h = (struct head_record){.flags = HEAD_CHANNEL, .tier = 1, .seq = 1, .last_id = 1, .tiers_used = 2};
        struct kv_change change = {.family = KV_CHANNEL,
                                   .kind = KV_PUT,
                                   .key = key_head(&key, conv_key_slice(&c)),
                                   .value = slice_of(value, head_encode(value, &h))};
        assert_int_equal(util_kv(w)->ops->write(util_kv(w), &change, 1), 0);
    }
    store_be64(one, N + 2);
    struct kv_change meta[] = {
        {.family = KV_META, .kind = KV_PUT, .key = META_CHANNELS, .value = slice_of(one, 8)},
        {.family = KV_META, .kind = KV_DELETE, .key = META_SWEPT},
        {.family = KV_CHANNEL, .kind = KV_DELETE, .key = key_member(&key, S("said"), S("ann"))},
    };
    assert_int_equal(util_kv(w)->ops->write(util_kv(w), meta, 3), 0);
    uint64_t swept = 0;
    for (int i = 0; i < 2000 && !swept; i++) {
        if (i % 20 == 0) /* ends half-way, too */
            world_restart(w);
        world_pass(w, 50);
        util_look(w);
        usleep(2000);
        assert_true(meta_get_u64(util_kv(w), META_SWEPT, &swept) >= 0);
    }
    assert_int_equal(swept, 1);
    util_sound(w);
    assert_int_equal(util_rows(w, KV_META, S("o")), N / 2);
    assert_true(util_exists(w, &full));
    world_pass(w, 10000);
    util_wait_gone(w, &said);
    util_sound(w);
    assert_int_equal(util_rows(w, KV_CHANNEL, S("hc")), 1 + 1 + N / 2);
    struct conv_key c = util_channel("old001");
    assert_int_equal(join(w, &c, "ann").seq, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_was_said, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_said_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(with_the_last_member, setup, teardown),
        cmocka_unit_test_setup_teardown(lives_of_their_own, setup, teardown),
        cmocka_unit_test_setup_teardown(said_by_a_stranger, setup, teardown),
        cmocka_unit_test_setup_teardown(options_change, setup, teardown),
        cmocka_unit_test_setup_teardown(paused, setup, teardown),
        cmocka_unit_test_setup_teardown(disk_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(in_flight, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_few, setup, teardown),
        cmocka_unit_test_setup_teardown(older_database, setup, teardown),
    };
    int failed = 0;
    UTIL_RUN("vacant", tests, database, failed);
    return failed;
}
