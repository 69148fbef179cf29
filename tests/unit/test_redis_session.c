/* Who is connected where, and who watches whom: two engines on one Redis Cluster. */
#define UTIL_MAIN
#include "tests/unit/bus_kit.h"

/* Whether the user is connected to another node, as h sees it. */
static bool is_elsewhere(struct hub *h, const char *user)
{
    struct slice id = S(user);
    bool online = false, shared = false;
    struct bus_presence q = {.ids = &id, .n = 1, .online = &online, .shared = &shared};
    assert_int_equal(BUS(h, bus_presence, &q), STORE_OK);
    assert_false(shared);
    return online;
}

static struct bus_watch watch(struct hub *h, const char *user, bool on)
{
    struct bus_watch w = {.user = S(user), .on = on};
    assert_int_equal(BUS(h, bus_watch, &w), STORE_OK);
    return w;
}

/* --- Sessions ----------------------------------------------------------------------------------------------------- */

static void a_session_is_seen(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    assert_int_equal(user_make(&p->a.w, "ann", "Ann"), STORE_OK);
    struct store_user_load load = {.id = S("ann")};
    assert_int_equal(CALL(&p->b.w, store_user_load, &load), STORE_OK);
    store_user_load_free(&load);
    assert_false(is_elsewhere(&p->b, "ann"));
    struct bus_session_put done = put(&p->a, "ann", "", 1);
    assert_int_equal(done.version, load.version);
    assert_int_equal(done.epoch, 0);
    assert_int_equal(done.arrivals, 0);
    assert_true(is_elsewhere(&p->b, "ann"));
    assert_false(is_elsewhere(&p->a, "ann")); /* it is here */
    (void)put(&p->b, "ann", "", 2);
    assert_true(is_elsewhere(&p->a, "ann"));
    del(&p->a, "ann");
    del(&p->a, "ann");
    assert_false(is_elsewhere(&p->b, "ann"));
    assert_true(is_elsewhere(&p->a, "ann"));
    del(&p->b, "ann");
    assert_int_equal(put_try(&p->a, "nobody", "", 1, false).op.status, STORE_NOTFOUND);
    assert_int_equal(put_try(&p->a, "", "", 1, false).op.status, STORE_FATAL);
}

/* One that was put after it was taken away is there, whatever their calls did. */
static void sessions_come_and_go_in_order(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    assert_int_equal(user_make(&p->a.w, "eve", "Eve"), STORE_OK);
    for (int i = 0; i < 50; i++) {
        struct bus_session_put come = {.user = S("eve"), .conn = {.conn = 1}};
        struct bus_session_del go = {.user = S("eve")}, gone = {.user = S("eve")};
        struct store_op *ops[] = {&come.op, &go.op, &gone.op};
        for (int k = 0; k < 3; k++)
            util_prepare(&p->a.w, ops[k]);
        bus_session_del(store_bus(p->a.w.s), &go);
        if (i % 2)
            bus_session_del(store_bus(p->a.w.s), &gone);
        bus_session_put(store_bus(p->a.w.s), &come);
        if (i % 2 == 0)
            bus_session_del(store_bus(p->a.w.s), &gone);
        for (int k = 0; k < 3; k++)
            util_wait(&p->a.w, ops[k]);
        assert_int_equal(come.op.status, STORE_OK);
        assert_int_equal(is_elsewhere(&p->b, "eve"), i % 2);
    }
    del(&p->a, "eve");
}

static void a_device_is_replaced(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    assert_int_equal(user_make(&p->a.w, "bob", "Bob"), STORE_OK);
    assert_int_equal(put(&p->a, "bob", "phone", 11).replaces[0].node, 0);
    assert_int_equal(put(&p->a, "bob", "phone", 12).replaces[0].node, 0); /* its own hub has seen to that */
    assert_int_equal(put(&p->a, "bob", "tablet", 13).replaces[0].node, 0);
    struct bus_handle before = put(&p->b, "bob", "phone", 21).replaces[0];
    assert_true(before.node == p->a.inc);
    assert_int_equal(before.shard, 1);
    assert_int_equal(before.conn, 12);
    assert_int_equal(before.generation, 7);
    before = put(&p->b, "bob", "phone", 22).replaces[0]; /* again: 21 may have failed before it told the other node */
    assert_true(before.node == p->a.inc && before.conn == 12);
    /* Taken for dead, and back: a device that another node has is not taken from it. */
    assert_int_equal(put_try(&p->a, "bob", "phone", 12, true).op.status, STORE_DENIED);
    assert_int_equal(put_try(&p->a, "bob", "tablet", 13, true).op.status, STORE_OK);
    del(&p->b, "bob");
    assert_int_equal(put_try(&p->a, "bob", "phone", 12, true).op.status, STORE_OK);
    del(&p->a, "bob");
}

static void what_a_copy_is_compared_with(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    assert_int_equal(user_make(&p->a.w, "carl", "Carl"), STORE_OK);
    struct bus_session_put done = put(&p->b, "carl", "", 1);
    struct bus_look look = {.user = S("carl")};
    assert_int_equal(BUS(&p->a, bus_look, &look), STORE_OK);
    assert_int_equal(look.version, done.version);
    assert_int_equal(dm(&p->a.w, "ann", "carl", "hello", "").op.status, STORE_OK);
    struct store_user_save save = {.id = S("carl"), .name = S("Carl the Second"), .user.epoch = 3};
    assert_int_equal(CALL(&p->a.w, store_user_save, &save), STORE_OK);
    assert_int_equal(BUS(&p->a, bus_look, &look), STORE_OK);
    assert_true(look.version > done.version);
    assert_int_equal(look.arrivals, 1);
    assert_int_equal(look.epoch, 3);
    look.user = S("nobody");
    assert_int_equal(BUS(&p->a, bus_look, &look), STORE_NOTFOUND);
    del(&p->b, "carl");
}

static void many_are_asked_for_at_once(void **state)
{
    struct pair *p = *state;
    char ids[100][8];
    struct slice list[100];
    bool online[100] = {0}, shared[100] = {0};
    redis_kit_need();
    struct conv_key room = util_channel("survey");
    for (unsigned i = 0; i < 100; i++) {
        snprintf(ids[i], sizeof ids[i], "many%u", i);
        list[i] = S(ids[i]);
        assert_int_equal(user_make(&p->a.w, ids[i], "Name"), STORE_OK);
        if (i % 3 == 0)
            (void)put(&p->b, ids[i], "", i);
        if (i % 5 == 0)
            (void)join(&p->a.w, &room, ids[i]);
    }
    struct bus_presence q = {
        .ids = list, .n = 100, .channels = SLICE_LIT("\5other\6survey"), .online = online, .shared = shared};
    assert_int_equal(BUS(&p->a, bus_presence, &q), STORE_OK);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(online[i], i % 3 == 0);
        assert_int_equal(shared[i], i % 5 == 0);
    }
    q.channels = SLICE_LIT("\7survey"); /* says more than there is */
    assert_int_equal(BUS(&p->a, bus_presence, &q), STORE_FATAL);
    q.n = 0;
    q.channels = SLICE_NONE;
    assert_int_equal(BUS(&p->a, bus_presence, &q), STORE_OK);
    for (unsigned i = 0; i < 100; i += 3)
        del(&p->b, ids[i]);
}

static void watchers_are_told(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    assert_int_equal(user_make(&p->a.w, "dora", "Dora"), STORE_OK);
    struct bus_watch w = watch(&p->a, "dora", true);
    unsigned n = now(&p->a, &p->a.news_n);
    assert_false(w.online);
    (void)put(&p->b, "dora", "", 1);
    hub_expect(&p->a, &p->a.news_n, n + 1);
    const struct bus_news *come = news(&p->a, n);
    assert_true(slice_eq(come->user, S("dora")));
    assert_true(come->online);
    assert_true(come->version > w.changes);
    w = watch(&p->a, "dora", true); /* the same */
    assert_true(w.online);
    assert_int_equal(w.changes, come->version);
    (void)put(&p->b, "dora", "", 2); /* nothing new */
    (void)put(&p->a, "dora", "", 3); /* A knows that by itself */
    del(&p->b, "dora");
    hub_expect(&p->a, &p->a.news_n, n + 2);
    const struct bus_news *gone = news(&p->a, n + 1);
    assert_false(gone->online); /* elsewhere */
    assert_true(gone->version > come->version + 1);
    w = watch(&p->b, "dora", true);
    assert_true(w.online);
    unsigned of_b = now(&p->b, &p->b.news_n);
    del(&p->a, "dora");
    hub_expect(&p->b, &p->b.news_n, of_b + 1);
    assert_false(news(&p->b, of_b)->online);
    (void)watch(&p->a, "dora", false);
    (void)watch(&p->b, "dora", false);
    (void)put(&p->b, "dora", "", 4);
    del(&p->b, "dora");
    assert_true(answers(&p->b, &p->a)); /* behind whatever would have been told */
    assert_int_equal(now(&p->a, &p->a.news_n), n + 2);
}

/* --- Nodes that are no more --------------------------------------------------------------------------------------- */

static void what_a_dead_node_leaves_counts_for_nothing(void **state)
{
    struct pair *p = *state;
    struct hub *c = calloc(1, sizeof *c);
    redis_kit_need();
    unsigned part = partition_of_user(S("hans"));
    assert_int_equal(user_make(&p->a.w, "hans", "Hans"), STORE_OK);
    hub_open(c, &p->a, 7);
    hub_meet(&p->a, c);
    uint64_t inc = c->inc;
    (void)put(c, "hans", "phone", 1);
    (void)watch(c, "hans", true);
    struct bus_watch w = watch(&p->b, "hans", true);
    assert_true(w.online);
    unsigned n = now(&p->b, &p->b.news_n);
    /* An order that it has no time for: its end is waited for. */
    struct bus_order o = order_of(ORDER_REPLACE, "hans", "");
    o.conn = (struct bus_handle){inc, 1, 1, 7};
    mute(c, true);
    util_prepare(&p->a.w, &o.op);
    bus_order(store_bus(p->a.w.s), &o);
    hub_expect(c, &c->order_n, 1);
    hub_close(c);
    free(c);
    util_wait(&p->a.w, &o.op);
    assert_int_equal(o.op.status, STORE_OK);
    assert_false(is_elsewhere(&p->a, "hans"));
    for (int i = 0; i < 100 && is_elsewhere(&p->b, "hans"); i++)
        usleep(100000); /* it reads the table once a second */
    assert_false(is_elsewhere(&p->b, "hans"));
    hub_expect(&p->b, &p->b.news_n, n + 1); /* whoever met it has taken it away, and told */
    assert_false(news(&p->b, now(&p->b, &p->b.news_n) - 1)->online);
    struct slice s = raw_key(&p->raw, 'S', part, S("hans")), watchers = raw_key(&p->raw, 'W', part, S("hans"));
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)inc);
    assert_int_equal(RAW_NUMBER(&p->raw, SLICE_LIT("EXISTS"), s), 0);
    assert_int_equal(RAW_NUMBER(&p->raw, SLICE_LIT("HEXISTS"), watchers, S(digits)), 0);
    assert_int_equal(put(&p->a, "hans", "phone", 2).replaces[0].node, 0);
    del(&p->a, "hans");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_seen),
        cmocka_unit_test(sessions_come_and_go_in_order),
        cmocka_unit_test(a_device_is_replaced),
        cmocka_unit_test(what_a_copy_is_compared_with),
        cmocka_unit_test(many_are_asked_for_at_once),
        cmocka_unit_test(watchers_are_told),
        cmocka_unit_test(what_a_dead_node_leaves_counts_for_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
