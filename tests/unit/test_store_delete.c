/* Deleting users and channels, and lists of all there is. One suite, run against both databases. */
#include "tests/unit/store_kit.h"

#include "core/base/buf.h"

/* A restart, where the database outlives one. */
static void again(struct world *w)
{
    if (strcmp(engine, "memory") != 0)
        world_restart(w);
}

static struct store_user_forget forget(struct world *w, const char *id, enum store_forget_step step, bool recall)
{
    struct store_user_forget f = {.id = S(id), .force = true, .step = step, .recall = recall};
    (void)CALL(w, store_user_forget, &f);
    return f;
}

static void leave(struct world *w, const struct conv_key *c, const char *user)
{
    struct store_member_del d = {.conv = conv_key_slice(c), .user = S(user)};
    assert_int_equal(CALL(w, store_member_del, &d), STORE_OK);
}

static enum store_status load(struct world *w, const char *id, bool going, uint32_t *subs)
{
    struct store_user_load u = {.id = S(id), .going = going};
    enum store_status status = CALL(w, store_user_load, &u);
    *subs = u.subscription_count;
    store_user_load_free(&u);
    return status;
}

static int word_cmp(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What a scan finds, as text. */
static void scan(struct world *w, enum store_scan_what what, const char *prefix, uint32_t limit, const char *expected)
{
    struct store_scan q = {.what = what, .prefix = S(prefix), .limit = limit};
    struct buf found = BUF_INIT;
    char cursor[64], *words[64];
    unsigned n = 0;
    do {
        assert_int_equal(CALL(w, store_scan, &q), STORE_OK);
        assert_true(q.n <= limit);
        for (uint32_t i = 0; i < q.n; i++) {
            struct buf word = BUF_INIT;
            buf_slice_put(&word, q.list[i].id);
            if (q.list[i].name.n)
                buf_printf(&word, "=%.*s", (int)q.list[i].name.n, q.list[i].name.p);
            if (q.what == STORE_SCAN_CHANNELS)
                buf_printf(&word, ":%u:%u", q.list[i].members, (unsigned)q.list[i].seq);
            buf_put(&word, q.list[i].recall ? "! " : " ", q.list[i].recall ? 3 : 2); /* its NUL, too */
            assert_true(n < 64);
            words[n++] = word.p;
        }
        memcpy(cursor, q.next, q.next_n);
        q.cursor = slice_of(cursor, q.next_n);
        free(q.list);
        free(q.arena);
    } while (q.more);
    if (util_is_redis(w)) /* in no order */
        qsort(words, n, sizeof *words, word_cmp);
    for (unsigned i = 0; i < n; i++) {
        buf_str(&found, words[i]);
        free(words[i]);
    }
    buf_byte(&found, '\0');
    assert_string_equal(found.p, expected);
    buf_free(&found);
}

static void senders(struct world *w, const struct conv_key *c, const char *expected)
{
    struct store_range r = page_of(w, c, -1, -1, 100);
    char text[512] = "";
    for (uint32_t i = 0; i < r.page.n; i++)
        sprintf(text + strlen(text), "%.*s=%.*s ", (int)r.page.messages[i].sender.n, r.page.messages[i].sender.p,
                (int)r.page.messages[i].sender_name.n,
                r.page.messages[i].sender_name.n ? r.page.messages[i].sender_name.p : "");
    assert_string_equal(text, expected);
    store_page_free(&r.page);
}

static void user_goes(void **state)
{
    struct world *w = *state;
    struct conv_key pair = util_pair("ann", "bob"), room = util_channel("room");
    uint32_t subs;
    join(w, &room, "ann");
    join(w, &room, "bob");
    say(w, &room, TIER_SMALL, "ann", "one");
    say(w, &room, TIER_SMALL, "bob", "two");
    dm(w, "ann", "bob", "hello", NULL);
    dm(w, "bob", "ann", "well", NULL);
    assert_int_equal(forget(w, "nobody", FORGET_BEGIN, false).op.status, STORE_NOTFOUND);

    assert_int_equal(forget(w, "ann", FORGET_BEGIN, false).op.status, STORE_OK);
    scan(w, STORE_SCAN_GOING_USERS, "", 10, "ann ");
    assert_int_equal(load(w, "ann", false, &subs), STORE_NOTFOUND);
    /* Nothing new comes of what was under way. */
    assert_int_equal(dm(w, "bob", "ann", "more", NULL).op.status, STORE_DENIED);
    assert_int_equal(dm(w, "ann", "bob", "more", NULL).op.status, STORE_DENIED);
    struct store_append a = append_of(&room, TIER_SMALL, "ann", "more");
    assert_int_equal(CALL(w, store_append, &a), STORE_DENIED);
    struct conv_key other = util_channel("other");
    assert_int_equal(join(w, &other, "ann").op.status, STORE_DENIED);
    assert_int_equal(user_make(w, "ann", "Late"), STORE_NOTFOUND);
    struct store_user_save new = {.id = S("ann"), .name = S("New"), .create = true};
    assert_int_equal(CALL(w, store_user_save, &new), STORE_RETRY);
    struct store_mark_read mark = {.conv = conv_key_slice(&pair), .user = S("ann"), .seq = 2};
    assert_int_equal(CALL(w, store_mark_read, &mark), STORE_NOTFOUND);
    struct store_block block = {.user = S("ann"), .target = S("bob"), .blocked = true};
    assert_int_equal(CALL(w, store_block, &block), STORE_NOTFOUND);

    again(w); /* killed half-way */
    scan(w, STORE_SCAN_GOING_USERS, "", 10, "ann ");
    assert_int_equal(load(w, "ann", true, &subs), STORE_OK);
    assert_int_equal(subs, 1);
    assert_int_equal(forget(w, "ann", FORGET_BEGIN, true).recall, true);
    scan(w, STORE_SCAN_GOING_USERS, "", 10, "ann! ");
    assert_int_equal(forget(w, "ann", FORGET_BEGIN, false).recall, true); /* it stays so */
    leave(w, &room, "ann");
    struct store_user_forget end = forget(w, "ann", FORGET_END, false);
    assert_int_equal(end.op.status, STORE_OK);
    assert_false(end.more);
    scan(w, STORE_SCAN_GOING_USERS, "", 10, "");
    assert_int_equal(load(w, "ann", true, &subs), STORE_OK);
    assert_int_equal(subs, 0);
    struct store_conversations c = {.user = S("ann"), .limit = 10};
    assert_int_equal(CALL(w, store_conversations, &c), STORE_OK);
    assert_int_equal(c.n, 0);
    store_conversations_free(&c);
    INBOX(w, "ann", 0, 10, "", false);
    INBOX(w, "bob", 0, 10, "hello", false);

    senders(w, &room, "ann= bob=Name ");
    senders(w, &pair, "ann= bob=Name ");
    scan(w, STORE_SCAN_USERS, "", 10, "bob=Bob ");
}

static void user_comes_again(void **state)
{
    struct world *w = *state;
    struct conv_key pair = util_pair("ann", "bob");
    struct store_user_save taken = {.id = S("bob"), .name = S("Other"), .create = true};
    assert_int_equal(CALL(w, store_user_save, &taken), STORE_DENIED);
    dm(w, "ann", "bob", "before", NULL);
    struct store_user_save raised = {.id = S("ann"), .name = S("Ann"), .user = {.epoch = 6}};
    assert_int_equal(CALL(w, store_user_save, &raised), STORE_OK);
    for (uint32_t round = 1; round < 3; round++) {
        assert_int_equal(forget(w, "ann", FORGET_BEGIN, false).op.status, STORE_OK);
        assert_int_equal(forget(w, "ann", FORGET_END, false).op.status, STORE_OK);
        again(w);
        struct store_user_save new = {.id = S("ann"), .name = S("Second"), .create = true};
        assert_int_equal(CALL(w, store_user_save, &new), STORE_OK);
        assert_int_equal(new.user.epoch, 6 + round);
        again(w);
        struct store_user_load u = {.id = S("ann")};
        assert_int_equal(CALL(w, store_user_load, &u), STORE_OK);
        assert_int_equal(u.user.epoch, 6 + round);
        assert_int_equal(u.inbox, 0);
        store_user_load_free(&u);
    }
    assert_int_equal(user_make(w, "ann", "Renamed"), STORE_OK);
    dm(w, "ann", "bob", "after", NULL);
    senders(w, &pair, "ann= ann=Name ");
}

/* Whom a user blocked, the next one of its id does not. */
static void blocks_end_with_the_user(void **state)
{
    struct world *w = *state;
    static const char *const targets[] = {"bob", "aaa", "nobody"};
    for (int i = 0; i < 3; i++) {
        struct store_block b = {.user = S("ann"), .target = S(targets[i]), .blocked = true};
        assert_int_equal(CALL(w, store_block, &b), STORE_OK);
    }
    struct store_block back = {.user = S("bob"), .target = S("ann"), .blocked = true};
    assert_int_equal(CALL(w, store_block, &back), STORE_OK);
    assert_int_equal(forget(w, "ann", FORGET_BEGIN, false).op.status, STORE_OK);
    assert_int_equal(forget(w, "ann", FORGET_END, false).op.status, STORE_OK);
    struct store_user_save new = {.id = S("ann"), .name = S("Second"), .create = true};
    assert_int_equal(CALL(w, store_user_save, &new), STORE_OK);
    for (int i = 0; i < 3; i++) {
        struct conv_key pair = util_pair("ann", targets[i]);
        struct store_conv_load l = {.conv = conv_key_slice(&pair)};
        assert_int_equal(CALL(w, store_conv_load, &l), STORE_OK);
        bool lower = strcmp("ann", targets[i]) < 0;
        assert_false(l.blocks[lower ? 0 : 1]);
        assert_int_equal(l.blocks[lower ? 1 : 0], i == 0);
    }
}

/* Who has an id that was another's has the pairs from its first message on, and none of before; nor in its lists. */
static void the_next_user_begins_anew(void **state)
{
    struct world *w = *state;
    struct conv_key pair = util_pair("ann", "bob");
    for (int i = 0; i < 3; i++)
        dm(w, "bob", "ann", "before", NULL);
    assert_int_equal(forget(w, "ann", FORGET_BEGIN, false).op.status, STORE_OK);
    assert_int_equal(forget(w, "ann", FORGET_END, false).op.status, STORE_OK);
    again(w);
    struct store_user_save new = {.id = S("ann"), .name = S("Second"), .create = true};
    assert_int_equal(CALL(w, store_user_save, &new), STORE_OK);
    struct store_conversations c = {.user = S("ann"), .limit = 10};
    assert_int_equal(CALL(w, store_conversations, &c), STORE_OK);
    assert_int_equal(c.n, 0);
    store_conversations_free(&c);
    assert_int_equal(inbox_size_of(w, "ann"), 0);
    struct slice id = S("bob");
    struct store_pairs known = {.user = S("ann"), .ids = &id, .n = 1};
    assert_int_equal(CALL(w, store_pairs, &known), STORE_OK);
    assert_false(known.known[0]);
    dm(w, "bob", "ann", "after", NULL);
    INBOX(w, "ann", 0, 10, "after", false);
    assert_int_equal(CALL(w, store_conversations, &c), STORE_OK);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.list[0].unread, 1);
    store_conversations_free(&c);
    struct store_range r = {.conv = conv_key_slice(&pair), .reader = S("ann"), .limit = 10};
    assert_int_equal(CALL(w, store_range, &r), STORE_OK);
    assert_int_equal(r.page.n, 1);
    assert_int_equal(r.first, 4);
    store_page_free(&r.page);
}

static void many_rows_go_in_steps(void **state)
{
    struct world *w = *state;
    char id[32];
    for (int i = 0; i < 2500; i++) {
        snprintf(id, sizeof id, "u%d", i);
        struct store_block b = {.user = S("ann"), .target = S(id), .blocked = true};
        assert_int_equal(CALL(w, store_block, &b), STORE_OK);
    }
    assert_int_equal(forget(w, "ann", FORGET_BEGIN, false).op.status, STORE_OK);
    assert_true(forget(w, "ann", FORGET_END, false).more);
    scan(w, STORE_SCAN_GOING_USERS, "", 10, "ann ");
    assert_false(forget(w, "ann", FORGET_END, false).more);
    scan(w, STORE_SCAN_GOING_USERS, "", 10, "");
}

static void channel_goes(void **state)
{
    struct world *w = *state;
    struct conv_key room = util_channel("room");
    join(w, &room, "ann");
    join(w, &room, "bob");
    for (int i = 0; i < 100; i++)
        say(w, &room, TIER_SMALL, "ann", "x");
    struct store_channel_wipe wipe = {.conv = conv_key_slice(&room)};
    assert_int_equal(CALL(w, store_channel_wipe, &wipe), STORE_NOTFOUND);
    struct conv_key none = util_channel("none");
    struct store_channel_close close = {.conv = conv_key_slice(&none)};
    assert_int_equal(CALL(w, store_channel_close, &close), STORE_NOTFOUND);
    close.conv = conv_key_slice(&room);
    assert_int_equal(CALL(w, store_channel_close, &close), STORE_OK);
    assert_int_equal(close.members, 2);
    for (int i = 0; i < 2; i++, again(w)) { /* killed half-way */
        scan(w, STORE_SCAN_GOING_CHANNELS, "", 10, "room ");
        scan(w, STORE_SCAN_CHANNELS, "", 10, "");
        struct store_append a = append_of(&room, TIER_SMALL, "ann", "more");
        assert_int_equal(CALL(w, store_append, &a), STORE_NOTFOUND);
        assert_int_equal(join(w, &room, "cid").op.status, STORE_RETRY);
        struct store_range r = {.conv = conv_key_slice(&room), .limit = 10};
        assert_int_equal(CALL(w, store_range, &r), STORE_NOTFOUND);
        struct store_members m = {.conv = conv_key_slice(&room), .limit = 10};
        assert_int_equal(CALL(w, store_members, &m), STORE_NOTFOUND);
        struct store_conv_load l = {.conv = conv_key_slice(&room)};
        assert_int_equal(CALL(w, store_conv_load, &l), STORE_OK);
        assert_false(l.exists);
        assert_int_equal(CALL(w, store_channel_close, &close), STORE_OK);
        assert_int_equal(CALL(w, store_channel_wipe, &wipe), STORE_DENIED);
    }
    struct store_members m = {.conv = conv_key_slice(&room), .limit = 10, .going = true};
    assert_int_equal(CALL(w, store_members, &m), STORE_OK);
    assert_int_equal(m.n, 2);
    free(m.people);
    free(m.arena);
    leave(w, &room, "ann");
    leave(w, &room, "bob");
    scan(w, STORE_SCAN_GOING_CHANNELS, "", 10, "room ");
    assert_int_equal(CALL(w, store_channel_wipe, &wipe), STORE_OK);
    scan(w, STORE_SCAN_GOING_CHANNELS, "", 10, "");
    assert_int_equal(CALL(w, store_channel_close, &close), STORE_NOTFOUND);
    again(w);
    PAGE(w, &room, -1, -1, 10, "", 101, 100, false);
    assert_int_equal(join(w, &room, "bob").seq, 100);
    assert_int_equal(say(w, &room, TIER_SMALL, "bob", "anew"), 101);
    PAGE(w, &room, -1, -1, 10, "101", 101, 101, false);
    scan(w, STORE_SCAN_CHANNELS, "", 10, "room:1:101 ");
}

/* What is stored right before, in the same group, goes too. */
static void wipe_in_flight(void **state)
{
    struct world *w = *state;
    struct conv_key room = util_channel("room");
    join(w, &room, "ann");
    say(w, &room, TIER_SMALL, "ann", "x");
    struct store_append a = append_of(&room, TIER_SMALL, "ann", "y");
    struct store_recall r = {.conv = conv_key_slice(&room), .seq = 1};
    struct store_channel_close close = {.conv = conv_key_slice(&room)};
    struct store_member_del del = {.conv = conv_key_slice(&room), .user = S("ann")};
    struct store_channel_wipe wipe = {.conv = conv_key_slice(&room)};
    POST(w, store_append, &a);
    POST(w, store_recall, &r);
    POST(w, store_channel_close, &close);
    POST(w, store_member_del, &del);
    POST(w, store_channel_wipe, &wipe);
    util_wait(w, &wipe.op);
    assert_int_equal(a.op.status, STORE_OK);
    assert_int_equal(r.op.status, STORE_OK);
    assert_int_equal(wipe.op.status, STORE_OK);
    join(w, &room, "bob");
    assert_int_equal(say(w, &room, TIER_SMALL, "bob", "z"), 3);
    PAGE(w, &room, -1, -1, 10, "3", 3, 3, false);
    struct store_sent sent = {.sender = S("ann"), .id_max = UINT64_MAX};
    assert_int_equal(CALL(w, store_sent, &sent), STORE_OK);
    assert_int_equal(sent.n, 0); /* not even on the disk */
}

static void recall_of_any(void **state)
{
    struct world *w = *state;
    struct conv_key room = util_channel("room");
    join(w, &room, "ann");
    say(w, &room, TIER_SMALL, "ann", "x");
    world_pass(w, 10 * DAY);
    struct store_recall r = {.conv = conv_key_slice(&room), .sender = S("bob"), .seq = 1};
    assert_int_equal(CALL(w, store_recall, &r), STORE_DENIED);
    r.sender = SLICE_NONE;
    assert_int_equal(CALL(w, store_recall, &r), STORE_OK);
    assert_false(r.again);
    assert_int_equal(CALL(w, store_recall, &r), STORE_OK);
    assert_true(r.again);
    r.seq = 2;
    assert_int_equal(CALL(w, store_recall, &r), STORE_NOTFOUND);
}

static void sent_everywhere(void **state)
{
    struct world *w = *state;
    struct conv_key room = util_channel("room"), big = util_channel("big");
    join(w, &room, "ann");
    join(w, &big, "ann");
    leave(w, &room, "ann"); /* where it is no longer, too */
    join(w, &room, "bob");
    static struct store_append ops[5000];
    unsigned wanted = 0, found = 0, pages = 0;
    for (unsigned i = 0; i < 5000; i++) {
        ops[i] = append_of(i % 2 ? &room : &big, i % 2 ? TIER_SMALL : TIER_LARGE, i % 51 ? "bob" : "ann", "x");
        wanted += i % 51 == 0;
        POST(w, store_append, &ops[i]);
    }
    for (unsigned i = 0; i < 5000; i++)
        util_wait(w, &ops[i].op);
    uint64_t last = dm(w, "ann", "bob", "x", NULL).id;
    dm(w, "ann", "bob", "too late", NULL);
    struct store_recall r = {.conv = conv_key_slice(&big), .seq = ops[4998].seq};
    assert_int_equal(CALL(w, store_recall, &r), STORE_OK); /* one less */
    struct store_sent q = {.sender = S("ann"), .id_max = last};
    do {
        assert_int_equal(CALL(w, store_sent, &q), STORE_OK);
        found += q.n;
        for (uint32_t i = 0; i < q.n; i++)
            assert_true(q.list[i].conv_n >= 2 && q.list[i].seq >= 1);
        assert_true(++pages < 1000);
    } while (q.more);
    assert_true(pages > 1);
    /* `big` keeps 1000 of its tier; what was trimmed off may be there still, or not. */
    assert_true(found <= wanted && found > STORE_SENT_MAX);
}

static void lists_page_by_page(void **state)
{
    struct world *w = *state;
    char id[32];
    for (int i = 0; i < 25; i++) {
        snprintf(id, sizeof id, "u%02d", i);
        user_make(w, id, "N");
        struct conv_key c = util_channel(id);
        join(w, &c, "ann");
        if (i % 5) {
            say(w, &c, TIER_SMALL, "ann", "x");
            leave(w, &c, "ann");
        }
    }
    scan(w, STORE_SCAN_USERS, "", 7,
         "ann=Ann bob=Bob u00=N u01=N u02=N u03=N u04=N u05=N u06=N u07=N u08=N u09=N "
         "u10=N u11=N u12=N u13=N u14=N u15=N u16=N u17=N u18=N u19=N u20=N u21=N u22=N "
         "u23=N u24=N ");
    scan(w, STORE_SCAN_USERS, "u1", 3, "u10=N u11=N u12=N u13=N u14=N u15=N u16=N u17=N u18=N u19=N ");
    scan(w, STORE_SCAN_USERS, "zz", 3, "");
    scan(w, STORE_SCAN_CHANNELS, "u1", 2,
         "u10:1:0 u11:0:1 u12:0:1 u13:0:1 u14:0:1 u15:1:0 u16:0:1 u17:0:1 u18:0:1 "
         "u19:0:1 ");
    struct store_scan bad = {.what = STORE_SCAN_USERS, .limit = 0};
    assert_int_equal(CALL(w, store_scan, &bad), STORE_FATAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(user_goes, setup_people, teardown),
        cmocka_unit_test_setup_teardown(user_comes_again, setup_people, teardown),
        cmocka_unit_test_setup_teardown(blocks_end_with_the_user, setup_people, teardown),
        cmocka_unit_test_setup_teardown(the_next_user_begins_anew, setup_people, teardown),
        cmocka_unit_test_setup_teardown(many_rows_go_in_steps, setup_people, teardown),
        cmocka_unit_test_setup_teardown(channel_goes, setup_people, teardown),
        cmocka_unit_test_setup_teardown(wipe_in_flight, setup_people, teardown),
        cmocka_unit_test_setup_teardown(recall_of_any, setup_people, teardown),
        cmocka_unit_test_setup_teardown(sent_everywhere, setup_people, teardown),
        cmocka_unit_test_setup_teardown(lists_page_by_page, setup_people, teardown),
    };
    int failed = 0;
    UTIL_RUN("delete", tests, engine, failed);
    return failed;
}
