/* Work on the database as a whole: what compaction takes off the disk, checkpoints that can be served from, closing in
 * the middle. RocksDB alone. */
#define UTIL_MAIN
#include "tests/unit/test_store_util.h"

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    world_init(w, "rocksdb");
    world_open(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world_fini(*state);
    free(*state);
    return 0;
}

static enum store_status work(struct world *w, enum store_work_kind kind, const char *directory, char why[256])
{
    struct store_work x = {.kind = kind, .directory = directory};
    enum store_status status = CALL(w, store_work, &x);
    strcpy(why, x.why);
    return status;
}

/* Rows that are on the disk, whoever may see them. */
static unsigned rows(struct world *w, enum kv_family family)
{
    unsigned n = 0;
    struct kv_iter *it = kv_iter_new(local_of(w->s)->kv, family, S("\x01"), S("\xff"));
    for (kv_seek(it, S("\x01")); kv_valid(it); kv_next(it))
        n++;
    kv_iter_free(it);
    return n;
}

/* Expired rows leave the disk with a compaction; those with a longer life of their own, and those of no ttl, stay. */
static void compaction(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "c"), p = util_pair("ann", "bob");
    char why[256];
    w->o.tiers[TIER_SMALL].ttl_ms = 1000;
    store_configure(w->s, &w->o);
    for (int i = 0; i < 20; i++) {
        struct store_append a = append_of(&c, TIER_SMALL, "ann", "x");
        a.ttl_ms = i % 4 ? 0 : 50000;
        a.client_id = slice_of(&"0123456789abcdefghij"[i], 1);
        assert_int_equal(CALL(w, store_append, &a), STORE_OK);
        (void)dm(w, "ann", "bob", "y", NULL);
    }
    assert_int_equal(work(w, STORE_FLUSH, NULL, why), STORE_OK);
    assert_int_equal(work(w, STORE_COMPACT, NULL, why), STORE_OK);
    assert_true(rows(w, KV_SMALL) == 20 && rows(w, KV_DEDUP) == 20);
    world_pass(w, 1000);
    PAGE(w, &c, 0, -1, 9, "1 5 9 13 17", 1, 20, false); /* gone for readers at once */
    assert_int_equal(rows(w, KV_SMALL), 20);
    assert_int_equal(work(w, STORE_COMPACT, NULL, why), STORE_OK);
    assert_int_equal(rows(w, KV_SMALL), 5);
    assert_int_equal(rows(w, KV_DM), 20);
    assert_int_equal(rows(w, KV_INBOX), 20);
    world_pass(w, 600000);
    PAGE(w, &c, 0, -1, 9, "", 21, 20, false);
    assert_int_equal(work(w, STORE_COMPACT, NULL, why), STORE_OK);
    assert_int_equal(rows(w, KV_SMALL), 0);
    assert_int_equal(rows(w, KV_DEDUP), 0);
    PAGE(w, &p, 18, -1, 9, "19 20", 1, 20, false);
    assert_int_equal(say(w, &c, TIER_SMALL, "ann", "x"), 21); /* the head never ends */
}

/* While expiry is paused nothing leaves, whatever the clock says. */
static void paused(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "c");
    char why[256];
    for (int i = 0; i < 10; i++)
        say(w, &c, TIER_LARGE, "ann", "x");
    atomic_fetch_add(&w->wall, 3650 * DAY);
    PAGE(w, &c, 8, -1, 9, "9 10", 1, 10, false);
    assert_int_equal(work(w, STORE_FLUSH, NULL, why), STORE_OK);
    assert_int_equal(work(w, STORE_COMPACT, NULL, why), STORE_OK);
    assert_int_equal(rows(w, KV_LARGE), 10);
    world_restart(w);
    assert_int_equal(work(w, STORE_COMPACT, NULL, why), STORE_OK);
    PAGE(w, &c, 8, -1, 9, "9 10", 1, 10, false);
    assert_int_equal(rows(w, KV_LARGE), 10);
}

/* Range deletes of what the count no longer keeps: the disk does not grow with the messages ever sent. */
static void trimmed(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "c");
    char why[256];
    w->o.tiers[TIER_SMALL].max = 10;
    store_configure(w->s, &w->o);
    for (int i = 0; i < 500; i++)
        say(w, &c, TIER_SMALL, "ann", "x");
    assert_true(rows(w, KV_SMALL) < 10 + 2 * 64);
    world_restart(w);
    assert_int_equal(work(w, STORE_COMPACT, NULL, why), STORE_OK);
    assert_true(rows(w, KV_SMALL) < 10 + 2 * 64);
    PAGE(w, &c, -1, -1, 3, "498 499 500", 491, 500, true);
}

/* A checkpoint holds all that was answered, can be served from, and goes its own way from there. */
static void checkpoint(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "c"), p = util_pair("ann", "bob");
    char why[256], home[128], copy[128], shm[64];
    for (int i = 0; i < 30; i++) {
        say(w, &c, TIER_SMALL, "ann", "x");
        (void)dm(w, "ann", "bob", "y", NULL);
    }
    snprintf(copy, sizeof(copy), "%.100s.copy", w->dir);
    assert_int_equal(work(w, STORE_CHECKPOINT, copy, why), STORE_OK);
    assert_int_equal(work(w, STORE_CHECKPOINT, copy, why), STORE_RETRY); /* there already */
    assert_non_null(strstr(why, copy));
    assert_int_equal(work(w, STORE_CHECKPOINT, "/proc/none/such", why), STORE_RETRY);
    assert_true(strlen(why) > 5);
    say(w, &c, TIER_SMALL, "ann", "later");
    world_close(w);
    strcpy(home, w->dir);
    strcpy(w->dir, copy);
    world_open(w);
    PAGE(w, &c, -1, -1, 2, "29 30", 1, 30, true);
    PAGE(w, &p, -1, -1, 2, "29 30", 1, 30, true);
    assert_true(say(w, &c, TIER_SMALL, "ann", "x") >
                31); /* the original may have gone on: its numbers are left to it */
    assert_int_equal(dm(w, "ann", "bob", "y", NULL).seq, 31);
    world_close(w);
    shm_name(w->dir, shm);
    unlink(shm);
    char cmd[200];
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", copy);
    assert_int_equal(system(cmd), 0);
    strcpy(w->dir, home);
    world_open(w);
    PAGE(w, &c, -1, -1, 2, "30 31", 1, 31, true);
}

/* Closing while it works, and working while the disk fails. */
static void in_the_middle(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "c");
    static struct store_work works[20];
    say(w, &c, TIER_SMALL, "ann", "x");
    for (int i = 0; i < 20; i++) {
        works[i] = (struct store_work){.kind = i % 2 ? STORE_COMPACT : STORE_FLUSH};
        POST(w, store_work, &works[i]);
    }
    atomic_store(&w->fail_write, ERR_IO);
    struct store_append a = append_of(&c, TIER_SMALL, "ann", "x");
    assert_int_equal(CALL(w, store_append, &a), STORE_UNKNOWN);
    atomic_store(&w->fail_write, 0);
    struct store_stats stats;
    for (int i = 0; i < 1000; i++) {
        store_get_stats(w->s, &stats);
        if (!stats.failing)
            break;
        usleep(10000);
    }
    assert_false(stats.failing);
    world_close(w);
    for (int i = 0; i < 20; i++) {
        assert_null(works[i].op.home);
        assert_true(works[i].op.status == STORE_OK || works[i].op.status == STORE_RETRY);
    }
    world_open(w);
    PAGE(w, &c, -1, -1, 2, "1", 1, 1, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(compaction, setup, teardown),
        cmocka_unit_test_setup_teardown(paused, setup, teardown),
        cmocka_unit_test_setup_teardown(trimmed, setup, teardown),
        cmocka_unit_test_setup_teardown(checkpoint, setup, teardown),
        cmocka_unit_test_setup_teardown(in_the_middle, setup, teardown),
    };
    return cmocka_run_group_tests_name("work", tests, NULL, NULL);
}
