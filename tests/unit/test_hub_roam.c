/* A node's users, whom other nodes change too: what it makes of news, of numbers that show what it was not told, and of
 * its own burial. The test is the other nodes (news_kit.h). */
#include "news_kit.h"

#include "core/hub/act/resync.h"
#include "core/hub/host/ban_change.h"
#include "core/hub/people/ban.h"
#include "core/hub/people/copy.h"
#include "core/hub/people/watch.h"

/* The user is of this version, with so many arrivals, wherever it is asked for. */
static void of_version(uint64_t version, uint64_t arrivals)
{
    kit_gate.version = kit_bus.version = version;
    kit_gate.arrivals = kit_bus.arrivals = arrivals;
}

static void begin(struct kit *k, unsigned shards)
{
    open_cluster(k, shards);
    of_version(5, 0);
}

static void bus_hold(enum bus_op_kind kind)
{
    kit_bus.hold |= 1u << kind;
}

/* How many operations of the bus, since the last call, begin so; all of them are passed over. */
static unsigned told(const char *what)
{
    unsigned n = 0;
    for (const char *line = test_bus_line(&kit_bus); line[0]; line = test_bus_line(&kit_bus))
        n += strncmp(line, what, strlen(what)) == 0;
    return n;
}

/* Logs in, so that what is known here of the user is its newest version. */
static struct peer *newcomer(struct kit *k, const char *id)
{
    struct peer *p = peer_login(k, id, 0);
    kit_settle(k);
    told("");
    return p;
}

static struct user_copy *copy_of(const struct kit *k, const char *id)
{
    return user_copy(shard_of(k->hub, S(id)), kit_user(k, id));
}

/* As when so much time has passed, for what a node does by itself. */
static void pass(struct kit *k, uint64_t ms)
{
    for (unsigned i = 0; i < k->shards; i++) {
        struct shard *s = kit_shard(k, i);
        s->now_ms += ms;
        resync_tick(s);
        watch_tick(s);
    }
    kit_settle(k);
}

/* --- Other nodes' work in the store ------------------------------------------------------------------------------- */

static void other_joins(const char *id, const char *channel)
{
    struct conv_key key = conv_key_channel(S(channel));
    struct store_member_put q = {.conv = conv_key_slice(&key), .user = S(id), .may_create = true};
    OTHER(store_member_put, &q);
    assert_int_equal(q.op.status, STORE_OK);
}

static bool is_member(const char *id, const char *channel)
{
    struct store_user_load q = {.id = S(id)};
    bool found = false;
    OTHER(store_user_load, &q);
    for (uint32_t i = 0; i < q.subscription_count; i++)
        found |= slice_eq(q.subscriptions[i].channel, S(channel));
    store_user_load_free(&q);
    return found;
}

static void hear_membership(const char *id, uint64_t version, const char *channel, bool gone, int change)
{
    struct conv_key key = conv_key_channel(S(channel));
    struct bus_news n = {.kind = NEWS_MEMBER,
                         .gone = gone,
                         .change = (uint8_t)(change + 1),
                         .push = MODE_ALL,
                         .members = 7,
                         .version = version,
                         .conv = conv_key_slice(&key),
                         .user = S(id)};
    test_bus_hear(&kit_bus, &n);
}

/* --- Memberships -------------------------------------------------------------------------------------------------- */

static void memberships_are_followed(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *a = newcomer(&k, ann);
    uint32_t loads = kit_gate.calls[OP_USER_LOAD];
    other_joins(ann, "room");
    hear_membership(ann, 6, "room", false, MEMBER_JOINED);
    const char *push = peer_push(a, 112);
    has(push, "\"change\":\"joined\"");
    has(push, "\"members\":7");
    kit_settle(&k);
    assert_int_equal(told("follow room"), 1);
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
    struct peer *a = newcomer(&k, ann);
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
    struct peer *a = newcomer(&k, "ann");
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
    struct peer *a = newcomer(&k, "ann");
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
    struct peer *a = newcomer(&k, "ann");
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
    peer_close(newcomer(&k, ann)); /* it exists */
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
    struct peer *first = newcomer(&k, "ann"), *a = peer_open(&k, 0);
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
    told("");
    unsigned asked = 0;
    KIT_UNTIL(&k, (asked += told(line)) >= 2);
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

static void hear_private(struct said *x, uint64_t arrival)
{
    x->n.arrival = arrival;
    hear(x);
}

static void no_arrival_is_pushed_twice(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *a = newcomer(&k, ann);
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
    struct peer *a = newcomer(&k, ann);
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
    struct peer *a = newcomer(&k, ann);
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
    struct peer *a = newcomer(&k, "ann");
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
    struct peer *a = newcomer(&k, ann);
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

static void hear_presence(const char *id, uint64_t changes, bool online)
{
    test_bus_hear(&kit_bus,
                  &(struct bus_news){.kind = NEWS_PRESENCE, .user = S(id), .version = changes, .online = online});
}

static void watched_users_are_elsewhere_too(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 0), *bob = kit_id(&k, "bob", 1);
    char body[120], on[120], off[120];
    snprintf(on, sizeof on, "{\"id\":\"%s\",\"online\":true}", bob);
    snprintf(off, sizeof off, "{\"id\":\"%s\",\"online\":false}", bob);
    struct peer *b = newcomer(&k, bob);
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    peer_close(b);
    struct peer *a = newcomer(&k, ann);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    kit_settle(&k);
    told("");
    /* The answer waits for what the bus says. */
    kit_bus.watched_online = true;
    kit_bus.changes = 10;
    bus_hold(BUS_WATCH);
    uint16_t seq = peer_put(a, 18, "{\"ids\":[\"%s\"],\"watch\":true}", bob);
    gets_nothing(&k, a);
    snprintf(body, sizeof body, "watch %s", bob);
    assert_int_equal(told(body), 1);
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
    b = newcomer(&k, bob);
    assert_string_equal(peer_push(a, 111), on);
    hear_presence(bob, 12, true);
    peer_close(b);
    pass(&k, 3000);
    gets_nothing(&k, a);
    /* Its node dies: it is asked for. */
    told("");
    kit_bus.watched_online = false;
    kit_bus.changes = 12;
    test_bus_event(&kit_bus, BUS_NODE_DEAD, FAR);
    kit_settle(&k);
    pass(&k, 3000);
    assert_string_equal(peer_push(a, 111), off);
    snprintf(body, sizeof body, "watch %s", bob);
    assert_int_equal(told(body), 1);
    /* The last one to watch goes. */
    peer_close(a);
    kit_settle(&k);
    pass(&k, 3000);
    snprintf(body, sizeof body, "watch %s off", bob);
    assert_int_equal(told(body), 1);
    kit_end(&k);
}

/* It is not known: it counts as offline, and is asked again. */
static void a_watch_that_the_bus_cannot_answer(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *b = newcomer(&k, "bob");
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    peer_close(b);
    struct peer *a = newcomer(&k, "ann");
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
    struct peer *c = newcomer(&k, "cat");
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

/* --- Bans --------------------------------------------------------------------------------------------------------- */

static struct bus_noted ban_note_of(enum ban_kind kind, const char *user, const char *ip, bool lift)
{
    static char key[4 + BAN_KEY_MAX], value[BAN_NOTE_MAX];
    struct ban_key k;
    assert_true(ban_key_make(&k, kind, S(user), S("room"), S(ip)));
    memcpy(key, "ban:", 4);
    memcpy(key + 4, k.p, k.n);
    size_t n = ban_note(&(struct ban_span){.until_ms = BAN_FOREVER}, S("spam"), value);
    return (struct bus_noted){.note = {slice_of(key, 4u + k.n), slice_of(value, lift ? 0 : n)}, .remove = lift};
}

static void hear_ban(struct kit *k, enum ban_kind kind, const char *user, const char *ip, bool lift)
{
    struct bus_noted n = ban_note_of(kind, user, ip, lift);
    uint32_t before = kit_bus.applied;
    test_bus_note(&kit_bus, &n);
    KIT_UNTIL(k, kit_bus.applied == before + 1);
}

static void bans_of_other_nodes_are_in_force(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    struct slice why;
    hear_ban(&k, BAN_USER, "bob", "", false);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(ban_user(kit_shard(&k, i), S("bob"), &why));
        assert_true(slice_eq(why, S("spam")));
    }
    hear_ban(&k, BAN_USER, "bob", "", true);
    assert_false(ban_user(kit_shard(&k, 1), S("bob"), NULL));
    struct peer *a = newcomer(&k, kit_id(&k, "ann", 1));
    hear_ban(&k, BAN_IP, "", "127.0.0.0/8", false);
    has(peer_push(a, 105), "spam");
    peer_end(a);
    peer_close(a);
    hear_ban(&k, BAN_IP, "", "127.0.0.0/8", true);
    /* Of a later version, which nobody can apply. */
    test_bus_note(&kit_bus, &(struct bus_noted){.note = {S("ban:9what"), S("ever")}});
    kit_settle(&k);
    assert_int_equal(kit_bus.applied, 5);
    /* Too much was missed: all that the store has, and no other. */
    hear_ban(&k, MUTE_USER, "old", "", false);
    struct bus_noted n = ban_note_of(MUTE_USER, "new", "", false);
    struct store_note_put put = {.note = n.note};
    OTHER(store_note_put, &put);
    test_bus_note(&kit_bus, &(struct bus_noted){.all = true});
    KIT_UNTIL(&k, kit_bus.applied == 7);
    for (unsigned i = 0; i < 2; i++) {
        assert_false(ban_muted(kit_shard(&k, i), S("old"), SLICE_NONE));
        assert_true(ban_muted(kit_shard(&k, i), S("new"), SLICE_NONE));
    }
    kit_end(&k);
}

/* Its own ban is told to a node too, in the order of all changes. */
static void a_nodes_own_ban(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    struct peer *a = newcomer(&k, "ann");
    kit_bus.echo = true;
    struct ban_change q = {.kind = MUTE_USER, .user = S("ann")};
    assert_int_equal(KIT_HOST(&k, ban_change, &q), CODE_OK);
    assert_true(ban_muted(kit_shard(&k, 1), S("ann"), SLICE_NONE));
    q = (struct ban_change){.kind = MUTE_USER, .user = S("ann"), .lift = true};
    assert_int_equal(KIT_HOST(&k, ban_change, &q), CODE_OK);
    assert_false(ban_muted(kit_shard(&k, 1), S("ann"), SLICE_NONE));
    q = (struct ban_change){.kind = MUTE_USER, .user = S("ann"), .lift = true};
    assert_int_equal(KIT_HOST(&k, ban_change, &q), CODE_NOT_FOUND);
    assert_int_equal(kit_bus.applied, 3);
    peer_close(a);
    kit_end(&k);
}

/* A ban that comes while the store makes somebody a member. */
static void a_join_under_a_ban_is_undone(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *a = newcomer(&k, "ann"), *b = newcomer(&k, "bob");
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    kit_gate.gate[OP_MEMBER_PUT] = GATE_LATE;
    uint16_t seq = peer_put(a, 3, "{\"name\":\"room\"}");
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1);
    hear_ban(&k, BAN_MEMBER, "ann", "", false);
    gate_open(OP_MEMBER_PUT);
    fails(peer_answer(a, 3, seq), "forbidden");
    assert_false(is_member("ann", "room"));
    works(peer_ask(b, 4, "{\"channel\":\"room\",\"content\":\"x\"}"));
    gets_nothing(&k, a);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* --- Leaving ------------------------------------------------------------------------------------------------------ */

static void leaving_waits_for_other_nodes(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    struct peer *a = newcomer(&k, kit_id(&k, "ann", 0));
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    other_joins("bob", "room"); /* so that it stays */
    bus_hold(BUS_ORDER);
    for (int i = 0; i < 2; i++) {
        uint16_t seq = peer_put(a, 6, "{\"name\":\"room\"}");
        gets_nothing(&k, a);
        assert_int_equal(told("order remove"), 1);
        test_bus_next(&kit_bus, i ? STORE_RETRY : STORE_OK);
        works(peer_answer(a, 6, seq));
        kit_settle(&k);
        if (!i)
            works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    }
    works(peer_ask(a, 3, "{\"name\":\"other\"}"));
    works(peer_ask(a, 6, "{\"name\":\"room\"}")); /* who is no member leaves nothing */
    assert_int_equal(told("order"), 0);
    peer_close(a);
    kit_end(&k);
}

/* --- Announcements ------------------------------------------------------------------------------------------------ */

static void announcements_reach_all_nodes(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    struct peer *a = newcomer(&k, kit_id(&k, "ann", 0)), *b = newcomer(&k, kit_id(&k, "bob", 1));
    kit_bus.echo = true;
    assert_int_equal(host_announce(k.hub, NULL, S("hear ye")), 0);
    has(peer_push(a, 106), "hear ye");
    has(peer_push(b, 106), "hear ye");
    gets_nothing(&k, a); /* its own is not told twice */
    gets_nothing(&k, b);
    assert_int_equal(kit_bus.applied, 1);
    assert_int_equal(told("note put announce:"), 1);
    test_bus_note(&kit_bus,
                  &(struct bus_noted){.note = {S("announce:12"), S("{\"content\":\"far\"}")}, .passing = true});
    assert_string_equal(peer_push(a, 106), "{\"content\":\"far\"}");
    assert_string_equal(peer_push(b, 106), "{\"content\":\"far\"}");
    static char big[5000];
    memset(big, 'x', sizeof big - 1);
    assert_int_equal(host_announce(k.hub, NULL, S(big)), ERR_TOOLARGE);
    gets_nothing(&k, a);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* --- What becomes of the node ------------------------------------------------------------------------------------- */

static struct peer *with_device(struct kit *k, const char *id, const char *device)
{
    struct peer *p = peer_open(k, 0);
    works(peer_ask(p, 1, "{\"token\":\"%s\",\"device\":\"%s\"}", id, device));
    return p;
}

static void a_buried_node_comes_back(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *a = with_device(&k, ann, "phone"), *b = with_device(&k, ann, "desk"),
                *c = newcomer(&k, kit_id(&k, "cat", 0)), *d = peer_open(&k, 1);
    kit_settle(&k);
    told("");
    test_bus_event(&kit_bus, BUS_BURIED, 0);
    kit_settle(&k);
    uint16_t asked = peer_put(c, 9, "{}"), login = peer_put(d, 1, "{\"token\":\"dan\"}");
    gets_nothing(&k, c);
    bus_hold(BUS_SESSION_PUT);
    test_bus_event(&kit_bus, BUS_BACK, 0);
    gets_nothing(&k, c);
    assert_int_equal(kit_bus.held, 3);
    /* Each device by itself. Another node has got one meanwhile. */
    unsigned of_ann = 0, denied = 0;
    for (int i = 0; i < 3; i++) {
        const struct bus_session_put *p = (const void *)kit_bus.list[0];
        assert_true(p->restore);
        bool phone = slice_eq(p->device, S("phone"));
        of_ann += slice_eq(p->user, S(ann));
        denied += phone;
        test_bus_next(&kit_bus, phone ? STORE_DENIED : STORE_OK);
    }
    assert_int_equal(of_ann, 2);
    has(peer_push(a, 105), "replaced");
    works(peer_answer(c, 9, asked));
    test_bus_open(&kit_bus);
    works(peer_answer(d, 1, login));
    works(peer_ask(b, 9, "{}"));
    assert_int_equal(told("session_put "), 4);
    peer_close(a);
    peer_close(b);
    peer_close(c);
    peer_close(d);
    kit_end(&k);
}

/* The first attempt fails; nothing is read before the second has worked. */
static void sessions_are_put_until_it_works(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *a = newcomer(&k, "ann");
    test_bus_event(&kit_bus, BUS_BURIED, 0);
    kit_settle(&k);
    uint16_t asked = peer_put(a, 9, "{}");
    kit_bus.status = STORE_RETRY;
    test_bus_event(&kit_bus, BUS_BACK, 0);
    gets_nothing(&k, a);
    kit_bus.status = STORE_OK;
    works(peer_answer(a, 9, asked)); /* at one of the next ticks */
    peer_close(a);
    kit_end(&k);
}

/* A login that the bus was told of before the burial is told again. */
static void a_login_over_a_burial(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    bus_hold(BUS_SESSION_PUT);
    struct peer *a = peer_open(&k, 0);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"ann\"}");
    kit_settle(&k);
    assert_int_equal(kit_bus.held, 1);
    test_bus_event(&kit_bus, BUS_BURIED, 0);
    test_bus_event(&kit_bus, BUS_BACK, 0);
    kit_settle(&k);
    test_bus_next(&kit_bus, STORE_OK);
    gets_nothing(&k, a);
    assert_int_equal(kit_bus.held, 1);
    test_bus_open(&kit_bus);
    works(peer_answer(a, 1, seq));
    assert_int_equal(told("session_put"), 2);
    peer_close(a);
    kit_end(&k);
}

static void a_node_that_is_cut_off(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    struct peer *a = newcomer(&k, kit_id(&k, "ann", 0)), *b = newcomer(&k, kit_id(&k, "bob", 1)), *c = peer_open(&k, 0);
    kit_settle(&k);
    test_bus_event(&kit_bus, BUS_ISOLATED, 0);
    has(peer_push(a, 105), "\"reason\":\"shutdown\",\"retryAfter\":");
    has(peer_push(b, 105), "\"reason\":\"shutdown\",\"retryAfter\":");
    peer_end(a);
    peer_end(b);
    peer_put(c, 1, "{\"token\":\"cat\"}");
    has(peer_push(c, 105), "shutdown");
    struct peer *d = peer_open(&k, 1);
    has(peer_push(d, 105), "shutdown");
    assert_true(k.hub->isolated);
    test_bus_event(&kit_bus, BUS_REJOINED, 0);
    kit_settle(&k);
    assert_false(k.hub->isolated);
    struct peer *e = peer_login(&k, "eve", 0);
    works(peer_ask(e, 9, "{}"));
    peer_close(a);
    peer_close(b);
    peer_close(c);
    peer_close(d);
    peer_close(e);
    kit_end(&k);
}

/* News may have been missed: users and watches of these partitions are compared. */
static void users_are_compared(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 0), *bob = kit_id(&k, "bob", 1);
    struct peer *a = newcomer(&k, ann), *b = newcomer(&k, bob);
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(a, 18, "{\"ids\":[\"%s\"],\"watch\":true}", bob));
    kit_settle(&k);
    told("");
    uint32_t loads = kit_gate.calls[OP_USER_LOAD];
    test_bus_reset(&kit_bus, SLICE_NONE);
    kit_settle(&k);
    pass(&k, 300);
    unsigned looks = 0, watches = 0;
    for (const char *line = test_bus_line(&kit_bus); line[0]; line = test_bus_line(&kit_bus)) {
        looks += strncmp(line, "look ", 5) == 0;
        watches += strncmp(line, "watch ", 6) == 0;
    }
    assert_int_equal(looks, 2);
    assert_int_equal(watches, 1);
    assert_int_equal(kit_gate.calls[OP_USER_LOAD], loads); /* nothing is new */
    /* One partition, where something is. */
    other_joins(bob, "hall");
    say_to(bob, "far", "lost");
    of_version(6, 1);
    test_bus_reset(&kit_bus, S(bob));
    has(peer_push(b, 112), "hall");
    pass(&k, 2 * COPY_LATE_MS);
    assert_string_equal(peer_push(b, 103), "{\"inbox\":1}");
    gets_nothing(&k, a);
    /* What cannot be told is asked again. */
    kit_bus.status = STORE_RETRY;
    of_version(7, 1);
    other_joins(bob, "den");
    test_bus_reset(&kit_bus, S(bob));
    gets_nothing(&k, b);
    kit_bus.status = STORE_OK;
    has(peer_push(b, 112), "den");
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* A server alone keeps nothing of it. */
static void alone_nothing_is_kept(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(a, 18, "{\"ids\":[\"ann\"],\"watch\":true}"));
    assert_int_equal(host_announce(k.hub, NULL, S("hear ye")), 0);
    has(peer_push(a, 106), "hear ye");
    works(peer_ask(a, 6, "{\"name\":\"room\"}"));
    const struct shard *s = kit_shard(&k, 0);
    assert_null(s->copies);
    assert_null(s->recovery);
    assert_null(user_copy(kit_shard(&k, 0), kit_user(&k, "ann")));
    assert_int_equal(kit_bus.count, 0);
    peer_close(a);
    kit_end(&k);
}

/* With the shards' own threads: news, resets and burials at once. */
static void with_threads(void **state)
{
    enum { PEERS = 8 };
    struct kit k;
    struct peer *p[PEERS];
    (void)state;
    kit_open(&k, 4);
    k.clustered = k.threads = true;
    kit_start(&k);
    for (unsigned i = 0; i < PEERS; i++) {
        p[i] = peer_login(&k, kit_id(&k, "p", i % 4), i % 3);
        works(peer_ask(p[i], 3, "{\"name\":\"room\"}"));
        works(peer_ask(p[i], 18, "{\"ids\":[\"%s\"],\"watch\":true}", kit_id(&k, "p", (i + 1) % 4)));
    }
    for (unsigned i = 0; i < 4; i++) {
        const char *id = kit_id(&k, "p", i);
        hear_membership(id, 2 + i, "hall", false, MEMBER_JOINED);
        hear_presence(id, i + 1, true);
        hear_private(say_to(id, "far", "x"), 1);
        test_bus_hear(&kit_bus, &(struct bus_news){.kind = NEWS_INBOX, .user = S(id), .count = 2});
    }
    hear_ban(&k, MUTE_USER, "bob", "", false);
    test_bus_reset(&kit_bus, SLICE_NONE);
    test_bus_event(&kit_bus, BUS_BURIED, 0);
    test_bus_event(&kit_bus, BUS_BACK, 0);
    test_bus_event(&kit_bus, BUS_NODE_DEAD, FAR);
    for (unsigned i = 0; i < PEERS; i++)
        works(peer_ask(p[i], 9, "{}"));
    for (unsigned i = 0; i < PEERS; i++) {
        has(peer_push(p[i], 101), "x");
        peer_push(p[i], 108);
    }
    for (unsigned i = 0; i < PEERS; i++)
        peer_close(p[i]);
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
        cmocka_unit_test(bans_of_other_nodes_are_in_force),
        cmocka_unit_test(a_nodes_own_ban),
        cmocka_unit_test(a_join_under_a_ban_is_undone),
        cmocka_unit_test(leaving_waits_for_other_nodes),
        cmocka_unit_test(announcements_reach_all_nodes),
        cmocka_unit_test(a_buried_node_comes_back),
        cmocka_unit_test(sessions_are_put_until_it_works),
        cmocka_unit_test(a_login_over_a_burial),
        cmocka_unit_test(a_node_that_is_cut_off),
        cmocka_unit_test(users_are_compared),
        cmocka_unit_test(alone_nothing_is_kept),
        cmocka_unit_test(with_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
