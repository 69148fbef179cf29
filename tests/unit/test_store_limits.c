/*
 * What a count or a time to live has hidden once never comes back: whatever the next message says, whatever is
 * reloaded, over restarts, for pages, `first`, unread and conversations alike. All kinds of stores.
 */
#include "tests/unit/store_kit.h"

static bool persistent(void)
{
    return strcmp(engine, "memory") != 0;
}

/* Appends n messages that bring a count of their own. */
static void say_n(struct world *w, const struct conv_key *c, enum store_tier tier, int n, uint32_t max)
{
    for (int i = 0; i < n; i++) {
        util_later(w);
        struct store_append a = append_of(c, tier, "ann", "x");
        a.max = max;
        assert_int_equal(CALL(w, store_append, &a), STORE_OK);
    }
}

/* Rows that an embedded store holds. */
static unsigned rows(struct world *w, enum kv_family family)
{
    unsigned n = 0;
    struct kv_iter *it = kv_iter_new(local_of(w->s)->kv, family, S("\x01"), S("\xff"));
    for (kv_seek(it, S("\x01")); kv_valid(it); kv_next(it))
        n++;
    kv_iter_free(it);
    return n;
}

/* A page, first, unread and the list of conversations say the same. */
static void agree(struct world *w, const struct conv_key *c, const char *user, uint64_t first, uint64_t last)
{
    struct store_range r = page_of(w, c, 0, -1, 200);
    assert_int_equal(r.first, first);
    assert_int_equal(r.last, last);
    assert_int_equal(r.page.n, last + 1 - first);
    if (r.page.n)
        assert_int_equal(r.page.messages[0].seq, first);
    store_page_free(&r.page);
    struct store_conv_load l = {.conv = conv_key_slice(c)};
    assert_int_equal(CALL(w, store_conv_load, &l), STORE_OK);
    assert_int_equal(l.first, first);
    struct store_mark_read m = {.conv = conv_key_slice(c), .user = S(user)};
    assert_int_equal(CALL(w, store_mark_read, &m), STORE_OK);
    assert_int_equal(m.unread, last + 1 - first);
    struct store_conversations v = {.user = S(user), .limit = 10};
    assert_int_equal(CALL(w, store_conversations, &v), STORE_OK);
    assert_int_equal(v.n, 1);
    assert_int_equal(v.list[0].unread, last + 1 - first);
    assert_int_equal(v.list[0].last >= 0, first <= last);
    store_conversations_free(&v);
}

static void next_message_without(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_channel("c");
    join(w, &c, "bob");
    say_n(w, &c, TIER_SMALL, 77, 50);
    agree(w, &c, "bob", 28, 77);
    say_n(w, &c, TIER_SMALL, 1, 0);
    agree(w, &c, "bob", 28, 78);
    say_n(w, &c, TIER_SMALL, 1, 60); /* a larger one */
    agree(w, &c, "bob", 28, 79);
    say_n(w, &c, TIER_SMALL, 1, 3);
    agree(w, &c, "bob", 78, 80);
    if (persistent())
        world_restart(w);
    say_n(w, &c, TIER_LARGE, 1, 0); /* and in another tier */
    agree(w, &c, "bob", 78, 81);
    say_n(w, &c, TIER_LARGE, 2, 2);
    agree(w, &c, "bob", 82, 83);
    say_n(w, &c, TIER_SMALL, 1, 0);
    agree(w, &c, "bob", 82, 84);
    struct store_recall r = {.conv = conv_key_slice(&c), .sender = S("ann"), .seq = 81};
    assert_int_equal(CALL(w, store_recall, &r), STORE_NOTFOUND);
}

/* With and without in turns: nothing comes back, and what is hidden does not stay on the disk. */
static void in_turns(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_channel("c");
    join(w, &c, "bob");
    static struct store_append ops[500];
    for (int i = 0; i < 500; i++) { /* many in one group */
        ops[i] = append_of(&c, i % 7 ? TIER_SMALL : TIER_LARGE, "ann", "x");
        ops[i].max = i % 2 ? 0 : 5;
        POST(w, store_append, &ops[i]);
    }
    for (int i = 0; i < 500; i++)
        util_wait(w, &ops[i].op);
    agree(w, &c, "bob", 495, 500); /* 499 left five, and one came */
    if (!util_is_redis(w))
        assert_in_range(rows(w, KV_SMALL) + rows(w, KV_LARGE), 6, 6);
    for (int i = 0; i < 50; i++)
        say_n(w, &c, TIER_SMALL, 1, i % 2 ? 5 : 0);
    agree(w, &c, "bob", 546, 550);
    if (!util_is_redis(w))
        assert_in_range(rows(w, KV_SMALL) + rows(w, KV_LARGE), 5, 10);
}

/* What is asked in the same group knows what its appends have hidden, before they are written. */
static void in_the_same_group(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_channel("c");
    static struct store_append ops[20];
    static struct store_member_put puts[20];
    char names[20][8];
    join(w, &c, "ann");
    for (int i = 0; i < 20; i++) {
        snprintf(names[i], sizeof(names[i]), "u%d", i);
        ops[i] = append_of(&c, TIER_SMALL, "ann", "x");
        ops[i].max = i < 10 ? 1 : 3;
        puts[i] = (struct store_member_put){.conv = conv_key_slice(&c), .user = S(names[i])};
        ops[i].op.lazy = puts[i].op.lazy = true;
        POST(w, store_append, &ops[i]);
        POST(w, store_member_put, &puts[i]);
    }
    store_kick(w->s);
    for (uint64_t i = 0; i < 20; i++) {
        util_wait(w, &puts[i].op);
        assert_int_equal(puts[i].seq, i + 1);
        uint64_t first = i < 10 ? i + 1 : i == 10 ? 10 : i == 11 ? 10 : i - 1;
        /* In Redis it is found a moment later, when more may be hidden. */
        assert_in_range(puts[i].first, first, util_is_redis(w) ? 18 : first);
    }
    agree(w, &c, "u0", 18, 20);
}

static void set_max(struct world *w, uint32_t max, bool closed)
{
    if (closed)
        world_close(w);
    w->o.tiers[TIER_SMALL].max = max;
    if (closed)
        world_open(w);
    else
        store_configure(w->s, &w->o);
}

/* The tier's count is lowered and raised: by reloads, over restarts, with messages meanwhile and without. */
static void reloads(void **state)
{
    struct world *w = *state;
    for (int closed = 0; closed < (persistent() ? 4 : 1); closed++) {
        char name[2] = {(char)('a' + closed), 0}, user[2] = {(char)('k' + closed), 0};
        struct conv_key c = util_channel(name), quiet = util_channel(name[0] == 'a'   ? "q"
                                                                     : name[0] == 'b' ? "r"
                                                                                      : name);
        quiet = closed > 1 ? c : quiet;
        join(w, &c, user);
        set_max(w, 100, false);
        say_n(w, &c, TIER_SMALL, 120, 0);
        agree(w, &c, user, 21, 120);
        set_max(w, 50, closed & 1);
        set_max(w, 80, closed & 2);
        agree(w, &c, user, 71, 120); /* nothing was said meanwhile */
        if (closed)
            world_restart(w);
        say_n(w, &c, TIER_SMALL, 10, 0);
        agree(w, &c, user, 71, 130);
        set_max(w, 10, closed & 2);
        set_max(w, 20, closed & 1);
        set_max(w, 30, closed & 2);
        set_max(w, 0, false);
        agree(w, &c, user, 121, 130);
        say_n(w, &c, TIER_SMALL, 60, 0);
        agree(w, &c, user, 121, 190);
        set_max(w, 40, false); /* what was said since then counts by itself */
        set_max(w, 60, closed & 1);
        agree(w, &c, user, 151, 190);
        say_n(w, &c, TIER_SMALL, 1, 55); /* its own count is the larger one now */
        say_n(w, &c, TIER_SMALL, 1, 0);
        agree(w, &c, user, 151, 192);
    }
}

/* A conversation that the raise concerns and one that it does not: what was said after it has the new count alone. */
static void after_the_raise(void **state)
{
    struct world *w = *state;
    struct conv_key c = util_channel("c");
    join(w, &c, "bob");
    set_max(w, 5, false);
    set_max(w, 50, false);
    say_n(w, &c, TIER_SMALL, 20, 0);
    agree(w, &c, "bob", 1, 20);
    for (uint32_t max = 3; max < 200; max++) /* more raises than are remembered, but nothing was said in between */
        set_max(w, max, false);
    agree(w, &c, "bob", 18, 20);
    if (persistent())
        world_restart(w);
    say_n(w, &c, TIER_SMALL, 20, 0);
    agree(w, &c, "bob", 18, 40);
}

static void set_ttl(struct world *w, uint64_t ms, bool closed)
{
    if (closed)
        world_close(w);
    w->o.tiers[TIER_SMALL].ttl_ms = ms;
    if (closed)
        world_open(w);
    else
        store_configure(w->s, &w->o);
}

static void lives(void **state)
{
    struct world *w = *state;
    for (int closed = 0; closed < (persistent() ? 2 : 1); closed++) {
        struct conv_key c = util_channel(closed ? "d" : "c");
        const char *user = closed ? "cid" : "bob";
        join(w, &c, user);
        set_ttl(w, 60000, false);
        say_n(w, &c, TIER_SMALL, 3, 0);
        struct store_append own = append_of(&c, TIER_SMALL, "ann", "x");
        own.ttl_ms = 7 * DAY;
        world_pass(w, 500);
        say_n(w, &c, TIER_SMALL, 3, 0);
        agree(w, &c, user, 1, 6);
        world_pass(w, 500);
        set_ttl(w, 1000, closed);
        agree(w, &c, user, 4, 6);
        set_ttl(w, 60000, closed);
        agree(w, &c, user, 4, 6); /* those that it had ended stay ended … */
        world_pass(w, 500);
        agree(w, &c, user, 4, 6); /* … and the others have the longer life */
        set_ttl(w, 0, closed);
        world_pass(w, 100000);
        agree(w, &c, user, 4, 6);
        assert_int_equal(CALL(w, store_append, &own), STORE_OK);
        set_ttl(w, 1, closed); /* a life of its own is not the tier's affair */
        world_pass(w, 1);
        set_ttl(w, 0, closed);
        agree(w, &c, user, 7, 7);
        /* A life that was raised while the store was closed: what had not ended by then goes on. */
        set_ttl(w, 1000, false);
        say_n(w, &c, TIER_SMALL, 1, 0);
        world_pass(w, 999);
        if (persistent()) {
            world_close(w);
            world_pass(w, 5000);
            w->o.tiers[TIER_SMALL].ttl_ms = 10000;
            world_open(w);
            agree(w, &c, user, 7, 8);
        }
    }
}

/* Somebody reads all the time while the count changes: nothing ever goes back, and a page begins with `first`. */
struct gazer {
    struct world w; /* its mailbox alone, and the other one's store */
    struct conv_key conv;
    _Atomic bool stop;
    bool apart; /* page and `first` are found one after the other, while the count changes: in Redis */
    char why[120];
};
static void gazer_done(void *owner, struct store_op *op)
{
    (void)owner;
    op->home = NULL;
}
static void *gazer_main(void *arg)
{
    struct gazer *g = arg;
    uint64_t first = 0;
    const char *complaint = NULL;
    while (!complaint && !atomic_load(&g->stop)) {
        struct store_range r = {.op = {.home = &g->w.mb, .done = gazer_done},
                                .conv = conv_key_slice(&g->conv),
                                .has_after = true,
                                .limit = 1};
        store_range(g->w.s, &r);
        util_wait(&g->w, &r.op);
        if (r.op.status != STORE_OK || r.first < first)
            complaint = "first went back";
        else if (!g->apart && r.last && (r.page.n != 1 || r.page.messages[0].seq != r.first))
            snprintf(g->why, sizeof g->why, "first %llu, last %llu, a page of %u from %llu",
                     (unsigned long long)r.first, (unsigned long long)r.last, r.page.n,
                     r.page.n ? (unsigned long long)r.page.messages[0].seq : 0ULL);
        if (g->why[0])
            complaint = g->why;
        first = r.first;
        store_page_free(&r.page);
    }
    return (void *)(uintptr_t)complaint;
}

static void under_readers(void **state)
{
    struct world *w = *state;
    static struct gazer g;
    void *complaint;
    pthread_t thread;
    g.conv = util_channel("busy");
    join(w, &g.conv, "bob");
    atomic_store(&g.stop, false);
    g.why[0] = '\0';
    g.apart = util_is_redis(w);
    g.w.s = w->s;
    g.w.woken = false;
    pthread_mutex_init(&g.w.lock, NULL);
    pthread_cond_init(&g.w.cond, NULL);
    mailbox_init(&g.w.mb, util_wake, &g.w);
    assert_int_equal(pthread_create(&thread, NULL, gazer_main, &g), 0);
    for (uint32_t i = 0; i < 400; i++) {
        if (i % 3 == 0)
            set_max(w, i % 2 ? 20 + i % 7 : 40 - i % 11, false);
        say_n(w, &g.conv, TIER_SMALL, 1, i % 5 ? 0 : 1 + i % 30);
    }
    atomic_store(&g.stop, true);
    pthread_join(thread, &complaint);
    if (complaint)
        fail_msg("%s", (const char *)complaint);
    mailbox_fini(&g.w.mb);
    pthread_mutex_destroy(&g.w.lock);
    pthread_cond_destroy(&g.w.cond);
}

/* --- The limits themselves ------------------------------------------------------------------------------------ */

static void row(void **state)
{
    (void)state;
    struct expiry e = {.now_ms = 5000}, f = {.now_ms = 0};
    struct limits a, b;
    struct store_options o = {.tiers = {{0, 10, 0}, {1000, 20, 0}, {300, 0, 0}}, .dedup_window_ms = 100};
    char text[LIMITS_SIZE], again[LIMITS_SIZE];
    limits_init(&a, &e, &o);
    o.tiers[TIER_SMALL] = (struct store_tier_options){2000, 30, 0};
    o.tiers[TIER_LARGE].ttl_ms = 200;
    limits_change(&a, &o);
    assert_int_equal(limits_max(&a, TIER_SMALL, UINT64_MAX), 20); /* not dated: it may concern all */
    size_t n = limits_encode(&a, 77, text);
    assert_true(n <= LIMITS_SIZE);
    assert_int_equal(limits_max(&a, TIER_SMALL, 77), 20);
    assert_int_equal(limits_max(&a, TIER_SMALL, 78), 30);
    assert_int_equal(expiry_end(&e, EXPIRY_SMALL, 4000, 0), 4000);
    assert_int_equal(expiry_end(&e, EXPIRY_SMALL, 4001, 0), 6001);
    assert_int_equal(expiry_end(&e, EXPIRY_SMALL, 10, 9000), 9010);
    assert_int_equal(expiry_end(&e, EXPIRY_LARGE, 10, 0), 210);
    /* Another run with the same options, and one with larger ones. */
    limits_init(&b, &f, &o);
    assert_int_equal(limits_restore(&b, slice_of(text, n), 5000), 0);
    assert_int_equal(limits_encode(&b, 99, again), n);
    assert_memory_equal(text, again, n);
    limits_fini(&b);
    o.tiers[TIER_SMALL].max = 0;
    o.tiers[TIER_LARGE].ttl_ms = 0;
    limits_init(&b, &f, &o);
    assert_int_equal(limits_restore(&b, slice_of(text, n), 5000), 0);
    (void)limits_encode(&b, 99, again);
    assert_int_equal(limits_max(&b, TIER_SMALL, 77), 20);
    assert_int_equal(limits_max(&b, TIER_SMALL, 78), 30);
    assert_int_equal(limits_max(&b, TIER_SMALL, 100), 0);
    assert_int_equal(expiry_end(&f, EXPIRY_LARGE, 4800, 0), 4800);
    assert_int_equal(expiry_end(&f, EXPIRY_LARGE, 4801, 0), UINT64_MAX);
    limits_fini(&b);
    /* What is no such row is refused. */
    for (size_t cut = 0; cut < n; cut++) {
        limits_init(&b, &f, &o);
        assert_int_equal(limits_restore(&b, slice_of(text, cut), 0), ERR_INVALID);
        limits_fini(&b);
    }
    /* More raises than are remembered: the oldest go. */
    for (uint32_t i = 0; i < 2 * LIMITS_PAST; i++) {
        o.tiers[TIER_DM].max = 10 + i;
        limits_change(&a, &o);
        assert_in_range(limits_encode(&a, 1000 + i, again), n, LIMITS_SIZE);
    }
    assert_int_equal(limits_max(&a, TIER_DM, 1000 + 2 * LIMITS_PAST - 1), 10 + 2 * LIMITS_PAST - 2);
    assert_int_equal(limits_max(&a, TIER_DM, 0), 10 + LIMITS_PAST - 1);
    limits_init(&b, &f, &o);
    assert_int_equal(limits_restore(&b, slice_of(again, limits_encode(&a, 0, again)), 0), 0);
    assert_int_equal(limits_max(&b, TIER_DM, 0), 10 + LIMITS_PAST - 1);
    limits_fini(&b);
    text[0]++;
    limits_init(&b, &f, &o);
    assert_int_equal(limits_restore(&b, slice_of(text, n), 0), ERR_INVALID);
    limits_fini(&b);
    limits_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(next_message_without, setup, teardown),
        cmocka_unit_test_setup_teardown(in_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(in_the_same_group, setup, teardown),
        cmocka_unit_test_setup_teardown(reloads, setup, teardown),
        cmocka_unit_test_setup_teardown(after_the_raise, setup, teardown),
        cmocka_unit_test_setup_teardown(lives, setup, teardown),
        cmocka_unit_test_setup_teardown(under_readers, setup, teardown),
    };
    const struct CMUnitTest alone[] = {cmocka_unit_test(row)};
    int failed = cmocka_run_group_tests_name("the row", alone, NULL, NULL);
    UTIL_RUN("limits", tests, engine, failed);
    return failed;
}
