/* Notes, and work on the database as a whole. */
#include "tests/unit/store_kit.h"

#include "core/base/buf.h"

static void put(struct world *w, const char *key, const char *value)
{
    struct store_note_put n = {.note = {.key = S(key), .value = S(value)}};
    assert_int_equal(CALL(w, store_note_put, &n), STORE_OK);
}

static void expect(struct world *w, const char *prefix, const char *cursor, uint32_t limit, const char *keys, bool more)
{
    struct store_notes n = {.prefix = S(prefix), .cursor = S(cursor), .limit = limit};
    struct buf found = BUF_INIT;
    assert_int_equal(CALL(w, store_notes, &n), STORE_OK);
    for (uint32_t i = 0; i < n.n; i++) {
        buf_slice_put(&found, n.notes[i].key);
        buf_byte(&found, '=');
        buf_slice_put(&found, n.notes[i].value);
        buf_byte(&found, ' ');
    }
    assert_true(slice_eq(buf_slice(&found), S(keys)));
    assert_int_equal(n.more, more);
    free(n.notes);
    free(n.arena);
    buf_free(&found);
}

static void notes_are_kept_by_key(void **state)
{
    struct world *w = *state;
    expect(w, "b", "", 10, "", false);
    put(w, "b2", "two");
    put(w, "b1", "one");
    put(w, "c1", "other");
    put(w, "b3", "");
    expect(w, "b", "", 10, "b1=one b2=two b3= ", false);
    expect(w, "b", "", 2, "b1=one b2=two ", true);
    expect(w, "b", "b2", 2, "b3= ", false);
    put(w, "b1", "changed");
    struct store_note_put gone = {.note = {.key = S("b2")}, .remove = true};
    assert_int_equal(CALL(w, store_note_put, &gone), STORE_OK);
    assert_int_equal(CALL(w, store_note_put, &gone), STORE_OK);
    expect(w, "b", "", 10, "b1=changed b3= ", false);
}

static void wrong_notes_are_refused(void **state)
{
    struct world *w = *state;
    char long_key[201];
    static char long_value[4097];
    memset(long_key, 'k', sizeof long_key);
    memset(long_value, 'v', sizeof long_value);
    struct store_note_put n = {.note = {.key = slice_of(long_key, sizeof long_key), .value = S("x")}};
    assert_int_equal(CALL(w, store_note_put, &n), STORE_FATAL);
    n = (struct store_note_put){.note = {.key = S("k"), .value = slice_of(long_value, sizeof long_value)}};
    assert_int_equal(CALL(w, store_note_put, &n), STORE_FATAL);
    n = (struct store_note_put){.note = {.value = S("x")}};
    assert_int_equal(CALL(w, store_note_put, &n), STORE_FATAL);
    struct store_notes all = {.limit = 1};
    assert_int_equal(CALL(w, store_notes, &all), STORE_FATAL);
}

static void work_on_all_of_it(void **state)
{
    struct world *w = *state;
    bool rocks = strcmp(w->o.engine, "rocksdb") == 0;
    char copy[160];
    put(w, "kept", "value");
    struct store_work flush = {.kind = STORE_FLUSH}, compact = {.kind = STORE_COMPACT};
    if (util_is_redis(w)) { /* nothing of this machine's */
        assert_int_equal(CALL(w, store_work, &flush), STORE_RETRY);
        assert_true(flush.why[0] != '\0');
        return;
    }
    assert_int_equal(CALL(w, store_work, &flush), STORE_OK);
    assert_int_equal(CALL(w, store_work, &compact), STORE_OK);
    snprintf(copy, sizeof copy, "/tmp/magpie-copy-%d", (int)getpid());
    struct store_work checkpoint = {.kind = STORE_CHECKPOINT, .directory = copy};
    assert_int_equal(CALL(w, store_work, &checkpoint), rocks ? STORE_OK : STORE_RETRY);
    if (!rocks) {
        assert_true(checkpoint.why[0] && access(copy, F_OK) != 0);
        return;
    }
    /* The directory is there now: not twice. */
    assert_int_equal(CALL(w, store_work, &checkpoint), STORE_RETRY);
    assert_non_null(strstr(checkpoint.why, copy));
    struct world other = *w;
    other.o.path = copy;
    store_close(w->s);
    assert_int_equal(store_open(&w->s, &other.o, w->why, sizeof w->why), 0);
    expect(w, "kept", "", 1, "kept=value ", false);
    char command[200];
    snprintf(command, sizeof command, "rm -r %s", copy);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(notes_are_kept_by_key, setup_people, teardown),
        cmocka_unit_test_setup_teardown(wrong_notes_are_refused, setup_people, teardown),
        cmocka_unit_test_setup_teardown(work_on_all_of_it, setup_people, teardown),
    };
    int failed = 0;
    UTIL_RUN("notes", tests, engine, failed);
    return failed;
}
