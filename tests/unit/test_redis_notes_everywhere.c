/* Notes that must be in force on all nodes before they are answered (nodes/notes.c). */
#include "redis_node_kit.h"

static void release(struct ears *e)
{
    pthread_mutex_lock(&lock);
    struct bus_noted *n = e->note;
    e->note = NULL;
    e->hold = false;
    pthread_mutex_unlock(&lock);
    notes_log_applied(redis_of(e->s), n);
}

/* It is answered once all have put it in force, and says on how many it is not. */
static void a_note_is_in_force_on_all(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    listen_to(a);
    listen_to(b);
    EVENTUALLY(node_list(redis_of(a->s), NULL, 0) == 2);
    for (uint64_t place = 1; place <= 5; place++) {
        assert_int_equal(note(place % 2 ? a : b, (struct bus_note){.note = {S("k"), S("v")}}), 0);
        pthread_mutex_lock(&lock);
        assert_true(a->place == place && b->place == place);
        pthread_mutex_unlock(&lock);
    }
    hold(b);
    assert_int_equal(note(a, (struct bus_note){.note = {S("k"), S("w")}}), 1);
    assert_int_equal(note(b, (struct bus_note){.note = {S("k"), S("x")}}), 1); /* on itself */
    release(b);
    EVENTUALLY(b->place == 7);
    assert_int_equal(note(a, (struct bus_note){.note = {S("k"), S("y")}}), 0);
    struct ears *c = node(w, 2); /* which hears nothing yet */
    uint64_t end = clock_mono_ms() + 60000;
    uint32_t missing = 0;
    while (!missing && clock_mono_ms() < end) /* until it is seen */
        missing = note(a, (struct bus_note){.note = {S("k"), S("z")}});
    assert_int_equal(missing, 1);
    listen_to(c);
    EVENTUALLY(c->place == a->place);
    assert_int_equal(note(c, (struct bus_note){.note = {S("k"), S("0")}}), 0);
}

/* Who stands still is waited for, until it is dead. */
static void the_dead_are_not_waited_for(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0);
    struct node_about about = {.state = NODE_UP, .era = UINT32_MAX, .log = 1};
    struct buf row = BUF_INIT;
    listen_to(a);
    assert_int_equal(note(a, (struct bus_note){.note = {S("k"), S("v")}}), 0); /* it is alone */
    buf_u16(&row, 9);
    buf_put(&row, "\0\0\0\0\0\7token...", 6 + NODES_TOKEN);
    node_about_put(&row, &about);
    (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'N', 0, SLICE_NONE), S("i99"), buf_slice(&row));
    assert_int_equal(note(a, (struct bus_note){.note = {S("k"), S("w")}}), 1);
    EVENTUALLY(a->deads == 1);
    assert_int_equal(note(a, (struct bus_note){.note = {S("k"), S("x")}}), 0);
    buf_free(&row);
}

/* What is only told, sums, what goes only if it begins so; and one that is handed over twice. */
static void notes_of_all_kinds(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    listen_to(a);
    listen_to(b);
    (void)note(a, (struct bus_note){.note = {S("hello"), S("all")}, .passing = true});
    expect(b, "h", "");
    (void)note(a, (struct bus_note){.note = {S("n"), S("0 n 2")}, .add = true});
    (void)note(b, (struct bus_note){.note = {S("n"), S("0 n 3")}, .add = true, .behind = true, .number = 7});
    (void)note(b, (struct bus_note){.note = {S("n"), S("0 n 3")}, .add = true, .number = 7}); /* again */
    (void)note(a, (struct bus_note){.note = {S("n"), S("0 n 4")}, .add = true, .number = 7}); /* another's */
    expect(a, "n", "n=0 n 9 ");
    (void)note(a, (struct bus_note){.note = {S("n"), S("1 ")}, .remove = true});
    expect(b, "n", "n=0 n 9 ");
    (void)note(b, (struct bus_note){.note = {S("n"), S("0 ")}, .remove = true});
    expect(a, "n", "");
    EVENTUALLY(a->place == 5 && b->place == 5);
    assert_string_equal(a->notes, "!hello=all +n=0 n 2 +n=0 n 5 +n=0 n 9 -n ");
    assert_string_equal(b->notes, a->notes);
}

static void counted(void *owner, struct store_op *op)
{
    (void)owner;
    assert_int_equal(op->status, STORE_OK);
    op->home = NULL;
}

/* Hands over one that waits for no other node. */
static void post_behind(struct ears *e, struct bus_note *n, uint64_t number)
{
    *n = (struct bus_note){.op = {.home = &answer_.home, .done = counted},
                           .note = {S("n"), S("0 n 1")},
                           .add = true,
                           .behind = true,
                           .number = number};
    bus_note(store_bus(e->s), n);
}

/* Whoever made a change has heard of it before it is answered, or of none for two seconds: else what is heard later
 * would be taken for newer than what was answered. */
static void an_own_change_is_heard_first(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0);
    struct bus_note n[2];
    uint64_t began, number = 0;
    listen_to(a);
    do { /* until this thread was not kept waiting for so long itself */
        uint64_t place = 0;
        unsigned told = 0;
        pthread_mutex_lock(&lock);
        told = a->told;
        place = a->place;
        a->hold = true;
        pthread_mutex_unlock(&lock);
        began = clock_mono_ms();
        for (int i = 0; i < 2; i++)
            post_behind(a, &n[i], ++number);
        EVENTUALLY(a->told == told + 2 && a->note); /* both are kept, and the first one is heard */
        mailbox_run(&answer_.home, &answer_);
        bool early = !n[0].op.home || !n[1].op.home, slow = clock_mono_ms() - began > 1500;
        release(a);
        EVENTUALLY((mailbox_run(&answer_.home, &answer_), !n[0].op.home && !n[1].op.home));
        EVENTUALLY(a->place == place + 2);
        assert_true(!early || slow);
        began = slow ? 0 : began;
    } while (!began && number < 40);
    hold(a);
    post_behind(a, &n[0], ++number);
    EVENTUALLY((mailbox_run(&answer_.home, &answer_), !n[0].op.home));
    pthread_mutex_lock(&lock);
    assert_non_null(a->note);
    pthread_mutex_unlock(&lock);
    release(a);
}

/* As they come when all are read: in any order, and some twice. */
static void a_copy_is_put_in_order(void **state)
{
    enum { KEYS = 1000 };
    struct notes ns = {0};
    char key[16], value[16];
    (void)state;
    notes_sort(&ns);
    for (unsigned i = 0; i < 3 * KEYS; i++) { /* each key thrice */
        snprintf(key, sizeof key, "%u", i * 7 % KEYS);
        snprintf(value, sizeof value, "%u", i);
        assert_true(notes_add(&ns, S(key), S(value)));
    }
    notes_sort(&ns);
    assert_int_equal(ns.n, KEYS);
    for (unsigned i = 2 * KEYS; i < 3 * KEYS; i++) {
        snprintf(key, sizeof key, "%u", i * 7 % KEYS);
        snprintf(value, sizeof value, "%u", i);
        const struct note *n = ns.list[notes_find(&ns, S(key))];
        assert_true(slice_eq(note_key(n), S(key)));
        assert_true(slice_eq(slice_of(n->text + n->key_n, n->value_n), S(value))); /* the one that came last */
    }
    notes_remove(&ns, S("500"));
    assert_true(notes_set(&ns, S("new"), S("v")));
    assert_int_equal(ns.n, KEYS);
    for (unsigned i = 1; i < ns.n; i++)
        assert_true(slice_cmp(note_key(ns.list[i - 1]), note_key(ns.list[i])) < 0);
    notes_free(&ns);
}

/* However many nodes there are, and however many notes change: beats cost partition 0's master a part of its time, for
 * each of them returns a row for each node, which takes it some 4 µs. */
static void beats_are_not_too_many(void **state)
{
    (void)state;
    assert_int_equal(notes_log_gap_ms(1), 10);
    assert_int_equal(notes_log_gap_ms(3), 10);
    for (unsigned n = 1; n <= 120; n++) {
        double each_second = 1000.0 / notes_log_gap_ms(n) * n, us = each_second * (100 + 4 * n);
        assert_true(us < 200000);
        assert_true(4 * notes_log_gap_ms(n) < 2000); /* all can have said so before a note is answered */
    }
    assert_int_equal(notes_log_gap_ms(NODES_MAX), NOTES_LOG_BEAT_MAX_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_put_in_order),
        cmocka_unit_test(beats_are_not_too_many),
        cmocka_unit_test_setup_teardown(a_note_is_in_force_on_all, setup, teardown),
        cmocka_unit_test_setup_teardown(the_dead_are_not_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(notes_of_all_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(an_own_change_is_heard_first, setup, teardown),
    };
    mailbox_init(&answer_.home, wake, NULL); /* which outlives all engines */
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mailbox_fini(&answer_.home);
    return failed;
}
