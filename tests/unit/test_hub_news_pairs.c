/* What a node makes of news of private conversations that it knows nothing of yet, or knew something of before its
 * user went and came back; and of channels that it could not begin with their heads. */
#include "news_kit.h"

#include "core/hub/act/resync.h"
#include "core/hub/people/copy.h"

/* As of every user, wherever it is asked for. */
static void of_arrivals(uint64_t arrivals)
{
    kit_gate.version = kit_bus.version = 5;
    kit_gate.arrivals = kit_bus.arrivals = arrivals;
}

static void begin(struct kit *k)
{
    open_cluster(k, 1);
    kit_bus.node_count = 1; /* beside this one */
    of_arrivals(0);
}

static void hear_private(struct said *x, uint64_t arrival)
{
    x->n.arrival = arrival;
    hear(x);
}

/* As when what is missing has been missing for too long. */
static void pass(struct kit *k)
{
    struct shard *s = kit_shard(k, 0);
    kit_settle(k);
    s->now_ms += 2 * COPY_LATE_MS;
    resync_tick(s);
    kit_settle(k);
}

static void sweep(struct kit *k, struct conv_key key)
{
    struct shard *s = kit_shard(k, 0);
    kit_settle(k);
    kit_conv(k, key)->used_ms = 0;
    s->now_ms += 61000;
    convs_sweep(s);
    assert_null(kit_conv(k, key));
}

/* --- What comes behind the message with which a pair began -------------------------------------------------------- */

/* Two nodes stored for the same receiver at the same time: it is told that something waits. */
static void a_message_behind_a_later_one(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    struct peer *a = peer_login(&k, "ann", 0);
    struct said *one = say_to("ann", "far", "one"), *two = say_to("ann", "far", "two");
    of_arrivals(2);
    hear_private(two, 1);
    has(peer_push(a, 101), "two");
    hear_private(one, 2);
    gets_nothing(&k, a);
    pass(&k);
    assert_string_equal(peer_push(a, 103), "{\"inbox\":2}");
    hear_private(say_to("ann", "far", "three"), 3);
    has(peer_push(a, 101), "three");
    pass(&k);
    gets_nothing(&k, a);
    peer_close(a);
    kit_end(&k);
}

/* Nothing waits for others where there are none. */
static void one_node(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    kit_bus.node_count = 0;
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 0);
    (void)say_to("bob", "ann", "long ago");
    struct said *two = say_to("bob", "ann", "two");
    hear_private(two, 2);
    struct conv *v = NULL;
    KIT_UNTIL(&k, (v = kit_conv(&k, two->key)) != NULL && v->heard);
    assert_true(v->heard->begun);
    has(peer_push(b, 101), "two");
    has(peer_push(a, 101), "two");
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* One's own is what is missing, and its answer comes late: whoever has that answer is not pushed it as well. */
static void own_messages_that_are_late(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "ann", 0);
    struct store_user_save save = {.id = S("far"), .name = S("Far")};
    OTHER(store_user_save, &save);
    works(peer_ask(a, 2, "{\"receiverId\":\"far\",\"content\":\"one\"}"));
    has(peer_push(b, 101), "one");
    kit_gate.gate[OP_APPEND] = GATE_LATE;
    uint16_t seq = peer_put(a, 2, "{\"receiverId\":\"far\",\"content\":\"two\"}");
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1);
    hear_private(say_to("ann", "far", "three"), 1);
    uint32_t reads = kit_gate.calls[OP_RANGE];
    for (uint64_t began = clock_mono_ms(); clock_mono_ms() - began < 5 * NEWS_WAIT_MS;)
        kit_settle(&k);
    assert_int_equal(kit_gate.calls[OP_RANGE], reads);
    gate_open(OP_APPEND);
    works(peer_answer(a, 2, seq));
    has(peer_push(b, 101), "two");
    for (int i = 0; i < 2; i++)
        has(peer_push(i ? a : b, 101), "three");
    gets_nothing(&k, a);
    gets_nothing(&k, b);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* They are heard in another order than that in which they were stored, and are told in that. */
static void at_the_same_time(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "ann", 0);
    struct store_user_save save = {.id = S("far"), .name = S("Far")};
    OTHER(store_user_save, &save);
    (void)say_to("ann", "far", "long ago");
    no_reading();
    struct said *two = say_to("ann", "far", "two"), *three = say_to("ann", "far", "three");
    hear_private(three, 3);
    hear_private(two, 2);
    for (int i = 0; i < 2; i++) {
        has(peer_push(i ? a : b, 101), "two");
        has(peer_push(i ? a : b, 101), "three");
    }
    /* One's own is the later one. */
    sweep(&k, two->key);
    struct said *four = say_to("ann", "far", "four");
    works(peer_ask(a, 2, "{\"receiverId\":\"far\",\"content\":\"five\"}"));
    hear_private(four, 4);
    has(peer_push(a, 101), "four");
    has(peer_push(b, 101), "four");
    has(peer_push(b, 101), "five");
    /* A change of one that waits comes behind it. */
    sweep(&k, two->key);
    struct said *six = say_to("ann", "far", "six");
    hear_private(six, 5);
    hear_edit(six, six->n.time + 5, "six, changed");
    hear_edit(two, two->n.time + 5, "two, changed");
    for (int i = 0; i < 2; i++) {
        struct peer *p = i ? a : b;
        has(peer_wait(p, -1, 0), "two, changed");
        has(peer_wait(p, -1, 0), "\"six\"");
        has(peer_wait(p, -1, 0), "six, changed");
        gets_nothing(&k, p);
    }
    gate_open(OP_RANGE);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

static void a_message_behind_ones_own(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    struct peer *a = peer_login(&k, "ann", 0);
    struct store_user_save save = {.id = S("far"), .name = S("Far")};
    OTHER(store_user_save, &save);
    struct said *one = say_to("ann", "far", "one");
    works(peer_ask(a, 2, "{\"receiverId\":\"far\",\"content\":\"two\"}"));
    KIT_UNTIL(&k, kit_conv(&k, one->key)->heard->begun);
    of_arrivals(1);
    hear_private(one, 1);
    gets_nothing(&k, a);
    pass(&k);
    has(peer_push(a, 103), "{\"inbox\":");
    peer_close(a);
    kit_end(&k);
}

/* The nudge for the sender's connections, of which nobody knows what they were told, begins nothing. */
static void a_nudge_to_the_sender_first(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 0);
    struct said *one = say_to("ann", "bob", "one"), senders = *one;
    senders.n.user = S("bob");
    hear_nudge(&senders, 0);
    hear_nudge(one, 1);
    has(peer_push(a, 101), "one");
    gets_nothing(&k, a);
    gets_nothing(&k, b);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* --- What came while the user was away ---------------------------------------------------------------------------- */

/* It is in the inbox, which the login has told of: a change of it brings it to nobody once more. */
static void a_change_of_what_came_meanwhile(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    struct peer *a = peer_login(&k, "ann", 0);
    hear_private(say_to("ann", "far", "one"), 1);
    has(peer_push(a, 101), "one");
    peer_close(a);
    kit_settle(&k);
    struct said *two = say_to("ann", "far", "two"), *three = say_to("ann", "far", "three");
    of_arrivals(3);
    a = peer_login(&k, "ann", 0);
    assert_int_equal(number(peer_push(a, 103), "inbox"), 3);
    hear_edit(two, two->n.time + 5, "two, changed");
    has(peer_push(a, 110), "two, changed");
    hear_recall(three);
    has(peer_push(a, 109), "\"seq\":3");
    gets_nothing(&k, a);
    assert_int_equal(kit_gate.calls[OP_RANGE], 0);
    hear_private(say_to("ann", "far", "four"), 4);
    has(peer_push(a, 101), "four");
    gets_nothing(&k, a);
    peer_close(a);
    kit_end(&k);
}

static void ones_own_change_of_what_came_meanwhile(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 0);
    works(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"one\"}"));
    has(peer_push(b, 101), "one");
    peer_close(a);
    peer_close(b);
    kit_settle(&k);
    (void)say_to("bob", "ann", "two"); /* by another node */
    a = peer_login(&k, "ann", 0);
    b = peer_login(&k, "bob", 0);
    assert_int_equal(number(peer_push(b, 103), "inbox"), 2);
    works(peer_ask(a, 17, "{\"peerId\":\"bob\",\"seq\":2,\"content\":\"two, changed\"}"));
    has(peer_push(b, 110), "two, changed");
    gets_nothing(&k, a);
    gets_nothing(&k, b);
    assert_int_equal(kit_gate.calls[OP_RANGE], 0);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* --- One's own that wait ------------------------------------------------------------------------------------------ */

/* However many wait for a gap: the connection that sent them has its answers, and no pushes. */
static void more_of_ones_own_than_others_may_hold(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 0);
    works(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"m1\"}"));
    has(peer_push(b, 101), "\"m1\"");
    gate_hold(OP_RANGE);
    (void)say_to("bob", "ann", "m2");
    for (unsigned i = 3; i < NEWS_HELD + 20; i++)
        works(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"m%u\"}", i));
    kit_settle(&k);
    assert_int_equal(peer_left(b), 0);
    gate_open(OP_RANGE);
    for (unsigned i = 2; i < NEWS_HELD + 20; i++) {
        char want[8];
        snprintf(want, sizeof want, "\"m%u\"", i);
        has(peer_push(b, 101), want);
    }
    has(peer_push(a, 101), "\"m2\"");
    gets_nothing(&k, a);
    gets_nothing(&k, b);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* The node hears of the second message before its own first one is answered: it is not said to be heard of. */
static void ones_own_behind_a_later_one(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 0);
    kit_gate.gate[OP_APPEND] = GATE_LATE;
    uint16_t seq = peer_put(a, 2, "{\"receiverId\":\"bob\",\"content\":\"one\"}");
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1);
    of_arrivals(2);
    hear_private(say_to("bob", "ann", "two"), 1);
    has(peer_push(b, 101), "two");
    has(peer_push(a, 101), "two");
    ((struct store_append *)kit_gate.list[0].op)->arrival = 2;
    gate_open(OP_APPEND);
    works(peer_answer(a, 2, seq));
    gets_nothing(&k, b);
    pass(&k);
    assert_string_equal(peer_push(b, 103), "{\"inbox\":2}");
    gets_nothing(&k, a);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* --- What others have under way ----------------------------------------------------------------------------------- */

/* A block that another node has made is looked up for each edit, whatever else is asked of the pair at that time. */
static void a_block_is_looked_up_though_the_pair_is_busy(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 0), *c = peer_login(&k, "ann", 0);
    works(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"one\"}"));
    gate_hold(OP_APPEND);
    uint16_t seq = peer_put(c, 2, "{\"receiverId\":\"bob\",\"content\":\"two\"}");
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1);
    struct store_block block = {.user = S("bob"), .target = S("ann"), .blocked = true};
    OTHER(store_block, &block);
    fails(peer_ask(a, 17, "{\"peerId\":\"bob\",\"seq\":1,\"content\":\"changed\"}"), "forbidden");
    gate_open(OP_APPEND);
    peer_answer(c, 2, seq);
    peer_close(a);
    peer_close(b);
    peer_close(c);
    kit_end(&k);
}

/* --- Channels that are not followed from a known state ------------------------------------------------------------ */

/* Ann is a member, and the bus could not follow the channel when she logged in. */
static struct peer *unfollowed(struct kit *k)
{
    struct peer *a = peer_login(k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    peer_close(a);
    sweep(k, conv_key_channel(S("room")));
    kit_bus.hold = 1u << BUS_FOLLOW;
    a = peer_open(k, 0);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"ann\"}");
    KIT_UNTIL(k, test_bus_held(&kit_bus) == 1);
    test_bus_next(&kit_bus, STORE_RETRY);
    works(peer_answer(a, 1, seq));
    kit_bus.hold = 0;
    return a;
}

/* A change of an old message says nothing of what else was told. */
static void a_change_comes_first(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    struct peer *a = unfollowed(&k);
    struct said *one = say("room", "far", "one");
    (void)say("room", "far", "two");
    hear_edit(one, one->n.time + 5, "one, changed");
    has(peer_push(a, 110), "one, changed");
    hear(say("room", "far", "three"));
    gets(a, 3, "three");
    gets_nothing(&k, a);
    assert_int_equal(kit_gate.calls[OP_RANGE], 0);
    peer_close(a);
    kit_end(&k);
}

/* Nor do members lose what they are owed since they joined by another node. */
static void owed_though_it_is_not_followed(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    struct peer *a = peer_login(&k, "ann", 0);
    struct conv_key key = conv_key_channel(S("room"));
    struct store_member_put put = {.conv = conv_key_slice(&key), .user = S("ann"), .may_create = true};
    OTHER(store_member_put, &put);
    (void)say("room", "far", "before");
    kit_bus.hold = 1u << BUS_FOLLOW;
    const struct bus_news n = {.kind = NEWS_MEMBER,
                               .change = MEMBER_JOINED + 1,
                               .members = 1,
                               .version = 6,
                               .seq = 1,
                               .conv = conv_key_slice(&key),
                               .user = S("ann")};
    test_bus_hear(&kit_bus, &n);
    has(peer_push(a, 112), "joined");
    KIT_UNTIL(&k, test_bus_held(&kit_bus) == 1);
    test_bus_next(&kit_bus, STORE_RETRY);
    kit_settle(&k);
    (void)say("room", "far", "between");
    hear(say("room", "far", "three"));
    gets(a, 2, "between");
    gets(a, 3, "three");
    gets_nothing(&k, a);
    kit_bus.hold = 0;
    peer_close(a);
    kit_end(&k);
}

/* Several asked for it at once: what the last is told may be older than what members have made of it since. */
static void a_head_of_before(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    hear_member("room", 1, 2, MEMBER_JOINED, "far");
    hear_member("room", 2, 3, MEMBER_JOINED, "more");
    kit_settle(&k);
    struct conv *v = kit_conv(&k, conv_key_channel(S("room")));
    assert_int_equal(v->members, 3);
    uint32_t conv =
        table_find(&kit_shard(&k, 0)->conv_keys, hash_bytes(conv_slice(v)), &(struct slice){v->key, v->key_len});
    conv_followed(kit_shard(&k, 0), conv,
                  &(struct bus_follow){.conv = conv_slice(v), .member_version = 1, .members = 2, .exists = true});
    assert_int_equal(v->members, 3);
    conv_followed(kit_shard(&k, 0), conv,
                  &(struct bus_follow){.conv = conv_slice(v), .member_version = 3, .members = 4, .exists = true});
    assert_int_equal(v->members, 4);
    peer_close(a);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_behind_a_later_one),
        cmocka_unit_test(one_node),
        cmocka_unit_test(own_messages_that_are_late),
        cmocka_unit_test(at_the_same_time),
        cmocka_unit_test(a_message_behind_ones_own),
        cmocka_unit_test(a_nudge_to_the_sender_first),
        cmocka_unit_test(a_change_of_what_came_meanwhile),
        cmocka_unit_test(ones_own_change_of_what_came_meanwhile),
        cmocka_unit_test(more_of_ones_own_than_others_may_hold),
        cmocka_unit_test(ones_own_behind_a_later_one),
        cmocka_unit_test(a_block_is_looked_up_though_the_pair_is_busy),
        cmocka_unit_test(a_change_comes_first),
        cmocka_unit_test(owed_though_it_is_not_followed),
        cmocka_unit_test(a_head_of_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
