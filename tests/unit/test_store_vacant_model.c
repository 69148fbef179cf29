/*
 * Channels that come and go, against a model: random joins, leaves, messages, passing time and restarts, and plain
 * arrays that say what must be there. Both databases; the same course each time.
 */
#define UTIL_MAIN
#include "tests/unit/test_store_util.h"

static const char *database;

enum { NAMES = 6, USERS = 3, SAID = 4000 };

struct model {
    uint64_t ends[SAID]; /* of each message, by seq - 1 */
    uint64_t seq, last_id;
    bool in[USERS];
    bool made;
};

static uint32_t rnd(uint64_t *seed, uint32_t n)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % n;
}

/* The channel's newest hundred that have not ended. */
static unsigned visible(const struct model *m, uint64_t now)
{
    unsigned n = 0;
    for (uint64_t i = m->seq > 100 ? m->seq - 100 : 0; i < m->seq; i++)
        n += m->ends[i] > now;
    return n;
}

static unsigned members(const struct model *m)
{
    return (unsigned)m->in[0] + m->in[1] + m->in[2];
}

static void course_check(struct world *w, struct model *m, const struct conv_key *c, uint64_t now)
{
    if (m->made && !members(m) && !visible(m, now)) {
        util_wait_gone(w, c);
        m->made = false;
    }
    struct store_conv_load l = util_load_of(w, c);
    assert_int_equal(l.exists, m->made);
    assert_int_equal(l.seq, m->seq);
    assert_int_equal(l.members, members(m));
    struct store_range r = page_of(w, c, 0, -1, 200);
    assert_int_equal(r.page.n, visible(m, now));
    store_page_free(&r.page);
}

static void course(void **state)
{
    (void)state;
    static struct world world;
    struct world *w = &world;
    static struct model all[NAMES];
    static const char *const users[USERS] = {"ann", "bob", "cid"};
    uint64_t seed = 11, now = T0, made_again = 0;
    memset(all, 0, sizeof(all));
    world_init(w, database);
    w->o.tiers[TIER_SMALL] = (struct store_tier_options){10000, 100, DURABILITY_COMMIT};
    world_open(w);
    for (int i = 0; i < 4000; i++) {
        uint32_t k = rnd(&seed, NAMES), u = rnd(&seed, USERS), what = rnd(&seed, 100);
        char name[2] = {(char)('a' + k), 0};
        struct conv_key c = util_channel(name);
        struct model *m = &all[k];
        if (what < 25) {
            struct store_member_put p = join(w, &c, users[u]);
            assert_int_equal(p.created, !m->made);
            assert_int_equal(p.seq, m->seq);
            made_again += p.created && m->seq;
            m->made = m->in[u] = true;
        } else if (what < 60) {
            struct store_member_del d = util_leave(w, &c, users[u]);
            assert_int_equal(d.op.status, m->made ? STORE_OK : STORE_NOTFOUND);
            assert_int_equal(d.existed, m->in[u]);
            m->in[u] = false;
            assert_int_equal(d.gone, d.existed && !members(m) && !visible(m, now));
            m->made = m->made && !d.gone;
        } else if (what < 85) {
            struct store_append a = append_of(&c, rnd(&seed, 2) ? TIER_SMALL : TIER_LARGE, users[u], "x");
            a.ttl_ms = 500 + rnd(&seed, 5000);
            a.stranger = !m->in[u];
            assert_int_equal(CALL(w, store_append, &a), m->made ? STORE_OK : STORE_NOTFOUND);
            if (m->made) {
                assert_int_equal(a.seq, m->seq + 1);
                assert_true(a.id > m->last_id);
                m->last_id = a.id;
                m->ends[m->seq++] = now + a.ttl_ms;
            }
        } else if (what < 97) {
            uint64_t ms = rnd(&seed, 2000);
            world_pass(w, ms);
            now += ms;
            for (int n = 0; n < NAMES; n++) {
                char each[2] = {(char)('a' + n), 0};
                struct conv_key key = util_channel(each);
                course_check(w, &all[n], &key, now);
            }
            util_sound(w);
        } else if (strcmp(database, "rocksdb") == 0) {
            world_restart(w);
        }
    }
    assert_true(made_again > 100);
    world_fini(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(course)};
    database = "memory";
    int failed = cmocka_run_group_tests_name("vacant, memory", tests, NULL, NULL);
    database = "rocksdb";
    return failed + cmocka_run_group_tests_name("vacant, rocksdb", tests, NULL, NULL);
}
