/* The Redis engine with an archive beside it: private messages that have left Redis are read, recalled and edited like
 * others, and end like others. Needs MAGPIE_TEST_REDIS and MAGPIE_TEST_POSTGRES. */
#define UTIL_MAIN
#include "tests/unit/store_archive_kit.h"

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static void of_any_age(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 300);
    for (unsigned round = 0; round < 2; round++) { /* from PostgreSQL, then from what is kept in Redis */
        PAGE(&b->w, &c, -1, -1, 3, "298 299 300", 1, 300, true);
        PAGE(&b->w, &c, -1, -1, 6, "295 296 297 298 299 300", 1, 300, true); /* across the border */
        PAGE(&b->w, &c, -1, 131, 5, "126 127 128 129 130", 1, 300, true);    /* and over the border of a block */
        PAGE(&b->w, &c, -1, 4, 10, "1 2 3", 1, 300, false);
        PAGE(&b->w, &c, 0, -1, 3, "1 2 3", 1, 300, true);
        PAGE(&b->w, &c, 293, -1, 9, "294 295 296 297 298 299 300", 1, 300, false);
        PAGE(&b->w, &c, 63, 67, 9, "64 65 66", 1, 300, false);
        PAGE(&b->w, &c, 297, 500, 9, "298 299 300", 1, 300, false);
        struct store_range all = page_of(&b->w, &c, 0, -1, 1000);
        assert_int_equal(all.page.n, 300);
        for (unsigned i = 0; i < 300; i++) {
            char text[16];
            snprintf(text, sizeof text, "%u", i + 1);
            const struct store_message *m = &all.page.messages[i];
            assert_true(slice_eq(m->content, S(text)) && slice_eq(m->sender, S("ann")) && m->id && m->created_ms);
            assert_true(slice_eq(m->sender_name, S("Name")) && (!i || m->id > m[-1].id));
        }
        store_page_free(&all.page);
        all = page_of(&b->w, &c, -1, -1, 1000);
        assert_int_equal(all.page.n, 300);
        store_page_free(&all.page);
    }
    /* Kept indeed: what happens behind its back is not seen. */
    kit_sql(b->k, "update message set content = 'behind' where seq = 70");
    assert_string_equal(text_of(b, &c, 70), "70");
    struct store_conv_load l = {.conv = conv_key_slice(&c)};
    assert_int_equal(CALL(&b->w, store_conv_load, &l), STORE_OK);
    assert_true(l.seq == 300 && l.first == 1 && l.exists);
    struct store_conversations q = {.user = S("bob"), .limit = 5};
    assert_int_equal(CALL(&b->w, store_conversations, &q), STORE_OK);
    assert_true(q.n == 1 && q.list[0].unread == 300 && q.list[0].last >= 0);
    store_conversations_free(&q);
    world_restart(&b->w); /* another node knows nothing of it but what Redis and PostgreSQL have */
    PAGE(&b->w, &c, -1, 131, 5, "126 127 128 129 130", 1, 300, true);
}

static void inboxes_of_any_age(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 90);
    talk(b, 91, 95);
    assert_int_equal(recall(b, &c, 3, "ann", NULL), STORE_OK);
    struct store_inbox_peek p = {.user = S("bob"), .limit = 1000};
    assert_int_equal(CALL(&b->w, store_inbox_peek, &p), STORE_OK);
    assert_true(p.page.n == 95 && !p.more);
    for (unsigned i = 0; i < 95; i++) {
        char text[16];
        snprintf(text, sizeof text, "%u", i + 1);
        assert_int_equal(p.page.messages[i].seq, i + 1);
        assert_true(i == 2 ? p.page.messages[i].recalled : slice_eq(p.page.messages[i].content, S(text)));
    }
    struct store_inbox_ack ack = {.user = S("bob"), .up_to = p.page.messages[89].id};
    assert_int_equal(CALL(&b->w, store_inbox_ack, &ack), STORE_OK);
    assert_true(ack.removed == 90 && ack.remaining == 5);
    store_page_free(&p.page);
}

/* All that one has sent, for who deletes it: the archive is walked too, page by page. */
static void sent_at_any_age(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 200);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(dm(&b->w, "bob", "ann", "not hers", NULL).op.status, STORE_OK);
        assert_int_equal(dm(&b->w, "bob", "cid", "nor this", NULL).op.status, STORE_OK);
    }
    assert_int_equal(recall(b, &c, 9, "ann", NULL), STORE_OK);
    struct store_sent q = {.sender = S("ann"), .id_max = UINT64_MAX};
    unsigned found[201] = {0}, pages = 0, n = 0;
    do {
        assert_int_equal(CALL(&b->w, store_sent, &q), STORE_OK);
        for (uint32_t i = 0; i < q.n; i++) {
            assert_true(slice_eq(slice_of(q.list[i].conv, q.list[i].conv_n), conv_key_slice(&c)));
            assert_true(q.list[i].seq >= 1 && q.list[i].seq <= 200);
            found[q.list[i].seq]++;
            n++;
        }
    } while (q.more && ++pages < 2000);
    assert_int_equal(n, 199);
    for (unsigned i = 1; i <= 200; i++)
        assert_int_equal(found[i], i != 9);
}

/* --- Changes ------------------------------------------------------------------------------------------------------ */

static void changes_of_any_age(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 140);
    bool again;
    assert_string_equal(text_of(b, &c, 70), "70"); /* its block is kept now */
    assert_int_equal(edit(b, &c, 70, "ann", "seventy"), STORE_OK);
    assert_string_equal(text_of(b, &c, 70), "seventy");
    assert_string_equal(text_of(b, &c, 71), "71");
    assert_int_equal(edit(b, &c, 70, "ann", "once more"), STORE_OK);
    assert_string_equal(text_of(b, &c, 70), "once more");
    assert_int_equal(edit(b, &c, 70, "bob", "not mine"), STORE_DENIED);
    assert_int_equal(recall(b, &c, 70, "bob", NULL), STORE_DENIED);
    assert_int_equal(recall(b, &c, 70, "ann", &again), STORE_OK);
    assert_false(again);
    assert_string_equal(text_of(b, &c, 70), "(recalled)");
    assert_int_equal(recall(b, &c, 70, "ann", &again), STORE_OK);
    assert_true(again);
    assert_int_equal(edit(b, &c, 70, "ann", "too late"), STORE_NOTFOUND);
    assert_int_equal(recall(b, &c, 141, "ann", NULL), STORE_NOTFOUND);
    assert_int_equal(recall(b, &c, 72, "", NULL), STORE_OK); /* whoever sent it */
    struct store_recall late = {.conv = conv_key_slice(&c), .sender = S("ann"), .seq = 73, .window_ms = 1000};
    assert_int_equal(CALL(&b->w, store_recall, &late), STORE_LATE);
    struct store_edit late_edit = {
        .conv = conv_key_slice(&c), .sender = S("ann"), .seq = 73, .window_ms = 1000, .content = S("x")};
    assert_int_equal(CALL(&b->w, store_edit, &late_edit), STORE_LATE);
    assert_int_equal(edit(b, &c, 139, "ann", "young"), STORE_OK); /* one that is in Redis */
    EVENTUALLY(b, 200, strcmp(kit_sql(b->k, "select content from message where seq = 139"), "\\x796f756e67") == 0);
    assert_string_equal(kit_sql(b->k, "select string_agg(rev::text, ' ' order by seq) from message where seq in"
                                      " (70, 71, 72, 139)"),
                        "3 0 1 1");
    assert_string_equal(kit_sql(b->k, "select count(*) from message where content = '' and flags & 1 = 1"), "2");
}

/* Many who change and read the same old message at once: whoever reads after a change was answered sees it, or a later
 * one; changes are answered in the order handed over. */
static void no_kept_block_outlives_a_change(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 70);
    enum { ROUNDS = 12 };
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct store_range before[3];
        struct store_edit edits[2];
        char texts[2][16];
        for (unsigned j = 0; j < 2; j++) {
            snprintf(texts[j], sizeof texts[j], "%u.%u", i, j);
            edits[j] =
                (struct store_edit){.conv = conv_key_slice(&c), .sender = S("ann"), .seq = 9, .content = S(texts[j])};
        }
        world_pass(&b->w, 1);
        for (unsigned j = 0; j < 3; j++) {
            before[j] = (struct store_range){.conv = conv_key_slice(&c), .has_before = true, .before = 20, .limit = 15};
            util_prepare(&b->w, &before[j].op);
            store_range(b->w.s, &before[j]);
            if (j < 2) {
                util_prepare(&b->w, &edits[j].op);
                store_edit(b->w.s, &edits[j]);
            }
        }
        util_wait(&b->w, &edits[1].op);
        assert_null(edits[0].op.home); /* answered before */
        assert_true(edits[0].op.status == STORE_OK && edits[1].op.status == STORE_OK);
        assert_true(edits[1].edited_ms > edits[0].edited_ms);
        assert_string_equal(text_of(b, &c, 9), texts[1]);
        for (unsigned j = 0; j < 3; j++) {
            util_wait(&b->w, &before[j].op);
            assert_true(before[j].op.status == STORE_OK && before[j].page.n == 15);
            store_page_free(&before[j].page);
        }
        assert_string_equal(text_of(b, &c, 9), texts[1]); /* those readers have kept nothing older */
    }
    assert_string_equal(kit_sql(b->k, "select rev from message where seq = 9"), "24");
}

/* --- The end of messages ------------------------------------------------------------------------------------------ */

static void by_count(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 100);
    b->w.o.tiers[TIER_DM].max = 30;
    store_configure(b->w.s, &b->w.o);
    EVENTUALLY(b, 0, first_of(b, &c) == 71);
    PAGE(&b->w, &c, 0, -1, 3, "71 72 73", 71, 100, true);
    PAGE(&b->w, &c, -1, 72, 3, "71", 71, 100, false);
    assert_int_equal(recall(b, &c, 70, "ann", NULL), STORE_NOTFOUND);
    world_pass(&b->w, DAY);
    EVENTUALLY(b, 1000, in_archive(b) == 30);
    PAGE(&b->w, &c, 0, -1, 3, "71 72 73", 71, 100, true);
}

static void by_time(void **state)
{
    struct both *b = need(state);
    struct conv_key c = cool(b, 50);
    b->w.o.tiers[TIER_DM].ttl_ms = 10 * DAY;
    store_configure(b->w.s, &b->w.o);
    world_pass(&b->w, 5 * DAY);
    talk(b, 51, 60);
    EVENTUALLY(b, 200, in_archive(b) == 60);
    PAGE(&b->w, &c, 0, -1, 3, "1 2 3", 1, 60, true);
    world_pass(&b->w, 5 * DAY);
    PAGE(&b->w, &c, 49, -1, 3, "51 52 53", first_of(b, &c), 60, true);
    EVENTUALLY(b, 1000, in_archive(b) == 10);
    EVENTUALLY(b, 200, first_of(b, &c) == 51);
    PAGE(&b->w, &c, 0, -1, 3, "51 52 53", 51, 60, true);
    world_pass(&b->w, 6 * DAY);
    EVENTUALLY(b, 1000, in_archive(b) == 0);
    EVENTUALLY(b, 200, first_of(b, &c) == 61);
    talk(b, 61, 61);
    PAGE(&b->w, &c, -1, -1, 3, "61", 61, 61, false);
}

static void a_time_to_live_of_their_own(void **state)
{
    struct both *b = need(state);
    struct conv_key c = util_pair("ann", "bob");
    wait_for_tables(b);
    for (unsigned i = 0; i < 20; i++) {
        util_later(&b->w);
        struct store_append a = append_of(&c, TIER_DM, "ann", "x");
        a.ttl_ms = i % 2 ? 0 : 2 * DAY;
        assert_int_equal(CALL(&b->w, store_append, &a), STORE_OK);
    }
    EVENTUALLY(b, 200, in_archive(b) == 20);
    world_pass(&b->w, HOT_AGE_MS);
    EVENTUALLY(b, 200, in_redis(b, &c) == HOT);
    PAGE(&b->w, &c, 0, -1, 5, "1 2 3 4 5", 1, 20, true);
    world_pass(&b->w, 2 * DAY);
    PAGE(&b->w, &c, 0, -1, 5, "2 4 6 8 10", first_of(b, &c), 20, true);
    PAGE(&b->w, &c, -1, 9, 3, "4 6 8", first_of(b, &c), 20, true);
    EVENTUALLY(b, 1000, first_of(b, &c) == 2);
}

#define WITH_BOTH(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* An argument is a pattern: only tests whose names match it. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_BOTH(of_any_age),
        WITH_BOTH(inboxes_of_any_age),
        WITH_BOTH(sent_at_any_age),
        WITH_BOTH(changes_of_any_age),
        WITH_BOTH(no_kept_block_outlives_a_change),
        WITH_BOTH(by_count),
        WITH_BOTH(by_time),
        WITH_BOTH(a_time_to_live_of_their_own),
    };
    if (!there_are_both())
        print_message("skipped: MAGPIE_TEST_REDIS and MAGPIE_TEST_POSTGRES are wanted\n");
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
