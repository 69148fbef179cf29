/* What a node learns from the news of conversations beside their messages: members, pairs, and what it must look up;
 * and what it does once news may have been missed. */
#include "news_kit.h"

#include "core/hub/people/copy.h"

/* --- Members ------------------------------------------------------------------------------------------------------ */

static void members_by_version(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    kit_bus.member_version = 10;
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\",\"events\":true}"));
    struct conv *v = kit_conv(&k, conv_key_channel(S("room")));
    hear_member("room", 11, 2, MEMBER_JOINED, "u1");
    hear_member("room", 13, 4, MEMBER_JOINED, "u3");
    hear_member("room", 12, 3, MEMBER_JOINED, "u2");
    hear_member("room", 12, 3, MEMBER_JOINED, "u2");
    hear_member("room", 9, 77, MEMBER_JOINED, "u9"); /* before it was followed */
    for (unsigned i = 1; i <= 3; i++) {
        char want[100];
        snprintf(want, sizeof want,
                 "{\"channel\":\"room\",\"id\":\"u%u\",\"name\":\"u%u\",\"change\":\"joined\",\"members\":%u}", i, i,
                 1 + i);
        assert_string_equal(peer_push(a, 112), want);
    }
    gets_nothing(&k, a);
    assert_int_equal(v->members, 4);
    /* One that is missing is passed over. */
    hear_member("room", 15, 2, MEMBER_KICKED, "u4");
    has(peer_push(a, 112), "\"id\":\"u4\",\"name\":\"u4\",\"change\":\"kicked\",\"members\":2");
    hear_member("room", 14, 3, MEMBER_LEFT, "u5");
    gets_nothing(&k, a);
    assert_int_equal(v->members, 2);
    /* The same version says what else is new. */
    struct conv_key key = conv_key_channel(S("room"));
    struct bus_news n = {
        .kind = NEWS_CHANNEL, .tier = TIER_LARGE, .members = 2, .version = 15, .conv = conv_key_slice(&key)};
    test_bus_hear(&kit_bus, &n);
    KIT_UNTIL(&k, v->tier == TIER_LARGE);
    assert_true(v->tier_by_policy);
    n.tier = TIER_SMALL;
    test_bus_hear(&kit_bus, &n);
    KIT_UNTIL(&k, v->tier == TIER_SMALL);
    assert_false(v->tier_by_policy);
    /* Whoever passes a threshold saves the tier; nobody is told who came into what is large now. */
    hear_member("room", 16, 500, MEMBER_JOINED, "u6");
    KIT_UNTIL(&k, v->tier == TIER_LARGE);
    gets_nothing(&k, a);
    hear_member("room", 17, 399, MEMBER_LEFT, "u6");
    KIT_UNTIL(&k, v->tier == TIER_SMALL);
    assert_int_equal(kit_gate.calls[OP_CHANNEL_SAVE], 0);
    end_with(&k, a);
}

/* One's own change comes after another's that was not heard yet. */
static void own_members_between_others(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    kit_bus.member_version = 10;
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\",\"events\":true}"));
    kit_gate.gate[OP_MEMBER_PUT] = GATE_LATE;
    uint16_t seq = peer_put(b, 3, "{\"name\":\"room\"}");
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1);
    struct store_member_put *m = (struct store_member_put *)kit_gate.list[0].op;
    assert_string_equal(m->name.n ? "named" : "", "named");
    assert_int_equal(m->change, MEMBER_JOINED + 1);
    m->version = 12;
    m->members = 3;
    gate_open(OP_MEMBER_PUT);
    hear_member("room", 11, 2, MEMBER_JOINED, "far"); /* behind it in the shard's mailbox */
    has(peer_answer(b, 3, seq), "\"members\":3");
    has(peer_push(a, 112), "\"id\":\"far\"");
    has(peer_push(a, 112), "\"id\":\"bob\"");
    gets_nothing(&k, a);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* A channel that was closed elsewhere: its members here go. */
static void a_channel_is_closed_elsewhere(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    const char *ann = kit_id(&k, "ann", 0), *bob = kit_id(&k, "bob", 1);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, bob, 1), *c = peer_login(&k, ann, 1);
    works(peer_ask(a, 3, "{\"name\":\"room\",\"push\":\"none\"}"));
    peer_push(c, 112); /* its own, on another connection */
    works(peer_ask(b, 3, "{\"name\":\"room\",\"push\":\"merged\"}"));
    hear(say("room", "far", "last words"));
    kit_settle(&k);
    struct conv_key key = conv_key_channel(S("room"));
    struct bus_news n = {.kind = NEWS_CHANNEL, .version = 20, .gone = true, .conv = conv_key_slice(&key)};
    /* The last one has left, who hears of that as a user. */
    test_bus_hear(&kit_bus, &n);
    gets_nothing(&k, a);
    n.members = 2;
    n.version = 21;
    test_bus_hear(&kit_bus, &n);
    struct peer *all[] = {a, b, c};
    for (int i = 0; i < 3; i++)
        has(peer_push(all[i], 112), "\"change\":\"closed\",\"members\":0");
    kit_settle(&k);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(chan_find(kit_shard(&k, i), S("room")), NONE);
    assert_false(kit_conv(&k, key)->exists);
    peer_close(a);
    peer_close(b);
    peer_close(c);
    kit_end(&k);
}

/* --- Conversations of two ----------------------------------------------------------------------------------------- */

/* Each of the two is told by news of its own; a node where both are hears twice. */
static void a_pair(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    const char *ann = kit_id(&k, "ann", 0), *bob = kit_id(&k, "bob", 1);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, bob, 1);
    struct said *one = say_to(ann, bob, "one"), *two = say_to(ann, bob, "two");
    struct said own = *two;
    own.n.user = S(bob);
    hear(&own); /* the sender's copy of the second begins the conversation here */
    has(peer_push(a, 101), "two");
    has(peer_push(b, 101), "two");
    two->n.arrival = 2;
    hear(two);
    one->n.arrival = 1;
    hear(one); /* its turn has passed */
    kit_settle(&k);
    assert_int_equal(peer_left(a) + peer_left(b), 0);
    /* One's own between others', and its other connections. */
    struct peer *c = peer_login(&k, ann, 1);
    peer_push(c, 103);
    struct said *three = say_to(ann, bob, "three");
    no_reading();
    works(peer_ask(a, 2, "{\"receiverId\":\"%s\",\"content\":\"four\"}", bob));
    kit_settle(&k);
    assert_int_equal(peer_left(b) + peer_left(c), 0);
    hear(three);
    struct peer *all[] = {a, b, c};
    for (int i = 0; i < 3; i++) {
        has(peer_push(all[i], 101), "three");
        if (i)
            has(peer_push(all[i], 101), "four");
    }
    /* A gap is read. */
    gate_open(OP_RANGE);
    (void)say_to(ann, bob, "five");
    hear(say_to(ann, bob, "six"));
    for (int i = 0; i < 3; i++) {
        has(peer_push(all[i], 101), "five");
        has(peer_push(all[i], 101), "six");
    }
    kit_settle(&k);
    assert_int_equal(peer_left(a) + peer_left(b) + peer_left(c), 0);
    peer_close(a);
    peer_close(b);
    peer_close(c);
    kit_end(&k);
}

/* What was stored while nobody of the two was here is in an inbox, and no gap. */
static void a_pair_that_was_away(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    struct peer *a = peer_login(&k, "ann", 0);
    hear(say_to("ann", "far", "one"));
    has(peer_push(a, 101), "one");
    peer_close(a);
    kit_settle(&k);
    for (int i = 2; i < 5; i++)
        (void)say_to("ann", "far", "away%d", i);
    a = peer_login(&k, "ann", 0);
    assert_int_equal(number(peer_push(a, 103), "inbox"), 4);
    hear(say_to("ann", "far", "five"));
    has(peer_push(a, 101), "five");
    gets_nothing(&k, a);
    assert_int_equal(kit_gate.calls[OP_RANGE], 0);
    end_with(&k, a);
}

static void nudges(void **state)
{
    struct kit k;
    (void)state;
    struct peer *a = begin_in_room(&k), *b = peer_login(&k, "bob", 0);
    (void)say("room", "far", "one");
    struct said *two = say("room", "far", "two");
    hear_nudge(two, 0);
    gets(a, 1, "one");
    gets(a, 2, "two");
    hear_nudge(two, 0);
    gets_nothing(&k, a);
    /* A pair that nothing was heard of: the receiver has it; of its sender's own connections nobody knows. */
    struct said *first = say_to("ann", "bob", "first");
    struct said senders = *first;
    senders.n.user = S("bob");
    hear_nudge(&senders, 0);
    gets_nothing(&k, b);
    struct said *second = say_to("ann", "bob", "second");
    kit_conv(&k, second->key)->used_ms = 0;
    struct shard *s = kit_shard(&k, 0);
    s->now_ms += 61000;
    convs_sweep(s);
    assert_null(kit_conv(&k, second->key));
    hear_nudge(second, 7);
    has(peer_push(a, 101), "second");
    gets_nothing(&k, a);
    gets_nothing(&k, b);
    /* One that was heard of before. */
    (void)say_to("ann", "bob", "third");
    hear_nudge(say_to("ann", "bob", "fourth"), 9);
    has(peer_push(a, 101), "third");
    has(peer_push(a, 101), "fourth");
    has(peer_push(b, 101), "third");
    has(peer_push(b, 101), "fourth");
    gets_nothing(&k, a);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

static uint64_t arrivals[64];
static unsigned arrival_count;
static struct shard_events with_arrivals;

static bool arrived(struct shard *s, uint32_t user, uint64_t arrival)
{
    (void)s, (void)user;
    for (unsigned i = 0; i < arrival_count; i++)
        if (arrivals[i] == arrival)
            return false;
    arrivals[arrival_count++] = arrival;
    return true;
}

/* The receiver's shard hears of each arrival once, whichever copy of the news comes first. */
static void arrivals_reach_the_receiver(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    const struct shard_events *events = s->events;
    with_arrivals = *events;
    with_arrivals.arrived = arrived;
    s->events = &with_arrivals;
    arrival_count = 0;
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 0);
    for (unsigned i = 1; i <= 4; i++) {
        struct said *x = say_to("ann", "bob", "m%u", i), own = *x;
        own.n.user = S("bob");
        x->n.arrival = i;
        if (i % 2)
            hear(&own);
        hear(x);
        if (i % 2 == 0)
            hear(&own);
        hear(x);
    }
    (void)say_to("ann", "bob", "m5");
    hear_nudge(say_to("ann", "bob", "m6"), 6);
    for (unsigned i = 1; i <= 6; i++) {
        char want[20];
        snprintf(want, sizeof want, "\"content\":\"m%u\"", i);
        has(peer_push(a, 101), want);
        has(peer_push(b, 101), want);
    }
    gets_nothing(&k, a);
    gets_nothing(&k, b);
    assert_int_equal(arrival_count, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(arrivals[i], i < 4 ? i + 1 : 6);
    /* What was pushed before is not pushed again, though its conversation is forgotten meanwhile. */
    struct said *again = say_to("ann", "bob", "m7");
    again->n.arrival = 6;
    hear(again);
    has(peer_push(b, 101), "m7");
    gets_nothing(&k, a);
    s->events = events;
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

static void changes_in_a_pair(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    struct peer *a = peer_login(&k, "ann", 0);
    struct said *one = say_to("ann", "far", "one"), *two = say_to("ann", "far", "two");
    hear_edit(two, 5000, "of what is not loaded");
    has(peer_push(a, 110), "{\"peerId\":\"far\",\"seq\":2");
    hear_edit(two, 5000, "of what is not loaded"); /* the other user's copy */
    hear_recall(one);
    has(peer_push(a, 109), "{\"peerId\":\"far\",\"seq\":1");
    hear_recall(one);
    gets_nothing(&k, a);
    end_with(&k, a);
}

/* --- What another node may have changed --------------------------------------------------------------------------- */

static void the_store_checks(void **state)
{
    struct kit k;
    (void)state;
    struct peer *a = begin_in_room(&k), *b = peer_login(&k, "bob", 0);
    kit_gate.gate[OP_APPEND] = GATE_HOLD;
    uint16_t seq = peer_put(a, 4, "{\"channel\":\"room\",\"content\":\"x\"}");
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1);
    struct store_append *p = (struct store_append *)kit_gate.list[0].op;
    assert_int_equal(p->check, CHECK_MEMBER);
    assert_true(p->advice.n >= 2);
    p->refused = CHECK_MEMBER;
    gate_next(STORE_DENIED);
    fails(peer_answer(a, 4, seq), "forbidden");
    seq = peer_put(a, 2, "{\"receiverId\":\"bob\",\"content\":\"x\"}");
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1);
    p = (struct store_append *)kit_gate.list[0].op;
    assert_int_equal(p->check, CHECK_BLOCK);
    p->refused = CHECK_BLOCK;
    gate_next(STORE_DENIED);
    const char *body = peer_answer(a, 2, seq);
    fails(body, "forbidden");
    has(body, "blocked");
    gate_open(OP_APPEND);
    /* A block that is seen is looked up each time: another node may end it. */
    works(peer_ask(b, 15, "{\"id\":\"ann\",\"blocked\":true}"));
    fails(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"x\"}"), "forbidden");
    struct store_block unblock = {.user = S("bob"), .target = S("ann")};
    OTHER(store_block, &unblock);
    works(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"x\"}"));
    /* Of an edit too, at which no append looks once more. */
    struct store_block block = {.user = S("bob"), .target = S("ann"), .blocked = true};
    OTHER(store_block, &block);
    fails(peer_ask(a, 17, "{\"peerId\":\"bob\",\"seq\":1,\"content\":\"y\"}"), "forbidden");
    OTHER(store_block, &unblock);
    works(peer_ask(a, 17, "{\"peerId\":\"bob\",\"seq\":1,\"content\":\"y\"}"));
    /* So is a user or a channel that is not there. */
    fails(peer_ask(a, 2, "{\"receiverId\":\"new\",\"content\":\"x\"}"), "not_found");
    struct store_user_save save = {.id = S("new"), .name = S("New")};
    OTHER(store_user_save, &save);
    works(peer_ask(a, 2, "{\"receiverId\":\"new\",\"content\":\"x\"}"));
    fails(peer_ask(a, 4, "{\"channel\":\"far\",\"content\":\"x\"}"), "not_found");
    k.opt.send = SEND_ANY;
    assert_int_equal(hub_reconfigure(k.hub, &k.opt), 0);
    struct conv_key key = conv_key_channel(S("far"));
    struct store_member_put put = {.conv = conv_key_slice(&key), .user = S("new"), .may_create = true};
    OTHER(store_member_put, &put);
    works(peer_ask(a, 4, "{\"channel\":\"far\",\"content\":\"x\"}"));
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* --- Resets ------------------------------------------------------------------------------------------------------- */

static void heads_are_compared(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    struct peer *a = peer_login(&k, "ann", 0);
    static const char *const rooms[] = {"room", "hall", "yard"};
    for (int i = 0; i < 3; i++)
        works(peer_ask(a, 3, "{\"name\":\"%s\"}", rooms[i]));
    struct said *x = NULL;
    for (int i = 0; i < 3; i++)
        x = say(rooms[i], "far", "one");
    kit_gate.calls[OP_CONV_LOAD] = 0;
    test_bus_reset(&kit_bus, x->n.conv);
    has(peer_push(a, 102), "\"channel\":\"yard\",\"seq\":1");
    gets_nothing(&k, a);
    assert_int_equal(kit_gate.calls[OP_CONV_LOAD], 1);
    test_bus_reset(&kit_bus, SLICE_NONE);
    test_bus_reset(&kit_bus, SLICE_NONE);
    for (int i = 0; i < 2; i++)
        has(peer_push(a, 102), "\"seq\":1");
    gets_nothing(&k, a);
    end_with(&k, a);
}

/* One that could not be followed is followed then, and what was missed is read. */
static void a_follow_that_comes_late(void **state)
{
    struct kit k;
    (void)state;
    struct peer *a = begin_in_room(&k);
    peer_close(a);
    kit_settle(&k);
    struct shard *s = kit_shard(&k, 0);
    kit_conv(&k, conv_key_channel(S("room")))->used_ms = 0;
    s->now_ms += 61000;
    convs_sweep(s);
    kit_settle(&k);
    kit_bus.hold = 1u << BUS_FOLLOW;
    a = peer_open(&k, 0);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"ann\"}");
    KIT_UNTIL(&k, test_bus_held(&kit_bus) == 1);
    test_bus_next(&kit_bus, STORE_RETRY);
    works(peer_answer(a, 1, seq));
    kit_bus.hold = 0;
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"one\"}"));
    gets(a, 1, "one");
    (void)say("room", "far", "two");
    test_bus_reset(&kit_bus, SLICE_NONE);
    gets(a, 2, "two");
    hear(say("room", "far", "three"));
    gets(a, 3, "three");
    assert_true(kit_conv(&k, conv_key_channel(S("room")))->followed);
    end_with(&k, a);
}

/* The user joins by a connection to another node: here it is owed what is stored before the channel is followed. */
static void a_member_by_news(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    const char *ann = kit_id(&k, "ann", 0);
    struct peer *a = peer_login(&k, ann, 0);
    struct conv_key key = conv_key_channel(S("room"));
    struct store_member_put put = {.conv = conv_key_slice(&key), .user = S(ann), .may_create = true};
    OTHER(store_member_put, &put);
    (void)say("room", "far", "before");
    kit_bus.hold = 1u << BUS_FOLLOW;
    user_copy(kit_shard(&k, 0), kit_user(&k, ann))->version = 5; /* which the store in memory does not count */
    const struct bus_news n = {.kind = NEWS_MEMBER,
                               .change = MEMBER_JOINED + 1,
                               .members = 1,
                               .version = 6,
                               .seq = 1,
                               .conv = conv_key_slice(&key),
                               .user = S(ann)};
    test_bus_hear(&kit_bus, &n);
    has(peer_push(a, 112), "joined");
    KIT_UNTIL(&k, test_bus_held(&kit_bus) == 1);
    (void)say("room", "far", "between");
    struct said *three = say("room", "far", "three");
    test_bus_open(&kit_bus);
    hear(three);
    gets(a, 2, "between");
    gets(a, 3, "three");
    gets_nothing(&k, a);
    end_with(&k, a);
}

/* A double fault has taken messages that were pushed: the numbers go on above them, and nothing stands still. */
static void a_head_below_what_was_heard(void **state)
{
    struct kit k;
    (void)state;
    struct peer *a = begin_in_room(&k);
    struct said *one = say("room", "far", "one");
    hear(one);
    struct said lost = *one;
    for (unsigned i = 2; i <= 5; i++) {
        lost.n.seq = i;
        hear(&lost);
    }
    for (unsigned i = 1; i <= 5; i++)
        gets(a, i, "one");
    test_bus_reset(&kit_bus, SLICE_NONE);
    KIT_UNTIL(&k, heard_of(&k, "room")->messages.number == 1);
    lost.n.seq = 6;
    hear(&lost);
    gets(a, 6, "one");
    gets_nothing(&k, a);
    end_with(&k, a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_by_version),
        cmocka_unit_test(own_members_between_others),
        cmocka_unit_test(a_channel_is_closed_elsewhere),
        cmocka_unit_test(a_pair),
        cmocka_unit_test(a_pair_that_was_away),
        cmocka_unit_test(nudges),
        cmocka_unit_test(arrivals_reach_the_receiver),
        cmocka_unit_test(changes_in_a_pair),
        cmocka_unit_test(the_store_checks),
        cmocka_unit_test(heads_are_compared),
        cmocka_unit_test(a_follow_that_comes_late),
        cmocka_unit_test(a_member_by_news),
        cmocka_unit_test(a_head_below_what_was_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
