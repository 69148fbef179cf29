/* Export and import of clusters: between them and the embedded engine, and what a node makes of it. Skipped without a
 * Redis Cluster (redis_kit.h). */
#define UTIL_MAIN
#include "tests/unit/dump_kit.h"
#include "tests/unit/redis_kit.h"

#include "storage/redis/layout.h"
#include "storage/redis/still.h"

/* A record with what it belongs to, so that it says the same wherever it stands. */
struct line {
    struct buf bytes;
};

static int line_cmp(const void *a, const void *b)
{
    return slice_cmp(buf_slice(&((const struct line *)a)->bytes), buf_slice(&((const struct line *)b)->bytes));
}

/* What both engines keep of a record; false: of this kind nothing. */
static bool line_of(const struct dump_record *r, struct slice conv, struct buf *out)
{
    struct dump_record same = *r;
    if (r->kind == DUMP_DEDUP || r->kind == DUMP_DIGEST || r->kind == DUMP_FLOOR)
        return false;
    if (r->kind == DUMP_STORE)
        same.store.last_id = 0; /* a cluster counts in places */
    if (r->kind == DUMP_CONV)
        same.conv.gone_ms = 0; /* which it does not keep */
    if (r->kind == DUMP_DELETED && !r->deleted.flags)
        same.deleted.epoch = 0; /* the user that is there has the larger one */
    if (r->kind == DUMP_MESSAGE)
        buf_slice_put(out, conv);
    assert_int_equal(dump_encode(out, &same), 0);
    return true;
}

static struct line *lines_of(const char *path, size_t *n)
{
    struct dump_reader *in;
    struct dump_record r;
    struct line *list = NULL;
    struct buf conv = BUF_INIT;
    int code;
    *n = 0;
    assert_int_equal(dump_open(&in, path, why, sizeof why), 0);
    while ((code = dump_next(in, &r)) == 1) {
        struct buf line = BUF_INIT;
        if (r.kind == DUMP_CONV) {
            buf_reset(&conv);
            buf_slice_put(&conv, r.conv.key);
        }
        if (line_of(&r, buf_slice(&conv), &line)) {
            list = realloc(list, (*n + 1) * sizeof *list);
            list[(*n)++].bytes = line;
        }
    }
    assert_int_equal(code, 0);
    dump_reader_free(in);
    buf_free(&conv);
    qsort(list, *n, sizeof *list, line_cmp);
    return list;
}

static void same_records(const char *a, const char *b)
{
    size_t n, m;
    struct line *x = lines_of(a, &n), *y = lines_of(b, &m);
    for (size_t i = 0; i < n && i < m; i++)
        if (!slice_eq(buf_slice(&x[i].bytes), buf_slice(&y[i].bytes)))
            fail_msg("record %zu of %zu, %zu: kinds %d, %d", i, n, m, x[i].bytes.p[0], y[i].bytes.p[0]);
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++) {
        buf_free(&x[i].bytes);
        buf_free(&y[i].bytes);
    }
    free(x);
    free(y);
}

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
    assert_int_equal(inbox_size_of(&one, "ann"), 5);
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

/* Sets a field of a hash under the world's prefix. */
static void cluster_set(struct world *w, unsigned part, char kind, struct slice rest, struct slice field,
                        struct slice value)
{
    struct still s;
    assert_int_equal(still_open(&s, &w->o, why, sizeof why), 0);
    struct call *c = still_change(&s, value.p ? "HSET" : "HDEL", part);
    call_key(s.r, c, kind, rest);
    call_arg(c, field);
    if (value.p)
        call_arg(c, value);
    still_send(&s, c);
    assert_int_equal(still_wait(&s), 0);
    still_close(&s);
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
    assert_non_null(strstr(one.why, "the data has format import"));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(through_clusters_and_back),
        cmocka_unit_test(a_node_goes_on),
        cmocka_unit_test(a_cluster_is_filled_wholly_or_not),
        cmocka_unit_test(halves_are_done_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
