/* Notes that all nodes of a cluster have in the same order (nodes/notes_log.c). */
#include "redis_node_kit.h"

/* Every node has each change, its own too, in one order. */
static void changes_come_in_order(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    listen_to(a);
    listen_to(b);
    put(a, "k1", "one");
    put(b, "k2", "two");
    put(a, "k1", NULL);
    put(b, "k2", "three");
    EVENTUALLY(a->place == 4 && b->place == 4);
    assert_string_equal(a->notes, "+k1=one +k2=two -k1 +k2=three ");
    assert_string_equal(b->notes, a->notes);
    assert_int_equal(a->told + b->told, 4);
    expect(a, "k", "k2=three ");
    expect(b, "k", "k2=three ");
}

/* Who asks has what was kept before, whoever kept it. */
static void readers_see_what_is_kept(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    for (int i = 0; i < 20; i++) {
        char value[8], want[16];
        snprintf(value, sizeof value, "%d", i);
        snprintf(want, sizeof want, "key=%d ", i);
        put(i % 2 ? a : b, "key", value);
        expect(i % 2 ? b : a, "key", want);
    }
}

/* What came before they listen is told then; one at a time. */
static void they_are_told_later(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b;
    put(a, "before", "x");
    b = node(w, 1);
    hold(b);
    put(a, "k1", "1");
    put(a, "k2", "2");
    expect(b, "k", "k1=1 k2=2 "); /* the copy has them */
    assert_string_equal(b->notes, "");
    listen_to(b);
    EVENTUALLY(b->note != NULL);
    put(a, "k3", "3");
    expect(b, "k", "k1=1 k2=2 k3=3 ");
    assert_string_equal(b->notes, "+k1=1 ");
    pthread_mutex_lock(&lock);
    struct bus_noted *first = b->note;
    b->note = NULL;
    b->hold = false;
    pthread_mutex_unlock(&lock);
    notes_log_applied(redis_of(b->s), first);
    EVENTUALLY(b->place == 4);
    assert_string_equal(b->notes, "+k1=1 +k2=2 +k3=3 ");
}

/* Who has missed too many reads all. */
static void too_many_are_read_anew(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    for (int i = 0; i <= NOTES_LOG_GAP; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        put(a, key, "v");
    }
    put(a, "z", "last");
    expect(b, "z", "z=last ");
    listen_to(b);
    EVENTUALLY(b->place == NOTES_LOG_GAP + 2);
    assert_int_equal(strncmp(b->notes, "all ", 4), 0);
    put(a, "z", "more");
    EVENTUALLY(b->place == NOTES_LOG_GAP + 3);
    assert_non_null(strstr(b->notes, "+z=more "));
}

/* A change that has left the log, or never came there. */
static void a_hole_is_read_anew(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0);
    listen_to(a);
    struct slice notes = raw_key(&w->raw, 'V', 0, SLICE_NONE);
    (void)RAW_NUMBER(&w->raw, S("HSET"), notes, S("k"), S("v"), S(""), S("5"));
    EVENTUALLY(a->place == 5);
    assert_string_equal(a->notes, "all ");
    expect(a, "k", "k=v ");
}

/* A note that no node could have written is passed over, and no reason not to start. */
static void a_note_that_is_too_long_is_left_out(void **state)
{
    struct world *w = need(state);
    struct slice notes = raw_key(&w->raw, 'V', 0, SLICE_NONE);
    char key[NOTE_KEY_MAX + 2] = "";
    memset(key, 'k', NOTE_KEY_MAX + 1);
    (void)RAW_NUMBER(&w->raw, S("HSET"), notes, S("k"), S("v"), S(key), S("w"));
    struct ears *a = node(w, 0);
    expect(a, "k", "k=v ");
    put(a, "l", "m");
    expect(a, "l", "l=m ");
}

/* Redis has lost what it had acknowledged. Numbers go on above what was told, and all is read anew. */
static void a_loss_is_told(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0);
    listen_to(a);
    for (int i = 0; i < 5; i++)
        put(a, "k", "v");
    EVENTUALLY(a->place == 5);
    struct slice notes = raw_key(&w->raw, 'V', 0, SLICE_NONE), log = raw_key(&w->raw, 'L', 0, SLICE_NONE);
    (void)RAW_NUMBER(&w->raw, S("DEL"), log);
    (void)RAW_NUMBER(&w->raw, S("DEL"), notes);
    (void)RAW_NUMBER(&w->raw, S("HSET"), notes, S(""), S("2"));
    EVENTUALLY(atomic_load(&redis_of(a->s)->stats.lost) == 1);
    EVENTUALLY(strstr(a->notes, "all ") && a->place == 2);
    expect(a, "k", "");
    put(a, "new", "n");
    assert_int_equal(RAW_NUMBER(&w->raw, S("HGET"), notes, S("")), 6);
    expect(a, "n", "new=n ");
    assert_int_equal(atomic_load(&redis_of(a->s)->stats.lost), 1);
}

static void a_change_is_read_as_it_was_written(void **state)
{
    struct note_change c = {NOTE_CHANGE_ADD, 7, UINT64_C(1) << 47, S("key"), S("value")}, d;
    struct buf b = BUF_INIT;
    (void)state;
    note_change_put(&b, &c);
    assert_int_equal(note_change_read(buf_slice(&b), &d), 0);
    assert_true(d.flags == c.flags && d.inc == 7 && d.number == c.number && slice_eq(d.key, c.key) &&
                slice_eq(d.value, c.value));
    for (size_t cut = 0; cut < b.n - c.value.n; cut++) {
        struct slice part = slice_of(b.p, cut);
        assert_int_equal(note_change_read(part, &d), ERR_INVALID);
    }
    b.p[0] = 0;
    assert_int_equal(note_change_read(buf_slice(&b), &d), ERR_INVALID);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_is_read_as_it_was_written),
        cmocka_unit_test_setup_teardown(changes_come_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(readers_see_what_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(they_are_told_later, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_are_read_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(a_hole_is_read_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(a_note_that_is_too_long_is_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_loss_is_told, setup, teardown),
    };
    mailbox_init(&answer_.home, wake, NULL); /* which outlives all engines */
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mailbox_fini(&answer_.home);
    return failed;
}
