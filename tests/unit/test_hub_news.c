/* What a node makes of the news of messages: in order, each once, and whole, whatever became of them on the way. */
#include "news_kit.h"

/* --- Order -------------------------------------------------------------------------------------------------------- */

static void in_order(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    struct peer *a = peer_login(&k, kit_id(&k, "ann", 0), 0), *b = peer_login(&k, kit_id(&k, "bob", 1), 1);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    hear(say("room", "far", "one"));
    hear(say("room", "far", "two"));
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"three\"}"));
    hear(say("room", "far", "four"));
    for (int i = 0; i < 2; i++) {
        struct peer *p = i ? a : b;
        gets(p, 1, "one");
        gets(p, 2, "two");
        gets(p, 3, "three");
        gets(p, 4, "four");
        gets_nothing(&k, p);
    }
    assert_int_equal(kit_gate.calls[OP_RANGE], 0);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

static void swapped_and_doubled(void **state)
{
    struct kit k;
    (void)state;
    struct peer *a = begin_in_room(&k);
    no_reading();
    struct said *x[4];
    for (int i = 0; i < 4; i++)
        x[i] = say("room", "far", "m%d", i + 1);
    hear(x[1]);
    hear(x[1]);
    kit_settle(&k);
    assert_int_equal(peer_left(a), 0);
    hear(x[3]);
    hear(x[2]);
    hear(x[0]);
    hear(x[0]);
    hear(x[3]);
    for (unsigned i = 1; i <= 4; i++) {
        char want[8];
        snprintf(want, sizeof want, "m%u", i);
        gets(a, i, want);
    }
    gets_nothing(&k, a);
    end_with(&k, a);
}

/* What has been heard of a channel before it was followed is in its head, or comes after it. */
static void between_the_follow_and_its_head(void **state)
{
    struct kit k;
    (void)state;
    struct peer *a = begin_in_room(&k), *b = peer_login(&k, "bob", 0);
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"one\"}"));
    gets(a, 1, "one");
    works(peer_ask(a, 6, "{\"name\":\"room\"}"));
    struct conv *v = kit_conv(&k, conv_key_channel(S("room")));
    assert_non_null(v);
    /* As when a minute has passed. */
    struct shard *s = kit_shard(&k, 0);
    v->used_ms = 0;
    s->now_ms += 61000;
    convs_sweep(s);
    kit_settle(&k);
    assert_null(kit_conv(&k, conv_key_channel(S("room"))));
    hear(say("room", "far", "two")); /* nobody here is in it */
    kit_settle(&k);
    assert_null(kit_conv(&k, conv_key_channel(S("room"))));
    kit_bus.hold = 1u << BUS_FOLLOW;
    uint16_t seq = peer_put(b, 3, "{\"name\":\"room\"}");
    kit_settle(&k);
    struct said *three = say("room", "far", "three"), *four = say("room", "far", "four");
    hear(three);
    test_bus_open(&kit_bus);
    works(peer_answer(b, 3, seq));
    hear(three);
    hear(four);
    hear(say("room", "far", "five"));
    gets(b, 5, "five"); /* it has joined after the others */
    gets_nothing(&k, b);
    gets_nothing(&k, a);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* Whoever joins is told after which message it is told of all: what this node has not heard yet comes. */
static void joins_before_a_message_is_heard(void **state)
{
    struct kit k;
    (void)state;
    struct peer *a = begin_in_room(&k), *b = peer_login(&k, "bob", 0);
    hear(say("room", "far", "one"));
    gets(a, 1, "one");
    struct said *two = say("room", "far", "two");
    has(peer_ask(b, 3, "{\"name\":\"room\"}"), "\"seq\":1,");
    hear(two);
    hear(say("room", "far", "three"));
    for (int i = 0; i < 2; i++) {
        gets(i ? a : b, 2, "two");
        gets(i ? a : b, 3, "three");
        gets_nothing(&k, i ? a : b);
    }
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* --- Gaps --------------------------------------------------------------------------------------------------------- */

static void what_is_missing_is_read(void **state)
{
    struct kit k;
    (void)state;
    struct peer *a = begin_in_room(&k);
    hear(say("room", "far", "one"));
    (void)say("room", "far", "two");
    (void)say("room", "far", "three");
    hear(say("room", "far", "four"));
    gets(a, 1, "one");
    gets(a, 2, "two");
    gets(a, 3, "three");
    gets(a, 4, "four");
    gets_nothing(&k, a);
    assert_int_equal(kit_gate.calls[OP_RANGE], 1);
    end_with(&k, a);
}

/* News that come while the gap is being read; among them what is missing. */
static void news_while_a_gap_is_read(void **state)
{
    struct kit k;
    (void)state;
    struct peer *a = begin_in_room(&k);
    gate_hold(OP_RANGE);
    struct said *one = say("room", "far", "one"), *two = say("room", "far", "two"),
                *three = say("room", "far", "three");
    hear(three);
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1);
    hear(two);
    hear(say("room", "far", "four"));
    hear(one);
    gets(a, 1, "one");
    gets(a, 2, "two");
    gets(a, 3, "three");
    gets(a, 4, "four");
    gate_open(OP_RANGE);
    hear(say("room", "far", "five"));
    gets(a, 5, "five");
    gets_nothing(&k, a);
    end_with(&k, a);
}

/* Recalled messages are passed over; what the store does not have is, too. */
static void a_gap_with_holes(void **state)
{
    struct kit k;
    (void)state;
    struct peer *a = begin_in_room(&k);
    struct said *one = say("room", "far", "one");
    (void)say("room", "far", "two");
    struct said *three = say("room", "far", "three");
    struct store_recall r = {.conv = one->n.conv, .seq = 1};
    OTHER(store_recall, &r);
    hear(three);
    gets(a, 2, "two");
    gets(a, 3, "three");
    gets_nothing(&k, a);
    end_with(&k, a);
}

/* The store has none of what is missing, and more of what came later than was asked for. */
static void a_gap_that_is_gone(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 1);
    k.clustered = true;
    k.store_opt.tiers[TIER_SMALL].max = 3;
    kit_start(&k);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    struct said *x[11];
    for (unsigned i = 1; i <= 10; i++)
        x[i] = say("room", "far", "m%u", i);
    hear(x[2]);
    gets(a, 2, "m2");
    assert_int_equal(kit_gate.calls[OP_RANGE], 1);
    hear(x[10]);
    gets(a, 8, "m8");
    gets(a, 9, "m9");
    gets(a, 10, "m10");
    assert_int_equal(kit_gate.calls[OP_RANGE], 2);
    gets_nothing(&k, a);
    end_with(&k, a);
}

static void a_gap_that_cannot_be_read(void **state)
{
    struct kit k;
    (void)state;
    struct peer *a = begin_in_room(&k);
    gate_fail(OP_RANGE, STORE_RETRY);
    (void)say("room", "far", "one");
    hear(say("room", "far", "two"));
    gets(a, 2, "two"); /* its receivers see the jump */
    assert_int_equal(kit_gate.calls[OP_RANGE], 3);
    gate_open(OP_RANGE);
    (void)say("room", "far", "three");
    hear(say("room", "far", "four"));
    gets(a, 3, "three");
    gets(a, 4, "four");
    gets_nothing(&k, a);
    end_with(&k, a);
}

/* So many wait that the gap is read at once, and those beyond are read too. */
static void more_than_may_be_held(void **state)
{
    struct kit k;
    (void)state;
    struct peer *a = begin_in_room(&k);
    gate_hold(OP_RANGE);
    (void)say("room", "far", "m1");
    for (unsigned i = 2; i <= NEWS_HELD + 20; i++)
        hear(say("room", "far", "m%u", i));
    kit_settle(&k);
    assert_int_equal(gate_store_held(&kit_gate), 1); /* without waiting */
    assert_int_equal(heard_of(&k, "room")->messages.count, NEWS_HELD);
    gate_open(OP_RANGE);
    for (unsigned i = 1; i <= NEWS_HELD + 20; i++) {
        char want[8];
        snprintf(want, sizeof want, "m%u", i);
        gets(a, i, want);
    }
    gets_nothing(&k, a);
    end_with(&k, a);
}

static void more_than_is_filled(void **state)
{
    struct kit k;
    (void)state;
    struct peer *a = begin_in_room(&k);
    for (unsigned i = 1; i <= NEWS_FILL + 50; i++)
        (void)say("room", "far", "m%u", i);
    hear(say("room", "far", "last"));
    for (unsigned i = 1; i <= NEWS_FILL; i++) {
        char want[8];
        snprintf(want, sizeof want, "m%u", i);
        gets(a, i, want);
    }
    gets(a, NEWS_FILL + 51, "last");
    (void)say("room", "far", "lost");
    hear(say("room", "far", "heard"));
    gets(a, NEWS_FILL + 52, "lost"); /* each gap has its own measure */
    gets(a, NEWS_FILL + 53, "heard");
    gets_nothing(&k, a);
    end_with(&k, a);
}

/* A page of the store holds less than is missing. */
static void a_gap_of_several_pages(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 1);
    k.clustered = true;
    k.opt.page_max = 64;
    kit_start(&k);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    for (unsigned i = 1; i <= 10; i++)
        (void)say("room", "far", "a message of some length %u", i);
    hear(say("room", "far", "last"));
    for (unsigned i = 1; i <= 10; i++) {
        char want[32];
        snprintf(want, sizeof want, "a message of some length %u", i);
        gets(a, i, want);
    }
    gets(a, 11, "last");
    gets_nothing(&k, a);
    assert_true(kit_gate.calls[OP_RANGE] > 1);
    end_with(&k, a);
}

/* --- One's own ---------------------------------------------------------------------------------------------------- */

/* Its answer does not wait, its push does. */
static void own_messages_between_others(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    struct peer *a = peer_login(&k, kit_id(&k, "ann", 0), 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    no_reading();
    struct said *one = say("room", "far", "one");
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"two\"}"));
    struct said *three = say("room", "far", "three");
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"four\"}"));
    assert_int_equal(peer_left(a), 0);
    hear(one);
    gets(a, 1, "one");
    gets(a, 2, "two");
    hear(three);
    gets(a, 3, "three");
    gets(a, 4, "four");
    gets_nothing(&k, a);
    gate_open(OP_RANGE);
    /* Others' news are lost: one's own next message finds that out. */
    (void)say("room", "far", "five");
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"six\"}"));
    gets(a, 5, "five");
    gets(a, 6, "six");
    /* A nudge about one's own that is under way. */
    kit_gate.gate[OP_APPEND] = GATE_LATE;
    uint16_t seq = peer_put(a, 4, "{\"channel\":\"room\",\"content\":\"seven\"}");
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1);
    struct said *eight = say("room", "far", "eight");
    hear(eight);
    gets(a, 7, "seven");
    gets(a, 8, "eight");
    gate_open(OP_APPEND);
    works(peer_answer(a, 4, seq));
    gets_nothing(&k, a);
    end_with(&k, a);
}

/* --- Changed messages --------------------------------------------------------------------------------------------- */

static void recalled_and_edited(void **state)
{
    struct kit k;
    (void)state;
    struct peer *a = begin_in_room(&k);
    struct said *one = say("room", "far", "one"), *two = say("room", "far", "two");
    no_reading();
    hear_recall(two);
    hear_edit(one, 5000, "better");
    kit_settle(&k);
    assert_int_equal(peer_left(a), 0); /* they wait for their messages */
    hear(two);
    hear(one);
    for (unsigned i = 1; i <= 2; i++) {
        gets(a, i, i == 1 ? "one" : "two");
        const char *body = peer_push(a, i == 1 ? 110 : 109);
        assert_int_equal(number(body, "seq"), i);
        if (i == 1)
            has(body, "\"content\":\"better\",\"editedAt\":5000");
    }
    /* An older edit, the same one, and one of what was recalled. */
    hear_edit(one, 4000, "worse");
    hear_edit(one, 5000, "better");
    hear_edit(two, 9000, "undead");
    hear_recall(two);
    gets_nothing(&k, a);
    hear_edit(one, 6000, "best");
    has(peer_push(a, 110), "best");
    end_with(&k, a);
}

/* Two nodes edit, and their news are swapped with the answer of one's own. */
static void own_edits_and_others(void **state)
{
    struct kit k;
    (void)state;
    struct peer *a = begin_in_room(&k), *b = peer_login(&k, "bob", 0);
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"mine\"}"));
    gets(a, 1, "mine");
    gets(b, 1, "mine");
    struct conv_key key = conv_key_channel(S("room"));
    struct said later = {
        .n = {.kind = NEWS_MESSAGE, .seq = 1, .id = 1, .conv = conv_key_slice(&key), .sender = S("ann")}};
    hear_edit(&later, UINT64_MAX - 1, "the newest of all");
    has(peer_push(a, 110), "newest");
    has(peer_push(b, 110), "newest");
    works(peer_ask(a, 17, "{\"channel\":\"room\",\"seq\":1,\"content\":\"older\"}"));
    works(peer_ask(a, 14, "{\"channel\":\"room\",\"seq\":1}"));
    peer_push(b, 109);
    assert_null(peer_look(b, 110, 0));
    hear_recall(&later);
    peer_push(a, 109);
    gets_nothing(&k, a);
    gets_nothing(&k, b);
    /* One's own change of a message that is not heard yet. */
    struct said *two = say("room", "ann", "two");
    no_reading();
    works(peer_ask(a, 14, "{\"channel\":\"room\",\"seq\":2}"));
    kit_settle(&k);
    assert_null(peer_look(b, 109, 0));
    hear(two);
    gets(b, 2, "two");
    peer_push(b, 109);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* A slice that is open holds the new text. */
static void edits_of_what_a_window_holds(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    struct peer *a = peer_login_merge(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\",\"push\":\"merged\"}"));
    struct said *one = say("room", "far", "one"), *two = say("room", "far", "two");
    hear(one);
    hear_edit(one, 5000, "better");
    hear(two);
    hear_recall(two);
    const char *body = peer_push(a, 104);
    has(body, "better");
    has(body, "\"from\":1,\"to\":2,\"omitted\":1");
    peer_push(a, 109);
    assert_null(peer_look(a, 110, 0));
    end_with(&k, a);
}

/* --- All of it at random ------------------------------------------------------------------------------------------ */

static uint64_t seed;

static unsigned dice(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

/* Three other nodes and this one write; their news are dropped, doubled and shuffled. In the end each member has each
 * seq once and in order. */
static void anything_at_random(void **state)
{
    enum { MESSAGES = 300, MEMBERS = 3, ROUNDS = 6 };
    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct kit k;
        seed = 1000 + round;
        open_cluster(&k, 2);
        struct peer *p[MEMBERS];
        for (unsigned i = 0; i < MEMBERS; i++) {
            p[i] = peer_login(&k, kit_id(&k, "m", i % 2), i % 2);
            works(peer_ask(p[i], 3, "{\"name\":\"room\",\"push\":\"all\"}"));
        }
        struct said *late[8];
        unsigned n_late = 0, lost = 0;
        for (unsigned i = 0; i < MESSAGES; i++) {
            if (dice(4) == 0) {
                peer_put(p[dice(MEMBERS)], 4, "{\"channel\":\"room\",\"content\":\"own\"}");
                if (dice(2))
                    kit_settle(&k);
            } else {
                struct said *x = say("room", dice(3) ? "far1" : "far2", "m");
                if (dice(10) == 0)
                    lost++;
                else if (n_late < 8 && dice(2))
                    late[n_late++] = x;
                else
                    hear(x);
                if (dice(10) == 0)
                    hear(x);
            }
            while (n_late && dice(3) == 0) {
                unsigned j = dice(n_late);
                hear(late[j]);
                if (dice(8) == 0)
                    hear_nudge(late[j], 0);
                late[j] = late[--n_late];
            }
            if (dice(20) == 0)
                usleep(1000 * dice(40));
            if (dice(3) == 0)
                kit_turn(&k);
        }
        while (n_late)
            hear(late[--n_late]);
        test_bus_reset(&kit_bus, SLICE_NONE);
        for (unsigned i = 0; i < MEMBERS; i++)
            for (uint64_t seq = 1; seq <= MESSAGES; seq++)
                assert_int_equal(number(peer_push(p[i], 102), "seq"), seq);
        kit_settle(&k);
        for (unsigned i = 0; i < MEMBERS; i++) {
            assert_null(peer_look(p[i], 102, 0));
            peer_close(p[i]);
        }
        assert_true(lost > 0);
        kit_end(&k);
    }
}

/* --- With threads ------------------------------------------------------------------------------------------------- */

enum { TOLD = 400 };

/* The bus's own: news as they come, some lost or doubled, and resets. */
static void *tell_all(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < TOLD; i++) {
        struct said *x = say("room", "far", "m");
        if (i % 7)
            hear(x);
        if (i % 5 == 0)
            hear(x);
        if (i % 50 == 0)
            test_bus_reset(&kit_bus, SLICE_NONE);
    }
    return NULL;
}

static void while_shards_run(void **state)
{
    enum { OWN = 100, MEMBERS = 4 };
    struct kit k;
    pthread_t bus;
    (void)state;
    kit_open(&k, 2);
    k.clustered = k.threads = true;
    kit_start(&k);
    struct peer *p[MEMBERS];
    for (unsigned i = 0; i < MEMBERS; i++) {
        p[i] = peer_login(&k, kit_id(&k, "m", i % 2), i % 2);
        works(peer_ask(p[i], 3, "{\"name\":\"room\",\"push\":\"all\"}"));
    }
    assert_int_equal(pthread_create(&bus, NULL, tell_all, NULL), 0);
    for (unsigned i = 0; i < OWN; i++)
        works(peer_ask(p[i % MEMBERS], 4, "{\"channel\":\"room\",\"content\":\"own\"}"));
    assert_int_equal(pthread_join(bus, NULL), 0);
    test_bus_reset(&kit_bus, SLICE_NONE);
    for (unsigned i = 0; i < MEMBERS; i++) {
        for (uint64_t seq = 1; seq <= TOLD + OWN; seq++)
            assert_int_equal(number(peer_push(p[i], 102), "seq"), seq);
        assert_null(peer_look(p[i], 102, 0));
        peer_close(p[i]);
    }
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order),
        cmocka_unit_test(joins_before_a_message_is_heard),
        cmocka_unit_test(swapped_and_doubled),
        cmocka_unit_test(between_the_follow_and_its_head),
        cmocka_unit_test(what_is_missing_is_read),
        cmocka_unit_test(news_while_a_gap_is_read),
        cmocka_unit_test(a_gap_with_holes),
        cmocka_unit_test(a_gap_that_is_gone),
        cmocka_unit_test(a_gap_that_cannot_be_read),
        cmocka_unit_test(more_than_may_be_held),
        cmocka_unit_test(more_than_is_filled),
        cmocka_unit_test(a_gap_of_several_pages),
        cmocka_unit_test(own_messages_between_others),
        cmocka_unit_test(recalled_and_edited),
        cmocka_unit_test(own_edits_and_others),
        cmocka_unit_test(edits_of_what_a_window_holds),
        cmocka_unit_test(anything_at_random),
        cmocka_unit_test(while_shards_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
