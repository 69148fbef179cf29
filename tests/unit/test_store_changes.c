/* The store: what becomes of messages, against each kind of store: repeats, recall, edits, read marks. */
#include "store_kit.h"

static struct store_append repeat_of(const struct conv_key *c, const char *sender, const char *client)
{
    struct store_append a = append_of(c, conv_is_channel(conv_key_slice(c)) ? TIER_SMALL : TIER_DM, sender, "text");
    a.client_id = S(client);
    return a;
}

static void repeats(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "r"), d = util_made(w, "s");
    struct store_append a = repeat_of(&c, "ann", "id1"), b = a, other = repeat_of(&c, "bob", "id1"),
                        there = repeat_of(&d, "ann", "id1");
    b.content = S("different");
    assert_int_equal(CALL(w, store_append, &a), STORE_OK);
    world_pass(w, 5000);
    assert_int_equal(CALL(w, store_append, &b), STORE_OK);
    assert_true(b.duplicate);
    assert_false(a.duplicate);
    assert_int_equal(b.seq, a.seq);
    assert_int_equal(b.id, a.id);
    assert_int_equal(b.created_ms, a.created_ms);
    assert_int_equal(CALL(w, store_append, &other), STORE_OK);
    assert_false(other.duplicate);
    assert_int_equal(CALL(w, store_append, &there), STORE_OK);
    assert_false(there.duplicate);
    struct store_append ask = repeat_of(&c, "ann", "id1"), ask2 = repeat_of(&c, "ann", "id2");
    ask.only_duplicate = ask2.only_duplicate = true;
    assert_int_equal(CALL(w, store_append, &ask), STORE_OK);
    assert_true(ask.duplicate);
    assert_int_equal(ask.seq, 1);
    assert_int_equal(CALL(w, store_append, &ask2), STORE_NOTFOUND);
    PAGE(w, &c, -1, -1, 9, "1 2", 1, 2, false);
    struct store_append real = repeat_of(&c, "ann", "id2"); /* the refused one left no trace */
    assert_int_equal(CALL(w, store_append, &real), STORE_OK);
    assert_false(real.duplicate);
    world_pass(w, 600000); /* the window is over */
    b = repeat_of(&c, "ann", "id1");
    assert_int_equal(CALL(w, store_append, &b), STORE_OK);
    assert_false(b.duplicate);
    assert_int_equal(b.seq, 4);
}

static void repeats_in_flight(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_pair("ann", "bob");
    static struct store_append ops[600];
    for (int i = 0; i < 600; i++) { /* each id thrice, the first two at once */
        static char ids[600][8];
        sprintf(ids[i], "%d", i % 200);
        ops[i] = repeat_of(&c, "ann", ids[i]);
        ops[i].receiver = S("bob");
        POST(w, store_append, &ops[i]);
    }
    for (int i = 0; i < 600; i++) {
        util_wait(w, &ops[i].op);
        assert_int_equal(ops[i].op.status, STORE_OK);
        assert_int_equal(ops[i].seq, i % 200 + 1);
        assert_int_equal(ops[i].duplicate, i >= 200);
        assert_int_equal(ops[i].id, ops[i % 200].id);
    }
    struct store_range r = page_of(w, &c, -1, -1, 500);
    assert_int_equal(r.page.n, 200);
    store_page_free(&r.page);
}

static void recall(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "r");
    say(w, &c, TIER_SMALL, "ann", "secret");
    say(w, &c, TIER_LARGE, "bob", "other");
    struct store_recall r = {.conv = conv_key_slice(&c), .sender = S("bob"), .seq = 1, .window_ms = 1000};
    assert_int_equal(CALL(w, store_recall, &r), STORE_DENIED);
    r.sender = S("ann");
    r.seq = 3;
    assert_int_equal(CALL(w, store_recall, &r), STORE_NOTFOUND);
    r.seq = 0;
    assert_int_equal(CALL(w, store_recall, &r), STORE_NOTFOUND);
    r.seq = 1;
    world_pass(w, 1001);
    assert_int_equal(CALL(w, store_recall, &r), STORE_LATE);
    r.window_ms = 0;
    assert_int_equal(CALL(w, store_recall, &r), STORE_OK);
    assert_false(r.again);
    r.window_ms = 10;
    assert_int_equal(CALL(w, store_recall, &r), STORE_OK);
    assert_true(r.again);
    struct store_range p = page_of(w, &c, -1, -1, 10);
    assert_int_equal(p.page.n, 2);
    assert_true(p.page.messages[0].recalled);
    assert_int_equal(p.page.messages[0].content.n, 0);
    assert_int_equal(p.page.messages[0].id, r.id);
    assert_false(p.page.messages[1].recalled);
    store_page_free(&p.page);
    /* Right behind its append, and twice. */
    struct store_append a = append_of(&c, TIER_SMALL, "ann", "quick");
    struct store_recall q = {.conv = conv_key_slice(&c), .sender = S("ann"), .seq = 3}, q2 = q;
    POST(w, store_append, &a);
    POST(w, store_recall, &q);
    POST(w, store_recall, &q2);
    util_wait(w, &q2.op);
    assert_int_equal(q.op.status, STORE_OK);
    assert_true(q2.again && !q.again);
    struct conv_key none = util_channel("none");
    q = (struct store_recall){.conv = conv_key_slice(&none), .sender = S("ann"), .seq = 1};
    assert_int_equal(CALL(w, store_recall, &q), STORE_NOTFOUND);
}

static void edit_is(struct world *w, struct store_edit *e, enum store_status status)
{
    assert_int_equal(CALL(w, store_edit, e), status);
}

/* The only message of the page that is read now. */
static void message_is(struct world *w, struct conv_key *c, uint64_t seq, const char *content, uint64_t edited_ms)
{
    struct store_range p = page_of(w, c, (int64_t)seq - 1, -1, 1);
    assert_int_equal(p.page.n, 1);
    assert_true(slice_eq(p.page.messages[0].content, slice_str(content)));
    assert_true(slice_eq(p.page.messages[0].sender, S("ann")));
    assert_int_equal(p.page.messages[0].edited_ms, edited_ms);
    store_page_free(&p.page);
}

static void edit(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "e");
    say(w, &c, TIER_SMALL, "ann", "first");
    say(w, &c, TIER_LARGE, "bob", "other");
    message_is(w, &c, 1, "first", 0);
    struct store_edit e = {
        .conv = conv_key_slice(&c), .sender = S("bob"), .seq = 1, .window_ms = 1000, .content = S("better")};
    edit_is(w, &e, STORE_DENIED);
    e.sender = S("ann");
    e.seq = 3;
    edit_is(w, &e, STORE_NOTFOUND);
    e.seq = 1;
    world_pass(w, 1001);
    edit_is(w, &e, STORE_LATE);
    message_is(w, &c, 1, "first", 0);
    e.window_ms = 0;
    edit_is(w, &e, STORE_OK);
    assert_true(e.id && e.created_ms && e.edited_ms >= e.created_ms && e.name_len);
    message_is(w, &c, 1, "better", e.edited_ms);
    /* Several within one millisecond, in one group: each is later than the one before, and the last one counts. */
    struct store_edit more[3];
    static const char *const texts[3] = {"a", "a longer one than any of those before", ""};
    for (int i = 0; i < 3; i++) {
        more[i] = e;
        more[i].content = slice_str(texts[i]);
        POST(w, store_edit, &more[i]);
    }
    util_wait(w, &more[2].op);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(more[i].op.status, STORE_OK);
        assert_true(more[i].edited_ms > (i ? more[i - 1].edited_ms : e.edited_ms));
    }
    message_is(w, &c, 1, "", more[2].edited_ms);
    /* A recall takes the edit with it, and nothing is edited after it, in the same group or later. */
    struct store_recall r = {.conv = conv_key_slice(&c), .sender = S("ann"), .seq = 1};
    more[0] = more[1] = e;
    POST(w, store_edit, &more[0]);
    POST(w, store_recall, &r);
    POST(w, store_edit, &more[1]);
    util_wait(w, &more[1].op);
    assert_int_equal(more[0].op.status, STORE_OK);
    assert_int_equal(r.op.status, STORE_OK);
    assert_int_equal(more[1].op.status, STORE_NOTFOUND);
    edit_is(w, &e, STORE_NOTFOUND);
    message_is(w, &c, 1, "", 0);
}

/* An edited row is 8 bytes longer: with a content shorter by as much it has the size of the one in its group. */
static void edit_same_size(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "e");
    struct store_append a = append_of(&c, TIER_SMALL, "ann", "0123456789abcdef");
    struct store_edit e = {.conv = conv_key_slice(&c), .sender = S("ann"), .seq = 1, .content = S("01234567")};
    POST(w, store_append, &a);
    POST(w, store_edit, &e);
    util_wait(w, &e.op);
    assert_int_equal(e.op.status, STORE_OK);
    message_is(w, &c, 1, "01234567", e.edited_ms);
}

/* The inbox and the list of conversations show what history does; what has ended is not there to be edited. */
static void edit_elsewhere(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_pair("ann", "bob");
    struct store_append a = append_of(&c, TIER_DM, "ann", "draft");
    a.receiver = S("bob");
    a.ttl_ms = 5000;
    assert_int_equal(CALL(w, store_append, &a), STORE_OK);
    struct store_edit e = {.conv = conv_key_slice(&c), .sender = S("ann"), .seq = 1, .content = S("final")};
    edit_is(w, &e, STORE_OK);
    assert_true(e.id == a.id && e.created_ms == a.created_ms);
    struct store_inbox_peek p = {.user = S("bob"), .limit = 5};
    assert_int_equal(CALL(w, store_inbox_peek, &p), STORE_OK);
    assert_int_equal(p.page.n, 1);
    assert_true(slice_eq(p.page.messages[0].content, S("final")) && p.page.messages[0].edited_ms == e.edited_ms);
    store_page_free(&p.page);
    struct store_conversations l = {.user = S("bob"), .limit = 5};
    assert_int_equal(CALL(w, store_conversations, &l), STORE_OK);
    assert_true(l.n == 1 && l.list[0].last == 0);
    assert_true(slice_eq(l.page.messages[0].content, S("final")) && l.page.messages[0].edited_ms == e.edited_ms);
    store_conversations_free(&l);
    world_pass(w, 4000); /* its life is not longer by the edit */
    edit_is(w, &e, STORE_OK);
    world_pass(w, 1001);
    edit_is(w, &e, STORE_NOTFOUND);
}

static void marks(void **state)
{
    struct world *w = *state;
    struct conv_key none = util_channel("none"), p = util_pair("ann", "bob");
    struct store_mark_read m = {.conv = conv_key_slice(&none), .user = S("bob"), .seq = 1};
    assert_int_equal(CALL(w, store_mark_read, &m), STORE_NOTFOUND);
    m.conv = conv_key_slice(&p);
    assert_int_equal(CALL(w, store_mark_read, &m), STORE_NOTFOUND);
    for (int i = 0; i < 5; i++)
        say(w, &p, TIER_DM, "ann", "x");
    m.seq = 2;
    assert_int_equal(CALL(w, store_mark_read, &m), STORE_OK);
    assert_true(m.moved);
    assert_int_equal(m.read, 2);
    assert_int_equal(m.unread, 3);
    m.seq = 1;
    assert_int_equal(CALL(w, store_mark_read, &m), STORE_OK);
    assert_false(m.moved);
    assert_int_equal(m.read, 2);
    assert_int_equal(m.unread, 3);
    m.seq = 99;
    assert_int_equal(CALL(w, store_mark_read, &m), STORE_OK);
    assert_int_equal(m.read, 5);
    assert_int_equal(m.unread, 0);
    m.user = S("ann"); /* sending marks as read */
    m.seq = 0;
    assert_int_equal(CALL(w, store_mark_read, &m), STORE_OK);
    assert_int_equal(m.read, 5);
    /* What is gone is not unread: the newest two of seven are kept. */
    w->o.tiers[TIER_DM].max = 2;
    store_configure(w->s, &w->o);
    say(w, &p, TIER_DM, "ann", "x");
    say(w, &p, TIER_DM, "ann", "x");
    say(w, &p, TIER_DM, "ann", "x");
    m.user = S("bob");
    assert_int_equal(CALL(w, store_mark_read, &m), STORE_OK);
    assert_int_equal(m.read, 5);
    assert_int_equal(m.unread, 2);
    struct store_conv_load l = {.conv = conv_key_slice(&p)};
    assert_int_equal(CALL(w, store_conv_load, &l), STORE_OK);
    assert_int_equal(l.first, 7);
    assert_int_equal(l.seq, 8);
    /* In one group with the first message. */
    struct conv_key n = util_pair("ann", "cid");
    struct store_append a = append_of(&n, TIER_DM, "ann", "hi");
    m = (struct store_mark_read){.conv = conv_key_slice(&n), .user = S("cid"), .seq = 0};
    POST(w, store_append, &a);
    POST(w, store_mark_read, &m);
    util_wait(w, &m.op);
    assert_int_equal(m.op.status, STORE_OK);
    assert_int_equal(m.unread, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(repeats, setup, teardown),
        cmocka_unit_test_setup_teardown(repeats_in_flight, setup, teardown),
        cmocka_unit_test_setup_teardown(recall, setup, teardown),
        cmocka_unit_test_setup_teardown(edit, setup, teardown),
        cmocka_unit_test_setup_teardown(edit_same_size, setup, teardown),
        cmocka_unit_test_setup_teardown(edit_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(marks, setup, teardown),
    };
    int failed = 0;
    UTIL_RUN("messages", tests, engine, failed);
    return failed;
}
