/* The store on a failing disk: what is refused, what is unknown, what is kept, and that it comes back by itself. Both
 * engines. */
#include "tests/unit/store_kit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

static bool failing(struct world *w)
{
    struct store_stats stats;
    store_get_stats(w->s, &stats);
    return stats.failing;
}

/* Until the writer has seen that a sync failed. */
static void wait_failing(struct world *w)
{
    for (int i = 0; i < 3000 && !failing(w); i++)
        usleep(1000);
    assert_true(failing(w));
}

/* Until writes are taken again; a failed store tries once a second. */
static void wait_recovered(struct world *w)
{
    for (int i = 0; i < 3000 && failing(w); i++)
        usleep(10000);
    assert_false(failing(w));
}

static enum store_status try_say(struct world *w, const struct conv_key *c, enum store_tier tier, const char *client,
                                 struct store_append *out)
{
    *out = append_of(c, tier, "ann", "text");
    out->client_id = S(client);
    return CALL(w, store_append, out);
}

/* A write fails: unknown. What comes after it: refused for certain. Reads go on. Then it comes back, and nothing has
 * got lost or jumps. */
static void write_fails(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "c"), p = util_pair("ann", "bob");
    struct store_append a;
    uint64_t last_id = 0;
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(try_say(w, &c, TIER_SMALL, NULL, &a), STORE_OK);
        assert_int_equal(a.seq, i);
        last_id = a.id;
    }
    atomic_store(&w->fail_write, ERR_IO);
    atomic_store(&w->fail_reopen, ERR_IO);
    assert_int_equal(try_say(w, &c, TIER_SMALL, "x1", &a), STORE_UNKNOWN);
    assert_true(failing(w));
    assert_int_equal(try_say(w, &c, TIER_SMALL, "x2", &a), STORE_RETRY);
    assert_int_equal(try_say(w, &p, TIER_DM, "x3", &a), STORE_RETRY);
    struct store_user_save u = {.id = S("zoe"), .name = S("Zoe")};
    assert_int_equal(CALL(w, store_user_save, &u), STORE_RETRY);
    PAGE(w, &c, -1, -1, 9, "1 2 3", 1, 3, false);
    atomic_store(&w->fail_write, 0);
    usleep(1100000); /* the reopening is still made to fail */
    assert_true(failing(w));
    assert_int_equal(try_say(w, &c, TIER_SMALL, "x2", &a), STORE_RETRY);
    PAGE(w, &c, -1, -1, 9, "1 2 3", 1, 3, false);
    atomic_store(&w->fail_reopen, 0);
    wait_recovered(w);
    assert_int_equal(try_say(w, &c, TIER_SMALL, "x2", &a), STORE_OK); /* neither was stored */
    assert_false(a.duplicate);
    assert_int_equal(a.seq, 4);
    assert_true(a.id > last_id);
    assert_int_equal(try_say(w, &c, TIER_SMALL, "x1", &a), STORE_OK);
    assert_false(a.duplicate);
    assert_int_equal(a.seq, 5);
    assert_int_equal(try_say(w, &p, TIER_DM, "x3", &a), STORE_OK);
    assert_int_equal(a.seq, 1);
    struct store_stats stats;
    store_get_stats(w->s, &stats);
    assert_int_equal(stats.errors, 1);
    assert_int_equal(stats.reopens, 1);
}

/* A sync fails after the write: those who waited hear "unknown", a repeat finds the message, and numbers go on without
 * a gap. */
static void sync_fails(void **state)
{
    struct world *w = *state;
    struct conv_key p = util_pair("ann", "bob"), c = util_made(w, "c");
    struct store_append a;
    assert_int_equal(try_say(w, &p, TIER_DM, "d1", &a), STORE_OK);
    assert_int_equal(try_say(w, &c, TIER_SMALL, "c1", &a), STORE_OK);
    atomic_store(&w->fail_sync, ERR_IO);
    assert_int_equal(try_say(w, &p, TIER_DM, "d2", &a), STORE_UNKNOWN);
    wait_failing(w);
    assert_int_equal(try_say(w, &p, TIER_DM, "d3", &a), STORE_RETRY);
    atomic_store(&w->fail_sync, 0);
    wait_recovered(w);
    assert_int_equal(try_say(w, &p, TIER_DM, "d2", &a), STORE_OK);
    assert_true(a.duplicate);
    assert_int_equal(a.seq, 2);
    assert_int_equal(try_say(w, &p, TIER_DM, "d3", &a), STORE_OK);
    assert_false(a.duplicate);
    assert_int_equal(a.seq, 3);
    assert_int_equal(try_say(w, &c, TIER_SMALL, "c2", &a), STORE_OK);
    assert_int_equal(a.seq, 2); /* nothing was lost: no jump */
    PAGE(w, &p, -1, -1, 9, "1 2 3", 1, 3, false);
}

/* A repeat that comes while the first waits for its sync is not acknowledged before it, nor when that sync fails. */
static void repeat_shares_fate(void **state)
{
    struct world *w = *state;
    struct conv_key p = util_pair("ann", "bob");
    struct store_append a, b;
    assert_int_equal(try_say(w, &p, TIER_DM, "d1", &a), STORE_OK);
    atomic_store(&w->sync_delay_us, 200000);
    atomic_store(&w->fail_sync, ERR_IO);
    a = append_of(&p, TIER_DM, "ann", "text");
    a.client_id = S("d2");
    b = a;
    POST(w, store_append, &a);
    usleep(50000); /* written by now, and being synced */
    POST(w, store_append, &b);
    util_wait(w, &a.op);
    util_wait(w, &b.op);
    assert_int_equal(a.op.status, STORE_UNKNOWN);
    assert_true(b.op.status == STORE_UNKNOWN || b.op.status == STORE_RETRY);
    wait_failing(w);
    atomic_store(&w->sync_delay_us, 0);
    atomic_store(&w->fail_sync, 0);
    wait_recovered(w);
    assert_int_equal(try_say(w, &p, TIER_DM, "d2", &a), STORE_OK);
    assert_true(a.duplicate);
}

static int one_sync_fails(void *ctx)
{
    struct world *w = ctx;
    usleep(100000);
    return atomic_exchange(&w->fail_sync, 0);
}

/* One sync fails, the next would succeed: after a failed fsync that proves nothing, so that no one is told it was
 * stored. */
static void failure_lasts(void **state)
{
    struct world *w = *state;
    struct conv_key p[8];
    struct store_append a[8];
    world_close(w);
    w->hooks.before_sync = one_sync_fails;
    world_open(w);
    static const char *const peers[8] = {"b", "c", "d", "e", "f", "g", "h", "i"};
    for (int i = 0; i < 8; i++)
        p[i] = util_pair("ann", peers[i]);
    atomic_store(&w->fail_reopen, ERR_IO);
    atomic_store(&w->fail_sync, ERR_IO);
    for (int i = 0; i < 8; i++) {
        a[i] = append_of(&p[i], TIER_DM, "ann", "text");
        POST(w, store_append, &a[i]);
        usleep(20000);
    }
    for (int i = 0; i < 8; i++) {
        util_wait(w, &a[i].op);
        assert_true(a[i].op.status == STORE_UNKNOWN || a[i].op.status == STORE_RETRY);
    }
    wait_failing(w);
    atomic_store(&w->fail_reopen, 0);
    wait_recovered(w);
    assert_int_equal(try_say(w, &p[0], TIER_DM, NULL, &a[0]), STORE_OK);
}

/* Answers come in order for each conversation, whatever fails in the middle, and what was acknowledged is there,
 * once. */
static void fails_under_load(void **state)
{
    struct world *w = *state;
    enum { N = 3000 };
    static struct store_append ops[N];
    struct conv_key c[2] = {util_made(w, "c"), util_pair("ann", "bob")};
    uint64_t told[2] = {0, 0}, last_id = 0;
    uint32_t ok = 0;
    util_done_n = 0;
    for (int i = 0; i < N; i++) {
        ops[i] = append_of(&c[i % 2], i % 2 ? TIER_DM : TIER_SMALL, "ann", "text");
        POST(w, store_append, &ops[i]);
        if (i == 1000 || i == 1500) {
            util_wait(w, &ops[900].op);
            if (i == 1000)
                util_wait(w, &ops[899].op); /* however slow the machine is: so many are good */
            atomic_store(i == 1000 ? &w->fail_write : &w->fail_sync, ERR_IO);
        }
        if (i % 100 == 99)
            usleep(1000);
    }
    for (int i = 0; i < N; i++)
        util_wait(w, &ops[i].op);
    struct store_append *seen[2] = {NULL, NULL};
    for (unsigned i = 0; i < N; i++) { /* in the order of the answers */
        struct store_append *a = (struct store_append *)util_done[i];
        int k = (int)((a - ops) % 2);
        assert_true(a > seen[k]);
        seen[k] = a;
    }
    for (int i = 0; i < N; i++) {
        if (ops[i].op.status == STORE_OK) {
            ok++;
            assert_true(ops[i].seq == told[i % 2] + 1);
            assert_true(ops[i].id > last_id);
            told[i % 2] = ops[i].seq;
            last_id = ops[i].id;
        } else {
            assert_true(ops[i].op.status == STORE_RETRY || ops[i].op.status == STORE_UNKNOWN);
        }
    }
    assert_true(ok >= 900 && ok < N);
    wait_failing(w);
    atomic_store(&w->fail_write, 0);
    atomic_store(&w->fail_sync, 0);
    wait_recovered(w);
    for (int k = 0; k < 2; k++) {
        struct store_range r = page_of(w, &c[k], 0, -1, N);
        assert_true(r.page.n >= told[k]);
        for (uint32_t i = 0; i < r.page.n; i++)
            assert_int_equal(r.page.messages[i].seq, i + 1);
        assert_int_equal(say(w, &c[k], k ? TIER_DM : TIER_SMALL, "ann", "after"), r.last + 1);
        store_page_free(&r.page);
    }
}

/* Answered before it is written: a write that fails loses it, and numbering goes on beyond what was given out. */
static void async_jumps(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "c");
    struct store_append a;
    w->o.tiers[TIER_SMALL].durability = DURABILITY_ASYNC;
    store_configure(w->s, &w->o);
    uint64_t seq = 0, id = 0;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(try_say(w, &c, TIER_SMALL, NULL, &a), STORE_OK);
        assert_int_equal(a.seq, ++seq);
    }
    usleep(200000); /* all is synced, the reservation too: what comes now is answered before its write */
    atomic_store(&w->fail_write, ERR_IO);
    assert_int_equal(try_say(w, &c, TIER_SMALL, NULL, &a), STORE_OK); /* told, and lost */
    assert_int_equal(a.seq, 6);
    id = a.id;
    PAGE(w, &c, -1, -1, 9, "1 2 3 4 5", 1, 5, false); /* a read that must see it does not wait for ever */
    atomic_store(&w->fail_write, 0);
    wait_recovered(w);
    assert_int_equal(try_say(w, &c, TIER_SMALL, NULL, &a), STORE_OK);
    assert_true(a.seq > 6);
    assert_true(a.id > id);
    struct store_range r = page_of(w, &c, -1, -1, 2);
    assert_int_equal(r.page.n, 2);
    assert_int_equal(r.page.messages[0].seq, 5);
    assert_int_equal(r.page.messages[1].seq, a.seq);
    assert_int_equal(r.last, a.seq);
    assert_true(r.more);
    store_page_free(&r.page);
    assert_int_equal(say(w, &c, TIER_SMALL, "ann", "x"), a.seq + 1);
}

static void closes_while_failing(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "c");
    struct store_append a;
    assert_int_equal(try_say(w, &c, TIER_SMALL, NULL, &a), STORE_OK);
    atomic_store(&w->fail_write, ERR_IO);
    atomic_store(&w->fail_reopen, ERR_IO);
    assert_int_equal(try_say(w, &c, TIER_SMALL, NULL, &a), STORE_UNKNOWN);
    static struct store_append more[10];
    for (int i = 0; i < 10; i++) {
        more[i] = append_of(&c, TIER_SMALL, "ann", "text");
        POST(w, store_append, &more[i]);
    }
    world_close(w); /* answers all */
    for (int i = 0; i < 10; i++) {
        assert_null(more[i].op.home);
        assert_int_equal(more[i].op.status, STORE_RETRY);
    }
    atomic_store(&w->fail_write, 0);
    atomic_store(&w->fail_reopen, 0);
    world_open(w);
    if (strcmp(engine, "rocksdb") == 0)
        assert_int_equal(say(w, &c, TIER_SMALL, "ann", "x"), 2); /* kept, and no jump: nothing was lost */
}

/* --- The real thing: the operating system refuses to make files larger (a full disk that needs no privileges) ----- */

static void *ask_stats(void *arg)
{
    struct world *w = arg;
    static struct store_stats stats;
    store_get_stats(w->s, &stats);
    return &stats;
}

/* Whoever asks for figures, a shard among them, does not wait while the database is closed and opened again. */
static void stats_do_not_wait(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "c");
    pthread_t thread;
    void *stats;
    say(w, &c, TIER_SMALL, "ann", "text");
    uint64_t memory = ((struct store_stats *)ask_stats(w))->memory;
    assert_true(memory > 0);
    pthread_rwlock_wrlock(&local_of(w->s)->swap); /* as the writer does then */
    assert_int_equal(pthread_create(&thread, NULL, ask_stats, w), 0);
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 30;
    int r = pthread_timedjoin_np(thread, &stats, &end);
    pthread_rwlock_unlock(&local_of(w->s)->swap);
    assert_int_equal(r, 0);
    assert_int_equal(((struct store_stats *)stats)->memory, memory);
    assert_int_equal(((struct store_stats *)stats)->appended, 1);
}

static void disk_full(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "c"), p = util_pair("ann", "bob");
    struct rlimit was, none;
    struct store_append a;
    uint64_t told = 0, dms = 0;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(try_say(w, &c, TIER_SMALL, NULL, &a), STORE_OK);
        told = a.seq;
        assert_int_equal(try_say(w, &p, TIER_DM, NULL, &a), STORE_OK);
        dms = a.seq;
    }
    signal(SIGXFSZ, SIG_IGN); /* as the server does */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    enum store_status first = try_say(w, &p, TIER_DM, "full", &a);
    assert_true(first == STORE_UNKNOWN || first == STORE_RETRY);
    for (int i = 0; i < 25; i++) { /* long enough for attempts to recover, which must fail and do no harm */
        assert_int_equal(try_say(w, &c, TIER_SMALL, "full", &a), STORE_RETRY);
        struct store_range r = page_of(w, &c, -1, -1, 200);
        assert_int_equal(r.page.n, told);
        store_page_free(&r.page);
        usleep(100000);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    wait_recovered(w);
    assert_int_equal(try_say(w, &p, TIER_DM, "full", &a), STORE_OK);
    assert_int_equal(a.seq, dms + 1);
    assert_int_equal(try_say(w, &c, TIER_SMALL, "full", &a), STORE_OK);
    assert_int_equal(a.seq, told + 1);
    world_restart(w);
    struct store_range r = page_of(w, &p, -1, -1, 200);
    assert_int_equal(r.page.n, dms + 1);
    store_page_free(&r.page);
}

int main(void)
{
    const struct CMUnitTest on_disk[] = {
        cmocka_unit_test_setup_teardown(disk_full, setup, teardown),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(write_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(sync_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(repeat_shares_fate, setup, teardown),
        cmocka_unit_test_setup_teardown(failure_lasts, setup, teardown),
        cmocka_unit_test_setup_teardown(fails_under_load, setup, teardown),
        cmocka_unit_test_setup_teardown(async_jumps, setup, teardown),
        cmocka_unit_test_setup_teardown(closes_while_failing, setup, teardown),
        cmocka_unit_test_setup_teardown(stats_do_not_wait, setup, teardown),
    };
    engine = "memory";
    int failed = cmocka_run_group_tests_name("failures, memory", tests, NULL, NULL);
    engine = "rocksdb";
    failed += cmocka_run_group_tests_name("failures, rocksdb", tests, NULL, NULL);
    failed += cmocka_run_group_tests_name("full disk, rocksdb", on_disk, NULL, NULL);
    return failed;
}
