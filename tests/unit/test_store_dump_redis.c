/* Export and import of clusters: between them and the embedded engine, and what a node makes of it. Skipped without a
 * Redis Cluster (redis_kit.h). */
#define UTIL_MAIN
#include "tests/unit/dump_kit.h"
#include "tests/unit/redis_kit.h"

#include "storage/redis/layout.h"

/* Through a cluster, through another one, and back: what the engines both keep is the same, wherever it is. */
static void through_clusters_and_back(void **state)
{
    (void)state;
    struct world a, b, one, two;
    (void)redis_kit_need();
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    world_init(&one, "redis");
    world_init(&two, "redis");
    files_init(&a);
    world_open(&a);
    fill_all(&a, false);
    char *before = tell_store(&a);
    world_close(&a);
    (void)export_world(&a, file[0]);
    if (import_of(&one, file[0]))
        fail_msg("%s", why);
    if (export_to(&one, file[1]))
        fail_msg("%s", why);
    same_records(file[0], file[1]);
    if (import_of(&two, file[1]))
        fail_msg("%s", why);
    assert_int_equal(import_of(&two, file[1]), ERR_EXISTS);
    assert_non_null(strstr(why, "there is something under the prefix"));
    if (export_to(&two, file[0]))
        fail_msg("%s", why);
    same_records(file[1], file[0]);
    same_time(&b, &a);
    import_world(&b, file[0]);
    char *after = tell_store(&b);
    same_texts(before, after);
    struct conv_key big = util_channel("big"), went = util_made(&b, "went");
    uint64_t newest = id_of(&b, &big);
    assert_int_equal(say(&b, &big, TIER_LARGE, "maker", "next"), 1101);
    assert_true(id_of(&b, &big) > newest);
    assert_int_equal(say(&b, &went, TIER_SMALL, "maker", "again"), 2);
    free(before);
    free(after);
    files_fini();
    world_fini(&a);
    world_fini(&b);
    world_fini(&one);
    world_fini(&two);
}

/* Names that were dropped are in no export. What is left of their numbers is, wherever it goes: what is made under such
 * a name begins above them. */
static void dropped_names_begin_above_theirs(void **state)
{
    (void)state;
    struct world a, b, one, two;
    (void)redis_kit_need();
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    world_init(&one, "redis");
    world_init(&two, "redis");
    files_init(&a);
    a.hooks.names_max = 1;
    world_open(&a);
    assert_int_equal(user_make(&a, "maker", "Maker"), STORE_OK);
    for (int i = 0; i < 3; i++) {
        struct conv_key old = util_made(&a, i == 0 ? "old 0" : i == 1 ? "old 1" : "old 2");
        for (int n = 0; n < 5; n++)
            (void)say_as(&a, &old, TIER_SMALL, "maker", "x", "", 1, 0);
        world_pass(&a, 10);
        (void)util_leave(&a, &old, "maker");
        util_wait_gone(&a, &old);
    }
    world_close(&a);
    (void)export_world(&a, file[0]);
    if (import_of(&one, file[0]) || export_to(&one, file[1]) || import_of(&two, file[1]) || export_to(&two, file[0]))
        fail_msg("%s", why);
    same_records(file[1], file[0]);
    same_time(&two, &a);
    same_time(&b, &a);
    world_open(&two);
    struct conv_key again = util_made(&two, "old 0");
    assert_true(say(&two, &again, TIER_SMALL, "maker", "again") > 5);
    world_close(&two);
    import_world(&b, file[0]);
    again = util_made(&b, "old 1");
    assert_true(say(&b, &again, TIER_SMALL, "maker", "again") > 5);
    files_fini();
    world_fini(&a);
    world_fini(&b);
    world_fini(&one);
    world_fini(&two);
}

/* A node serves what was imported, goes on with it, and what it has then can be taken out again. */
static void a_node_goes_on(void **state)
{
    (void)state;
    struct world a, b, one;
    (void)redis_kit_need();
    world_init(&a, "rocksdb");
    world_init(&b, "rocksdb");
    world_init(&one, "redis");
    files_init(&a);
    world_open(&a);
    fill_all(&a, false);
    struct conv_key big = util_channel("big");
    uint64_t newest = dm(&a, "ann", "bob", "the newest", "c9").id;
    char *before = tell_store(&a);
    world_close(&a);
    (void)export_world(&a, file[0]);
    if (import_of(&one, file[0]))
        fail_msg("%s", why);
    same_time(&one, &a);
    world_open(&one);
    char *after = tell_store(&one);
    same_texts(before, after);
    struct store_append repeat = dm(&one, "ann", "bob", "the newest", "c9");
    assert_true(repeat.duplicate);
    assert_int_equal(repeat.id, newest);
    assert_int_equal(say(&one, &big, TIER_LARGE, "maker", "next"), 1101);
    assert_true(id_of(&one, &big) > newest);
    assert_int_equal(dm(&one, "bob", "ann", "next", "c10").seq, 5);
    assert_int_equal(inbox_size_of(&one, "ann"), 6);
    free(before);
    free(after);
    before = tell_store(&one);
    world_close(&one);
    if (export_to(&one, file[1]))
        fail_msg("%s", why);
    same_time(&b, &one);
    import_world(&b, file[1]);
    after = tell_store(&b);
    same_texts(before, after);
    free(before);
    free(after);
    files_fini();
    world_fini(&a);
    world_fini(&b);
    world_fini(&one);
}

/* A cut file, and an import that was killed: nothing is left under the prefix, and no node takes it for data. */
static void a_cluster_is_filled_wholly_or_not(void **state)
{
    (void)state;
    struct world a, one;
    (void)redis_kit_need();
    world_init(&a, "rocksdb");
    world_init(&one, "redis");
    files_init(&a);
    assert_int_equal(export_to(&one, file[0]), ERR_NOTFOUND);
    assert_non_null(strstr(why, "there is nothing under the prefix"));
    world_open(&a);
    fill_all(&a, false);
    world_close(&a);
    (void)export_world(&a, file[0]);
    struct buf whole = bytes_of(file[0]);
    for (int i = 0; i < 3; i++) {
        size_t cut = whole.n - 1 - (size_t)i * whole.n / 4;
        FILE *f = fopen(file[1], "w");
        assert_int_equal(fwrite(whole.p, 1, cut, f), cut);
        fclose(f);
        assert_int_equal(import_of(&one, file[1]), ERR_INVALID);
        assert_non_null(strstr(why, "is cut short after"));
        assert_int_equal(export_to(&one, file[1]), ERR_NOTFOUND); /* all was taken back */
    }
    buf_free(&whole);
    if (import_of(&one, file[0]))
        fail_msg("%s", why);
    cluster_set(&one, 0, 'C', SLICE_NONE, S("format"), S("import")); /* as if it had been killed in the middle */
    assert_int_equal(world_try(&one), ERR_INVALID);
    assert_non_null(strstr(one.why, "an import under cluster.prefix is under way, or was cut short"));
    assert_int_equal(export_to(&one, file[1]), ERR_INVALID);
    if (import_of(&one, file[0]))
        fail_msg("%s", why);
    if (export_to(&one, file[1]))
        fail_msg("%s", why);
    same_records(file[0], file[1]);
    files_fini();
    world_fini(&a);
    world_fini(&one);
}

/* How many records of the file are about this user. */
static unsigned records_of(enum dump_kind kind, const char *user)
{
    struct dump_reader *in;
    struct dump_record r;
    unsigned n = 0;
    assert_int_equal(dump_open(&in, file[0], why, sizeof why), 0);
    while (dump_next(in, &r) == 1)
        n +=
            r.kind == kind && (kind == DUMP_INBOX ? slice_eq(r.inbox.user, S(user)) : slice_eq(r.member.user, S(user)));
    dump_reader_free(in);
    return n;
}

/* What a killed node has left undone is in the export: a message that is in no inbox yet, a membership that its user
 * does not know of. */
static void halves_are_done_first(void **state)
{
    (void)state;
    struct world w;
    struct buf b = BUF_INIT;
    char field[9] = {'p'}, six[6];
    (void)redis_kit_need();
    world_init(&w, "redis");
    files_init(&w);
    world_open(&w);
    for (int i = 0; i < 2; i++)
        assert_int_equal(user_make(&w, i ? "ann" : "bob", "Name"), STORE_OK);
    (void)util_made(&w, "room");
    assert_int_equal(dm(&w, "ann", "bob", "one", "").op.status, STORE_OK);
    struct conv_key pair = util_pair("ann", "bob");
    world_close(&w);
    assert_int_equal(export_to(&w, file[0]), 0);
    assert_int_equal(records_of(DUMP_INBOX, "bob"), 1);
    assert_int_equal(records_of(DUMP_MEMBER, "bob"), 0);
    /* birth, seq, k, ttl, high, K: the second message of ann, which is the pair's first all the same */
    store_be64(field + 1, UINT64_C(1) << 60);
    const uint64_t numbers[4] = {atomic_load(&w.wall), 1, 2, 0};
    for (int i = 0; i < 4; i++) {
        layout_put48(six, numbers[i]);
        buf_put(&b, six, 6);
    }
    buf_byte(&b, 0);
    buf_slice_put(&b, conv_key_slice(&pair));
    cluster_set(&w, partition_of(conv_key_slice(&pair)), 'o', SLICE_NONE, slice_of(field, 9), buf_slice(&b));
    /* birth, version, put, push, events, set, seq */
    buf_reset(&b);
    layout_put48(six, numbers[0]);
    buf_put(&b, six, 6);
    layout_put48(six, 9);
    buf_put(&b, six, 6);
    buf_put(&b, "\1\0\0\0", 4);
    layout_put48(six, 0);
    buf_put(&b, six, 6);
    cluster_set(&w, partition_of(S("croom")), 'o', SLICE_NONE, slice_of("jcroom\0bob", 10), buf_slice(&b));
    assert_int_equal(export_to(&w, file[0]), 0);
    assert_int_equal(records_of(DUMP_INBOX, "bob"), 2);
    assert_int_equal(records_of(DUMP_MEMBER, "bob"), 1);
    buf_free(&b);
    files_fini();
    world_fini(&w);
}

static int count_keys(void *ctx, const struct still_key *keys, uint32_t n)
{
    (void)keys;
    *(unsigned *)ctx += n;
    return 0;
}

/* A look at all keys that takes long, with masters that stay, is not taken for one that they change in. */
static void many_keys_are_found(void **state)
{
    static const char *const scripts[] = {"for i = 1, 30000 do redis.call('SET', KEYS[1] .. i, '') end",
                                          "for i = 1, 30000 do redis.call('UNLINK', KEYS[1] .. i) end"};
    (void)state;
    struct world w;
    struct still s;
    unsigned n = 0;
    (void)redis_kit_need();
    world_init(&w, "redis");
    if (still_open(&s, &w.o, why, sizeof why))
        fail_msg("%s", why);
    for (int i = 0; i < 2; i++) {
        struct call *c = still_change(&s, "EVAL", 5);
        call_arg(c, slice_str(scripts[i]));
        call_arg_u64(c, 1);
        call_key(s.r, c, 'x', S("key"));
        still_send(&s, c);
        assert_int_equal(still_wait(&s), 0);
        if (i == 0)
            assert_int_equal(still_scan(&s, 0, &(struct still_pages){count_keys, &n}), 0);
    }
    assert_int_equal(n, 30000);
    still_close(&s);
    world_fini(&w);
}

static void clocks_go_along(void **state)
{
    (void)state;
    struct world w;
    (void)redis_kit_need();
    world_init(&w, "redis");
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
        cmocka_unit_test(through_clusters_and_back),
        cmocka_unit_test(dropped_names_begin_above_theirs),
        cmocka_unit_test(a_node_goes_on),
        cmocka_unit_test(a_cluster_is_filled_wholly_or_not),
        cmocka_unit_test(halves_are_done_first),
        cmocka_unit_test(many_keys_are_found),
        cmocka_unit_test(clocks_go_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
