/* What nodes have each other do, and ask each other: two engines on one Redis Cluster. */
#define UTIL_MAIN
#include "tests/unit/bus_kit.h"

/* --- Orders ------------------------------------------------------------------------------------------------------- */

static void orders_are_carried_out(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    assert_int_equal(user_make(&p->a.w, "fred", "Fred"), STORE_OK);
    struct bus_order o = order_of(ORDER_KICK, "fred", "enough");
    unsigned n = now(&p->b, &p->b.order_n), at = n % HEARD;
    pthread_mutex_lock(&p->b.lock);
    p->b.connections = 3;
    pthread_mutex_unlock(&p->b.lock);
    assert_int_equal(BUS(&p->a, bus_order, &o), STORE_OK); /* it is nowhere */
    (void)put(&p->a, "fred", "", 1);
    assert_int_equal(BUS(&p->a, bus_order, &o), STORE_OK); /* it is here */
    assert_int_equal(o.connections, 0);
    assert_int_equal(now(&p->b, &p->b.order_n), n);
    (void)put(&p->b, "fred", "", 2);
    assert_int_equal(BUS(&p->a, bus_order, &o), STORE_OK);
    assert_int_equal(o.connections, 3);
    assert_int_equal(now(&p->b, &p->b.order_n), n + 1);
    assert_int_equal(p->b.orders[at].kind, ORDER_KICK);
    assert_string_equal(p->b.texts[at], "fred enough");
    o = order_of(ORDER_PUSH, "fred", "{\"x\":1}");
    o.action = 108;
    assert_int_equal(BUS(&p->a, bus_order, &o), STORE_OK);
    hub_expect(&p->b, &p->b.order_n, n + 2);
    assert_int_equal(p->b.orders[at + 1].kind, ORDER_PUSH);
    assert_int_equal(p->b.orders[at + 1].action, 108);
    assert_string_equal(p->b.texts[at + 1], "fred {\"x\":1}");
    o = order_of(ORDER_REPLACE, "fred", "");
    o.conn = (struct bus_handle){p->b.inc, 1, 2, 7};
    assert_int_equal(BUS(&p->a, bus_order, &o), STORE_OK);
    assert_int_equal(p->b.orders[at + 2].kind, ORDER_REPLACE);
    const struct bus_handle *there = &p->b.orders[at + 2].conn;
    assert_true(there->node == o.conn.node && there->shard == 1 && there->conn == 2 && there->generation == 7);
    o.conn.node = 1; /* which was another incarnation, or is ours: it has no connection any more */
    if (p->b.inc != 1)
        assert_int_equal(BUS(&p->a, bus_order, &o), STORE_OK);
    assert_int_equal(now(&p->b, &p->b.order_n), n + 3);
    del(&p->a, "fred");
    del(&p->b, "fred");
}

/* Nobody gives a receipt for so long that it is told again: it is carried out once. */
static void an_order_is_carried_out_once(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    assert_int_equal(user_make(&p->a.w, "gina", "Gina"), STORE_OK);
    (void)put(&p->b, "gina", "", 1);
    struct bus_order o = order_of(ORDER_REMOVE, "gina", "room");
    unsigned n = now(&p->b, &p->b.order_n);
    mute(&p->b, true);
    assert_int_equal(BUS(&p->a, bus_order, &o), STORE_RETRY); /* a second later */
    assert_int_equal(now(&p->b, &p->b.order_n), n + 1);
    bus_receipt(store_bus(p->b.w.s), p->b.waiting); /* nobody waits for it any more */
    /* That of a replacement is waited for, however long it takes. */
    o = order_of(ORDER_REPLACE, "gina", "");
    o.conn.node = p->b.inc;
    util_prepare(&p->a.w, &o.op);
    bus_order(store_bus(p->a.w.s), &o);
    hub_expect(&p->b, &p->b.order_n, n + 2);
    usleep(1500000); /* it is told again a few times */
    assert_non_null(o.op.home);
    p->b.waiting->connections = 1;
    mute(&p->b, false);
    bus_receipt(store_bus(p->b.w.s), p->b.waiting);
    util_wait(&p->a.w, &o.op);
    assert_int_equal(o.op.status, STORE_OK);
    assert_int_equal(o.connections, 1);
    assert_int_equal(now(&p->b, &p->b.order_n), n + 2);
    del(&p->b, "gina");
}

/* --- Questions ---------------------------------------------------------------------------------------------------- */

static void questions_are_answered(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    struct bus_call c = call_of(0, "who?");
    assert_int_equal(BUS(&p->a, bus_call, &c), STORE_OK);
    assert_int_equal(c.n, 1);
    assert_true(c.answers[0].node == p->b.inc);
    assert_int_equal(c.answers[0].number, 6);
    assert_int_equal(c.answers[0].status, STORE_OK);
    assert_true(slice_eq(c.answers[0].body, S("6:1:who?")));
    bus_call_free(&c);
    char *large = malloc(BUS_CALL_MAX + 1);
    memset(large, 'x', BUS_CALL_MAX + 1);
    c = (struct bus_call){.node = p->b.inc, .what = CALL_CONSOLE, .body = slice_of(large, BUS_CALL_MAX - 4)};
    assert_int_equal(BUS(&p->a, bus_call, &c), STORE_OK);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.answers[0].body.n, BUS_CALL_MAX);
    assert_memory_equal(c.answers[0].body.p, "6:1:xxxx", 8);
    assert_memory_equal(c.answers[0].body.p + 4, large, BUS_CALL_MAX - 4);
    bus_call_free(&c);
    c.body = slice_of(large, BUS_CALL_MAX + 1);
    assert_int_equal(BUS(&p->a, bus_call, &c), STORE_FATAL);
    bus_call_free(&c);
    free(large);
    c = call_of(1000000, "who?"); /* it is not known: it may be new */
    assert_int_equal(BUS(&p->a, bus_call, &c), STORE_OK);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.answers[0].status, STORE_RETRY);
    bus_call_free(&c);
    c = call_of(p->a.inc, "myself?");
    assert_int_equal(BUS(&p->a, bus_call, &c), STORE_OK);
    assert_int_equal(c.n, 0);
    bus_call_free(&c);
}

static void who_does_not_answer_is_named(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    unsigned n = now(&p->b, &p->b.call_n);
    mute(&p->b, true);
    struct bus_call c = call_of(0, "who?");
    c.timeout_ms = 700;
    assert_int_equal(BUS(&p->a, bus_call, &c), STORE_OK);
    mute(&p->b, false);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.answers[0].status, STORE_RETRY);
    assert_int_equal(c.answers[0].body.n, 0);
    assert_int_equal(now(&p->b, &p->b.call_n), n + 1); /* and it was asked once */
    bus_call_free(&c);
    bus_answer(store_bus(p->b.w.s), p->b.asking, S("too late"));
    assert_true(answers(&p->a, &p->b));
}

/* A hub need not hear of all there is. */
static void who_does_not_want_to_hear_is_not_told(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    assert_int_equal(user_make(&p->a.w, "hugo", "Hugo"), STORE_OK);
    (void)put(&p->b, "hugo", "", 1);
    struct bus_watch w = {.user = S("hugo"), .on = true};
    assert_int_equal(BUS(&p->b, bus_watch, &w), STORE_OK);
    const struct bus_ears nothing = {.ctx = &p->b};
    bus_listen(store_bus(p->b.w.s), &nothing);
    unsigned n = now(&p->b, &p->b.order_n);
    struct bus_order o = order_of(ORDER_KICK, "hugo", "");
    assert_int_equal(BUS(&p->a, bus_order, &o), STORE_OK); /* there is nothing to close */
    (void)put(&p->a, "hugo", "", 1);
    assert_false(answers(&p->a, &p->b));
    assert_int_equal(now(&p->b, &p->b.order_n), n);
    hub_listen(&p->b);
    assert_true(answers(&p->a, &p->b));
    del(&p->a, "hugo");
    del(&p->b, "hugo");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_are_carried_out),
        cmocka_unit_test(an_order_is_carried_out_once),
        cmocka_unit_test(questions_are_answered),
        cmocka_unit_test(who_does_not_answer_is_named),
        cmocka_unit_test(who_does_not_want_to_hear_is_not_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
