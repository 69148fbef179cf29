/* A node among others: bans and announcements of theirs, its own burial, and what is compared once news may have been
 * missed. The test is the other nodes (news_kit.h). */
#include "roam_kit.h"

#include "core/hub/host/ban_change.h"
#include "core/hub/people/ban.h"

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
    struct peer *a = comes(&k, kit_id(&k, "ann", 1));
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
    struct peer *a = comes(&k, "ann");
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

/* The node hears of its own change which is the i-th of those that the bus still holds. */
static void hear_own(struct kit *k, unsigned i)
{
    const struct bus_note *n = (const void *)kit_bus.list[i];
    uint32_t before = kit_bus.applied;
    test_bus_note(&kit_bus, &(struct bus_noted){.note = n->note, .remove = n->remove, .number = n->number});
    KIT_UNTIL(k, kit_bus.applied == before + 1);
}

static bool muted(struct kit *k, const char *user)
{
    bool first = ban_muted(kit_shard(k, 0), S(user), SLICE_NONE);
    assert_int_equal(first, ban_muted(kit_shard(k, 1), S(user), SLICE_NONE));
    return first;
}

/* Several changes of one ban are under way at once: what comes last in the order of all nodes stands here, too,
 * whichever of them is answered last. */
static void changes_of_one_ban_at_once(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    struct peer *a = comes(&k, "ann");
    struct ban_change mute = {.kind = MUTE_USER, .user = S("ann")}, lift = {.lift = true};
    bus_hold(BUS_NOTE);
    KIT_HOST_BEGIN(&k, ban_change, &mute);
    KIT_UNTIL(&k, kit_bus.held == 1);
    lift.kind = MUTE_USER;
    lift.user = S("ann");
    KIT_HOST_BEGIN(&k, ban_change, &lift);
    KIT_UNTIL(&k, kit_bus.held == 2);
    hear_own(&k, 0);
    hear_own(&k, 1);
    test_bus_open(&kit_bus);
    KIT_UNTIL(&k, mute.op.home == NULL && lift.op.home == NULL);
    assert_int_equal(mute.op.code, CODE_OK);
    assert_int_equal(lift.op.code, CODE_OK);
    assert_false(muted(&k, "ann"));
    /* Another node lifts it before this one's is answered. */
    bus_hold(BUS_NOTE);
    mute = (struct ban_change){.kind = MUTE_USER, .user = S("ann")};
    KIT_HOST_BEGIN(&k, ban_change, &mute);
    KIT_UNTIL(&k, kit_bus.held == 1);
    hear_own(&k, 0);
    hear_ban(&k, MUTE_USER, "ann", "", true);
    test_bus_open(&kit_bus);
    KIT_UNTIL(&k, mute.op.home == NULL);
    assert_false(muted(&k, "ann"));
    /* Another node's mute and lift are all that the node has missed, its own mute before them, too. */
    bus_hold(BUS_NOTE);
    mute = (struct ban_change){.kind = MUTE_USER, .user = S("ann")};
    KIT_HOST_BEGIN(&k, ban_change, &mute);
    KIT_UNTIL(&k, kit_bus.held == 1);
    uint32_t before = kit_bus.applied;
    test_bus_note(&kit_bus, &(struct bus_noted){.all = true});
    KIT_UNTIL(&k, kit_bus.applied == before + 1);
    test_bus_open(&kit_bus);
    KIT_UNTIL(&k, mute.op.home == NULL);
    assert_int_equal(mute.op.code, CODE_OK);
    assert_false(muted(&k, "ann"));
    peer_close(a);
    kit_end(&k);
}

/* Somebody has joined a channel on another node, of which this one has not heard yet: it is a member here, too. Its
 * requests go on in their order. */
static void a_member_that_nobody_has_told_of(void **state)
{
    static const struct {
        uint16_t action;
        const char *body;
    } asks[] = {{4, "{\"channel\":\"room\",\"content\":\"x\"}"},
                {5, "{\"channel\":\"room\"}"},
                {11, "{\"channel\":\"room\",\"seq\":1}"},
                {13, "{\"name\":\"room\"}"},
                {17, "{\"channel\":\"room\",\"seq\":1,\"content\":\"y\"}"},
                {14, "{\"channel\":\"room\",\"seq\":1}"}};
    struct kit k;
    (void)state;
    begin(&k, 2);
    struct peer *a = comes(&k, "ann"), *b = comes(&k, "bob");
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++)
        fails(peer_ask(a, asks[i].action, asks[i].body), "forbidden");
    other_joins("ann", "room");
    kit_bus.shared = " ann ";
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        bus_hold(BUS_PRESENCE);
        uint16_t first = peer_put(a, asks[i].action, asks[i].body), second = peer_put(a, 5, asks[1].body),
                 last = peer_put(a, 9, "{}");
        KIT_UNTIL(&k, kit_bus.held == 1);
        kit_settle(&k);
        assert_int_equal(kit_bus.held, 1);
        test_bus_open(&kit_bus);
        works(peer_answer(a, asks[i].action, first));
        works(peer_answer(a, 5, second));
        works(peer_answer(a, 9, last));
    }
    /* What was found out is of use once. What cannot be found out is not so. */
    kit_bus.status = STORE_RETRY;
    fails(peer_ask(a, 5, asks[1].body), "forbidden");
    kit_bus.status = STORE_OK;
    kit_bus.shared = "";
    fails(peer_ask(a, 5, asks[1].body), "forbidden");
    /* The connection ends meanwhile. */
    bus_hold(BUS_PRESENCE);
    peer_put(a, 5, asks[1].body);
    KIT_UNTIL(&k, kit_bus.held == 1);
    peer_close(a);
    kit_settle(&k);
    test_bus_open(&kit_bus);
    kit_settle(&k);
    peer_close(b);
    kit_end(&k);
}

/* A ban that comes while the store makes somebody a member. */
static void a_join_under_a_ban_is_undone(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct peer *a = comes(&k, "ann"), *b = comes(&k, "bob");
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
    struct peer *a = comes(&k, kit_id(&k, "ann", 0));
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    other_joins("bob", "room"); /* so that it stays */
    bus_hold(BUS_ORDER);
    for (int i = 0; i < 2; i++) {
        uint16_t seq = peer_put(a, 6, "{\"name\":\"room\"}");
        gets_nothing(&k, a);
        assert_int_equal(told_times("order remove"), 1);
        test_bus_next(&kit_bus, i ? STORE_RETRY : STORE_OK);
        works(peer_answer(a, 6, seq));
        kit_settle(&k);
        if (!i)
            works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    }
    works(peer_ask(a, 3, "{\"name\":\"other\"}"));
    works(peer_ask(a, 6, "{\"name\":\"room\"}")); /* who is no member leaves nothing */
    assert_int_equal(told_times("order"), 0);
    peer_close(a);
    kit_end(&k);
}

/* --- Announcements ------------------------------------------------------------------------------------------------ */

static struct {
    unsigned calls;
    enum store_status status;
    struct silent_nodes silent;
} waited;

static void announced(void *ctx, enum store_status status, const struct silent_nodes *silent)
{
    assert_ptr_equal(ctx, &waited);
    waited.calls++;
    waited.status = status;
    waited.silent = *silent;
}

/* Whoever waits for it is told when all nodes have it, and which have not said so. */
static void announcements_are_waited_for(void **state)
{
    struct kit k;
    (void)state;
    memset(&waited, 0, sizeof waited);
    kit_begin(&k, 1); /* alone: at once */
    assert_int_equal(host_announce_told(k.hub, S("hear ye"), announced, &waited), 0);
    assert_int_equal(waited.calls, 1);
    assert_int_equal(waited.status, STORE_OK);
    kit_end(&k);
    begin(&k, 1);
    struct peer *a = comes(&k, kit_id(&k, "ann", 0));
    kit_bus.hold |= 1u << BUS_NOTE;
    kit_bus.silent = (struct silent_nodes){1, {3}};
    assert_int_equal(host_announce_told(k.hub, S("hear ye"), announced, &waited), 0);
    has(peer_push(a, 106), "hear ye");
    kit_settle(&k);
    assert_int_equal(waited.calls, 1);
    assert_false(((struct bus_note *)kit_bus.list[0])->behind);
    test_bus_next(&kit_bus, STORE_OK);
    KIT_UNTIL(&k, waited.calls == 2);
    assert_int_equal(waited.silent.n, 1);
    assert_int_equal(waited.silent.numbers[0], 3);
    kit_bus.silent.n = 0;
    assert_int_equal(host_announce_told(k.hub, S("again"), announced, &waited), 0);
    kit_settle(&k);
    test_bus_next(&kit_bus, STORE_RETRY);
    KIT_UNTIL(&k, waited.calls == 3);
    assert_int_equal(waited.status, STORE_RETRY);
    test_bus_open(&kit_bus);
    peer_close(a);
    kit_end(&k);
}

static void announcements_reach_all_nodes(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    struct peer *a = comes(&k, kit_id(&k, "ann", 0)), *b = comes(&k, kit_id(&k, "bob", 1));
    kit_bus.echo = true;
    assert_int_equal(host_announce(k.hub, NULL, S("hear ye")), 0);
    has(peer_push(a, 106), "hear ye");
    has(peer_push(b, 106), "hear ye");
    gets_nothing(&k, a); /* its own is not told twice */
    gets_nothing(&k, b);
    assert_int_equal(kit_bus.applied, 1);
    assert_int_equal(told_times("note put announce:"), 1);
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
                *c = comes(&k, kit_id(&k, "cat", 0)), *d = peer_open(&k, 1);
    kit_settle(&k);
    told_times("");
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
    assert_int_equal(told_times("session_put "), 4);
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
    struct peer *a = comes(&k, "ann");
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
    assert_int_equal(told_times("session_put"), 2);
    peer_close(a);
    kit_end(&k);
}

static void a_node_that_is_cut_off(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    struct peer *a = comes(&k, kit_id(&k, "ann", 0)), *b = comes(&k, kit_id(&k, "bob", 1)), *c = peer_open(&k, 0);
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
    struct peer *a = comes(&k, ann), *b = comes(&k, bob);
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(a, 18, "{\"ids\":[\"%s\"],\"watch\":true}", bob));
    kit_settle(&k);
    told_times("");
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
        cmocka_unit_test(bans_of_other_nodes_are_in_force),
        cmocka_unit_test(a_nodes_own_ban),
        cmocka_unit_test(changes_of_one_ban_at_once),
        cmocka_unit_test(a_member_that_nobody_has_told_of),
        cmocka_unit_test(a_join_under_a_ban_is_undone),
        cmocka_unit_test(leaving_waits_for_other_nodes),
        cmocka_unit_test(announcements_reach_all_nodes),
        cmocka_unit_test(announcements_are_waited_for),
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
