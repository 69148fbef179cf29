/* A user that is read anew on a node while others go on changing it: nothing of what they do is lost, or undone. */
#include "roam_kit.h"

static void other_leaves(const char *id, const char *channel)
{
    struct conv_key key = conv_key_channel(S(channel));
    struct store_member_del q = {.conv = conv_key_slice(&key), .user = S(id)};
    OTHER(store_member_del, &q);
    assert_int_equal(q.op.status, STORE_OK);
}

/* Another node makes ann a member of that many channels, a version each; the store has read her before each. */
static void joins_one_by_one(struct kit *k, struct peer *a, uint64_t version, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char channel[16];
        snprintf(channel, sizeof channel, "room%u", i);
        if (i)
            KIT_UNTIL(k, gate_store_held(&kit_gate) == 1 || copy_of(k, "ann")->version == version + i - 1);
        other_joins("ann", channel);
        of_version(version + i, kit_gate.arrivals);
        hear_membership("ann", version + i, channel, false, MEMBER_JOINED);
        kit_settle(k);
        if (i && gate_store_held(&kit_gate))
            gate_next(STORE_OK);
        kit_settle(k);
    }
    gate_open(OP_USER_LOAD);
    KIT_UNTIL(k, copy_of(k, "ann")->version == version + n - 1);
    kit_settle(k);
    while (peer_left(a))
        (void)peer_wait(a, -1, -1);
    for (unsigned i = 0; i < n; i++) {
        char channel[16];
        snprintf(channel, sizeof channel, "room%u", i);
        hear(say(channel, "far", "hello"));
        gets(a, 1, "hello");
    }
}

/* The first of them shows that something was missed; each of the others comes while the user is being read. */
static void news_come_with_each_reading(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *a = comes(&k, "ann");
    kit_gate.gate[OP_USER_LOAD] = GATE_LATE;
    joins_one_by_one(&k, a, 7, 4);
    peer_close(a);
    kit_end(&k);
}

/* A message is missing, so the user is read, to which nothing is new: what comes meanwhile stays. */
static void changes_come_with_each_reading(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *a = comes(&k, "ann");
    (void)say_to("ann", "far", "lost");
    of_version(5, 2);
    hear_private(say_to("ann", "far", "two"), 2);
    kit_gate.gate[OP_USER_LOAD] = GATE_LATE;
    pass(&k, 2 * COPY_LATE_MS);
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1);
    joins_one_by_one(&k, a, 6, 4);
    peer_close(a);
    kit_end(&k);
}

/* What has arrived after a reading is pushed though it comes late; what it has counted is told of. */
static void arrivals_come_with_the_reading(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *a = comes(&k, "ann");
    (void)say_to("ann", "far", "one");
    of_version(5, 2);
    hear_private(say_to("ann", "far", "two"), 2);
    has(peer_push(a, 101), "two");
    kit_gate.gate[OP_USER_LOAD] = GATE_LATE;
    pass(&k, 2 * COPY_LATE_MS);
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1);
    struct said *three = say_to("ann", "other", "three"), *four = say_to("ann", "more", "four");
    hear_private(four, 4);
    has(peer_push(a, 101), "four");
    gate_open(OP_USER_LOAD);
    assert_string_equal(peer_push(a, 103), "{\"inbox\":2}");
    hear_private(three, 3);
    has(peer_push(a, 101), "three");
    of_version(5, 4);
    pass(&k, 2 * COPY_LATE_MS);
    gets_nothing(&k, a);
    peer_close(a);
    kit_end(&k);
}

/* Somebody else subscribes to the same channels just then. */
static void while_another_subscribes(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *a = comes(&k, "ann"), *b = peer_login(&k, "bob", 0), *c = peer_login(&k, "cat", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    of_version(5, 0);
    copy_begin(kit_shard(&k, 0), kit_user(&k, "ann"), 5);
    gate_hold(OP_MEMBER_PUT);
    uint16_t room = peer_put(b, 3, "{\"name\":\"room\"}"), hall = peer_put(c, 3, "{\"name\":\"hall\"}");
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 2);
    other_joins("ann", "hall");
    other_leaves("ann", "room");
    of_version(9, 0);
    hear_membership("ann", 9, "hall", false, MEMBER_JOINED);
    const char *one = peer_push(a, 112), *two = peer_push(a, 112);
    assert_true((strstr(one, "left") && strstr(two, "joined")) || (strstr(one, "joined") && strstr(two, "left")));
    gate_open(OP_MEMBER_PUT);
    works(peer_answer(b, 3, room));
    works(peer_answer(c, 3, hall));
    hear(say("room", "far", "not for her"));
    hear(say("hall", "far", "for her"));
    gets(a, 1, "for her");
    gets_nothing(&k, a);
    peer_close(a);
    peer_close(b);
    peer_close(c);
    kit_end(&k);
}

/* The user's own subscription is under way, which another node has made meanwhile, too. */
static void while_it_subscribes_itself(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *a = comes(&k, "ann");
    gate_hold(OP_MEMBER_PUT);
    uint16_t seq = peer_put(a, 3, "{\"name\":\"room\"}");
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1);
    other_joins("ann", "room");
    other_joins("ann", "hall");
    of_version(9, 0);
    hear_membership("ann", 9, "hall", false, MEMBER_JOINED);
    has(peer_push(a, 112), "hall");
    gets_nothing(&k, a);
    assert_true(copy_of(&k, "ann")->changed);
    gate_open(OP_MEMBER_PUT);
    works(peer_answer(a, 3, seq));
    hear(say("room", "far", "hello"));
    gets(a, 1, "hello");
    pass(&k, 2 * COPY_LATE_MS);
    KIT_UNTIL(&k, !copy_of(&k, "ann")->changed);
    gets_nothing(&k, a);
    peer_close(a);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(news_come_with_each_reading),    cmocka_unit_test(changes_come_with_each_reading),
        cmocka_unit_test(arrivals_come_with_the_reading), cmocka_unit_test(while_another_subscribes),
        cmocka_unit_test(while_it_subscribes_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
