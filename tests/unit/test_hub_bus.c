/* What the hub tells the bus, when, and for which answers it waits; what it does at the orders of other nodes; and that
 * a server which is alone does nothing of it. */
#include "cluster_kit.h"

#include "core/hub/host/ban_change.h"
#include "core/hub/host/host_member.h"
#include "core/hub/people/ban.h"

static struct conv *room(const struct kit *k, const char *name)
{
    return kit_conv(k, conv_key_channel(S(name)));
}

/* --- Alone -------------------------------------------------------------------------------------------------------- */

static void a_server_alone_tells_nobody(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    assert_null(store_bus(kit_gate.behind)); /* the embedded engine */
    assert_null(store_bus(k.store));
    const char *ann = kit_id(&k, "ann", 0), *bob = kit_id(&k, "bob", 1);
    struct peer *a = peer_login(&k, ann, 1), *b = peer_login(&k, bob, 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    assert_false(room(&k, "room")->followed || room(&k, "room")->following);
    works(peer_ask(a, 12, "{\"ids\":[\"%s\",\"nobody\"]}", bob));
    assert_int_equal(host_push(k.hub, NULL, S(bob), 150, S("{}")), 0);
    peer_push(b, 150);
    struct ban_change ban = {.kind = BAN_USER, .user = S(bob)};
    assert_int_equal(KIT_HOST(&k, ban_change, &ban), CODE_OK);
    assert_int_equal(ban.connections, 1);
    assert_int_equal(kit_gate.calls[OP_NOTE_PUT], 1);
    peer_end(b);
    peer_close(a);
    peer_close(b);
    kit_settle(&k);
    sweep_idle(&k);
    assert_null(room(&k, "room"));
    kit_end(&k);
    assert_int_equal(kit_bus.count, 0);
}

/* --- Publishing: who has members follows -------------------------------------------------------------------------- */

/* The first member's answer waits until the channel is heard; the others find it so. */
static void a_channel_is_followed_before_it_has_members(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    struct peer *a = newcomer(&k, kit_id(&k, "ann", 0)), *b = newcomer(&k, kit_id(&k, "bob", 1));
    bus_hold(BUS_FOLLOW);
    uint16_t seq = peer_put(a, 3, "{\"name\":\"room\"}");
    kit_settle(&k);
    told("follow room");
    assert_int_equal(peer_left(a), 0);
    assert_int_equal(kit_gate.calls[OP_MEMBER_PUT], 0);
    test_bus_open(&kit_bus);
    works(peer_answer(a, 3, seq));
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    /* What is stored here is published here; the engine tells the others. */
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"hello\"}"));
    has(peer_push(a, 102), "hello");
    has(peer_push(b, 102), "hello");
    told_nothing();
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

static void a_channel_that_cannot_be_followed(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    struct peer *a = newcomer(&k, "ann");
    kit_bus.status = STORE_RETRY;
    fails(peer_ask(a, 3, "{\"name\":\"room\"}"), "unavailable");
    told("follow room");
    assert_int_equal(kit_gate.calls[OP_MEMBER_PUT], 0);
    kit_bus.status = STORE_OK;
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    told("follow room");
    told_nothing();
    peer_close(a);
    kit_end(&k);
}

/* Who looks a user up hears whether it is connected anywhere. */
static void a_user_who_is_elsewhere_is_online(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    struct peer *a = newcomer(&k, "ann"), *b = newcomer(&k, "bob");
    peer_close(b);
    kit_settle(&k);
    told("session_del bob");
    struct host_user ann = {.user = S("ann")}, bob = {.user = S("bob")}, nobody = {.user = S("nobody")};
    assert_int_equal(KIT_HOST(&k, host_user, &ann), CODE_OK);
    assert_int_equal(ann.connections, 1);
    told_nothing(); /* it is here: nobody is asked */
    assert_int_equal(KIT_HOST(&k, host_user, &bob), CODE_OK);
    assert_int_equal(bob.connections, 0);
    told("presence bob channels=0");
    store_user_load_free(&bob.load);
    kit_bus.online = " bob ";
    bob = (struct host_user){.user = S("bob")};
    assert_int_equal(KIT_HOST(&k, host_user, &bob), CODE_OK);
    assert_int_equal(bob.connections, 1);
    told("presence bob channels=0");
    assert_int_equal(KIT_HOST(&k, host_user, &nobody), CODE_NOT_FOUND);
    told_nothing();
    store_user_load_free(&ann.load);
    store_user_load_free(&bob.load);
    store_user_load_free(&nobody.load);
    peer_close(a);
    kit_end(&k);
}

/* A ban that comes while the channel is not followed yet is in force. */
static void a_ban_while_a_channel_is_about_to_be_followed(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    struct peer *a = newcomer(&k, "ann");
    bus_hold(BUS_FOLLOW);
    uint16_t seq = peer_put(a, 3, "{\"name\":\"room\"}");
    kit_settle(&k);
    struct ban_key key;
    bool existed;
    assert_true(ban_key_make(&key, BAN_MEMBER, S("ann"), S("room"), SLICE_NONE));
    assert_int_equal(
        ban_apply(kit_shard(&k, 0), &key, &(struct ban_span){.until_ms = BAN_FOREVER}, SLICE_NONE, false, &existed), 0);
    test_bus_open(&kit_bus);
    fails(peer_answer(a, 3, seq), "forbidden");
    peer_close(a);
    kit_end(&k);
}

/* It is followed while there are members, and a minute longer. */
static void a_channel_without_members_is_followed_no_more(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    struct peer *a = newcomer(&k, "ann");
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    told("follow room");
    sweep_idle(&k);
    assert_non_null(room(&k, "room"));
    works(peer_ask(a, 6, "{\"name\":\"room\"}"));
    kit_settle(&k);
    told("order remove ann 0 room");
    told_nothing();
    bus_hold(BUS_UNFOLLOW);
    sweep_idle(&k);
    told("unfollow room");
    assert_null(room(&k, "room"));
    /* Again, before that is answered. */
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    told("follow room");
    test_bus_open(&kit_bus);
    kit_settle(&k);
    /* A conversation of two is no channel. */
    works(peer_ask(a, 6, "{\"name\":\"room\"}"));
    told("order remove ann 0 room");
    works(peer_ask(a, 2, "{\"receiverId\":\"ann\",\"content\":\"me\"}"));
    sweep_idle(&k);
    told("unfollow room");
    told_nothing();
    peer_close(a);
    kit_end(&k);
}

/* --- Pushes to a user --------------------------------------------------------------------------------------------- */

static void a_push_goes_to_other_nodes_too(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    const char *ann = kit_id(&k, "ann", 1), *bob = kit_id(&k, "bob", 0);
    struct peer *a = newcomer(&k, ann), *b = newcomer(&k, bob);
    bus_hold(BUS_ORDER);
    assert_int_equal(host_push(k.hub, NULL, S(ann), 150, S("{\"x\":1}")), 0);
    assert_int_equal(host_push(k.hub, NULL, S("away"), 151, S("{}")), 0);
    assert_string_equal(peer_push(a, 150), "{\"x\":1}");
    kit_settle(&k);
    const char *one = test_bus_line(&kit_bus), *two = test_bus_line(&kit_bus);
    char text[TEST_BUS_LINE];
    snprintf(text, sizeof text, "order push %s 150 {\"x\":1}", ann);
    assert_true(strcmp(one, text) == 0 || strcmp(two, text) == 0);
    assert_true(strcmp(one, "order push away 151 {}") == 0 || strcmp(two, "order push away 151 {}") == 0);
    /* Of what is stored the engine tells. */
    works(peer_ask(a, 2, "{\"receiverId\":\"%s\",\"content\":\"hi\"}", bob));
    has(peer_push(b, 101), "hi");
    works(peer_ask(a, 14, "{\"peerId\":\"%s\",\"seq\":1}", bob));
    peer_push(b, 109);
    kit_settle(&k);
    told_nothing();
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* --- Presence ----------------------------------------------------------------------------------------------------- */

static void presence_of_those_who_are_elsewhere(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    const char *ann = kit_id(&k, "ann", 0), *bob = kit_id(&k, "bob", 1);
    struct peer *a = newcomer(&k, ann), *b = newcomer(&k, bob);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    told("follow room");
    kit_bus.online = " cat dan eve ";
    kit_bus.shared = " cat dan ";
    bus_hold(BUS_PRESENCE);
    uint16_t seq = peer_put(a, 12, "{\"ids\":[\"cat\",\"%s\",\"dan\",\"eve\",\"nobody\"]}", bob);
    kit_settle(&k);
    told("presence cat dan eve nobody channels=5");
    assert_int_equal(peer_left(a), 0);
    test_bus_next(&kit_bus, STORE_OK);
    char want[200];
    snprintf(want, sizeof want, "{\"online\":[\"cat\",\"%s\",\"dan\"]}", bob); /* eve: they share nothing */
    assert_string_equal(peer_answer(a, 12, seq), want);
    /* All are here: nobody is asked. */
    works(peer_ask(a, 12, "{\"ids\":[\"%s\",\"%s\"]}", ann, bob));
    told_nothing();
    /* Where it is not known they count as offline. */
    seq = peer_put(a, 12, "{\"ids\":[\"cat\",\"%s\"]}", bob);
    kit_settle(&k);
    test_bus_next(&kit_bus, STORE_RETRY);
    snprintf(want, sizeof want, "{\"online\":[\"%s\"]}", bob);
    assert_string_equal(peer_answer(a, 12, seq), want);
    told("presence cat channels=5");
    /* Members of a channel: likewise. */
    peer_close(b);
    kit_settle(&k);
    told("session_del %s", bob);
    snprintf(want, sizeof want, " %s ", bob);
    kit_bus.online = want;
    test_bus_open(&kit_bus);
    const char *members = peer_ask(a, 13, "{\"name\":\"room\"}");
    told("presence %s channels=0", bob);
    char part[120];
    snprintf(part, sizeof part, "{\"id\":\"%s\",\"name\":\"%s\",\"online\":true}", bob, bob);
    has(members, part);
    peer_close(a);
    kit_end(&k);
}

/* --- Kicks -------------------------------------------------------------------------------------------------------- */

static void kicks_wait_for_other_nodes(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *a = newcomer(&k, ann);
    bus_hold(BUS_ORDER);
    kit_bus.connections = 2;
    /* Present here, with and without the end of its tokens. */
    struct host_kick q = {.user = S(ann), .message = S("bye")};
    KIT_HOST_BEGIN(&k, host_kick, &q);
    has(peer_push(a, 105), "bye");
    peer_end(a);
    kit_settle(&k);
    told("session_del %s", ann);
    told("order kick %s 0 bye", ann);
    assert_non_null(q.op.home);
    test_bus_next(&kit_bus, STORE_OK);
    KIT_UNTIL(&k, q.op.home == NULL);
    assert_int_equal(q.op.code, CODE_OK);
    assert_int_equal(q.connections, 3);
    /* Known, and not here. */
    for (int revoke = 0; revoke < 2; revoke++) {
        q = (struct host_kick){.user = S(ann), .revoke = revoke};
        KIT_HOST_BEGIN(&k, host_kick, &q);
        kit_settle(&k);
        assert_int_equal(kit_gate.calls[OP_USER_SAVE], revoke ? 2 : 1); /* first the tokens, then the order */
        told("order kick %s 0 ", ann);
        assert_non_null(q.op.home);
        test_bus_next(&kit_bus, revoke ? STORE_RETRY : STORE_OK);
        KIT_UNTIL(&k, q.op.home == NULL);
        assert_int_equal(q.op.code, revoke ? CODE_UNAVAILABLE : CODE_OK);
        assert_int_equal(q.connections, 2);
    }
    /* Who has not said so is named. */
    static const struct {
        struct silent_nodes silent;
        const char *says;
    } silent[] = {{{1, {3}}, "node 3 has not said that it is done there: repeat it"},
                  {{3, {3, 4, 50}}, "nodes 3, 4 and 50 have not said that it is done there: repeat it"},
                  {{6, {1, 2, 3, 4}}, "nodes 1, 2, 3, 4 and 2 more have not said that it is done there: repeat it"}};
    for (unsigned i = 0; i < sizeof silent / sizeof silent[0]; i++) {
        kit_bus.silent = silent[i].silent;
        q = (struct host_kick){.user = S(ann)};
        KIT_HOST_BEGIN(&k, host_kick, &q);
        kit_settle(&k);
        told("order kick %s 0 ", ann);
        test_bus_next(&kit_bus, STORE_RETRY);
        KIT_UNTIL(&k, q.op.home == NULL);
        assert_int_equal(q.op.code, CODE_UNAVAILABLE);
        assert_string_equal(q.op.message, silent[i].says);
        assert_int_equal(q.op.silent.n, silent[i].silent.n);
    }
    kit_bus.silent.n = 0;
    /* Unknown, or not done here: no order. */
    q = (struct host_kick){.user = S("nobody")};
    assert_int_equal(KIT_HOST(&k, host_kick, &q), CODE_NOT_FOUND);
    gate_fail(OP_USER_SAVE, STORE_RETRY);
    q = (struct host_kick){.user = S(ann), .revoke = true};
    assert_int_equal(KIT_HOST(&k, host_kick, &q), CODE_UNAVAILABLE);
    told_nothing();
    peer_close(a);
    kit_end(&k);
}

/* --- Orders of other nodes ---------------------------------------------------------------------------------------- */

static void orders_are_carried_out(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    const char *ann = kit_id(&k, "ann", 1), *bob = kit_id(&k, "bob", 0);
    struct peer *a = newcomer(&k, ann), *b = newcomer(&k, ann), *c = newcomer(&k, bob);
    struct bus_order o = {.kind = ORDER_PUSH, .user = S(ann), .action = 150, .body = S("{}")};
    test_bus_tell(&kit_bus, &o);
    peer_push(a, 150);
    peer_push(b, 150);
    kit_settle(&k);
    assert_int_equal(kit_bus.receipts, 1);
    told_nothing(); /* it does not go back */
    /* One connection of two: its own handle alone closes it. */
    uint32_t conn = kit_conn(&k, ann);
    struct shard *s = kit_shard(&k, 1);
    uint32_t generation = conn_at(s->net, conn)->generation;
    struct bus_order wrong[] = {
        {.kind = ORDER_REPLACE, .user = S(ann), .conn = {.shard = 0, .conn = conn, .generation = generation}},
        {.kind = ORDER_REPLACE, .user = S(ann), .conn = {.shard = 1, .conn = conn, .generation = generation + 1}},
        {.kind = ORDER_REPLACE, .user = S(ann), .conn = {.shard = 9, .conn = conn, .generation = generation}},
        {.kind = ORDER_REPLACE, .user = S(bob), .conn = {.shard = 1, .conn = conn, .generation = generation}},
        {.kind = ORDER_KICK, .user = S("nobody")}};
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        test_bus_tell(&kit_bus, &wrong[i]);
    kit_settle(&k);
    assert_int_equal(kit_bus.receipts, 6);
    assert_int_equal(kit_bus.closed, 0);
    o = (struct bus_order){
        .kind = ORDER_REPLACE, .user = S(ann), .conn = {.shard = 1, .conn = conn, .generation = generation}};
    test_bus_tell(&kit_bus, &o);
    kit_settle(&k);
    assert_int_equal(kit_bus.closed, 1);
    has(peer_push(b, 105), "replaced");
    works(peer_ask(a, 9, "{}"));
    o = (struct bus_order){.kind = ORDER_KICK, .user = S(ann), .body = S("bye")};
    test_bus_tell(&kit_bus, &o);
    has(peer_push(a, 105), "bye");
    kit_settle(&k);
    assert_int_equal(kit_bus.receipts, 8);
    assert_int_equal(kit_bus.closed, 2);
    told("session_del %s", ann);
    told_nothing();
    works(peer_ask(c, 9, "{}"));
    /* One that comes as the server stops gets its receipt too. */
    o = (struct bus_order){.kind = ORDER_KICK, .user = S(bob)};
    test_bus_tell(&kit_bus, &o);
    peer_close(a);
    peer_close(b);
    peer_close(c);
    kit_end(&k);
    assert_int_equal(kit_bus.receipts, 9);
    assert_int_equal(kit_bus.closed, 3);
}

/* Whoever is refused because the store is away is told whether it would have read or written, and when to try again. */
static void a_store_that_is_away(void **state)
{
    struct kit k;
    (void)state;
    for (int clustered = 0; clustered < 2; clustered++) {
        kit_open(&k, 1);
        k.clustered = clustered;
        kit_start(&k);
        struct peer *a = peer_login(&k, "ann", 0);
        works(peer_ask(a, 3, "{\"name\":\"room\"}"));
        static const struct {
            enum store_op_kind kind;
            uint16_t action;
            const char *body, *says;
        } cases[] = {{OP_RANGE, 5, "{\"channel\":\"room\"}", "the store cannot be read now"},
                     {OP_INBOX_PEEK, 7, "{}", "the store cannot be read now"},
                     {OP_CONVERSATIONS, 10, "{}", "the store cannot be read now"},
                     {OP_MEMBERS, 13, "{\"name\":\"room\"}", "the store cannot be read now"},
                     {OP_APPEND, 4, "{\"channel\":\"room\",\"content\":\"x\"}", "the store cannot write now"},
                     {OP_INBOX_ACK, 8, "{\"upTo\":\"4194304000000000000\"}", "the store cannot write now"}};
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            gate_fail(cases[i].kind, STORE_RETRY);
            const char *body = peer_ask(a, cases[i].action, "%s", cases[i].body);
            fails(body, "unavailable");
            assert_non_null(strstr(body, cases[i].says));
            assert_int_equal(strstr(body, "\"retryAfter\":1000") != NULL, clustered);
            gate_open(cases[i].kind);
        }
        peer_close(a);
        kit_end(&k);
    }
}

/* Whatever waits for the bus when the server stops is answered, and the rest of the users is told gone. */
static void the_hub_stops_while_the_bus_is_late(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    struct peer *a = newcomer(&k, kit_id(&k, "ann", 0)), *b = peer_open(&k, 0);
    kit_bus.hold = UINT32_MAX;
    peer_put(a, 3, "{\"name\":\"room\"}");
    peer_put(b, 1, "{\"token\":\"%s\"}", kit_id(&k, "bob", 1));
    struct host_kick q = {.user = S("away")};
    struct ban_change ban = {.kind = BAN_IP, .ip = S("192.0.2.1"), .lift = true};
    KIT_HOST_BEGIN(&k, ban_change, &ban);
    KIT_HOST_BEGIN(&k, host_kick, &q);
    assert_int_equal(host_push(k.hub, NULL, S("away"), 150, S("{}")), 0);
    kit_settle(&k);
    kit_end(&k);
    assert_int_equal(q.op.code, CODE_NOT_FOUND);
    assert_int_equal(ban.op.code, CODE_NOT_FOUND);
    unsigned gone = 0;
    for (uint32_t i = 0; i < kit_bus.count; i++)
        gone += strncmp(kit_bus.lines[i], "session_del ", 12) == 0;
    assert_int_equal(gone, 2);
    peer_close(a);
    peer_close(b);
}

/* The same with the shards' own threads: logins, members, orders and pushes at once. */
static void with_threads(void **state)
{
    enum { PEERS = 12 };
    struct kit k;
    struct peer *p[PEERS];
    (void)state;
    kit_open(&k, 4);
    k.clustered = k.threads = true;
    kit_start(&k);
    for (unsigned i = 0; i < PEERS; i++) {
        p[i] = peer_login(&k, kit_id(&k, "p", i % 4), i % 3);
        works(peer_ask(p[i], 3, "{\"name\":\"room\"}"));
        works(peer_ask(p[i], 12, "{\"ids\":[\"nobody\"]}"));
    }
    struct bus_order o = {.kind = ORDER_PUSH, .user = S(kit_id(&k, "p", 2)), .action = 150, .body = S("{}")};
    test_bus_tell(&kit_bus, &o);
    peer_push(p[2], 150);
    struct host_kick q = {.user = S(kit_id(&k, "p", 3))};
    assert_int_equal(KIT_HOST(&k, host_kick, &q), CODE_OK);
    peer_end(p[3]);
    works(peer_ask(p[0], 4, "{\"channel\":\"room\",\"content\":\"x\"}"));
    peer_push(p[1], 102);
    for (unsigned i = 0; i < PEERS; i++)
        peer_close(p[i]);
    kit_end(&k);
    assert_int_equal(kit_bus.receipts, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_alone_tells_nobody),
        cmocka_unit_test(a_channel_is_followed_before_it_has_members),
        cmocka_unit_test(a_channel_that_cannot_be_followed),
        cmocka_unit_test(a_user_who_is_elsewhere_is_online),
        cmocka_unit_test(a_ban_while_a_channel_is_about_to_be_followed),
        cmocka_unit_test(a_channel_without_members_is_followed_no_more),
        cmocka_unit_test(a_push_goes_to_other_nodes_too),
        cmocka_unit_test(presence_of_those_who_are_elsewhere),
        cmocka_unit_test(kicks_wait_for_other_nodes),
        cmocka_unit_test(orders_are_carried_out),
        cmocka_unit_test(a_store_that_is_away),
        cmocka_unit_test(the_hub_stops_while_the_bus_is_late),
        cmocka_unit_test(with_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
