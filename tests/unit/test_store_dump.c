/* Export and import of the embedded engine: what was there is there again, on both databases, and nothing is lost or
 * overwritten on the way. Clusters: test_store_dump_redis.c. */
#define UTIL_MAIN
#include "tests/unit/dump_kit.h"

#include <signal.h>
#include <sys/resource.h>

/* The file has records of each kind that this engine has. */
static void every_kind(void)
{
    struct dump_reader *in;
    struct dump_record r;
    assert_int_equal(dump_open(&in, file[0], why, sizeof why), 0);
    while (dump_next(in, &r) == 1)
        continue;
    for (unsigned k = 1; k < DUMP_END; k++)
        if ((dump_read(in, (enum dump_kind)k) == 0) != (k == DUMP_DIGEST))
            fail_msg("%llu %s", (unsigned long long)dump_read(in, (enum dump_kind)k),
                     dump_kind_name((enum dump_kind)k));
    dump_reader_free(in);
}

static void round_trip(const char *from, const char *to)
{
    struct world a, b;
    world_init(&a, from);
    world_init(&b, to);
    files_init(&a);
    a.hooks.names_max = 1;
    world_open(&a);
    fill(&a);
    char *before = tell_store(&a);
    assert_true(util_rows(&a, KV_META, S("f")) > 0);
    bool closes = strcmp(from, "rocksdb") == 0;
    if (closes)
        world_close(&a);
    uint64_t messages = export_world(&a, file[0]);
    assert_true(messages > 1000);
    same_time(&b, &a);
    import_world(&b, file[0]);
    char *after = tell_store(&b);
    same_texts(before, after);
    util_sound(&b);
    if (strcmp(to, "rocksdb") == 0)
        world_close(&b);
    assert_int_equal(export_world(&b, file[1]), messages);
    same_files();
    every_kind();
    free(before);
    free(after);
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

static void rocksdb_to_rocksdb(void **state)
{
    (void)state;
    round_trip("rocksdb", "rocksdb");
}

static void rocksdb_to_memory(void **state)
{
    (void)state;
    round_trip("rocksdb", "memory");
}

static void memory_to_rocksdb(void **state)
{
    (void)state;
    round_trip("memory", "rocksdb");
}

/* --- What goes on afterwards -------------------------------------------------------------------------------------- */

static void numbers_go_on(void **state)
{
    (void)state;
    struct world a, b;
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    world_open(&a);
    fill_all(&a, false);
    struct conv_key big = util_channel("big"), pair = util_pair("ann", "bob"), went = util_channel("went"),
                    fresh = util_channel("fresh");
    uint64_t newest = dm(&a, "ann", "bob", "the newest", "c9").id;
    world_close(&a);
    (void)export_world(&a, file[0]);
    b.o.node = 0; /* ids of another node, and a clock an hour behind, come after all the same */
    same_time(&b, &a);
    atomic_fetch_sub(&b.wall, 3600 * 1000 - 1000);
    import_world(&b, file[0]);
    assert_int_equal(say(&b, &big, TIER_LARGE, "maker", "next"), 1101);
    assert_true(id_of(&b, &big) > newest);
    assert_int_equal(dm(&b, "bob", "ann", "next", "c10").seq, 5);
    struct store_append repeat = dm(&b, "ann", "bob", "the newest", "c9");
    assert_true(repeat.duplicate);
    assert_int_equal(repeat.id, newest);
    assert_int_equal(repeat.seq, 4);
    (void)util_made(&b, "went");
    assert_int_equal(say(&b, &went, TIER_SMALL, "maker", "again"), 2); /* its name remembers */
    (void)util_made(&b, "fresh");
    assert_int_equal(say(&b, &fresh, TIER_SMALL, "maker", "first"), 1);
    struct store_user_save u = {.id = S("fallen"), .name = S("New"), .create = true};
    assert_int_equal(CALL(&b, store_user_save, &u), STORE_OK);
    assert_int_equal(u.user.epoch, 1); /* no token of the former one opens it */
    world_restart(&b);                 /* the imported directory is like any other */
    assert_int_equal(util_load_of(&b, &pair).seq, 5);
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* After lost power numbers go on above all that may have been given out, in another directory too. */
static void a_jump_is_made_up_for(void **state)
{
    (void)state;
    struct world a, b;
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    world_open(&a);
    fill(&a);
    struct conv_key room = util_channel("room");
    uint64_t seq = util_load_of(&a, &room).seq;
    world_close(&a);
    (void)export_world(&a, file[0]);
    world_open(&a);
    uint64_t next = say(&a, &room, TIER_SMALL, "bob", "next");
    assert_true(next > seq + 1);
    same_time(&b, &a);
    import_world(&b, file[0]);
    assert_int_equal(say(&b, &room, TIER_SMALL, "bob", "next"), next);
    assert_int_equal(say(&b, &room, TIER_SMALL, "bob", "next"), next + 1);
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* Deletions that were under way can be ended. */
static void deletions_go_on(void **state)
{
    (void)state;
    struct world a, b;
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    world_open(&a);
    fill(&a);
    world_close(&a);
    (void)export_world(&a, file[0]);
    same_time(&b, &a);
    import_world(&b, file[0]);
    forget(&b, "falling", FORGET_END, false);
    struct conv_key going = util_channel("going");
    struct store_channel_wipe wipe = {.conv = conv_key_slice(&going)};
    assert_int_equal(CALL(&b, store_channel_wipe, &wipe), STORE_DENIED);
    assert_int_equal(wipe.members, 1);
    (void)util_leave(&b, &going, "maker");
    assert_int_equal(CALL(&b, store_channel_wipe, &wipe), STORE_OK);
    struct conv_key empty = util_channel("empty");
    util_wait_gone(&b, &empty); /* a channel that nothing is left of goes */
    world_pass(&b, 10000);
    struct store_guests_due due = {.limit = 10};
    assert_int_equal(CALL(&b, store_guests_due, &due), STORE_OK);
    assert_int_equal(due.n, 1);
    assert_true(slice_eq(due.ids[0], S("guest")));
    free(due.ids);
    free(due.arena);
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* What was hidden at the export does not come back by other options. */
static void hidden_stays_hidden(void **state)
{
    (void)state;
    struct world a, b;
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    world_open(&a);
    struct conv_key c = util_made(&a, "c");
    for (int i = 0; i < 5; i++)
        say(&a, &c, TIER_LARGE, "maker", "old");
    world_pass(&a, 8 * DAY);
    for (int i = 0; i < 3; i++)
        say(&a, &c, TIER_LARGE, "maker", "new");
    world_close(&a);
    assert_int_equal(export_world(&a, file[0]), 3);
    b.o.tiers[TIER_LARGE] = (struct store_tier_options){0, 0, DURABILITY_COMMIT};
    same_time(&b, &a);
    import_world(&b, file[0]);
    PAGE(&b, &c, 0, -1, 10, "6 7 8", 6, 8, false);
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* --- What is refused ---------------------------------------------------------------------------------------------- */

static void directories_are_guarded(void **state)
{
    (void)state;
    struct world a, b;
    char shm[64];
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    shm_name(a.dir, shm);
    assert_int_equal(export_to(&a, file[0]), ERR_NOTFOUND);
    assert_non_null(strstr(why, "there is no database in the data directory"));
    assert_int_equal(access(shm, F_OK), -1);
    world_open(&a);
    fill(&a);
    assert_int_equal(export_to(&a, file[0]), ERR_EXISTS);
    assert_non_null(strstr(why, "is in use by another server"));
    assert_int_equal(access(file[0], F_OK), -1);
    world_close(&a);
    assert_int_equal(export_to(&a, file[0]), 0);
    assert_int_equal(export_to(&a, file[1]), 0); /* nothing was changed by it */
    assert_int_equal(access(shm, F_OK), -1);
    assert_int_equal(import_of(&a, file[0]), ERR_EXISTS);
    assert_non_null(strstr(why, "has a database already: an import needs one without"));
    world_open(&b);
    assert_int_equal(import_of(&b, file[0]), ERR_EXISTS);
    assert_non_null(strstr(why, "is in use by another server"));
    world_close(&b);
    assert_int_equal(import_of(&b, file[0]), ERR_EXISTS); /* a server has begun there */
    world_open(&a);
    struct conv_key room = util_channel("room");
    assert_true(util_exists(&a, &room));
    struct world none = {.o = a.o};
    none.o.engine = "memory";
    assert_int_equal(export_to(&none, file[1]), ERR_INVALID);
    assert_non_null(strstr(why, "keeps nothing"));
    assert_int_equal(import_of(&none, file[0]), ERR_INVALID);
    assert_non_null(strstr(why, "keeps nothing"));
    none.o.engine = "paper";
    assert_int_equal(export_to(&none, file[1]), ERR_INVALID);
    assert_int_equal(import_of(&none, file[0]), ERR_INVALID);
    assert_string_equal(why, "there is no storage engine \"paper\"");
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* A file that is cut leaves the directory as it was: a server begins there, or another import. */
static void a_failed_import_leaves_nothing(void **state)
{
    (void)state;
    struct world a, b;
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    world_open(&a);
    fill(&a);
    world_close(&a);
    assert_int_equal(export_to(&a, file[0]), 0);
    struct buf whole = bytes_of(file[0]);
    for (size_t cut = 0; cut < whole.n; cut += whole.n / 5 + 1) {
        FILE *f = fopen(file[1], "w");
        assert_int_equal(fwrite(whole.p, 1, cut, f), cut);
        fclose(f);
        assert_int_equal(import_of(&b, file[1]), ERR_INVALID);
        assert_non_null(strstr(why, cut ? "is cut short after" : "is no export"));
    }
    assert_int_equal(import_of(&b, file[0]), 0);
    world_open(&b);
    struct conv_key room = util_channel("room");
    assert_true(util_exists(&b, &room));
    buf_free(&whole);
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* Killed in the middle: no server takes it for a database, and the import can be made again. */
static void a_killed_import_is_no_database(void **state)
{
    (void)state;
    struct world a, b;
    struct local *s;
    char text[8];
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    world_open(&a);
    fill(&a);
    world_close(&a);
    assert_int_equal(export_to(&a, file[0]), 0);
    assert_int_equal(local_open_empty(&s, &b.o, &b.hooks, why, sizeof why), 0);
    store_be64(text, META_FILLING);
    struct kv_change c = {.family = KV_META, .kind = KV_PUT, .key = META_VERSION, .value = slice_of(text, 8)};
    assert_int_equal(s->kv->ops->write(s->kv, &c, 1), 0);
    assert_int_equal(s->kv->ops->sync(s->kv), 0);
    local_close_still(s); /* all that was written is there, and the end is not */
    assert_int_equal(world_try(&b), ERR_INVALID);
    assert_non_null(strstr(b.why, "an import into this directory was cut short"));
    assert_int_equal(export_to(&b, file[1]), ERR_INVALID);
    assert_non_null(strstr(why, "an import into this directory was cut short"));
    same_time(&b, &a);
    assert_int_equal(import_of(&b, file[0]), 0);
    world_open(&b);
    struct conv_key room = util_channel("room");
    assert_true(util_exists(&b, &room));
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* No file may grow larger, as on a full disk. */
static void files_at_most(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    struct world a, b;
    char temp[200], current[200];
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    files_init(&a);
    world_open(&a);
    fill(&a);
    world_close(&a);
    signal(SIGXFSZ, SIG_IGN);
    files_at_most(20000);
    struct dump_writer *out;
    assert_int_equal(dump_create(&out, file[0], why, sizeof why), 0);
    int r = store_export(&a.o, out, why, sizeof why);
    assert_true(r == 0 || dump_failed(out));
    assert_int_equal(dump_finish(out, why, sizeof why), ERR_IO);
    assert_non_null(strstr(why, "cannot write /"));
    assert_non_null(strstr(why, "File too large"));
    dump_writer_free(out);
    files_at_most(0);
    snprintf(temp, sizeof temp, "%s.tmp", file[0]);
    assert_int_equal(access(file[0], F_OK), -1);
    assert_int_equal(access(temp, F_OK), -1);
    assert_int_equal(export_to(&a, file[0]), 0);
    files_at_most(20000);
    r = import_of(&b, file[0]);
    files_at_most(0);
    assert_int_equal(r, ERR_IO);
    assert_non_null(strstr(why, "the database cannot be written"));
    snprintf(current, sizeof current, "%s/db/CURRENT", b.dir);
    assert_int_equal(access(current, F_OK), -1);
    assert_int_equal(import_of(&b, file[0]), 0);
    files_fini();
    world_fini(&a);
    world_fini(&b);
}

/* Messages whose numbers do not follow, and members of a channel that there is not. */
static void strange_files_do_no_harm(void **state)
{
    (void)state;
    struct world b;
    world_init(&b, "rocksdb");
    files_init(&b);
    struct dump_record store = {.kind = DUMP_STORE, .store = {.clock_ms = T0, .steady_ms = T0}};
    struct dump_record conv = {.kind = DUMP_CONV,
                               .conv = {.key = S("cx"), .seq = 9, .given = 9, .low = 3, .last_id = 90, .flags = 1}};
    struct dump_record member = {.kind = DUMP_MEMBER, .member = {.user = S("u"), .conv = S("cnone")}};
    const struct {
        uint64_t seq, id;
    } bad[] = {{3, 50}, {10, 50}, {5, 91}, {4, 50}, {6, 40}}; /* after one of seq 4 and id 40 */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dump_writer *out;
        assert_int_equal(dump_create(&out, file[0], why, sizeof why), 0);
        dump_put(out, &store);
        dump_put(out, &conv);
        struct dump_record m = {.kind = DUMP_MESSAGE, .message = {.seq = 4, .id = 40, .sender = S("u")}};
        dump_put(out, &m);
        m.message.seq = bad[i].seq;
        m.message.id = bad[i].id;
        dump_put(out, &m);
        assert_int_equal(dump_finish(out, why, sizeof why), 0);
        dump_writer_free(out);
        assert_int_equal(import_of(&b, file[0]), ERR_INVALID);
        assert_string_equal(why, "message 2 of the export has a number that does not follow");
    }
    struct dump_writer *out;
    assert_int_equal(dump_create(&out, file[0], why, sizeof why), 0);
    dump_put(out, &store);
    dump_put(out, &conv);
    dump_put(out, &member);
    member.member.conv = S("cx");
    dump_put(out, &member);
    member.member.conv = S("czone");
    dump_put(out, &member);
    assert_int_equal(dump_finish(out, why, sizeof why), 0);
    dump_writer_free(out);
    assert_int_equal(import_of(&b, file[0]), 0);
    world_open(&b);
    struct conv_key x = util_channel("x"), none = util_channel("none");
    assert_int_equal(util_load_of(&b, &x).members, 1);
    assert_false(util_exists(&b, &none));
    assert_int_equal(util_rows(&b, KV_CHANNEL, S("m")), 1);
    assert_int_equal(util_rows(&b, KV_USER, S("s")), 1);
    assert_int_equal(util_rows(&b, KV_USER, S("r")), 1);
    files_fini();
    world_fini(&b);
}

static void clocks_go_along(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, "rocksdb");
    files_init(&w);
    clock_file();
    if (import_of(&w, file[0]))
        fail_msg("%s", why);
    clock_check(&w);
    files_fini();
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rocksdb_to_rocksdb),
        cmocka_unit_test(rocksdb_to_memory),
        cmocka_unit_test(memory_to_rocksdb),
        cmocka_unit_test(numbers_go_on),
        cmocka_unit_test(a_jump_is_made_up_for),
        cmocka_unit_test(deletions_go_on),
        cmocka_unit_test(hidden_stays_hidden),
        cmocka_unit_test(directories_are_guarded),
        cmocka_unit_test(a_failed_import_leaves_nothing),
        cmocka_unit_test(a_killed_import_is_no_database),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(strange_files_do_no_harm),
        cmocka_unit_test(clocks_go_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
