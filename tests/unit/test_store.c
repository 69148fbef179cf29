/* The store: messages. One suite, run against each kind of store: numbering, pages, expiry, counts, tiers. */
#include "store_kit.h"

static void numbers(void **state)
{
    struct world *w = *state;
    struct conv_key a = util_made(w, "a"), b = util_made(w, "b");
    struct store_append x = append_of(&a, TIER_SMALL, "ann", "one"), y = append_of(&b, TIER_SMALL, "bob", "two");
    assert_int_equal(CALL(w, store_append, &x), STORE_OK);
    assert_int_equal(CALL(w, store_append, &y), STORE_OK);
    assert_int_equal(x.seq, 1);
    assert_int_equal(y.seq, 1);
    assert_true(util_is_redis(w) || y.id > x.id);
    assert_int_equal(x.created_ms, T0);
    assert_int_equal((x.id >> 12) & 1023, util_is_redis(w) ? partition_of(conv_key_slice(&a)) : 5);
    assert_int_equal(x.id >> 22, T0 - UINT64_C(1577836800000));
    assert_int_equal(say(w, &a, TIER_SMALL, "ann", "three"), 2);
    struct store_range r = page_of(w, &a, -1, -1, 10);
    assert_int_equal(r.page.n, 2);
    assert_true(slice_eq(r.page.messages[0].content, S("one")));
    assert_true(slice_eq(r.page.messages[0].sender, S("ann")));
    assert_true(slice_eq(r.page.messages[0].sender_name, S("Name")));
    assert_int_equal(r.page.messages[0].id, x.id);
    assert_int_equal(r.page.messages[0].created_ms, T0);
    assert_false(r.page.messages[0].recalled);
    store_page_free(&r.page);
}

static void many_at_once(void **state)
{
    struct world *w = *state;
    enum { N = 1000 };
    static struct store_append ops[N];
    struct conv_key c[3] = {util_made(w, "x"), util_made(w, "y"), util_pair("ann", "bob")};
    uint64_t next[3] = {0}, last_id[3] = {0};
    for (int i = 0; i < N; i++) {
        ops[i] = append_of(&c[i % 3], i % 3 == 2 ? TIER_DM : TIER_SMALL, "ann", "text");
        POST(w, store_append, &ops[i]);
    }
    for (int i = 0; i < N; i++) {
        util_wait(w, &ops[i].op);
        assert_int_equal(ops[i].op.status, STORE_OK);
        assert_int_equal(ops[i].seq, ++next[i % 3]);
        unsigned which = util_is_redis(w) ? i % 3 : 0; /* there ids ascend in each conversation alone */
        assert_true(ops[i].id > last_id[which]);
        last_id[which] = ops[i].id;
    }
    PAGE(w, &c[0], -1, 4, 10, "1 2 3", 1, 334, false);
}

/* Lazy operations: answered after a kick, after one that is not lazy, and when the store closes; in the order handed
 * over. */
static void lazy(void **state)
{
    struct world *w = *state;
    enum { N = 8 };
    struct store_append ops[N];
    struct conv_key c = util_made(w, "lazy");
    uint64_t seq = 0;
    for (int round = 0; round < 100; round++) {
        bool kicked = round % 2;
        for (int i = 0; i < N; i++) {
            ops[i] = append_of(&c, TIER_SMALL, "ann", "text");
            ops[i].op.lazy = kicked || i < N - 1;
            POST(w, store_append, &ops[i]);
        }
        if (kicked)
            store_kick(w->s);
        for (int i = 0; i < N; i++) {
            util_wait(w, &ops[i].op);
            assert_int_equal(ops[i].seq, ++seq);
        }
    }
    store_kick(w->s); /* for nothing */
    ops[0] = append_of(&c, TIER_SMALL, "ann", "text");
    ops[0].op.lazy = true;
    POST(w, store_append, &ops[0]);
    world_close(w);
    assert_null(ops[0].op.home);
    assert_int_equal(ops[0].seq, ++seq);
}

static void pages(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "p"), none = util_channel("none");
    for (int i = 0; i < 10; i++)
        say(w, &c, TIER_SMALL, "ann", "0123456789");
    PAGE(w, &none, -1, -1, 5, "", 0, 0, false);
    PAGE(w, &c, -1, -1, 3, "8 9 10", 1, 10, true);
    PAGE(w, &c, -1, -1, 10, "1 2 3 4 5 6 7 8 9 10", 1, 10, false);
    PAGE(w, &c, -1, 8, 3, "5 6 7", 1, 10, true);
    PAGE(w, &c, -1, 4, 3, "1 2 3", 1, 10, false);
    PAGE(w, &c, -1, 1, 3, "", 1, 10, false);
    PAGE(w, &c, -1, 99, 2, "9 10", 1, 10, true);
    PAGE(w, &c, 0, -1, 3, "1 2 3", 1, 10, true);
    PAGE(w, &c, 7, -1, 3, "8 9 10", 1, 10, false);
    PAGE(w, &c, 10, -1, 3, "", 1, 10, false);
    PAGE(w, &c, 2, 9, 3, "6 7 8", 1, 10, true);
    PAGE(w, &c, 5, 9, 3, "6 7 8", 1, 10, false);
    PAGE(w, &c, 9, 5, 3, "", 1, 10, false);
    struct store_range r = {.conv = conv_key_slice(&c), .limit = 10, .page_bytes = 35};
    assert_int_equal(CALL(w, store_range, &r), STORE_OK);
    assert_int_equal(r.page.n, 3);
    assert_int_equal(r.page.messages[0].seq, 8);
    assert_true(r.more);
    store_page_free(&r.page);
    r = (struct store_range){.conv = conv_key_slice(&c), .limit = 10, .page_bytes = 1, .has_after = true};
    assert_int_equal(CALL(w, store_range, &r), STORE_OK);
    assert_int_equal(r.page.n, 1);
    assert_true(r.more);
    store_page_free(&r.page);
}

static void ages(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "t");
    say(w, &c, TIER_SMALL, "ann", "old");
    struct store_append own = append_of(&c, TIER_SMALL, "ann", "short");
    own.ttl_ms = 1000;
    assert_int_equal(CALL(w, store_append, &own), STORE_OK);
    world_pass(w, 999);
    struct store_append new = append_of(&c, TIER_SMALL, "ann", "new");
    assert_int_equal(CALL(w, store_append, &new), STORE_OK);
    PAGE(w, &c, -1, -1, 9, "1 2 3", 1, 3, false);
    world_pass(w, 1);
    PAGE(w, &c, -1, -1, 9, "1 3", 1, 3, false);
    for (int i = 0; i < 90; i++) { /* the clock is read at least once a day */
        world_pass(w, DAY);
        PAGE(w, &c, 99, -1, 9, "", i < 89 ? 1 : 4, 3, false);
        if (i == 88)
            PAGE(w, &c, -1, -1, 9, "1 3", 1, 3, false);
    }
    PAGE(w, &c, -1, -1, 9, "", 4, 3, false);
    assert_int_equal(say(w, &c, TIER_SMALL, "ann", "again"), 4);
    PAGE(w, &c, -1, -1, 9, "4", 4, 4, false);
    /* Reloaded lives count at once. */
    c = util_made(w, "u");
    say(w, &c, TIER_SMALL, "ann", "x");
    w->o.tiers[TIER_SMALL].ttl_ms = 10;
    store_configure(w->s, &w->o);
    world_pass(w, 10);
    PAGE(w, &c, -1, -1, 9, "", 2, 1, false);
    w->o.tiers[TIER_SMALL].ttl_ms = 0;
    store_configure(w->s, &w->o);
    PAGE(w, &c, -1, -1, 9, "", 2, 1, false); /* what has ended does not come back */
    say(w, &c, TIER_SMALL, "ann", "x");
    world_pass(w, 10 * DAY);
    PAGE(w, &c, -1, -1, 9, "2", 2, 2, false);
}

static void thousands_expired(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "t");
    static struct store_append ops[3000];
    for (int i = 0; i < 3000; i++) {
        ops[i] = append_of(&c, TIER_LARGE, "ann", "x");
        ops[i].max = 100000;
        POST(w, store_append, &ops[i]);
    }
    for (int i = 0; i < 3000; i++)
        util_wait(w, &ops[i].op);
    world_pass(w, 6 * DAY);
    struct store_append b = append_of(&c, TIER_LARGE, "ann", "y");
    b.max = 100000;
    assert_int_equal(CALL(w, store_append, &b), STORE_OK);
    world_pass(w, DAY);
    for (int i = 0; i < 3; i++) {
        PAGE(w, &c, -1, -1, 9, "3001", 3001, 3001, false);
        struct store_mark_read m = {.conv = conv_key_slice(&c), .user = S("zoe"), .seq = 0};
        assert_int_equal(CALL(w, store_mark_read, &m), STORE_OK);
        assert_int_equal(m.unread, 1);
    }
}

static void counts(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "n");
    w->o.tiers[TIER_SMALL].max = 5;
    store_configure(w->s, &w->o);
    for (int i = 1; i <= 300; i++) {
        say(w, &c, TIER_SMALL, "ann", "x");
        if (i == 7) {
            PAGE(w, &c, -1, -1, 9, "3 4 5 6 7", 3, 7, false);
            PAGE(w, &c, 0, -1, 2, "3 4", 3, 7, true);
            PAGE(w, &c, -1, 4, 9, "3", 3, 7, false);
        }
    }
    PAGE(w, &c, -1, -1, 9, "296 297 298 299 300", 296, 300, false);
    struct store_append own = append_of(&c, TIER_SMALL, "ann", "y"); /* the conversation's own count */
    own.max = 2;
    assert_int_equal(CALL(w, store_append, &own), STORE_OK);
    PAGE(w, &c, -1, -1, 9, "300 301", 300, 301, false);
    struct conv_key d = util_made(w, "d"); /* no limit */
    w->o.tiers[TIER_SMALL].max = 0;
    store_configure(w->s, &w->o);
    for (int i = 1; i <= 20; i++)
        say(w, &d, TIER_SMALL, "ann", "x");
    PAGE(w, &d, -1, -1, 3, "18 19 20", 1, 20, true);
}

/* A count that was lowered for a while, while nothing was said, hides what it hid: over restarts, too. */
static void counts_of_before(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "n"), d = util_made(w, "d");
    bool again = strcmp(w->o.engine, "memory") != 0;
    for (int i = 1; i <= 10; i++) {
        say(w, &c, TIER_SMALL, "ann", "x");
        say(w, &d, TIER_SMALL, "ann", "x");
    }
    static const uint32_t counts_[] = {4, 6, 100};
    for (int i = 0; i < 3; i++) {
        w->o.tiers[TIER_SMALL].max = counts_[i];
        if (again && i == 2)
            world_restart(w);
        else
            store_configure(w->s, &w->o);
        PAGE(w, &c, -1, -1, 9, "7 8 9 10", 7, 10, false);
        struct store_recall r = {.conv = conv_key_slice(&c), .seq = 6};
        assert_int_equal(CALL(w, store_recall, &r), STORE_NOTFOUND);
    }
    say(w, &c, TIER_SMALL, "ann", "x");
    PAGE(w, &c, -1, -1, 9, "7 8 9 10 11", 7, 11, false);
    w->o.tiers[TIER_SMALL].max = 2;
    store_configure(w->s, &w->o);
    PAGE(w, &d, -1, -1, 9, "9 10", 9, 10, false);
    say(w, &d, TIER_SMALL, "ann", "x");
    w->o.tiers[TIER_SMALL].max = 0;
    store_configure(w->s, &w->o);
    PAGE(w, &c, -1, -1, 9, "10 11", 10, 11, false);
    PAGE(w, &d, -1, -1, 9, "10 11", 10, 11, false);
    say(w, &d, TIER_SMALL, "ann", "x");
    PAGE(w, &d, -1, -1, 9, "10 11 12", 10, 12, false);
}

/* All in one group, so that what is trimmed is not written yet. */
static void counts_in_flight(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "n");
    static struct store_append ops[2000];
    for (int i = 0; i < 2000; i++) {
        ops[i] = append_of(&c, TIER_SMALL, "ann", "x");
        ops[i].max = 3;
        POST(w, store_append, &ops[i]);
    }
    for (int i = 0; i < 2000; i++) {
        util_wait(w, &ops[i].op);
        assert_int_equal(ops[i].seq, i + 1);
    }
    PAGE(w, &c, -1, -1, 9, "1998 1999 2000", 1998, 2000, false);
    PAGE(w, &c, 0, -1, 2, "1998 1999", 1998, 2000, true);
}

/* One who reads all the time, so that heads are read while they change. */
struct gazer {
    struct world w; /* its mailbox alone, and the other one's store */
    struct conv_key conv;
    _Atomic bool stop;
};

static void gazer_done(void *owner, struct store_op *op)
{
    (void)owner;
    op->home = NULL;
}

static void *gazer_main(void *arg)
{
    struct gazer *g = arg;
    uint64_t last = 0;
    while (!atomic_load(&g->stop)) {
        struct store_range r = {
            .op = {.home = &g->w.mb, .done = gazer_done}, .conv = conv_key_slice(&g->conv), .limit = 3};
        store_range(g->w.s, &r);
        util_wait(&g->w, &r.op);
        if (r.op.status != STORE_OK || r.last < last || (r.last && r.page.n != (r.last < 3 ? r.last : 3)))
            return "a page went back";
        last = r.last;
        store_page_free(&r.page);
    }
    return NULL;
}

/* Whoever was told of a message finds it, whatever readers know by heart. */
static void heads_in_flight(void **state)
{
    struct world *w = *state;
    static struct gazer g;
    void *complaint;
    pthread_t thread;
    g.conv = util_made(w, "busy");
    atomic_store(&g.stop, false);
    g.w.s = w->s;
    g.w.woken = false;
    pthread_mutex_init(&g.w.lock, NULL);
    pthread_cond_init(&g.w.cond, NULL);
    mailbox_init(&g.w.mb, util_wake, &g.w);
    assert_int_equal(pthread_create(&thread, NULL, gazer_main, &g), 0);
    for (uint64_t i = 1; i <= 300; i++) {
        assert_int_equal(say(w, &g.conv, TIER_SMALL, "ann", "x"), i);
        struct store_range r = page_of(w, &g.conv, -1, -1, 2);
        assert_int_equal(r.last, i);
        assert_int_equal(r.page.messages[r.page.n - 1].seq, i);
        store_page_free(&r.page);
    }
    atomic_store(&g.stop, true);
    pthread_join(thread, &complaint);
    assert_null(complaint);
    mailbox_fini(&g.w.mb);
    pthread_mutex_destroy(&g.w.lock);
    pthread_cond_destroy(&g.w.cond);
}

/* Numbering jumped, rows ended here and there: the newest ones are found all the same. */
static void holes(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "h");
    static const char *const neighbours[] = {"g", "g\x7f", "ha", "i"};
    for (int i = 0; i < 4; i++) {
        struct conv_key n = util_made(w, neighbours[i]);
        say(w, &n, TIER_SMALL, "ann", "not here");
        say(w, &n, TIER_SMALL, "ann", "nor here");
    }
    for (int i = 1; i <= 12; i++) {
        struct store_append a = append_of(&c, TIER_SMALL, "ann", "0123456789");
        a.ttl_ms = i == 5 || i == 6 || i == 11 ? 1000 : 0;
        assert_int_equal(CALL(w, store_append, &a), STORE_OK);
    }
    PAGE(w, &c, -1, -1, 4, "9 10 11 12", 1, 12, true);
    world_pass(w, 1000);
    PAGE(w, &c, -1, -1, 4, "8 9 10 12", 1, 12, true);
    PAGE(w, &c, -1, 11, 3, "8 9 10", 1, 12, true);
    PAGE(w, &c, -1, 8, 3, "3 4 7", 1, 12, true);
    PAGE(w, &c, -1, 7, 2, "3 4", 1, 12, true);
    PAGE(w, &c, -1, 7, 4, "1 2 3 4", 1, 12, false);
    PAGE(w, &c, -1, 3, 2, "1 2", 1, 12, false);
    PAGE(w, &c, 4, 8, 3, "7", 1, 12, false);
    PAGE(w, &c, 2, 8, 2, "4 7", 1, 12, true);
    PAGE(w, &c, 3, 8, 2, "4 7", 1, 12, false);
    PAGE(w, &c, 6, 12, 9, "7 8 9 10", 1, 12, false);
}

static void tiers_mix(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "m");
    w->o.tiers[TIER_SMALL].max = 6;
    w->o.tiers[TIER_LARGE].max = 3;
    w->o.tiers[TIER_LARGE].ttl_ms = 1000;
    store_configure(w->s, &w->o);
    say(w, &c, TIER_SMALL, "ann", "1");
    say(w, &c, TIER_LARGE, "ann", "2");
    say(w, &c, TIER_SMALL, "ann", "3");
    say(w, &c, TIER_LARGE, "ann", "4");
    PAGE(w, &c, -1, -1, 9, "1 2 3 4", 1, 4, false);
    say(w, &c, TIER_SMALL, "ann", "5");
    PAGE(w, &c, -1, -1, 9, "1 3 4 5", 1, 5, false); /* 2 is beyond large's three newest */
    PAGE(w, &c, -1, -1, 2, "4 5", 1, 5, true);
    PAGE(w, &c, 1, -1, 2, "3 4", 1, 5, true);
    PAGE(w, &c, -1, 5, 2, "3 4", 1, 5, true);
    world_pass(w, 1000);
    PAGE(w, &c, -1, -1, 9, "1 3 5", 1, 5, false);
    say(w, &c, TIER_SMALL, "ann", "6");
    say(w, &c, TIER_SMALL, "ann", "7");
    PAGE(w, &c, -1, -1, 9, "3 5 6 7", 3, 7, false);
}

static void odd_requests(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_made(w, "k");
    struct store_append a = append_of(&c, TIER_SMALL, "ann", "x");
    char big[300];
    memset(big, 'a', sizeof(big));
    a.client_id = slice_of(big, sizeof(big));
    assert_int_equal(CALL(w, store_append, &a), STORE_FATAL);
    a = append_of(&c, TIER_SMALL, "ann", "x");
    a.sender = slice_of(big, sizeof(big));
    assert_int_equal(CALL(w, store_append, &a), STORE_FATAL);
    assert_int_equal(say(w, &c, TIER_SMALL, "ann", "x"), 1);
    char *content = malloc(3000000); /* larger than a group's batch */
    memset(content, 'c', 3000000);
    a = append_of(&c, TIER_SMALL, "ann", "x");
    a.content = slice_of(content, 3000000);
    assert_int_equal(CALL(w, store_append, &a), STORE_OK);
    struct store_range r = page_of(w, &c, -1, -1, 1);
    assert_int_equal(r.page.messages[0].content.n, 3000000);
    store_page_free(&r.page);
    free(content);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(lazy, setup, teardown),
        cmocka_unit_test_setup_teardown(pages, setup, teardown),
        cmocka_unit_test_setup_teardown(ages, setup, teardown),
        cmocka_unit_test_setup_teardown(thousands_expired, setup, teardown),
        cmocka_unit_test_setup_teardown(counts, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_of_before, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_in_flight, setup, teardown),
        cmocka_unit_test_setup_teardown(heads_in_flight, setup, teardown),
        cmocka_unit_test_setup_teardown(holes, setup, teardown),
        cmocka_unit_test_setup_teardown(tiers_mix, setup, teardown),
        cmocka_unit_test_setup_teardown(odd_requests, setup, teardown),
    };
    int failed = 0;
    UTIL_RUN("messages", tests, engine, failed);
    return failed;
}
