/* A node's users, whom other nodes change too: what it makes of news, and of numbers that show what it was not told.
 * The test is the other nodes (news_kit.h). */
#include "roam_kit.h"

/* --- Memberships -------------------------------------------------------------------------------------------------- */

static void memberships_are_followed(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *a = comes(&k, ann);
    uint32_t loads = kit_gate.calls[OP_USER_LOAD];
    other_joins(ann, "room");
    hear_membership(ann, 6, "room", false, MEMBER_JOINED);
    const char *push = peer_push(a, 112);
    has(push, "\"change\":\"joined\"");
    has(push, "\"members\":7");
    kit_settle(&k);
    assert_int_equal(told_times("follow room"), 1);
    hear(say("room", "far", "hello"));
    gets(a, 1, "hello");
    /* The same once more, and an older one. */
    hear_membership(ann, 6, "room", false, MEMBER_JOINED);
    hear_membership(ann, 3, "room", true, MEMBER_LEFT);
    gets_nothing(&k, a);
    hear(say("room", "far", "still here"));
    gets(a, 2, "still here");
    hear_membership(ann, 7, "room", true, MEMBER_KICKED);
    has(peer_push(a, 112), "\"change\":\"kicked\"");
    hear(say("room", "far", "gone"));
    gets_nothing(&k, a);
    assert_int_equal(kit_gate.calls[OP_USER_LOAD], loads);
    peer_close(a);
    kit_end(&k);
}

/* A version is missing: all is read, and what is different is told. */
static void what_was_missed_is_read(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *a = comes(&k, ann);
    hear_membership(ann, 6, "room", false, MEMBER_JOINED); /* which the store does not know of any more */
    has(peer_push(a, 112), "room");
    other_joins(ann, "hall");
    of_version(9, 0);
    hear_membership(ann, 9, "other", true, MEMBER_KICKED);
    for (int i = 0; i < 3; i++) { /* in no order */
        const char *push = peer_push(a, 112);
        if (strstr(push, "hall")) {
            has(push, "joined");
            has(push, "\"members\":1");
        } else if (strstr(push, "other")) { /* which was told, so that it is known how */
            has(push, "kicked");
            has(push, "\"members\":7");
        } else {
            has(push, "room");
            has(push, "left");
        }
    }
    gets_nothing(&k, a);
    assert_int_equal(copy_of(&k, ann)->version, 9);
    hear(say("hall", "far", "hello"));
    gets(a, 1, "hello");
    peer_close(a);
    kit_end(&k);
}

/* News that are older than what this node itself has changed undo nothing. */
static void own_changes_are_not_undone(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *a = comes(&k, "ann");
    kit_gate.changed = 7;
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    hear_membership("ann", 6, "room", true, MEMBER_LEFT);
    of_version(7, 0);
    gets_nothing(&k, a);
    assert_int_equal(copy_of(&k, "ann")->version, 7);
    hear(say("room", "far", "hello"));
    gets(a, 1, "hello");
    /* One that comes while it is being read: once more. */
    gate_hold(OP_USER_LOAD);
    hear_membership("ann", 9, "room", true, MEMBER_LEFT);
    kit_settle(&k);
    kit_gate.gate[OP_USER_LOAD] = GATE_OPEN;
    works(peer_ask(a, 3, "{\"name\":\"hall\"}"));
    of_version(9, 0);
    uint32_t loads = kit_gate.calls[OP_USER_LOAD];
    gate_next(STORE_OK); /* version 7, without the hall */
    gets_nothing(&k, a);
    assert_int_equal(kit_gate.calls[OP_USER_LOAD], loads + 1);
    hear(say("hall", "far", "hello"));
    gets(a, 1, "hello");
    peer_close(a);
    kit_end(&k);
}

static void names_and_tokens_are_followed(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *a = comes(&k, "ann");
    test_bus_hear(&kit_bus, &(struct bus_news){.kind = NEWS_USER, .user = S("ann"), .version = 6, .name = S("Anna")});
    kit_settle(&k);
    const struct user *u = user_at(kit_shard(&k, 0), kit_user(&k, "ann"));
    assert_true(slice_eq(user_name(u), S("Anna")));
    test_bus_hear(&kit_bus,
                  &(struct bus_news){.kind = NEWS_USER, .user = S("ann"), .version = 7, .name = S("Anna"), .epoch = 4});
    kit_settle(&k);
    assert_int_equal(u->epoch, 4);
    works(peer_ask(a, 9, "{}")); /* connections stay: an order closes them */
    test_bus_hear(&kit_bus,
                  &(struct bus_news){.kind = NEWS_USER, .user = S("nobody"), .version = 7, .name = S("x"), .epoch = 4});
    gets_nothing(&k, a);
    peer_close(a);
    kit_end(&k);
}

/* An order takes the membership away before the news of it come, and these find a version missing. */
static void a_kick_is_told_once_whatever_comes_first(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *a = comes(&k, "ann");
    kit_gate.changed = 6;
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(a, 3, "{\"name\":\"room\",\"push\":\"none\"}"));
    assert_int_equal(copy_of(&k, "ann")->version, 6);
    assert_false(copy_of(&k, "ann")->changed);
    kit_gate.changed = STORE_VERSION_UNKNOWN;
    works(peer_ask(a, 3, "{\"name\":\"hall\"}"));
    struct conv_key key = conv_key_channel(S("room"));
    struct store_member_del del = {.conv = conv_key_slice(&key), .user = S("ann")};
    OTHER(store_member_del, &del);
    struct bus_order o = {.kind = ORDER_REMOVE, .user = S("ann"), .body = S("room")};
    test_bus_tell(&kit_bus, &o);
    of_version(8, 0);
    hear_membership("ann", 8, "room", true, MEMBER_KICKED);
    has(peer_push(a, 112), "\"change\":\"kicked\"");
    hear_membership("ann", 8, "room", true, MEMBER_KICKED);
    gets_nothing(&k, a);
    hear_membership("ann", 9, "hall", true, MEMBER_BANNED); /* and the next one needs no reading */
    has(peer_push(a, 112), "\"change\":\"banned\"");
    /* The store has lost what was heard of: what it has counts. */
    of_version(7, 0);
    hear_membership("ann", 11, "hall", false, MEMBER_LEFT);
    KIT_UNTIL(&k, copy_of(&k, "ann")->version == 7);
    kit_settle(&k);
    /* News that are heard while the user goes. */
    gate_hold(OP_USER_LOAD);
    hear_membership("ann", 12, "hall", false, MEMBER_JOINED);
    kit_settle(&k);
    peer_close(a);
    kit_settle(&k);
    gate_open(OP_USER_LOAD);
    kit_end(&k);
}

/* --- Logins ------------------------------------------------------------------------------------------------------- */

/* What was changed between the load and the moment from which on this node is told. */
static void a_login_knows_what_came_meanwhile(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    peer_close(comes(&k, ann)); /* it exists */
    kit_settle(&k);
    bus_hold(BUS_SESSION_PUT);
    struct peer *a = peer_open(&k, 0);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"%s\"}", ann);
    kit_settle(&k);
    other_joins(ann, "room");
    say_to(ann, "far", "hello");
    of_version(6, 1);
    uint32_t loads = kit_gate.calls[OP_USER_LOAD];
    test_bus_open(&kit_bus);
    has(peer_answer(a, 1, seq), "\"inbox\":1");
    has(peer_push(a, 103), "1");
    assert_int_equal(kit_gate.calls[OP_USER_LOAD], loads + 1);
    hear(say("room", "far", "hi"));
    gets(a, 1, "hi");
    /* Nothing has changed: it is not read twice. */
    loads = kit_gate.calls[OP_USER_LOAD];
    struct peer *b = peer_login(&k, ann, 0);
    assert_int_equal(kit_gate.calls[OP_USER_LOAD], loads + 1);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* Deleted on another node, after it was loaded. */
static void a_login_of_who_is_deleted_meanwhile(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *first = comes(&k, "ann"), *a = peer_open(&k, 0);
    bus_hold(BUS_SESSION_PUT);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"ann\"}");
    kit_settle(&k);
    of_version(6, 0);
    gate_fail(OP_USER_LOAD, STORE_NOTFOUND);
    test_bus_open(&kit_bus);
    fails(peer_answer(a, 1, seq), "unauthorized");
    kit_gate.gate[OP_USER_LOAD] = GATE_OPEN;
    peer_close(first);
    peer_close(a);
    kit_end(&k);
}

/* Two nodes make the same user at once: the one that is late finds it made. */
static void a_user_that_another_node_has_made(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *a = peer_open(&k, 0);
    gate_hold(OP_USER_SAVE);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"ann\"}");
    kit_settle(&k);
    struct store_user_save q = {.id = S("ann"), .name = S("Ann of the other"), .create = true};
    OTHER(store_user_save, &q);
    assert_int_equal(q.op.status, STORE_OK);
    gate_open(OP_USER_SAVE);
    has(peer_answer(a, 1, seq), "Ann of the other");
    peer_close(a);
    kit_end(&k);
}

/* A guest whose time has come, and who is connected to another node, stays. */
static void guests_elsewhere_stay(void **state)
{
    struct kit k;
    char id[64];
    (void)state;
    kit_open(&k, 1);
    k.clustered = true;
    strcpy(k.opt.auth_mode, "open");
    k.opt.guest_ms = 1000;
    kit_start(&k);
    struct peer *a = peer_open(&k, 0);
    assert_int_equal(sscanf(peer_ask(a, 1, "{\"name\":\"Ann\"}"), "{\"id\":\"%63[^\"]\"", id), 1);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    peer_close(a);
    kit_settle(&k);
    char online[70], line[80];
    snprintf(online, sizeof online, " %s ", id);
    snprintf(line, sizeof line, "presence %s", id);
    kit_bus.online = online;
    told_times("");
    unsigned asked = 0;
    KIT_UNTIL(&k, (asked += told_times(line)) >= 2);
    assert_true(is_member(id, "room"));
    assert_int_equal(kit_gate.calls[OP_USER_FORGET], 0);
    kit_bus.online = NULL;
    KIT_UNTIL(&k, kit_gate.calls[OP_USER_FORGET] == 1);
    kit_settle(&k);
    assert_false(is_member(id, "room"));
    kit_end(&k);
}

/* A guest whose token is used on another node is none any more, and is not made one when it leaves this one. */
static void a_guest_who_comes_back_elsewhere(void **state)
{
    struct kit k;
    char id[64];
    (void)state;
    kit_open(&k, 1);
    k.clustered = true;
    strcpy(k.opt.auth_mode, "open");
    k.opt.guest_ms = 600000;
    kit_start(&k);
    of_version(5, 0);
    kit_gate.changed = 5;
    struct peer *a = peer_open(&k, 0);
    assert_int_equal(sscanf(peer_ask(a, 1, "{\"name\":\"Ann\"}"), "{\"id\":\"%63[^\"]\"", id), 1);
    kit_settle(&k);
    struct store_user_save q = {.id = S(id), .name = S("Ann")};
    OTHER(store_user_save, &q);
    of_version(6, 0);
    uint32_t saves = kit_gate.calls[OP_USER_SAVE], loads = kit_gate.calls[OP_USER_LOAD];
    test_bus_hear(&kit_bus, &(struct bus_news){.kind = NEWS_USER, .user = S(id), .version = 6, .name = S("Ann")});
    kit_settle(&k);
    assert_int_equal(kit_gate.calls[OP_USER_LOAD], loads + 1);
    assert_false(user_at(kit_shard(&k, 0), kit_user(&k, id))->guest);
    peer_close(a);
    kit_settle(&k);
    assert_int_equal(kit_gate.calls[OP_USER_SAVE], saves);
    kit_end(&k);
}

/* --- Arrivals ----------------------------------------------------------------------------------------------------- */

static void no_arrival_is_pushed_twice(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *a = comes(&k, ann);
    struct said *one = say_to(ann, "far", "one"), *two = say_to(ann, "other", "two");
    hear_private(two, 2);
    has(peer_push(a, 101), "two");
    hear_private(one, 1);
    has(peer_push(a, 101), "one");
    hear_nudge(one, 1);
    hear_nudge(two, 2);
    gets_nothing(&k, a);
    pass(&k, 2 * COPY_LATE_MS);
    gets_nothing(&k, a); /* none is missing */
    peer_close(a);
    kit_end(&k);
}

static void a_missing_arrival_is_told_of(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *a = comes(&k, ann);
    say_to(ann, "far", "lost");
    struct said *two = say_to(ann, "other", "two");
    of_version(5, 2);
    hear_private(two, 2);
    has(peer_push(a, 101), "two");
    gets_nothing(&k, a);
    pass(&k, 2 * COPY_LATE_MS);
    assert_string_equal(peer_push(a, 103), "{\"inbox\":2}");
    pass(&k, 2 * COPY_LATE_MS);
    gets_nothing(&k, a); /* once */
    /* So far behind that it is out of sight. */
    of_version(5, 200);
    hear_private(say_to(ann, "other", "late"), 200);
    has(peer_push(a, 101), "late");
    pass(&k, 2 * COPY_LATE_MS);
    assert_string_equal(peer_push(a, 103), "{\"inbox\":3}");
    /* The store cannot tell at first. */
    of_version(5, 203);
    hear_private(say_to(ann, "other", "again"), 203);
    has(peer_push(a, 101), "again");
    gate_fail(OP_USER_LOAD, STORE_RETRY);
    pass(&k, 2 * COPY_LATE_MS);
    gets_nothing(&k, a);
    kit_gate.gate[OP_USER_LOAD] = GATE_OPEN;
    pass(&k, 2 * COPY_LATE_MS);
    assert_string_equal(peer_push(a, 103), "{\"inbox\":4}");
    peer_close(a);
    kit_end(&k);
}

/* Nothing is asked for of who has gone meanwhile. */
static void who_has_gone_waits_for_nothing(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *a = comes(&k, ann);
    say_to(ann, "far", "lost");
    of_version(5, 2);
    hear_private(say_to(ann, "other", "two"), 2);
    has(peer_push(a, 101), "two");
    uint32_t loads = kit_gate.calls[OP_USER_LOAD];
    peer_close(a);
    KIT_UNTIL(&k, kit_user(&k, ann) == NONE);
    pass(&k, 2 * COPY_LATE_MS);
    assert_int_equal(kit_gate.calls[OP_USER_LOAD], loads);
    kit_end(&k);
}

/* The window by itself, against a plain list. */
static void arrivals_at_random(void **state)
{
    enum { N = 4000 };
    struct kit k;
    static bool heard[N + 100];
    (void)state;
    begin(&k, 1);
    struct peer *a = comes(&k, "ann");
    struct shard *s = kit_shard(&k, 0);
    uint32_t user = kit_user(&k, "ann");
    uint64_t top = 0;
    srand(7);
    for (unsigned i = 0; i < N; i++) {
        uint64_t n = 1 + (uint64_t)(i + (unsigned)rand() % 60);
        bool fresh = !heard[n] && (n > top || top - n < 64);
        assert_int_equal(arrival_heard(s, user, n), fresh);
        heard[n] = true;
        top = n > top ? n : top;
    }
    peer_close(a);
    kit_end(&k);
}

/* --- Read elsewhere ----------------------------------------------------------------------------------------------- */

static void marks_and_acknowledgements_are_told(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *a = comes(&k, ann);
    struct conv_key room = conv_key_channel(S("room")), pair = conv_key_pair(S(ann), S("far"));
    test_bus_hear(&kit_bus,
                  &(struct bus_news){.kind = NEWS_READ, .user = S(ann), .conv = conv_key_slice(&room), .seq = 3});
    assert_string_equal(peer_push(a, 108), "{\"channel\":\"room\",\"seq\":3}");
    test_bus_hear(&kit_bus,
                  &(struct bus_news){.kind = NEWS_READ, .user = S(ann), .conv = conv_key_slice(&pair), .seq = 4});
    assert_string_equal(peer_push(a, 108), "{\"peerId\":\"far\",\"seq\":4}");
    test_bus_hear(&kit_bus, &(struct bus_news){.kind = NEWS_INBOX, .user = S(ann), .count = 2});
    assert_string_equal(peer_push(a, 108), "{\"inbox\":2}");
    test_bus_hear(&kit_bus, &(struct bus_news){.kind = NEWS_INBOX, .user = S("nobody"), .count = 2});
    gets_nothing(&k, a);
    peer_close(a);
    kit_end(&k);
}

/* --- Presence ----------------------------------------------------------------------------------------------------- */

static void watched_users_are_elsewhere_too(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 0), *bob = kit_id(&k, "bob", 1);
    char body[120], on[120], off[120];
    snprintf(on, sizeof on, "{\"id\":\"%s\",\"online\":true}", bob);
    snprintf(off, sizeof off, "{\"id\":\"%s\",\"online\":false}", bob);
    struct peer *b = comes(&k, bob);
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    peer_close(b);
    struct peer *a = comes(&k, ann);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    kit_settle(&k);
    told_times("");
    /* The answer waits for what the bus says. */
    kit_bus.watched_online = true;
    kit_bus.changes = 10;
    bus_hold(BUS_WATCH);
    uint16_t seq = peer_put(a, 18, "{\"ids\":[\"%s\"],\"watch\":true}", bob);
    gets_nothing(&k, a);
    snprintf(body, sizeof body, "watch %s", bob);
    assert_int_equal(told_times(body), 1);
    test_bus_open(&kit_bus);
    snprintf(body, sizeof body, "{\"online\":[\"%s\"]}", bob);
    assert_string_equal(peer_answer(a, 18, seq), body);
    /* An older change is none; the next one is told. */
    hear_presence(bob, 9, false);
    gets_nothing(&k, a);
    hear_presence(bob, 11, false);
    assert_string_equal(peer_push(a, 111), off);
    /* Here, and then only there: nothing changes for who watches. */
    pass(&k, 3000);
    b = comes(&k, bob);
    assert_string_equal(peer_push(a, 111), on);
    hear_presence(bob, 12, true);
    peer_close(b);
    pass(&k, 3000);
    gets_nothing(&k, a);
    /* Its node dies: it is asked for. */
    told_times("");
    kit_bus.watched_online = false;
    kit_bus.changes = 12;
    test_bus_event(&kit_bus, BUS_NODE_DEAD, FAR);
    kit_settle(&k);
    pass(&k, 3000);
    assert_string_equal(peer_push(a, 111), off);
    snprintf(body, sizeof body, "watch %s", bob);
    assert_int_equal(told_times(body), 1);
    /* The last one to watch goes. */
    peer_close(a);
    kit_settle(&k);
    pass(&k, 3000);
    snprintf(body, sizeof body, "watch %s off", bob);
    assert_int_equal(told_times(body), 1);
    kit_end(&k);
}

/* It is not known: it counts as offline, and is asked again. */
static void a_watch_that_the_bus_cannot_answer(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *b = comes(&k, "bob");
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    peer_close(b);
    struct peer *a = comes(&k, "ann");
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    kit_settle(&k);
    kit_bus.watched_online = true;
    kit_bus.changes = 10;
    bus_hold(BUS_WATCH);
    uint16_t seq = peer_put(a, 18, "{\"ids\":[\"bob\"],\"watch\":true}");
    kit_settle(&k);
    test_bus_next(&kit_bus, STORE_RETRY);
    assert_string_equal(peer_answer(a, 18, seq), "{\"online\":[]}");
    pass(&k, 300);
    test_bus_open(&kit_bus);
    assert_string_equal(peer_push(a, 111), "{\"id\":\"bob\",\"online\":true}");
    /* One that goes while it waits for the answer. */
    struct peer *c = comes(&k, "cat");
    works(peer_ask(c, 3, "{\"name\":\"room\"}"));
    bus_hold(BUS_WATCH);
    peer_put(c, 18, "{\"ids\":[\"cat\",\"ann\"],\"watch\":true}");
    kit_settle(&k);
    peer_reset(c);
    kit_settle(&k);
    test_bus_open(&kit_bus);
    peer_close(a);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memberships_are_followed),
        cmocka_unit_test(what_was_missed_is_read),
        cmocka_unit_test(own_changes_are_not_undone),
        cmocka_unit_test(a_kick_is_told_once_whatever_comes_first),
        cmocka_unit_test(names_and_tokens_are_followed),
        cmocka_unit_test(a_login_knows_what_came_meanwhile),
        cmocka_unit_test(a_login_of_who_is_deleted_meanwhile),
        cmocka_unit_test(a_user_that_another_node_has_made),
        cmocka_unit_test(guests_elsewhere_stay),
        cmocka_unit_test(a_guest_who_comes_back_elsewhere),
        cmocka_unit_test(no_arrival_is_pushed_twice),
        cmocka_unit_test(a_missing_arrival_is_told_of),
        cmocka_unit_test(who_has_gone_waits_for_nothing),
        cmocka_unit_test(arrivals_at_random),
        cmocka_unit_test(marks_and_acknowledgements_are_told),
        cmocka_unit_test(watched_users_are_elsewhere_too),
        cmocka_unit_test(a_watch_that_the_bus_cannot_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
