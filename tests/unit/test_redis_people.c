/* Users, memberships, lists and notes of the Redis engine: what two servers on one cluster see of each other. */
#define UTIL_MAIN
#include "tests/unit/pair_kit.h"

#include "core/base/buf.h"

/* Two servers with the same data and the same clock. */
struct pair {
    struct world a, b;
};

static int setup(void **state)
{
    struct pair *p = calloc(1, sizeof *p);
    *state = p;
    if (!redis_kit_addresses())
        return 0;
    pair_open(&p->a, &p->b);
    return 0;
}

static int teardown(void **state)
{
    struct pair *p = *state;
    if (redis_kit_addresses()) {
        world_fini(&p->a);
        world_fini(&p->b);
    }
    free(p);
    return 0;
}

static struct store_user_save save(struct world *w, const char *id, uint32_t epoch, bool create)
{
    struct store_user_save u = {.id = S(id), .name = S(id), .user = {.epoch = epoch}, .create = create};
    (void)CALL(w, store_user_save, &u);
    return u;
}

static struct store_user_load load(struct world *w, const char *id)
{
    struct store_user_load u = {.id = S(id), .going = true};
    assert_int_equal(CALL(w, store_user_load, &u), STORE_OK);
    return u;
}

static void an_epoch_counts_on_both(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    assert_int_equal(save(&p->a, "ann", 1, true).op.status, STORE_OK);
    assert_int_equal(save(&p->b, "ann", 1, true).op.status, STORE_DENIED);
    world_pass(&p->a, 5000);
    assert_int_equal(save(&p->a, "ann", 4, false).user.epoch, 4);
    /* One that has not heard of it: a token that was revoked stays so. */
    assert_int_equal(save(&p->b, "ann", 2, false).user.epoch, 4);
    struct store_user_load u = load(&p->b, "ann");
    assert_int_equal(u.user.epoch, 4);
    assert_true(u.user.revoked_ms > T0);
    store_user_load_free(&u);
    /* Of many that make the same one, one succeeds. */
    static struct store_user_save many[20];
    unsigned made = 0;
    for (int i = 0; i < 20; i++) {
        many[i] = (struct store_user_save){.id = S("bob"), .name = S("Bob"), .create = true};
        POST(i % 2 ? &p->a : &p->b, store_user_save, &many[i]);
    }
    for (int i = 0; i < 20; i++) {
        util_wait(i % 2 ? &p->a : &p->b, &many[i].op);
        made += many[i].op.status == STORE_OK;
        assert_true(many[i].op.status == STORE_OK || many[i].op.status == STORE_DENIED);
    }
    assert_int_equal(made, 1);
}

static void members_text(struct world *w, const struct conv_key *c, const char *expected)
{
    struct store_members m = {.conv = conv_key_slice(c), .limit = 100};
    char text[512] = "";
    (void)CALL(w, store_members, &m);
    for (uint32_t i = 0; i < m.n; i++)
        sprintf(text + strlen(text), "%.*s ", (int)m.people[i].id.n, m.people[i].id.p);
    free(m.people);
    free(m.arena);
    assert_string_equal(text, expected);
}

static void memberships(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    struct conv_key c = util_channel("room");
    save(&p->a, "ann", 0, true);
    save(&p->a, "bob", 0, true);
    assert_true(join(&p->a, &c, "ann").created);
    assert_int_equal(join(&p->b, &c, "bob").members, 2);
    members_text(&p->a, &c, "ann bob ");
    struct store_member_put m = {.conv = conv_key_slice(&c), .user = S("ann"), .set_push = true, .push = MODE_ALL};
    assert_int_equal(CALL(&p->b, store_member_put, &m), STORE_OK);
    assert_true(m.existed && m.mode == MODE_ALL && !m.events);
    m = (struct store_member_put){.conv = conv_key_slice(&c), .user = S("ann"), .set_events = true, .events = true};
    assert_int_equal(CALL(&p->a, store_member_put, &m), STORE_OK);
    assert_true(m.existed && m.mode == MODE_ALL && m.events);
    struct store_user_load u = load(&p->b, "ann");
    assert_int_equal(u.subscription_count, 1);
    assert_true(u.subscriptions[0].push == MODE_ALL && u.subscriptions[0].events);
    store_user_load_free(&u);
    assert_true(util_leave(&p->b, &c, "ann").existed);
    assert_false(util_leave(&p->a, &c, "ann").existed);
    struct store_member_del last = util_leave(&p->a, &c, "bob");
    assert_true(last.existed && last.gone && last.members == 0);
    assert_true(join(&p->b, &c, "ann").created);
    u = load(&p->a, "ann");
    assert_true(u.subscription_count == 1 && u.subscriptions[0].push == MODE_DEFAULT && !u.subscriptions[0].events);
    store_user_load_free(&u);
}

/* Both put a few users in and out at the same time: in the end channel and users say the same. */
static void memberships_at_once(void **state)
{
    enum { N = 400 };
    struct pair *p = *state;
    redis_kit_need();
    static struct store_member_put puts[N];
    static struct store_member_del dels[N];
    static const char *const ids[4] = {"u0", "u1", "u2", "u3"};
    struct conv_key c = util_channel("room");
    for (int i = 0; i < 4; i++)
        save(&p->a, ids[i], 0, true);
    for (int i = 0; i < N; i++) {
        struct world *w = i * 7 % 5 < 2 ? &p->a : &p->b;
        struct slice user = S(ids[i * 13 % 11 % 4]);
        puts[i] = (struct store_member_put){.conv = conv_key_slice(&c),
                                            .user = user,
                                            .may_create = true,
                                            .set_push = i % 3 == 0,
                                            .push = (enum push_mode)(i % 4)};
        dels[i] = (struct store_member_del){.conv = conv_key_slice(&c), .user = user};
        if (i * 31 % 7 < 3)
            POST(w, store_member_del, &dels[i]);
        else
            POST(w, store_member_put, &puts[i]);
    }
    for (int i = 0; i < N; i++) {
        struct world *w = i * 7 % 5 < 2 ? &p->a : &p->b;
        struct store_op *op = i * 31 % 7 < 3 ? &dels[i].op : &puts[i].op;
        util_wait(w, op);
        assert_true(op->status == STORE_OK || op->status == STORE_NOTFOUND);
    }
    char text[64] = "";
    for (int i = 0; i < 4; i++) {
        struct store_user_load u = load(i % 2 ? &p->a : &p->b, ids[i]);
        if (u.subscription_count)
            sprintf(text + strlen(text), "%s ", ids[i]);
        store_user_load_free(&u);
    }
    members_text(&p->a, &c, text);
    struct store_conv_load l = {.conv = conv_key_slice(&c)};
    assert_int_equal(CALL(&p->a, store_conv_load, &l), STORE_OK);
    assert_int_equal(l.members, strlen(text) / 3);
}

static void channels_are_counted_together(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    struct conv_key c[6];
    for (int i = 0; i < 6; i++) {
        char name[8];
        sprintf(name, "c%d", i);
        c[i] = util_channel(name);
        struct store_member_put m = {
            .conv = conv_key_slice(&c[i]), .user = S("ann"), .may_create = true, .channels_max = 5};
        enum store_status status = CALL(i < 3 ? &p->a : &p->b, store_member_put, &m);
        assert_int_equal(status, i < 5 ? STORE_OK : STORE_LIMIT);
    }
    struct store_member_put again = {
        .conv = conv_key_slice(&c[4]), .user = S("bob"), .may_create = true, .channels_max = 5};
    assert_int_equal(CALL(&p->b, store_member_put, &again), STORE_OK); /* it is there */
    assert_true(util_leave(&p->b, &c[3], "ann").gone);
    again.conv = conv_key_slice(&c[5]);
    assert_int_equal(CALL(&p->b, store_member_put, &again), STORE_OK);
    again.conv = conv_key_slice(&c[3]);
    assert_int_equal(CALL(&p->b, store_member_put, &again), STORE_LIMIT);
}

static void note(struct world *w, const char *key, const char *value)
{
    struct store_note_put n = {.note = {S(key), S(value)}, .remove = !*value};
    assert_int_equal(CALL(w, store_note_put, &n), STORE_OK);
}

static void notes_text(struct world *w, const char *prefix, uint32_t limit, const char *expected)
{
    struct buf text = BUF_INIT;
    struct store_notes n = {.prefix = S(prefix), .limit = limit};
    char cursor[200];
    bool more;
    do {
        assert_int_equal(CALL(w, store_notes, &n), STORE_OK);
        for (uint32_t i = 0; i < n.n; i++) {
            buf_printf(&text, "%.*s=%.*s ", (int)n.notes[i].key.n, n.notes[i].key.p, (int)n.notes[i].value.n,
                       n.notes[i].value.p);
            memcpy(cursor, n.notes[i].key.p, n.notes[i].key.n);
            n.cursor = slice_of(cursor, n.notes[i].key.n);
        }
        more = n.more;
        free(n.notes);
        free(n.arena);
    } while (more);
    buf_byte(&text, '\0');
    assert_string_equal(text.p, expected);
    buf_free(&text);
}

static void notes(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    note(&p->a, "ban/ann", "1");
    notes_text(&p->b, "ban/", 9, "ban/ann=1 ");
    note(&p->b, "ban/bob", "2");
    note(&p->b, "other", "x");
    notes_text(&p->a, "ban/", 1, "ban/ann=1 ban/bob=2 ");
    note(&p->a, "ban/ann", "");
    note(&p->b, "ban/bob", "3");
    notes_text(&p->a, "ban/", 9, "ban/bob=3 ");
    notes_text(&p->b, "ban/", 9, "ban/bob=3 ");
    struct buf expected = BUF_INIT;
    for (int i = 0; i < 300; i++) { /* more than one HSCAN returns */
        char key[16];
        sprintf(key, "n/%03d", i);
        note(i % 2 ? &p->a : &p->b, key, "v");
        buf_printf(&expected, "n/%03d=v ", i);
    }
    buf_byte(&expected, '\0');
    notes_text(&p->a, "n/", 64, expected.p);
    notes_text(&p->b, "n/", 300, expected.p);
    buf_free(&expected);
}

static bool going_one(struct world *w, bool recall)
{
    struct store_scan q = {.what = STORE_SCAN_GOING_USERS, .limit = 10};
    assert_int_equal(CALL(w, store_scan, &q), STORE_OK);
    bool one = q.n == 1 && slice_eq(q.list[0].id, S("ann")) && q.list[0].recall == recall && !q.more;
    free(q.list);
    free(q.arena);
    return one;
}

/* A deletion whose server has gone is ended by another one, from whatever step. */
static void a_deletion_goes_on_elsewhere(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    struct conv_key c = util_channel("room");
    for (int round = 0; round < 3; round++) {
        struct world *w = round % 2 ? &p->b : &p->a, *other = round % 2 ? &p->a : &p->b;
        struct store_user_save made = save(w, "ann", 0, true);
        assert_int_equal(made.op.status, STORE_OK);
        assert_int_equal(made.user.epoch, round);
        join(w, &c, "ann");
        join(w, &c, "bob");
        struct store_user_forget f = {.id = S("ann"), .force = true, .step = FORGET_BEGIN, .recall = round == 1};
        assert_int_equal(CALL(w, store_user_forget, &f), STORE_OK);
        if (round == 1)
            assert_int_equal(util_leave(w, &c, "ann").op.status, STORE_OK);
        world_close(w);
        assert_true(going_one(other, round == 1));
        assert_int_equal(save(other, "ann", 0, true).op.status, STORE_RETRY);
        assert_int_equal(save(other, "ann", 9, false).op.status, STORE_NOTFOUND);
        assert_int_equal(join(other, &c, "ann").op.status, round == 1 ? STORE_DENIED : STORE_DENIED);
        members_text(other, &c, "bob "); /* it was taken back, even if it was one before */
        f.recall = false;
        assert_int_equal(CALL(other, store_user_forget, &f), STORE_OK);
        assert_true(f.recall == (round == 1));
        util_leave(other, &c, "ann");
        f.step = FORGET_END;
        assert_int_equal(CALL(other, store_user_forget, &f), STORE_OK);
        assert_false(f.more);
        assert_int_equal(CALL(other, store_user_forget, &f), STORE_OK); /* again */
        assert_false(going_one(other, false));
        world_open(w);
        assert_int_equal(save(w, "ann", 9, false).op.status, STORE_NOTFOUND);
    }
}

/* Every one is found once, page by page, whatever is stored beside it. */
static void lists_are_whole(void **state)
{
    enum { N = 300 };
    struct pair *p = *state;
    redis_kit_need();
    static struct store_user_save users[N];
    static struct store_member_put puts[N];
    static struct conv_key channels[N];
    static char ids[N][16];
    for (int i = 0; i < N; i++) {
        sprintf(ids[i], i % 3 ? "u%d" : "a*[%d]?\\", i);
        channels[i] = util_channel(ids[i]);
        users[i] = (struct store_user_save){.id = S(ids[i]), .name = S(ids[i]), .fresh = true};
        puts[i] =
            (struct store_member_put){.conv = conv_key_slice(&channels[i]), .user = S(ids[i]), .may_create = true};
        POST(&p->a, store_user_save, &users[i]);
        POST(&p->a, store_member_put, &puts[i]);
    }
    for (int i = 0; i < N; i++) {
        util_wait(&p->a, &users[i].op);
        util_wait(&p->a, &puts[i].op);
        assert_true(users[i].op.status == STORE_OK && puts[i].op.status == STORE_OK);
    }
    static const uint32_t limits[] = {1, 7, 100, 1000};
    static const char *const prefixes[] = {"", "a*[", "u1", "b"};
    for (unsigned k = 0; k < 4 * 4 * 2; k++) {
        struct slice prefix = S(prefixes[k / 8]);
        struct store_scan q = {
            .what = k % 2 ? STORE_SCAN_USERS : STORE_SCAN_CHANNELS, .prefix = prefix, .limit = limits[k / 2 % 4]};
        unsigned seen[N] = {0}, pages = 0;
        char cursor[64];
        do {
            assert_int_equal(CALL(&p->b, store_scan, &q), STORE_OK);
            assert_true(q.n <= q.limit && ++pages < 2000);
            for (uint32_t i = 0; i < q.n; i++) {
                int n = 0;
                while (n < N && !slice_eq(q.list[i].id, S(ids[n])))
                    n++;
                assert_true(n < N);
                seen[n]++;
                if (k % 2)
                    assert_true(slice_eq(q.list[i].name, S(ids[n])));
                else
                    assert_int_equal(q.list[i].members, 1);
            }
            memcpy(cursor, q.next, q.next_n);
            for (unsigned i = 0; i < q.next_n; i++)
                assert_true(cursor[i] > ' ' && cursor[i] <= '~'); /* people carry it */
            q.cursor = slice_of(cursor, q.next_n);
            free(q.list);
            free(q.arena);
        } while (q.more);
        for (int i = 0; i < N; i++)
            assert_int_equal(seen[i], strncmp(ids[i], prefix.p, prefix.n) == 0);
    }
    static const char *const bad[] = {"nonsense", "~", "~0123456789abcdef0123456789abcdef0g", "u1",
                                      "~0123456789abcdef0123456789abcdef"};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct store_scan q = {.what = STORE_SCAN_USERS, .cursor = S(bad[i]), .limit = 5};
        assert_int_equal(CALL(&p->b, store_scan, &q), STORE_NOTFOUND);
    }
}

static void many_channels_of_one_user(void **state)
{
    enum { N = 1500 };
    struct pair *p = *state;
    redis_kit_need();
    static struct store_member_put puts[N];
    static struct conv_key channels[N];
    save(&p->a, "ann", 0, true);
    for (int i = 0; i < N; i++) {
        char name[8];
        sprintf(name, "c%04d", i);
        channels[i] = util_channel(name);
        puts[i] = (struct store_member_put){.conv = conv_key_slice(&channels[i]), .user = S("ann"), .may_create = true};
        POST(&p->a, store_member_put, &puts[i]);
    }
    for (int i = 0; i < N; i++)
        util_wait(&p->a, &puts[i].op);
    struct store_user_load u = load(&p->b, "ann");
    assert_int_equal(u.subscription_count, N);
    for (int i = 0; i < N; i++)
        assert_true(slice_eq(u.subscriptions[i].channel, conv_channel_name(conv_key_slice(&channels[i]))));
    store_user_load_free(&u);
    struct slice ids[2] = {S("bob"), S("cid")};
    join(&p->b, &channels[N - 1], "cid");
    struct store_pairs pairs = {.user = S("ann"), .ids = ids, .n = 2, .channels = true};
    assert_int_equal(CALL(&p->b, store_pairs, &pairs), STORE_OK);
    assert_true(!pairs.known[0] && pairs.known[1]);
    unsigned found = 0;
    char cursor[STORE_CURSOR_MAX + 1] = "";
    do { /* without any message they come by key */
        struct store_conversations c = {.user = S("ann"), .limit = 200, .cursor = S(cursor)};
        assert_int_equal(CALL(&p->b, store_conversations, &c), STORE_OK);
        for (uint32_t i = 0; i < c.n; i++, found++)
            assert_true(slice_eq(c.list[i].conv, conv_key_slice(&channels[found])));
        strcpy(cursor, c.next_cursor);
        store_conversations_free(&c);
    } while (cursor[0]);
    assert_int_equal(found, N);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_epoch_counts_on_both, setup, teardown),
        cmocka_unit_test_setup_teardown(memberships, setup, teardown),
        cmocka_unit_test_setup_teardown(memberships_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(channels_are_counted_together, setup, teardown),
        cmocka_unit_test_setup_teardown(notes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deletion_goes_on_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_are_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(many_channels_of_one_user, setup, teardown),
    };
    return cmocka_run_group_tests_name("people of two servers", tests, NULL, NULL);
}
