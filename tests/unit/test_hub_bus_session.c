/* Logins on a cluster: what the hub tells the bus of them, what waits for that, and what comes in between. */
#include "cluster_kit.h"

#include "core/hub/people/ban.h"

/* --- Logins ------------------------------------------------------------------------------------------------------- */

/* Others know of a login before its client does. */
static void a_login_is_told_before_it_is_answered(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    bus_hold(BUS_SESSION_PUT);
    struct peer *a = peer_open(&k, 0);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"%s\",\"device\":\"phone\"}", ann);
    kit_settle(&k);
    told("session_put %s device=phone", ann);
    assert_int_equal(peer_left(a), 0);
    assert_int_equal(user_at(kit_shard(&k, 1), kit_user(&k, ann))->first_conn, NONE);
    test_bus_open(&kit_bus);
    works(peer_answer(a, 1, seq));
    /* Each login is told, and only the end of the last. */
    struct peer *b = newcomer(&k, ann);
    peer_close(a);
    kit_settle(&k);
    told_nothing();
    peer_close(b);
    kit_settle(&k);
    told("session_del %s", ann);
    told_nothing();
    kit_end(&k);
}

/* What the bus says of the user decides. */
static void a_login_that_the_bus_refuses(void **state)
{
    static const struct {
        enum store_status status;
        const char *code;
    } rows[] = {{STORE_RETRY, "unavailable"}, {STORE_UNKNOWN, "unavailable"}, {STORE_NOTFOUND, "unauthorized"}};
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    struct peer *a = peer_open(&k, 0);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kit_bus.status = (int)rows[i].status;
        fails(peer_ask(a, 1, "{\"token\":\"ann\"}"), rows[i].code);
        kit_settle(&k);
        told("session_put ann device=");
        told("session_del ann"); /* it may have been put */
        assert_int_equal(kit_user(&k, "ann"), NONE);
    }
    kit_bus.status = STORE_OK;
    works(peer_ask(a, 1, "{\"token\":\"ann\"}"));
    peer_close(a);
    kit_end(&k);
}

/* Tokens that another node has ended meanwhile. */
static void a_login_whose_token_was_ended_elsewhere(void **state)
{
    struct kit k;
    char id[64], token[TOKEN_MAX + 1];
    (void)state;
    kit_open(&k, 1);
    k.clustered = true;
    strcpy(k.opt.auth_mode, "open");
    kit_start(&k);
    struct peer *a = peer_open(&k, 0), *b = peer_open(&k, 0);
    assert_int_equal(sscanf(peer_ask(a, 1, "{\"name\":\"Ann\"}"),
                            "{\"id\":\"%63[^\"]\",\"name\":\"Ann\",\"token\":\"%160[^\"]\"", id, token),
                     2);
    kit_bus.epoch = 3;
    fails(peer_ask(b, 1, "{\"token\":\"%s\"}", token), "unauthorized");
    kit_settle(&k);
    told("session_put %s device=", id);
    told("session_put %s device=", id);
    told_nothing(); /* it is still here */
    assert_int_equal(user_at(kit_shard(&k, 0), kit_user(&k, id))->epoch, 3);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* The device's connection to another node goes before the answer. */
static void a_device_that_was_elsewhere(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    kit_bus.replaces[0] = (struct bus_handle){.node = 7, .shard = 1, .conn = 2, .generation = 3};
    bus_hold(BUS_ORDER);
    struct peer *a = peer_open(&k, 0);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"ann\",\"device\":\"phone\"}");
    kit_settle(&k);
    told("session_put ann device=phone");
    told("order replace ann 7/1.2.3");
    assert_int_equal(peer_left(a), 0);
    test_bus_next(&kit_bus, STORE_RETRY); /* whoever has it may be dead; the login is not held up for ever */
    works(peer_answer(a, 1, seq));
    told_nothing();
    peer_close(a);
    kit_end(&k);
}

/* A login that fails may be what other nodes know of its device: the connection before it goes, or nobody ends it. */
static void a_device_whose_login_fails(void **state)
{
    static const enum store_status statuses[] = {STORE_RETRY, STORE_UNKNOWN};
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct kit k;
        open_cluster(&k, 1);
        struct peer *a = peer_open(&k, 0), *b = peer_open(&k, 0);
        works(peer_ask(a, 1, "{\"token\":\"ann\",\"device\":\"phone\"}"));
        bus_hold(BUS_SESSION_PUT);
        uint16_t seq = peer_put(b, 1, "{\"token\":\"ann\",\"device\":\"phone\"}");
        kit_settle(&k);
        test_bus_next(&kit_bus, statuses[i]);
        has(peer_answer(b, 1, seq), "unavailable");
        kit_settle(&k);
        if (statuses[i] == STORE_UNKNOWN)
            has(peer_push(a, 105), "replaced");
        else
            works(peer_ask(a, 9, "{}"));
        peer_close(a);
        peer_close(b);
        kit_end(&k);
    }
}

/* A login that came in between may have failed before it told the one before it: both are told. */
static void a_device_that_two_may_have(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    kit_bus.replaces[0] = (struct bus_handle){.node = 7, .shard = 1, .conn = 2, .generation = 3};
    kit_bus.replaces[1] = (struct bus_handle){.node = 8, .shard = 0, .conn = 5, .generation = 6};
    bus_hold(BUS_ORDER);
    struct peer *a = peer_open(&k, 0);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"ann\",\"device\":\"phone\"}");
    kit_settle(&k);
    told("session_put ann device=phone");
    told("order replace ann 7/1.2.3");
    told_nothing();
    test_bus_next(&kit_bus, STORE_OK);
    kit_settle(&k);
    told("order replace ann 8/0.5.6");
    assert_int_equal(peer_left(a), 0);
    test_bus_next(&kit_bus, STORE_OK);
    works(peer_answer(a, 1, seq));
    told_nothing();
    peer_close(a);
    kit_end(&k);
}

/* Where the n-th connection of the first shard is, from 0. */
static struct bus_handle handle_of(struct kit *k, uint32_t n)
{
    const struct shard *s = kit_shard(k, 0);
    uint32_t conn = 0;
    while (conn_at(s->net, conn)->fd < 0 || n--)
        conn++;
    return (struct bus_handle){.shard = 0, .conn = conn, .generation = conn_at(s->net, conn)->generation};
}

/* Logins of one device at once, on several nodes: one remains, whichever is answered first. */
static void a_device_that_is_taken_before_its_login_is_answered(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    bus_hold(BUS_ORDER);
    kit_bus.replaces[0] = (struct bus_handle){.node = 7, .conn = 2, .generation = 3};
    struct peer *a = peer_open(&k, 0), *b = peer_open(&k, 0), *other = peer_open(&k, 0);
    peer_put(a, 1, "{\"token\":\"ann\",\"device\":\"phone\"}");
    kit_settle(&k);
    struct bus_handle at = handle_of(&k, 0);
    /* Another node has taken it: that login is not to be answered any more. */
    struct bus_order o = {.kind = ORDER_REPLACE, .user = S("ann"), .conn = at};
    o.conn.generation++;
    test_bus_tell(&kit_bus, &o);
    kit_settle(&k);
    assert_int_equal(kit_bus.closed, 0);
    o = (struct bus_order){.kind = ORDER_REPLACE, .user = S("ann"), .conn = at};
    test_bus_tell(&kit_bus, &o);
    kit_settle(&k);
    assert_int_equal(kit_bus.closed, 1);
    has(peer_push(a, 105), "replaced");
    test_bus_next(&kit_bus, STORE_OK);
    /* Two here: the later session has it, even if it waits for longer than the earlier one. */
    kit_bus.replaces[0] = (struct bus_handle){.node = 7, .conn = 2, .generation = 4};
    peer_put(b, 1, "{\"token\":\"ann\",\"device\":\"phone\"}");
    kit_settle(&k);
    kit_bus.replaces[0] = (struct bus_handle){.node = 8, .conn = 2, .generation = 4};
    struct peer *c = peer_open(&k, 0);
    uint16_t mine = peer_put(other, 1, "{\"token\":\"ann\",\"device\":\"tablet\"}");
    kit_settle(&k);
    uint16_t seq = peer_put(c, 1, "{\"token\":\"ann\",\"device\":\"phone\"}");
    has(peer_push(b, 105), "replaced");
    for (int i = 0; i < 2; i++)
        test_bus_next(&kit_bus, STORE_OK);
    works(peer_answer(c, 1, seq));
    works(peer_answer(other, 1, mine));
    works(peer_ask(c, 9, "{}"));
    peer_close(a);
    peer_close(b);
    peer_close(c);
    peer_close(other);
    kit_end(&k);
}

/* A ban, or the end of the connection, while the bus is being told. */
static void what_happens_to_a_login_meanwhile(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    bus_hold(BUS_SESSION_PUT);
    struct peer *a = peer_open(&k, 0), *b = peer_open(&k, 0), *c = peer_open(&k, 0);
    peer_put(a, 1, "{\"token\":\"ann\"}");
    kit_settle(&k);
    peer_reset(a);
    peer_put(b, 1, "{\"token\":\"bob\"}");
    kit_settle(&k);
    struct host_kick q = {.user = S("bob"), .message = S("bye")};
    assert_int_equal(KIT_HOST(&k, host_kick, &q), CODE_OK);
    assert_int_equal(q.connections, 1);
    has(peer_push(b, 105), "bye");
    uint16_t seq = peer_put(c, 1, "{\"token\":\"cat\"}");
    kit_settle(&k);
    struct ban_key key;
    bool existed;
    assert_true(ban_key_make(&key, BAN_USER, S("cat"), SLICE_NONE, SLICE_NONE));
    assert_int_equal(
        ban_apply(kit_shard(&k, 0), &key, &(struct ban_span){.until_ms = BAN_FOREVER}, S("spam"), false, &existed), 0);
    told("session_put ann device=");
    told("session_put bob device=");
    told("order kick bob 0 bye");
    told("session_put cat device=");
    told_nothing();
    test_bus_open(&kit_bus);
    fails(peer_answer(c, 1, seq), "forbidden");
    kit_settle(&k);
    told("session_del ann");
    told("session_del bob");
    told("session_del cat");
    told_nothing();
    peer_close(b);
    peer_close(c);
    kit_end(&k);
}

/* The last connection goes while another login is being told: the user stays. */
static void one_connection_goes_and_another_comes(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    struct peer *a = newcomer(&k, "ann"), *b = peer_open(&k, 0);
    bus_hold(BUS_SESSION_PUT);
    uint16_t seq = peer_put(b, 1, "{\"token\":\"ann\"}");
    kit_settle(&k);
    told("session_put ann device=");
    peer_close(a);
    kit_settle(&k);
    test_bus_open(&kit_bus);
    works(peer_answer(b, 1, seq));
    kit_settle(&k);
    told_nothing();
    peer_close(b);
    kit_settle(&k);
    told("session_del ann");
    kit_end(&k);
}

/* A login with stored subscriptions is answered when all of them are heard here, and not before others know of it. */
static void a_login_waits_for_its_channels(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    const char *ann = kit_id(&k, "ann", 0), *near = kit_channel(&k, "near", 0), *far = kit_channel(&k, "far", 1);
    struct peer *a = newcomer(&k, ann);
    works(peer_ask(a, 3, "{\"name\":\"%s\"}", near));
    works(peer_ask(a, 3, "{\"name\":\"%s\"}", far));
    peer_close(a);
    kit_settle(&k);
    sweep_idle(&k);
    kit_bus.taken = kit_bus.count;
    bus_hold(BUS_FOLLOW);
    struct peer *p[2];
    uint16_t seq[2];
    for (int i = 0; i < 2; i++) {
        p[i] = peer_open(&k, 0);
        seq[i] = peer_put(p[i], 1, "{\"token\":\"%s\"}", ann);
    }
    kit_settle(&k);
    assert_int_equal(kit_bus.held, 2);
    test_bus_next(&kit_bus, STORE_OK);
    kit_settle(&k);
    for (int i = 0; i < 2; i++)
        assert_int_equal(peer_left(p[i]), 0);
    test_bus_next(&kit_bus, STORE_RETRY); /* heard later; the bus goes on */
    for (int i = 0; i < 2; i++)
        works(peer_answer(p[i], 1, seq[i]));
    kit_settle(&k);
    unsigned follows = 0, puts = 0;
    for (const char *line = test_bus_line(&kit_bus); line[0]; line = test_bus_line(&kit_bus)) {
        follows += strncmp(line, "follow ", 7) == 0;
        puts += strncmp(line, "session_put ", 12) == 0;
        assert_true(follows == 2 || !puts);
    }
    assert_int_equal(follows, 2);
    assert_int_equal(puts, 2);
    peer_close(p[0]);
    peer_close(p[1]);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_login_is_told_before_it_is_answered),
        cmocka_unit_test(a_login_that_the_bus_refuses),
        cmocka_unit_test(a_login_whose_token_was_ended_elsewhere),
        cmocka_unit_test(a_device_that_was_elsewhere),
        cmocka_unit_test(a_device_that_two_may_have),
        cmocka_unit_test(a_device_whose_login_fails),
        cmocka_unit_test(a_device_that_is_taken_before_its_login_is_answered),
        cmocka_unit_test(what_happens_to_a_login_meanwhile),
        cmocka_unit_test(one_connection_goes_and_another_comes),
        cmocka_unit_test(a_login_waits_for_its_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
