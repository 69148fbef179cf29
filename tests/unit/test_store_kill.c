/* The store of a process that is killed: what was told is there, and no number is given twice. RocksDB alone. */
#define UTIL_MAIN
#include "tests/unit/test_store_child.h"

static void options_load(struct world *w)
{
    w->o.inbox_max = 0;
    w->o.tiers[TIER_SMALL].max = w->o.tiers[TIER_DM].max = 0;
}

static void options_async(struct world *w)
{
    w->o.tiers[TIER_SMALL] = (struct store_tier_options){0, 0, DURABILITY_ASYNC};
}

static void options_churn(struct world *w)
{
    w->o.tiers[TIER_SMALL] = (struct store_tier_options){1000, 0, DURABILITY_COMMIT};
}

enum { KILL_CONVS = 4 }; /* two channels, two pairs */

static struct conv_key kill_conv(unsigned i)
{
    return i == 0 ? util_channel("a") : i == 1 ? util_channel("b") : util_pair("ann", i == 2 ? "bob" : "cid");
}

/* Appends without end, and tells each acknowledgement. */
static void load_without_end(struct world *w, int to)
{
    enum { WIDTH = 64 };
    static struct store_append ops[WIDTH];
    static struct conv_key keys[KILL_CONVS];
    for (unsigned i = 0; i < KILL_CONVS; i++)
        keys[i] = kill_conv(i);
    (void)util_made(w, "a");
    (void)util_made(w, "b");
    for (;;) {
        for (unsigned i = 0; i < WIDTH; i++) {
            unsigned k = i % KILL_CONVS;
            ops[i] = append_of(&keys[k], k < 2 ? TIER_SMALL : TIER_DM, "ann", "some text of a message");
            ops[i].receiver = k < 2 ? SLICE_NONE : S("bob");
            POST(w, store_append, &ops[i]);
        }
        for (unsigned i = 0; i < WIDTH; i++) {
            util_wait(w, &ops[i].op);
            struct told t = {i % KILL_CONVS, ops[i].seq, ops[i].id};
            if (ops[i].op.status != STORE_OK || write(to, &t, sizeof(t)) != (ssize_t)sizeof(t))
                _exit(1);
        }
    }
}

static void kills(void **state)
{
    struct world *w = *state;
    uint64_t told_seq[KILL_CONVS] = {0}, told_id[KILL_CONVS] = {0};
    options_load(w);
    for (int round = 0; round < 12; round++) {
        struct child c = child_start(w, "load");
        struct told t;
        uint32_t stop = 100 + (uint32_t)round * 211, n = 0;
        while (n < stop && read(c.from, &t, sizeof(t)) == (ssize_t)sizeof(t)) {
            n++;
            assert_true(t.seq > told_seq[t.conv] && t.id > told_id[t.conv]);
            told_seq[t.conv] = t.seq;
            told_id[t.conv] = t.id;
        }
        child_kill(&c);
        while (read(c.from, &t, sizeof(t)) == (ssize_t)sizeof(t)) { /* what it had told and we had not read */
            told_seq[t.conv] = t.seq;
            told_id[t.conv] = t.id;
        }
        close(c.from);
        world_open(w);
        for (unsigned k = 0; k < KILL_CONVS; k++) {
            struct conv_key key = kill_conv(k);
            struct store_range r = page_of(w, &key, 0, -1, 1000000);
            uint64_t last_id = 0;
            assert_true(r.page.n >= told_seq[k]);
            assert_int_equal(r.last, r.page.n);
            for (uint32_t i = 0; i < r.page.n; i++) {
                assert_int_equal(r.page.messages[i].seq, i + 1);
                assert_true(r.page.messages[i].id > last_id);
                last_id = r.page.messages[i].id;
                if (i + 1 == told_seq[k])
                    assert_true(last_id == told_id[k]);
            }
            store_page_free(&r.page);
            struct store_append a = append_of(&key, k < 2 ? TIER_SMALL : TIER_DM, "ann", "after");
            assert_int_equal(CALL(w, store_append, &a), STORE_OK);
            assert_int_equal(a.seq, r.last + 1);
            assert_true(a.id > last_id);
            told_seq[k] = a.seq;
            told_id[k] = a.id;
        }
        world_close(w);
    }
}

/* Answers before writes: what was told may be missing, but no number is given twice, and the messages that are there
 * keep their order. */
static void async_load(struct world *w, int to)
{
    struct conv_key c = util_made(w, "a");
    for (;;) {
        struct store_append a = append_of(&c, TIER_SMALL, "ann", "text");
        if (CALL(w, store_append, &a) != STORE_OK)
            _exit(1);
        struct told t = {0, a.seq, a.id};
        if (write(to, &t, sizeof(t)) != (ssize_t)sizeof(t))
            _exit(1);
    }
}

/* The same, and shared memory is tidied away each time: no gaps all the same. At durability async there may be. */
static void kills_tidied(void **state)
{
    struct world *w = *state;
    struct conv_key key = util_channel("a");
    uint64_t seq = 0;
    options_load(w);
    for (int round = 0; round < 4; round++) {
        struct child c = child_start(w, "load");
        struct told t;
        char shm[64];
        for (int n = 0; n < 300 && read(c.from, &t, sizeof(t)) == (ssize_t)sizeof(t);)
            n++;
        child_kill(&c);
        close(c.from);
        shm_name(w->dir, shm);
        assert_int_equal(unlink(shm), 0);
        world_open(w);
        struct store_range r = page_of(w, &key, 0, -1, 1000000);
        assert_int_equal(r.last, r.page.n);
        assert_true(r.last > seq);
        store_page_free(&r.page);
        seq = say(w, &key, TIER_SMALL, "ann", "after");
        assert_int_equal(seq, r.last + 1);
        world_close(w);
    }
}

static void async_kills(void **state)
{
    struct world *w = *state;
    struct conv_key key = util_channel("a");
    uint64_t seq = 0, id = 0;
    options_async(w);
    for (int round = 0; round < 6; round++) {
        struct child c = child_start(w, "async");
        struct told t;
        for (int n = 0; n < 200 && read(c.from, &t, sizeof(t)) == (ssize_t)sizeof(t); n++) {
            assert_true(t.seq > seq && t.id > id);
            seq = t.seq;
            id = t.id;
        }
        child_kill(&c);
        while (read(c.from, &t, sizeof(t)) == (ssize_t)sizeof(t)) {
            seq = t.seq;
            id = t.id;
        }
        close(c.from);
    }
    world_open(w);
    struct store_append a = append_of(&key, TIER_SMALL, "ann", "after");
    assert_int_equal(CALL(w, store_append, &a), STORE_OK);
    assert_true(a.seq > seq && a.id > id);
    struct store_range r = page_of(w, &key, -1, -1, 100000);
    for (uint32_t i = 1; i < r.page.n; i++) {
        assert_true(r.page.messages[i].seq > r.page.messages[i - 1].seq &&
                    r.page.messages[i].id > r.page.messages[i - 1].id);
    }
    store_page_free(&r.page);
}

/* Channels are made, hear something or nothing, and go, without end. What was told is told on. */
static void churn(struct world *w, int to)
{
    for (unsigned i = 0;; i++) {
        char name[2] = {(char)('a' + i % 5), 0};
        struct conv_key c = util_channel(name);
        struct store_member_put m = join(w, &c, "ann");
        for (unsigned n = 0; n < i % 3; n++) {
            struct store_append a = append_of(&c, TIER_SMALL, "ann", "text");
            if (CALL(w, store_append, &a) != STORE_OK || a.seq <= m.seq)
                _exit(1);
            struct told t = {i % 5, a.seq, a.id};
            if (write(to, &t, sizeof(t)) != (ssize_t)sizeof(t))
                _exit(1);
        }
        struct store_member_del d = {.conv = conv_key_slice(&c), .user = S("ann")};
        if (m.op.status != STORE_OK || CALL(w, store_member_del, &d) != STORE_OK)
            _exit(1);
        world_pass(w, 300);
    }
}

/* Killed while channels go and come: the books are right, and no number is given twice. */
static void churn_kills(void **state)
{
    struct world *w = *state;
    uint64_t seq[5] = {0}, id = 0;
    for (int round = 0; round < 8; round++) {
        struct child c = child_start(w, "churn");
        struct told t;
        for (int n = 0; n < 150 + 37 * round && read(c.from, &t, sizeof(t)) == (ssize_t)sizeof(t); n++) {
            assert_true(t.seq == seq[t.conv] + 1 && t.id > id);
            seq[t.conv] = t.seq;
            id = t.id;
        }
        child_kill(&c);
        while (read(c.from, &t, sizeof(t)) == (ssize_t)sizeof(t)) {
            seq[t.conv] = t.seq;
            id = t.id;
        }
        close(c.from);
        options_churn(w);
        world_open(w);
        util_sound(w);
        for (unsigned k = 0; k < 5; k++) {
            char name[2] = {(char)('a' + k), 0};
            struct conv_key key = util_channel(name);
            struct store_member_put m = join(w, &key, "bob");
            assert_true(m.seq == seq[k] || m.seq == seq[k] + 1); /* one may have been stored and not told */
            struct store_append a = append_of(&key, TIER_SMALL, "bob", "after");
            assert_int_equal(CALL(w, store_append, &a), STORE_OK);
            assert_true(a.seq == m.seq + 1 && a.id > id);
            seq[k] = a.seq;
            id = a.id;
            struct store_member_del d[2] = {{.conv = conv_key_slice(&key), .user = S("bob")},
                                            {.conv = conv_key_slice(&key), .user = S("ann")}};
            (void)CALL(w, store_member_del, &d[0]);
            (void)CALL(w, store_member_del, &d[1]);
        }
        world_close(w);
    }
}

const struct child_task children[] = {
    {"load", options_load, load_without_end},
    {"async", options_async, async_load},
    {"churn", options_churn, churn},
    {0},
};

int main(int argc, char **argv)
{
    if (argc == 3)
        return child_main(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kills, child_setup, child_teardown),
        cmocka_unit_test_setup_teardown(kills_tidied, child_setup, child_teardown),
        cmocka_unit_test_setup_teardown(async_kills, child_setup, child_teardown),
        cmocka_unit_test_setup_teardown(churn_kills, child_setup, child_teardown),
    };
    return cmocka_run_group_tests_name("kills", tests, NULL, NULL);
}
