/* The databases side by side: whatever is done to both, both say the same; and what they drop by themselves is past its
 * time. */
#define UTIL_MAIN
#include "tests/unit/test_store_util.h"

enum { KEYS = 40 };

struct both {
    char dir[128];
    struct expiry expiry;
    struct kv *kv[2]; /* memory, rocksdb */
    uint64_t random;
};

static uint32_t rnd(struct both *b, uint32_t n)
{
    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(b->random >> 33) % n;
}

static struct kv_rocksdb_options rocks_options(struct both *b)
{
    return (struct kv_rocksdb_options){
        .path = b->dir, .memory = 16u << 20, .expiry = &b->expiry, .create = true, .complete = true};
}

static int setup(void **state)
{
    struct both *b = calloc(1, sizeof(*b));
    char why[512];
    log_open(NULL, LOG_TEXT, LOG_ERROR + 1);
    snprintf(b->dir, sizeof(b->dir), "/tmp/magpie-test-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    struct kv_rocksdb_options o = rocks_options(b);
    b->kv[0] = kv_memory_open(&b->expiry);
    assert_non_null(b->kv[0]);
    if (kv_rocksdb_open(&b->kv[1], &o, why, sizeof(why)))
        fail_msg("%s", why);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct both *b = *state;
    char cmd[200];
    kv_close(b->kv[0]);
    kv_close(b->kv[1]);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", b->dir);
    assert_int_equal(system(cmd), 0);
    free(b);
    return 0;
}

static struct slice key_of(uint32_t n, char out[16])
{
    int len = snprintf(out, 16, "k%02u", n);
    if (n % 5 == 0) {
        out[len++] = '\0'; /* keys may hold any byte */
        out[len++] = (char)0xff;
    }
    return slice_of(out, (size_t)len);
}

static void write_both(struct both *b, const struct kv_change *c, size_t n)
{
    for (int e = 0; e < 2; e++)
        assert_int_equal(b->kv[e]->ops->write(b->kv[e], c, n), 0);
}

/* A batch of random changes. */
static void change(struct both *b, enum kv_family family)
{
    struct kv_change c[8];
    char keys[8][2][16], values[8][64];
    uint32_t n = 1 + rnd(b, 8);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t kind = rnd(b, 10), k = rnd(b, KEYS);
        c[i] = (struct kv_change){.family = (uint8_t)family, .key = key_of(k, keys[i][0])};
        if (kind < 6) {
            c[i].kind = KV_PUT;
            memset(values[i], 'a' + (int)rnd(b, 26), 64);
            c[i].value = slice_of(values[i], rnd(b, 64));
        } else if (kind < 9) {
            c[i].kind = KV_DELETE;
        } else {
            uint32_t to = k + rnd(b, 6); /* empty ranges too */
            c[i].kind = KV_DELETE_RANGE;
            c[i].value = to < KEYS ? key_of(to, keys[i][1]) : S("l");
            if (slice_cmp(c[i].key, c[i].value) >= 0) {
                c[i].kind = KV_DELETE;
                c[i].value = SLICE_NONE;
            }
        }
    }
    write_both(b, c, n);
}

static void same_gets(struct both *b, enum kv_family family)
{
    struct slice keys[KEYS];
    char text[KEYS][16];
    struct kv_found found[2][KEYS];
    for (uint32_t i = 0; i < KEYS; i++)
        keys[i] = key_of(i, text[i]);
    for (int e = 0; e < 2; e++)
        kv_multi_get(b->kv[e], family, keys, KEYS, found[e]);
    for (uint32_t i = 0; i < KEYS; i++) {
        struct kv_found one = kv_get(b->kv[1], family, keys[i]);
        assert_int_equal(found[0][i].code, found[1][i].code);
        assert_int_equal(one.code, found[1][i].code);
        assert_true(slice_eq(found[0][i].value, found[1][i].value) && slice_eq(one.value, found[1][i].value));
        kv_found_free(b->kv[1], &one);
        kv_found_free(b->kv[0], &found[0][i]);
        kv_found_free(b->kv[1], &found[1][i]);
    }
}

static void same_walk(struct both *b, enum kv_family family)
{
    char t[4][16];
    uint32_t lo = rnd(b, KEYS), hi = lo + rnd(b, KEYS);
    struct slice lower = key_of(lo, t[0]), upper = hi < KEYS ? key_of(hi, t[1]) : S("l"),
                 at = key_of(rnd(b, KEYS), t[2]);
    struct kv_iter *it[2];
    if (slice_cmp(lower, upper) >= 0)
        return;
    lower = rnd(b, 4) ? lower : SLICE_NONE;
    upper = rnd(b, 4) ? upper : SLICE_NONE;
    for (int e = 0; e < 2; e++) {
        it[e] = kv_iter_new(b->kv[e], family, lower, upper);
        assert_non_null(it[e]);
    }
    bool before = rnd(b, 2);
    for (int e = 0; e < 2; e++)
        before ? kv_seek_before(it[e], at) : kv_seek(it[e], at);
    for (int step = 0; step < 60; step++) {
        assert_int_equal(kv_valid(it[0]), kv_valid(it[1]));
        if (!kv_valid(it[0]))
            break;
        assert_true(slice_eq(kv_key(it[0]), kv_key(it[1])) && slice_eq(kv_value(it[0]), kv_value(it[1])));
        assert_true(slice_cmp(kv_key(it[0]), lower) >= 0 && (!upper.n || slice_cmp(kv_key(it[0]), upper) < 0));
        struct slice key, value;
        assert_true(kv_row(it[1], &key, &value) && slice_eq(key, kv_key(it[1])) && slice_eq(value, kv_value(it[1])));
        assert_true(kv_row(it[0], &key, &value) && slice_eq(key, kv_key(it[0])) && slice_eq(value, kv_value(it[0])));
        bool back = rnd(b, 8) ? before : !before;
        for (int e = 0; e < 2; e++)
            back ? kv_prev(it[e]) : kv_next(it[e]);
    }
    for (int e = 0; e < 2; e++) {
        assert_int_equal(kv_iter_error(it[e]), 0);
        kv_iter_free(it[e]);
    }
}

static void same(void **state)
{
    struct both *b = *state;
    char why[512];
    b->random = 42;
    for (int i = 0; i < 1500; i++) {
        change(b, KV_META);
        if (i % 3 == 0)
            change(b, KV_USER);
        same_walk(b, KV_META);
        if (i % 20 == 0) {
            same_gets(b, KV_META);
            same_gets(b, KV_USER);
            same_gets(b, KV_CHANNEL); /* empty */
        }
        if (i % 300 == 299) { /* into tables, and over a reopening */
            b->kv[1]->ops->flush(b->kv[1]);
            assert_int_equal(b->kv[1]->ops->sync(b->kv[1]), 0);
            if (i % 600 == 599) {
                struct kv_rocksdb_options o = rocks_options(b);
                kv_close(b->kv[1]);
                assert_int_equal(kv_rocksdb_open(&b->kv[1], &o, why, sizeof(why)), 0);
            }
        }
    }
    struct kv_usage usage;
    for (int e = 0; e < 2; e++) {
        b->kv[e]->ops->usage(b->kv[e], &usage);
        assert_true(usage.memory > 0);
    }
}

/* The sweep of the one in memory drops what is past its time, and nothing else. */
static void sweep(void **state)
{
    struct both *b = *state;
    char value[64];
    struct kv *kv = b->kv[0];
    atomic_store(&b->expiry.now_ms, 1000);
    atomic_store(&b->expiry.ttl_ms[EXPIRY_SMALL], 100);
    for (int i = 0; i < 100; i++) {
        char name[16];
        struct message_record m = {.row = {.cls = EXPIRY_SMALL, .birth_ms = 1000, .ttl_ms = i % 2 ? 1000 : 0},
                                   .sender = S("a")};
        struct kv_change c = {.family = KV_SMALL,
                              .kind = KV_PUT,
                              .key = slice_of(name, (size_t)snprintf(name, 16, "%03d", i)),
                              .value = slice_of(value, message_encode(value, &m))};
        assert_int_equal(kv->ops->write(kv, &c, 1), 0);
    }
    atomic_store(&b->expiry.now_ms, 1100);
    for (int i = 0; i < 200; i++) {
        struct kv_change c = {.family = KV_SMALL, .kind = KV_DELETE, .key = S("zzz")};
        assert_int_equal(kv->ops->write(kv, &c, 1), 0);
    }
    struct kv_iter *it = kv_iter_new(kv, KV_SMALL, S("0"), S("z"));
    int n = 0;
    for (kv_seek(it, S("0")); kv_valid(it); kv_next(it), n++)
        assert_int_equal((kv_key(it).p[2] - '0') % 2, 1);
    assert_int_equal(n, 50);
    kv_iter_free(it);
}

static void put(struct kv *kv, const char *key)
{
    struct kv_change c = {.family = KV_SMALL, .kind = KV_PUT, .key = S(key), .value = S("v")};
    assert_int_equal(kv->ops->write(kv, &c, 1), 0);
}

/* What a reader keeps is as good as new. */
static void kept_iters(void **state)
{
    struct both *b = *state;
    for (int e = 0; e < 2; e++) {
        struct iter_cache k = {0};
        put(b->kv[e], "b");
        iter_cache_begin(&k, b->kv[e]);
        struct kv_iter *it = iter_cache_iter(&k, b->kv[e], TIER_SMALL);
        kv_seek(it, S("a"));
        assert_true(kv_valid(it) && slice_eq(kv_key(it), S("b")));
        iter_cache_begin(&k, b->kv[e]);
        assert_ptr_equal(iter_cache_iter(&k, b->kv[e], TIER_SMALL), it); /* nothing was written */
        put(b->kv[e], "a");
        iter_cache_begin(&k, b->kv[e]);
        it = iter_cache_iter(&k, b->kv[e], TIER_SMALL);
        kv_seek(it, S("a"));
        assert_true(kv_valid(it) && slice_eq(kv_key(it), S("a")));
        kv_seek(iter_cache_iter(&k, b->kv[e], TIER_LARGE), S("a"));
        assert_false(kv_valid(iter_cache_iter(&k, b->kv[e], TIER_LARGE)));
        iter_cache_drop(&k);
        assert_null(k.it[TIER_SMALL]);
    }
}

/* A database opened for reading takes no writes, and leaves what it finds alone. */
static void read_only(void **state)
{
    struct both *b = *state;
    char why[512];
    struct kv_change c = {.family = KV_META, .kind = KV_PUT, .key = S("k"), .value = S("v")};
    assert_int_equal(b->kv[1]->ops->write(b->kv[1], &c, 1), 0);
    kv_close(b->kv[1]);
    struct kv_rocksdb_options o = rocks_options(b);
    o.create = o.complete = false;
    o.read_only = true;
    assert_int_equal(kv_rocksdb_open(&b->kv[1], &o, why, sizeof(why)), 0);
    struct kv_found f = kv_get(b->kv[1], KV_META, S("k"));
    assert_int_equal(f.code, 1);
    assert_true(slice_eq(f.value, S("v")));
    kv_found_free(b->kv[1], &f);
    assert_int_equal(b->kv[1]->ops->write(b->kv[1], &c, 1), ERR_IO);
    kv_close(b->kv[1]);
    o = rocks_options(b);
    assert_int_equal(kv_rocksdb_open(&b->kv[1], &o, why, sizeof(why)), 0);
    struct kv *none;
    o.path = "/proc/nowhere";
    assert_true(kv_rocksdb_open(&none, &o, why, sizeof(why)) < 0);
    assert_null(none);
    assert_non_null(strstr(why, "/proc/nowhere"));
    o.path = b->dir; /* a second opening of one database: RocksDB's own lock */
    assert_true(kv_rocksdb_open(&none, &o, why, sizeof(why)) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(same, setup, teardown),
        cmocka_unit_test_setup_teardown(sweep, setup, teardown),
        cmocka_unit_test_setup_teardown(kept_iters, setup, teardown),
        cmocka_unit_test_setup_teardown(read_only, setup, teardown),
    };
    return cmocka_run_group_tests_name("databases", tests, NULL, NULL);
}
