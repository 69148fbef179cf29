/* The writer's small parts: batches, the table with ages, caches, what readers know of first messages, the marks of
 * losses. */
#define UTIL_MAIN
#include "tests/unit/test_store_util.h"

#include "storage/local/batch.h"
#include "storage/local/durable.h"
#include "storage/local/recent.h"
#include "storage/local/heads.h"

#include <fcntl.h>

/* --- Batches ------------------------------------------------------------------------------------------------------ */

static void put(struct batch *b, enum kv_family f, const char *key, const char *value)
{
    assert_int_equal(batch_reserve(b, 1, 64), 0);
    memcpy(batch_put(b, f, S(key), strlen(value)), value, strlen(value));
}

static void batches(void **state)
{
    (void)state;
    struct batch b = {0};
    struct slice v;
    assert_int_equal(batch_get(&b, KV_META, S("a"), &v), ERR_NOTFOUND);
    put(&b, KV_META, "a", "1");
    put(&b, KV_USER, "a", "2"); /* families do not meet */
    put(&b, KV_META, "a", "33");
    assert_int_equal(batch_get(&b, KV_META, S("a"), &v), 1);
    assert_true(slice_eq(v, S("33")));
    assert_int_equal(batch_get(&b, KV_USER, S("a"), &v), 1);
    assert_true(slice_eq(v, S("2")));
    assert_int_equal(b.count, 2);
    batch_delete(&b, KV_USER, S("a"));
    assert_int_equal(batch_get(&b, KV_USER, S("a"), &v), 0);
    put(&b, KV_USER, "a", "again");
    assert_int_equal(batch_get(&b, KV_USER, S("a"), &v), 1);
    for (int round = 0; round < 3; round++) { /* grows, and is used again */
        batch_reset(&b);
        assert_int_equal(batch_get(&b, KV_META, S("a"), &v), ERR_NOTFOUND);
        for (int i = 0; i < 5000; i++) {
            char key[16], value[16];
            sprintf(key, "key%d", i);
            sprintf(value, "%d", i);
            put(&b, KV_META, key, value);
        }
        for (int i = 0; i < 5000; i++) {
            char key[16], value[16];
            sprintf(key, "key%d", i);
            sprintf(value, "%d", i);
            assert_int_equal(batch_get(&b, KV_META, S(key), &v), 1);
            assert_true(slice_eq(v, S(value)));
        }
        assert_int_equal(batch_reserve(&b, 1, 3000000), 0);
        memset(batch_put(&b, KV_DM, S("big"), 2000000), 'x', 2000000);
    }
    struct expiry e = {0}; /* ranges are written first */
    struct kv *kv = kv_memory_open(&e);
    batch_reset(&b);
    put(&b, KV_DM, "m1", "old");
    put(&b, KV_DM, "m2", "old");
    assert_int_equal(batch_write(&b, kv), 0);
    batch_reset(&b);
    put(&b, KV_DM, "m3", "new");
    assert_int_equal(batch_reserve(&b, 1, 16), 0);
    batch_delete_range(&b, KV_DM, S("m1"), S("m3"));
    assert_int_equal(batch_write(&b, kv), 0);
    struct kv_found f = kv_get(kv, KV_DM, S("m2"));
    assert_int_equal(f.code, 0);
    f = kv_get(kv, KV_DM, S("m3"));
    assert_int_equal(f.code, 1);
    kv_found_free(kv, &f);
    kv_close(kv);
    batch_fini(&b);
}

/* A database that looks at what it is given. */
struct watcher {
    struct kv base;
    char order[256]; /* family and key of each change, in order */
};

static int watcher_write(struct kv *kv, const struct kv_change *changes, size_t n)
{
    struct watcher *w = (struct watcher *)kv;
    char *p = w->order;
    for (size_t i = 0; i < n; i++) {
        p += sprintf(p, "%s%.*s ", kv_family_name((enum kv_family)changes[i].family), (int)changes[i].key.n,
                     changes[i].key.p);
    }
    return 0;
}

/* Ranges come first, as they were put; then rows of a kind stand together, in the order of their keys. */
static void kinds(void **state)
{
    static const struct kv_ops ops = {.write = watcher_write};
    struct watcher w = {.base = {.ops = &ops}};
    struct batch b = {0};
    (void)state;
    for (int i = 1; i <= 3; i++) {
        char key[8];
        sprintf(key, "u%d", i);
        put(&b, KV_USER, key, "");
        sprintf(key, "s%d", 4 - i);
        put(&b, KV_USER, key, "");
        sprintf(key, "m%d", i);
        put(&b, KV_CHANNEL, key, "");
        put(&b, KV_CHANNEL, "h", key);
    }
    assert_int_equal(batch_reserve(&b, 4, 32), 0);
    batch_delete_range(&b, KV_SMALL, S("b"), S("c"));
    batch_delete_range(&b, KV_DM, S("a"), S("b"));
    batch_delete(&b, KV_USER, S("s"));
    batch_delete(&b, KV_USER, S("s20"));
    assert_int_equal(batch_write(&b, &w.base), 0);
    assert_string_equal(
        w.order,
        "smallb dma users users1 users2 users20 users3 useru1 useru2 useru3 channelh channelm1 channelm2 channelm3 ");
    batch_fini(&b);
}

/* --- The table with ages ------------------------------------------------------------------------------------------ */

struct item {
    struct lru_node node;
    char key[16];
};

static void ages(void **state)
{
    (void)state;
    enum { N = 3000 };
    struct item *items = calloc(N, sizeof(*items));
    struct lru l;
    assert_int_equal(lru_init(&l), 0);
    for (int i = 0; i < N; i++) {
        int n = sprintf(items[i].key, "%d", i);
        items[i].node.key = slice_of(items[i].key, (size_t)n);
        items[i].node.hash = (uint64_t)(i % 100); /* chains */
        lru_add(&l, &items[i].node);
    }
    assert_int_equal(l.count, N);
    assert_ptr_equal(l.oldest, &items[0].node);
    for (int i = 0; i < N; i += 2)
        assert_ptr_equal(lru_find(&l, (uint64_t)(i % 100), items[i].node.key), &items[i].node);
    assert_null(lru_find(&l, 5, S("none")));
    for (int i = 1; i < N; i += 2) { /* those not asked for are the oldest, in their order */
        assert_ptr_equal(l.oldest, &items[i].node);
        lru_remove(&l, l.oldest);
    }
    for (int i = 0; i < N; i += 2) {
        assert_ptr_equal(l.oldest, &items[i].node);
        lru_remove(&l, l.oldest);
    }
    assert_true(l.count == 0 && !l.oldest && !l.newest);
    lru_fini(&l);
    free(items);
}

/* A full cache gives up its oldest, but never what something under way needs. */
static void caches(void **state)
{
    (void)state;
    struct heads h;
    char key[16];
    assert_int_equal(heads_init(&h), 0);
    for (int i = 0; i < HEADS_MAX; i++) {
        sprintf(key, "c%d", i);
        struct head *head = heads_add(&h, S(key), 10, 10);
        assert_non_null(head);
        head->pinned = i == 0 ? 11 : 10; /* the first one is in use */
    }
    assert_non_null(heads_add(&h, S("cx"), 10, 10)); /* outgrows the bound rather than drop it */
    assert_int_equal(h.heads.count, HEADS_MAX + 1);
    assert_non_null(heads_add(&h, S("cy"), 11, 11)); /* done by now: two go */
    assert_int_equal(h.heads.count, HEADS_MAX);
    assert_null(heads_find(&h, S("c0")));
    assert_null(heads_find(&h, S("c1")));
    assert_non_null(heads_find(&h, S("c3")));
    struct head *old = (struct head *)h.heads.oldest;
    old->sync_group = 12; /* waits for a sync */
    assert_non_null(heads_add(&h, S("cz"), 12, 11));
    assert_int_equal(h.heads.count, HEADS_MAX + 1);
    old->sync_group = 0;
    old->reserve_group = 12; /* its reservation is not on the platter */
    assert_non_null(heads_add(&h, S("cw"), 12, 11));
    assert_int_equal(h.heads.count, HEADS_MAX + 2);
    heads_drop(&h);
    assert_null(heads_find(&h, S("c3")));
    struct inbox *box = inboxes_add(&h, S("ann"), 0);
    assert_ptr_equal(inboxes_find(&h, S("ann")), box);
    inboxes_remove(&h, box);
    assert_null(inboxes_find(&h, S("ann")));
    heads_fini(&h);
}

static void recent_firsts(void **state)
{
    (void)state;
    struct recent *r = recent_new();
    struct recent_first k = {.seq = 7, .until_ms = 8, .version = 9, .tier = 1}, got;
    assert_false(recent_first(r, S("ca"), &got));
    recent_put_first(r, S("ca"), &k);
    assert_true(recent_first(r, S("ca"), &got));
    assert_true(got.seq == 7 && got.until_ms == 8 && got.version == 9 && got.tier == 1);
    k.seq = 10;
    recent_put_first(r, S("ca"), &k);
    assert_true(recent_first(r, S("ca"), &got) && got.seq == 10);
    recent_put_first(r, SLICE_NONE, &k);
    assert_false(recent_first(r, SLICE_NONE, &got));
    for (int i = 0; i < 20000; i++) { /* others push it out; never a wrong answer */
        char key[16];
        k.seq = (uint64_t)i;
        recent_put_first(r, slice_of(key, (size_t)sprintf(key, "c%d", i)), &k);
        assert_true(recent_first(r, slice_of(key, strlen(key)), &got) && got.seq == (uint64_t)i);
    }
    for (int i = 0; i < 20000; i++) {
        char key[16];
        assert_true(!recent_first(r, slice_of(key, (size_t)sprintf(key, "c%d", i)), &got) || got.seq == (uint64_t)i);
    }
    recent_clear(r);
    assert_false(recent_first(r, S("c19999"), &got));
    recent_free(r);
}

static void recent_heads(void **state)
{
    (void)state;
    struct recent *r = recent_new();
    struct head_record h = {.seq = 7, .members = 3}, got;
    struct recent_first first = {.seq = 1}, got_first;
    uint64_t ticket, other;
    assert_false(recent_head(r, S("ca"), &got, &ticket));
    recent_put_head(r, S("ca"), &h, ticket);
    recent_put_first(r, S("ca"), &first);
    assert_true(recent_head(r, S("ca"), &got, &other) && got.seq == 7 && got.members == 3);
    recent_changed(r, S("ca")); /* gone; the oldest message stays */
    assert_false(recent_head(r, S("ca"), &got, &other));
    assert_true(recent_first(r, S("ca"), &got_first));
    recent_put_head(r, S("ca"), &h, ticket); /* read before the change */
    assert_false(recent_head(r, S("ca"), &got, &other));
    recent_put_head(r, S("ca"), &h, other);
    assert_true(recent_head(r, S("ca"), &got, &other));
    recent_clear(r);
    recent_put_head(r, S("ca"), &h, other);
    assert_false(recent_head(r, S("ca"), &got, &other));
    recent_put_head(r, SLICE_NONE, &h, other);
    assert_false(recent_head(r, SLICE_NONE, &got, &other));
    for (int i = 0; i < 20000; i++) { /* one's change is not another's, nor is one's head */
        char key[16];
        struct slice conv = slice_of(key, (size_t)sprintf(key, "c%d", i));
        h.seq = (uint64_t)i;
        assert_true(!recent_head(r, conv, &got, &ticket));
        recent_put_head(r, conv, &h, ticket);
        recent_changed(r, S("another"));
        assert_true(recent_head(r, conv, &got, &ticket) && got.seq == h.seq);
    }
    recent_free(r);
}

/* --- Marks of losses ---------------------------------------------------------------------------------------------- */

static struct durable *mark_open(struct world *w)
{
    struct durable *d;
    if (durable_open(&d, w->dir, w->why, sizeof(w->why)))
        fail_msg("%s", w->why);
    return d;
}

static void judge(void **state)
{
    (void)state;
    struct world *w = calloc(1, sizeof(*w));
    char shm[64], name[200], cmd[1000];
    world_init(w, "rocksdb");
    struct durable *d = mark_open(w), *second;
    assert_false(durable_used(d));
    assert_false(durable_begun(d));
    assert_int_equal(durable_open(&second, w->dir, w->why, sizeof(w->why)), ERR_EXISTS);
    assert_int_equal(durable_begin(d, 77, 10), 0);
    durable_given(d, 15);
    durable_synced(d, 12); /* the first one also goes to the file */
    durable_synced(d, 14);
    durable_close(d); /* killed */
    shm_name(w->dir, shm);
    assert_int_equal(access(shm, F_OK), 0);
    char other[64], moved[200];
    strcpy(other,
           /* somebody else's start leaves it alone while the directory is there, and not when it is gone */
           "/tmp/magpie-test-XXXXXX");
    assert_non_null(mkdtemp(other));
    snprintf(moved, sizeof(moved), "%s.away", w->dir);
    for (int gone = 0; gone < 2; gone++) {
        if (gone) {
            snprintf(cmd, sizeof(cmd), "cp -p '%s' '%s.kept'", shm, w->dir);
            assert_int_equal(system(cmd), 0);
            assert_int_equal(rename(w->dir, moved), 0);
        }
        assert_int_equal(durable_open(&second, other, w->why, sizeof(w->why)), 0);
        assert_int_equal(durable_begin(second, 1, 1), 0);
        durable_end(second, 2);
        durable_close(second);
        assert_int_equal(access(shm, F_OK), gone ? -1 : 0);
    }
    assert_int_equal(rename(moved, w->dir), 0);
    snprintf(cmd, sizeof(cmd), "mv '%s.kept' '%s' && rm -rf '%s'", w->dir, shm, other);
    assert_int_equal(system(cmd), 0);

    d = mark_open(w);
    assert_true(durable_begun(d) && durable_used(d));
    assert_int_equal(durable_judge(d, 77, 16, w->why, 512), DURABLE_WHOLE); /* written, and not yet told */
    assert_int_equal(durable_judge(d, 77, 15, w->why, 512), DURABLE_WHOLE);
    assert_int_equal(durable_judge(d, 77, 14, w->why, 512), DURABLE_LOST); /* told, and not synced */
    assert_int_equal(durable_judge(d, 77, 13, w->why, 512), DURABLE_REFUSED);
    assert_int_equal(durable_judge(d, 77, 11, w->why, 512), DURABLE_REFUSED);
    assert_int_equal(durable_judge(d, 78, 99, w->why, 512), DURABLE_REFUSED); /* another database */
    durable_close(d);

    power_off(w->dir); /* the machine was off: the file alone is left */
    d = mark_open(w);
    assert_int_equal(durable_judge(d, 77, 15, w->why, 512), DURABLE_LOST);
    assert_int_equal(durable_judge(d, 77, 12, w->why, 512), DURABLE_LOST);
    assert_int_equal(durable_judge(d, 77, 11, w->why, 512), DURABLE_REFUSED);
    assert_true(durable_log_torn(d)); /* then a torn log is to be expected */
    assert_int_equal(durable_begin(d, 77, 20), 0);
    durable_end(d, 21);
    assert_int_equal(access(shm, F_OK), -1);
    durable_close(d);

    d = mark_open(w); /* a clean end */
    assert_int_equal(durable_judge(d, 77, 21, w->why, 512), DURABLE_WHOLE);
    assert_int_equal(durable_judge(d, 77, 22, w->why, 512), DURABLE_LOST); /* what is that? */
    assert_int_equal(durable_judge(d, 77, 20, w->why, 512), DURABLE_REFUSED);
    assert_false(durable_log_torn(d));
    durable_close(d);

    snprintf(name, sizeof(name), "%s/mark", w->dir); /* a copy: the original may have gone on */
    snprintf(cmd, sizeof(cmd), "cp '%s' '%s.2' && mv '%s.2' '%s'", name, name, name, name);
    assert_int_equal(system(cmd), 0);
    d = mark_open(w);
    assert_int_equal(durable_judge(d, 77, 21, w->why, 512), DURABLE_LOST);
    assert_int_equal(durable_judge(d, 77, 20, w->why, 512), DURABLE_REFUSED);
    durable_close(d);

    int fd = open(name, O_WRONLY); /* damaged: as if there were none */
    assert_int_equal(pwrite(fd, "x", 1, 20), 1);
    close(fd);
    d = mark_open(w);
    assert_false(durable_begun(d));
    assert_int_equal(durable_judge(d, 77, 5, w->why, 512), DURABLE_LOST);
    assert_int_equal(durable_probe(d), 0);
    durable_close(d);
    assert_int_equal(durable_judge(NULL, 1, 2, w->why, 512), DURABLE_WHOLE);
    world_fini(w);
    free(w);
}

/* The mark as it is on the disk: see struct mark_file. */
struct mark_bytes {
    uint64_t magic, instance, group, inode, birth, clean, manifest, manifest_bytes;
    uint8_t boot_id[16];
    uint64_t written_ms, sum;
};

/* Changes the mark in its place, as somebody would who puts a backup there. */
static void mark_edit(const struct world *w, void (*edit)(struct mark_bytes *m))
{
    struct mark_bytes m;
    char name[200];
    snprintf(name, sizeof(name), "%s/mark", w->dir);
    int fd = open(name, O_RDWR);
    assert_int_equal(pread(fd, &m, sizeof(m), 0), sizeof(m));
    edit(&m);
    m.sum = hash_stable(slice_of(&m, offsetof(struct mark_bytes, sum)));
    assert_int_equal(pwrite(fd, &m, sizeof(m), 0), sizeof(m));
    close(fd);
}

static void edit_nothing(struct mark_bytes *m)
{
    (void)m;
}
static void edit_age(struct mark_bytes *m)
{
    m->written_ms -= 60000;
}
static void edit_boot(struct mark_bytes *m)
{
    m->boot_id[5] ^= 1;
}

/* One of the version before: shorter, and without what is new. */
static void edit_old(struct mark_bytes *m)
{
    m->magic = UINT64_C(0x4d61677069654d31);
    uint64_t sum = hash_stable(slice_of(m, offsetof(struct mark_bytes, boot_id)));
    memcpy(m->boot_id, &sum, sizeof(sum));
}

/* Killed, and the shared memory tidied away, by an unloaded container or at a logout: the mark's own sign of life. */
static void sign_of_life(void **state)
{
    (void)state;
    static const struct {
        void (*edit)(struct mark_bytes *m);
        bool off, doubt, clean;
        enum durable_verdict verdict;
    } cases[] = {
        {.verdict = DURABLE_WHOLE},
        {.edit = edit_nothing, .verdict = DURABLE_WHOLE},
        {.off = true, .verdict = DURABLE_LOST},       /* mounted anew */
        {.doubt = true, .verdict = DURABLE_LOST},     /* answers that did not wait, or a disk that failed */
        {.edit = edit_age, .verdict = DURABLE_LOST},  /* a backup was put into its place */
        {.edit = edit_boot, .verdict = DURABLE_LOST}, /* written before the machine was started */
        {.edit = edit_old, .verdict = DURABLE_LOST},  /* it has no such thing */
        {.edit = edit_old, .clean = true, .verdict = DURABLE_WHOLE},
        {.edit = edit_age, .clean = true, .verdict = DURABLE_WHOLE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *w = calloc(1, sizeof(*w));
        char shm[64];
        world_init(w, "rocksdb");
        struct durable *d = mark_open(w);
        assert_int_equal(durable_begin(d, 77, 10), 0);
        if (cases[i].doubt)
            durable_doubt(d);
        durable_given(d, 15);
        durable_synced(d, 12);
        if (cases[i].clean)
            durable_end(d, 15);
        durable_close(d);
        shm_name(w->dir, shm);
        assert_int_equal(unlink(shm), cases[i].clean ? -1 : 0);
        if (cases[i].edit)
            mark_edit(w, cases[i].edit);
        if (cases[i].off)
            power_off(w->dir);
        for (int round = 0; round < 2; round++) { /* looking changes nothing */
            d = mark_open(w);
            assert_true(durable_begun(d));
            if (durable_judge(d, 77, 15, w->why, 512) != cases[i].verdict)
                fail_msg("case %zu", i);
            assert_int_equal(durable_judge(d, 77, 11, w->why, 512), DURABLE_REFUSED);
            if (!cases[i].clean)
                assert_int_equal(durable_log_torn(d), cases[i].verdict == DURABLE_LOST);
            durable_close(d);
            unlink(shm);
        }
        world_fini(w);
        free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),  cmocka_unit_test(batches),       cmocka_unit_test(ages),
        cmocka_unit_test(caches), cmocka_unit_test(recent_firsts), cmocka_unit_test(recent_heads),
        cmocka_unit_test(judge),  cmocka_unit_test(sign_of_life),
    };
    return cmocka_run_group_tests_name("parts", tests, NULL, NULL);
}
