/* The store: inboxes, users, guests, members, conversations. One suite, run against both engines. */
#include "tests/unit/store_kit.h"

static struct store_inbox_ack ack(struct world *w, const char *user, uint64_t up_to)
{
    struct store_inbox_ack a = {.user = S(user), .up_to = up_to};
    assert_int_equal(CALL(w, store_inbox_ack, &a), STORE_OK);
    return a;
}

static void inbox(void **state)
{
    struct world *w = *state;
    INBOX(w, "bob", 0, 10, "", false);
    uint64_t id[5];
    const char *texts[] = {"a", "b", "c", "d", "e"}, *from[] = {"ann", "cid", "ann", "bob", "ann"};
    for (int i = 0; i < 5; i++)
        id[i] = dm(w, from[i], "bob", texts[i], NULL).id;
    INBOX(w, "bob", 0, 10, "a b c d e", false);
    INBOX(w, "bob", 0, 2, "a b", true);
    INBOX(w, "bob", id[1], 3, "c d e", false);
    INBOX(w, "ann", 0, 10, "", false);
    assert_int_equal(inbox_size_of(w, "bob"), 5);
    struct store_inbox_peek p = {.user = S("bob"), .limit = 1};
    assert_int_equal(CALL(w, store_inbox_peek, &p), STORE_OK);
    struct conv_key k = util_pair("ann", "bob");
    assert_true(slice_eq(p.page.messages[0].conv, conv_key_slice(&k)));
    assert_int_equal(p.page.messages[0].seq, 1);
    assert_int_equal(p.page.messages[0].id, id[0]);
    store_page_free(&p.page);
    uint64_t ids[] = {id[2], id[2], 12345, id[4]};
    struct store_inbox_ack some = {.user = S("bob"), .ids = ids, .id_count = 4};
    assert_int_equal(CALL(w, store_inbox_ack, &some), STORE_OK);
    assert_int_equal(some.removed, 2);
    assert_int_equal(some.remaining, 3);
    INBOX(w, "bob", 0, 10, "a b d", false);
    struct store_inbox_ack a = ack(w, "bob", id[1] + !util_is_redis(w)); /* there an id has a place if it is there */
    assert_int_equal(a.removed, 2);
    assert_int_equal(a.remaining, 1);
    a = ack(w, "bob", UINT64_MAX);
    assert_int_equal(a.removed, 1);
    assert_int_equal(a.remaining, 0);
    assert_int_equal(inbox_size_of(w, "bob"), 0);
    PAGE(w, &k, -1, -1, 9, "1 2 3", 1, 3, false); /* history keeps them */
    p = (struct store_inbox_peek){.user = S("bob"), .limit = 9, .page_bytes = 3};
    for (int i = 0; i < 3; i++)
        dm(w, "ann", "bob", "xx", NULL);
    assert_int_equal(CALL(w, store_inbox_peek, &p), STORE_OK);
    assert_int_equal(p.page.n, 1);
    assert_true(p.more);
    store_page_free(&p.page);
}

static void inbox_full(void **state)
{
    struct world *w = *state;
    struct conv_key k = util_pair("ann", "bob");
    static struct store_append ops[400];
    w->o.inbox_max = 3;
    store_configure(w->s, &w->o);
    for (int i = 0; i < 5; i++) {
        char text[8];
        sprintf(text, "%d", i);
        dm(w, "ann", "bob", text, NULL);
    }
    INBOX(w, "bob", 0, 10, "2 3 4", false);
    for (int i = 0; i < 400; i++) { /* overflowing within one group */
        ops[i] = append_of(&k, TIER_DM, "ann", i == 399 ? "last" : "x");
        ops[i].receiver = S("bob");
        POST(w, store_append, &ops[i]);
    }
    for (int i = 0; i < 400; i++) {
        util_wait(w, &ops[i].op);
        assert_int_equal(ops[i].op.status, STORE_OK);
    }
    INBOX(w, "bob", 0, 10, "x x last", false);
    assert_int_equal(inbox_size_of(w, "bob"), 3);
    w->o.inbox_max = 2; /* lowered: the next one brings it in line */
    store_configure(w->s, &w->o);
    dm(w, "ann", "bob", "end", NULL);
    INBOX(w, "bob", 0, 10, "last end", false);
    struct store_range r = page_of(w, &k, -1, -1, 500);
    assert_int_equal(r.page.n, 406);
    store_page_free(&r.page);
}

static void inbox_holes(void **state)
{
    struct world *w = *state;
    struct conv_key k = util_pair("ann", "bob");
    w->o.tiers[TIER_DM].max = 2;
    store_configure(w->s, &w->o);
    for (int i = 0; i < 4; i++) {
        char text[8];
        sprintf(text, "%d", i);
        dm(w, "ann", "bob", text, NULL);
    }
    INBOX(w, "bob", 0, 10, "2 3", false); /* 0 and 1 are beyond the count */
    INBOX(w, "bob", 0, 1, "2", true);
    for (int i = 0; i < 1000 && inbox_size_of(w, "bob") != 2; i++) /* cleaned lazily */
        usleep(1000);
    assert_int_equal(inbox_size_of(w, "bob"), 2);
    struct store_recall r = {.conv = conv_key_slice(&k), .sender = S("ann"), .seq = 4};
    assert_int_equal(CALL(w, store_recall, &r), STORE_OK);
    struct store_inbox_peek p = {.user = S("bob"), .limit = 9};
    assert_int_equal(CALL(w, store_inbox_peek, &p), STORE_OK);
    assert_int_equal(p.page.n, 2);
    assert_true(p.page.messages[1].recalled);
    assert_int_equal(p.page.messages[1].content.n, 0);
    store_page_free(&p.page);
    w->o.tiers[TIER_DM] = (struct store_tier_options){1000, 0, DURABILITY_SYNC};
    store_configure(w->s, &w->o);
    world_pass(w, 500);
    dm(w, "ann", "bob", "young", NULL);
    assert_int_equal(inbox_size_of(w, "bob"), 3);
    world_pass(w, 500);
    INBOX(w, "bob", 0, 10, "young", false);
    assert_int_equal(inbox_size_of(w, "bob"), 1);
    struct store_inbox_ack a = ack(w, "bob", UINT64_MAX);
    assert_int_equal(a.removed, 1);
    assert_int_equal(a.remaining, 0);
}

/* Acks among appends of the same group. */
static void inbox_in_flight(void **state)
{
    struct world *w = *state;
    struct conv_key k = util_pair("ann", "bob");
    static struct store_append ops[100];
    static struct store_inbox_ack acks[100];
    for (int i = 0; i < 100; i++) {
        ops[i] = append_of(&k, TIER_DM, "ann", "x");
        ops[i].receiver = S("bob");
        POST(w, store_append, &ops[i]);
        if (util_is_redis(w)) /* what is another one's is not kept in order there */
            util_wait(w, &ops[i].op);
        acks[i] = (struct store_inbox_ack){.user = S("bob"), .up_to = UINT64_MAX};
        POST(w, store_inbox_ack, &acks[i]);
    }
    for (int i = 0; i < 100; i++) {
        util_wait(w, &ops[i].op);
        util_wait(w, &acks[i].op);
        assert_int_equal(acks[i].op.status, STORE_OK);
        assert_int_equal(acks[i].removed, 1);
        assert_int_equal(acks[i].remaining, 0);
    }
    static struct store_append many[600]; /* enough for a range delete */
    w->o.inbox_max = 0;
    store_configure(w->s, &w->o);
    for (int i = 0; i < 600; i++) {
        many[i] = ops[0];
        POST(w, store_append, &many[i]);
    }
    util_wait(w, &many[599].op);
    assert_int_equal(ack(w, "bob", many[598].id).removed, 599);
    assert_int_equal(inbox_size_of(w, "bob"), 1);
}

/* Operations of one group see what those before them removed as a whole. */
static void removed_in_flight(void **state)
{
    struct world *w = *state;
    struct conv_key k = util_pair("ann", "bob");
    static struct store_append many[600];
    w->o.inbox_max = 0;
    store_configure(w->s, &w->o);
    for (int i = 0; i < 600; i++) {
        many[i] = append_of(&k, TIER_DM, "ann", "x");
        many[i].receiver = S("bob");
        POST(w, store_append, &many[i]);
    }
    for (int i = 0; i < 600; i++)
        util_wait(w, &many[i].op);
    uint64_t id = many[10].id;
    struct store_inbox_ack all = {.user = S("bob"), .up_to = many[499].id},
                           one = {.user = S("bob"), .ids = &id, .id_count = 1};
    struct store_append next = many[0];
    POST(w, store_inbox_ack, &all); /* by a range delete */
    POST(w, store_inbox_ack, &one); /* is among them */
    if (util_is_redis(w))
        util_wait(w, &one.op);
    POST(w, store_append, &next);
    util_wait(w, &next.op);
    assert_int_equal(all.removed, 500);
    assert_int_equal(all.remaining, 100);
    assert_int_equal(one.removed, 0);
    assert_int_equal(one.remaining, 100);
    assert_int_equal(inbox_size_of(w, "bob"), 101);
    struct store_user_forget f = {.id = S("bob")};
    struct store_user_save again = {.id = S("bob"), .name = S("Bob")};
    POST(w, store_user_forget, &f); /* the inbox with it, and then a new one begins */
    POST(w, store_user_save, &again);
    POST(w, store_append, &next);
    util_wait(w, &next.op);
    assert_int_equal(f.op.status, STORE_OK);
    struct store_inbox_ack none = {.user = S("bob"), .up_to = next.id - 1};
    assert_int_equal(CALL(w, store_inbox_ack, &none), STORE_OK);
    assert_int_equal(none.removed, 0);
    assert_int_equal(none.remaining, 1);
    assert_int_equal(inbox_size_of(w, "bob"), 1);
}

static void users(void **state)
{
    struct world *w = *state;
    struct store_user_load u = {.id = S("nobody")};
    assert_int_equal(CALL(w, store_user_load, &u), STORE_NOTFOUND);
    struct store_user_save s = {.id = S("zoe"), .name = S("Zoe"), .user = {.epoch = 7}};
    assert_int_equal(CALL(w, store_user_save, &s), STORE_OK);
    struct conv_key c = util_channel("room"), d = util_channel("abc");
    join(w, &c, "zoe");
    struct store_member_put m = {
        .conv = conv_key_slice(&d), .user = S("zoe"), .may_create = true, .set_push = true, .push = MODE_NONE};
    assert_int_equal(CALL(w, store_member_put, &m), STORE_OK);
    u.id = S("zoe");
    assert_int_equal(CALL(w, store_user_load, &u), STORE_OK);
    assert_int_equal(u.user.epoch, 7);
    assert_false(u.user.guest);
    assert_true(slice_eq(u.name, S("Zoe")));
    assert_int_equal(u.subscription_count, 2);
    assert_true(slice_eq(u.subscriptions[0].channel, S("abc")));
    assert_int_equal(u.subscriptions[0].push, MODE_NONE);
    assert_true(slice_eq(u.subscriptions[1].channel, S("room")));
    assert_int_equal(u.subscriptions[1].push, MODE_DEFAULT);
    store_user_load_free(&u);
    s = (struct store_user_save){.id = S("zoe"), .name = S("Z"), .user = {.epoch = 8}};
    assert_int_equal(CALL(w, store_user_save, &s), STORE_OK);
    assert_int_equal(CALL(w, store_user_load, &u), STORE_OK);
    assert_int_equal(u.user.epoch, 8);
    assert_true(slice_eq(u.name, S("Z")));
    store_user_load_free(&u);
}

static void guests_text(struct world *w, uint32_t limit, char out[256])
{
    struct store_guests_due g = {.limit = limit};
    assert_int_equal(CALL(w, store_guests_due, &g), STORE_OK);
    out[0] = '\0';
    for (uint32_t i = 0; i < g.n; i++)
        sprintf(out + strlen(out), "%s%.*s", i ? " " : "", (int)g.ids[i].n, g.ids[i].p);
    free(g.ids);
    free(g.arena);
}

static void guest(struct world *w, const char *id, uint64_t ttl)
{
    struct store_user_save u = {.id = S(id), .name = S(id), .user = {.guest = true}, .guest_ttl_ms = ttl};
    assert_int_equal(CALL(w, store_user_save, &u), STORE_OK);
    assert_true(u.user.guest_due_ms >= ttl);
}

static void guests(void **state)
{
    struct world *w = *state;
    char text[256];
    guest(w, "g3", 3000);
    guest(w, "g1", 1000);
    guest(w, "g2", 2000);
    guests_text(w, 10, text);
    assert_string_equal(text, "");
    world_pass(w, 2500);
    guests_text(w, 10, text);
    assert_string_equal(text, "g1 g2");
    guests_text(w, 1, text);
    assert_string_equal(text, "g1");
    guest(w, "g1", 2000); /* saved again: due later, and once */
    guests_text(w, 10, text);
    assert_string_equal(text, "g2");
    dm(w, "ann", "g2", "hello", NULL); /* no guest any more */
    guests_text(w, 10, text);
    assert_string_equal(text, "");
    struct store_user_load u = {.id = S("g2")};
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(CALL(w, store_user_load, &u), STORE_OK);
        store_user_load_free(&u);
        if (!u.user.guest)
            break;
        usleep(1000);
    }
    assert_false(u.user.guest);
    world_pass(w, 2500);
    guests_text(w, 10, text);
    assert_string_equal(text, "g3 g1");
    struct store_user_save s = {.id = S("g3"), .name = S("g3")}; /* a proper user now */
    assert_int_equal(CALL(w, store_user_save, &s), STORE_OK);
    struct conv_key c = util_channel("x");
    join(w, &c, "g1");
    struct store_member_del del = {.conv = conv_key_slice(&c), .user = S("g1")};
    assert_int_equal(CALL(w, store_member_del, &del), STORE_OK);
    struct store_user_forget f = {.id = S("g1")};
    assert_int_equal(CALL(w, store_user_forget, &f), STORE_OK);
    guests_text(w, 10, text);
    assert_string_equal(text, "");
    u.id = S("g1");
    assert_int_equal(CALL(w, store_user_load, &u), STORE_NOTFOUND);
    assert_int_equal(CALL(w, store_user_forget, &f), STORE_OK);
    guest(w, "g4", 1); /* found due; then a private message comes before it is forgotten */
    dm(w, "ann", "g4", "wait", NULL);
    f.id = S("g4");
    assert_int_equal(CALL(w, store_user_forget, &f), STORE_DENIED);
    INBOX(w, "g4", 0, 9, "wait", false);
    f.id = S("g2"); /* with inbox and marks */
    assert_int_equal(CALL(w, store_user_forget, &f), STORE_OK);
    user_make(w, "g2", "again");
    assert_int_equal(inbox_size_of(w, "g2"), 0);
    dm(w, "ann", "g2", "second", NULL);
    INBOX(w, "g2", 0, 9, "second", false);
    assert_int_equal(inbox_size_of(w, "g2"), 1);
}

static void blocks(void **state)
{
    struct world *w = *state;
    struct conv_key p = util_pair("bob", "ann"), q = util_pair("ann", "nobody");
    struct store_conv_load l = {.conv = conv_key_slice(&p)};
    assert_int_equal(CALL(w, store_conv_load, &l), STORE_OK);
    assert_true(!l.exists && l.user_exists[0] && l.user_exists[1] && !l.blocks[0] && !l.blocks[1]);
    assert_int_equal(l.tier, TIER_DM);
    struct store_block b = {.user = S("bob"), .target = S("ann"), .blocked = true};
    assert_int_equal(CALL(w, store_block, &b), STORE_OK);
    assert_int_equal(CALL(w, store_conv_load, &l), STORE_OK);
    assert_true(!l.blocks[0] && l.blocks[1]);
    b.blocked = false;
    assert_int_equal(CALL(w, store_block, &b), STORE_OK);
    assert_int_equal(CALL(w, store_conv_load, &l), STORE_OK);
    assert_true(!l.blocks[0] && !l.blocks[1]);
    l.conv = conv_key_slice(&q);
    assert_int_equal(CALL(w, store_conv_load, &l), STORE_OK);
    assert_true(l.user_exists[0] && !l.user_exists[1]);
    struct store_append a = dm(w, "ann", "bob", "x", NULL);
    l.conv = conv_key_slice(&p);
    assert_int_equal(CALL(w, store_conv_load, &l), STORE_OK);
    assert_true(l.exists);
    assert_int_equal(l.seq, 1);
    assert_int_equal(l.first, 1);
    assert_int_equal(l.last_id, a.id);
    struct slice ids[3] = {S("bob"), S("cid"), S("ann")};
    struct store_pairs pairs = {.user = S("ann"), .ids = ids, .n = 3};
    assert_int_equal(CALL(w, store_pairs, &pairs), STORE_OK);
    assert_true(pairs.known[0] && !pairs.known[1] && !pairs.known[2]);
    dm(w, "ann", "ann", "note to self", NULL);
    assert_int_equal(CALL(w, store_pairs, &pairs), STORE_OK);
    assert_true(pairs.known[2]);
}

static void members(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_channel("room"), d = util_channel("other");
    struct store_member_put m = {.conv = conv_key_slice(&c), .user = S("bob")};
    assert_int_equal(CALL(w, store_member_put, &m), STORE_NOTFOUND);
    m.may_create = true;
    assert_int_equal(CALL(w, store_member_put, &m), STORE_OK);
    assert_true(m.created && !m.existed);
    assert_int_equal(m.members, 1);
    assert_int_equal(m.mode, MODE_DEFAULT);
    assert_int_equal(m.seq, 0);
    assert_int_equal(m.first, 0);
    struct store_member_put full = {
        .conv = conv_key_slice(&d), .user = S("bob"), .may_create = true, .channels_max = 1};
    assert_int_equal(CALL(w, store_member_put, &full), STORE_LIMIT);
    say(w, &c, TIER_SMALL, "bob", "x");
    m = join(w, &c, "ann");
    assert_true(!m.created && !m.existed);
    assert_int_equal(m.members, 2);
    assert_int_equal(m.seq, 1);
    assert_int_equal(m.first, 1);
    m = join(w, &c, "ann");
    assert_true(m.existed);
    assert_int_equal(m.members, 2);
    m.set_push = true;
    m.push = MODE_MERGED;
    assert_int_equal(CALL(w, store_member_put, &m), STORE_OK);
    assert_int_equal(m.mode, MODE_MERGED);
    m = join(w, &c, "ann");
    assert_int_equal(m.mode, MODE_MERGED);
    join(w, &c, "zed");
    struct store_members l = {.conv = conv_key_slice(&c), .limit = 2};
    assert_int_equal(CALL(w, store_members, &l), STORE_OK);
    assert_int_equal(l.n, 2);
    assert_true(l.more);
    assert_true(slice_eq(l.people[0].id, S("ann")) && slice_eq(l.people[0].name, S("Ann")));
    assert_true(slice_eq(l.people[1].id, S("bob")) && slice_eq(l.people[1].name, S("Bob")));
    free(l.people);
    free(l.arena);
    l = (struct store_members){.conv = conv_key_slice(&c), .limit = 2, .cursor = S("bob")};
    assert_int_equal(CALL(w, store_members, &l), STORE_OK);
    assert_int_equal(l.n, 1);
    assert_false(l.more);
    assert_true(slice_eq(l.people[0].id, S("zed")) && l.people[0].name.n == 0); /* it has no record */
    free(l.people);
    free(l.arena);
    l.conv = conv_key_slice(&d);
    assert_int_equal(CALL(w, store_members, &l), STORE_NOTFOUND);
    struct store_member_del del = {.conv = conv_key_slice(&c), .user = S("ann")};
    assert_int_equal(CALL(w, store_member_del, &del), STORE_OK);
    assert_true(del.existed);
    assert_int_equal(del.members, 2);
    assert_int_equal(CALL(w, store_member_del, &del), STORE_OK);
    assert_false(del.existed);
    assert_int_equal(del.members, 2);
    del.conv = conv_key_slice(&d);
    assert_int_equal(CALL(w, store_member_del, &del), STORE_NOTFOUND);
    struct store_channel_save save = {.conv = conv_key_slice(&c), .tier = TIER_LARGE};
    assert_int_equal(CALL(w, store_channel_save, &save), STORE_OK);
    struct store_conv_load load = {.conv = conv_key_slice(&c)};
    assert_int_equal(CALL(w, store_conv_load, &load), STORE_OK);
    assert_true(load.exists);
    assert_int_equal(load.tier, TIER_LARGE);
    assert_int_equal(load.members, 2);
    save.conv = conv_key_slice(&d);
    assert_int_equal(CALL(w, store_channel_save, &save), STORE_NOTFOUND);
}

/* Every member once, in order, by pages of any size; names are found in chunks. */
static void many_members(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_channel("crowd");
    static struct store_member_put puts[300];
    static struct store_user_save saves[300];
    static char ids[300][16];
    for (int i = 0; i < 300; i++) {
        sprintf(ids[i], "u%03d", i * 7 % 300);
        saves[i] = (struct store_user_save){.id = S(ids[i]), .name = S(ids[i])};
        puts[i] = (struct store_member_put){.conv = conv_key_slice(&c), .user = S(ids[i]), .may_create = true};
        POST(w, store_user_save, &saves[i]);
        POST(w, store_member_put, &puts[i]);
    }
    for (int i = 0; i < 300; i++) {
        util_wait(w, &saves[i].op);
        util_wait(w, &puts[i].op);
    }
    static const uint32_t limits[] = {1, 63, 64, 65, 200, 300, 301};
    for (unsigned k = 0; k < 7; k++) {
        char cursor[16] = "", want[16];
        int seen = 0;
        bool more = true;
        while (more) {
            struct store_members l = {.conv = conv_key_slice(&c), .limit = limits[k], .cursor = S(cursor)};
            assert_int_equal(CALL(w, store_members, &l), STORE_OK);
            for (uint32_t i = 0; i < l.n; i++, seen++) {
                sprintf(want, "u%03d", seen);
                assert_true(slice_eq(l.people[i].id, S(want)) && slice_eq(l.people[i].name, S(want)));
            }
            assert_true(l.n == limits[k] || !l.more);
            more = l.more;
            sprintf(cursor, "u%03d", seen - 1);
            free(l.people);
            free(l.arena);
        }
        assert_int_equal(seen, 300);
    }
}

/* Joins, leaves and sends of one group see each other. */
static void members_in_flight(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_channel("room");
    static struct store_member_put puts[200];
    static struct store_member_del dels[200];
    static struct store_append says[200];
    static char ids[200][8];
    for (int i = 0; i < 200; i++) {
        sprintf(ids[i], "u%d", i % 50);
        puts[i] = (struct store_member_put){.conv = conv_key_slice(&c), .user = S(ids[i]), .may_create = i == 0};
        POST(w, store_member_put, &puts[i]);
        says[i] = append_of(&c, TIER_SMALL, ids[i], "x");
        POST(w, store_append, &says[i]);
        dels[i] = (struct store_member_del){.conv = conv_key_slice(&c), .user = S(ids[i])};
        if (i % 2)
            POST(w, store_member_del, &dels[i]);
    }
    uint32_t now = 0;
    bool in[50] = {false};
    for (int i = 0; i < 200; i++) {
        util_wait(w, &puts[i].op);
        assert_int_equal(puts[i].existed, in[i % 50]);
        now += !in[i % 50];
        in[i % 50] = true;
        assert_int_equal(puts[i].members, now);
        assert_int_equal(puts[i].seq, i);
        if (i % 2) {
            util_wait(w, &dels[i].op);
            assert_true(dels[i].existed);
            in[i % 50] = false;
            assert_int_equal(dels[i].members, --now);
        }
    }
}

static void conversations(void **state)
{
    struct world *w = *state;
    struct conv_key a = util_channel("a"), b = util_channel("b"), empty = util_channel("empty");
    struct store_conversations c = {.user = S("ann"), .limit = 50};
    assert_int_equal(CALL(w, store_conversations, &c), STORE_OK);
    assert_int_equal(c.n, 0);
    store_conversations_free(&c);
    join(w, &empty, "ann");
    join(w, &a, "ann");
    join(w, &b, "bob");
    say(w, &a, TIER_SMALL, "bob", "in a");
    say(w, &b, TIER_SMALL, "bob", "in b");
    say(w, &b, TIER_SMALL, "ann", "a stranger in b"); /* no member: no conversation of hers */
    join(w, &b, "ann");
    dm(w, "bob", "ann", "hi ann", NULL);
    dm(w, "ann", "cid", "hi cid", NULL);
    say(w, &a, TIER_SMALL, "bob", "more in a");
    assert_int_equal(CALL(w, store_conversations, &c), STORE_OK);
    assert_int_equal(c.n, 5);
    const char *order[] = {"ca", "pann", "pann", "cb", "cempty"};
    const uint64_t seqs[] = {2, 1, 1, 2, 0}, unread[] = {2, 0, 1, 0, 0};
    const char *last[] = {"more in a", "hi cid", "hi ann", "a stranger in b", NULL};
    for (int i = 0; i < 5; i++) {
        assert_memory_equal(c.list[i].conv.p, order[i], strlen(order[i]));
        assert_int_equal(c.list[i].seq, seqs[i]);
        assert_int_equal(c.list[i].unread, unread[i]);
        if (last[i]) {
            assert_true(c.list[i].last >= 0);
            assert_true(slice_eq(c.page.messages[c.list[i].last].content, S(last[i])));
        } else {
            assert_int_equal(c.list[i].last, -1);
        }
    }
    assert_string_equal(c.next_cursor, "");
    store_conversations_free(&c);
    /* By pages of two. */
    char cursor[STORE_CURSOR_MAX + 1] = "";
    int seen = 0;
    do {
        struct store_conversations p = {.user = S("ann"), .limit = 2, .cursor = S(cursor)};
        assert_int_equal(CALL(w, store_conversations, &p), STORE_OK);
        for (uint32_t i = 0; i < p.n; i++, seen++)
            assert_memory_equal(p.list[i].conv.p, order[seen], strlen(order[seen]));
        strcpy(cursor, p.next_cursor);
        store_conversations_free(&p);
    } while (cursor[0]);
    assert_int_equal(seen, 5);
    static const char *const bad[] = {"nonsense",
                                      "0",
                                      "00",
                                      "0000000000000000",
                                      "000000000000000061",
                                      "0000000000000001c",
                                      "000000000000000000",
                                      "0000000000000001zz62",
                                      "00000000000000016162",
                                      "0000000000000001 63"};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) { /* what clients may send */
        c.cursor = S(bad[i]);
        assert_int_equal(CALL(w, store_conversations, &c), STORE_NOTFOUND);
        store_conversations_free(&c);
    }
    char longest[STORE_CURSOR_MAX + 200];
    memset(longest, '6', sizeof(longest));
    for (size_t n = 260; n < sizeof(longest); n++) {
        c.cursor = slice_of(longest, n);
        assert_int_equal(CALL(w, store_conversations, &c), STORE_NOTFOUND);
        store_conversations_free(&c);
    }
    c.cursor = SLICE_NONE;
    c.page_bytes = 10;
    assert_int_equal(CALL(w, store_conversations, &c), STORE_OK);
    assert_int_equal(c.n, 1);
    assert_true(c.next_cursor[0] != '\0');
    store_conversations_free(&c);
    struct store_member_del del = {.conv = conv_key_slice(&a), .user = S("ann")};
    assert_int_equal(CALL(w, store_member_del, &del), STORE_OK);
    c.page_bytes = 0;
    assert_int_equal(CALL(w, store_conversations, &c), STORE_OK);
    assert_int_equal(c.n, 4);
    store_conversations_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(inbox, setup_people, teardown),
        cmocka_unit_test_setup_teardown(inbox_full, setup_people, teardown),
        cmocka_unit_test_setup_teardown(inbox_holes, setup_people, teardown),
        cmocka_unit_test_setup_teardown(inbox_in_flight, setup_people, teardown),
        cmocka_unit_test_setup_teardown(removed_in_flight, setup_people, teardown),
        cmocka_unit_test_setup_teardown(users, setup_people, teardown),
        cmocka_unit_test_setup_teardown(guests, setup_people, teardown),
        cmocka_unit_test_setup_teardown(blocks, setup_people, teardown),
        cmocka_unit_test_setup_teardown(members, setup_people, teardown),
        cmocka_unit_test_setup_teardown(many_members, setup_people, teardown),
        cmocka_unit_test_setup_teardown(members_in_flight, setup_people, teardown),
        cmocka_unit_test_setup_teardown(conversations, setup_people, teardown),
    };
    int failed = 0;
    UTIL_RUN("people", tests, engine, failed);
    return failed;
}
