/* What the sweeper does with halves that are not known to be done (sweep.c). */
#include "redis_sweep_kit.h"

static long long inbox_count(struct world *w, const char *id)
{
    struct slice key = raw_key(&w->raw, 'I', partition_of_user(S(id)), S(id));
    return RAW_NUMBER(&w->raw, S("HLEN"), key);
}

static long long intents(struct world *w, unsigned part)
{
    return RAW_NUMBER(&w->raw, S("HLEN"), raw_key(&w->raw, 'o', part, SLICE_NONE));
}

/* The intent of a private message from the pair's lower id: as `append` leaves it. */
static void intent_put(struct world *w, const struct conv_key *conv, uint64_t seq, uint64_t birth_ms)
{
    char field[9] = {'p'}, value[25 + CONV_KEY_MAX];
    struct slice k = conv_key_slice(conv);
    store_be64(field + 1, layout_id_end(birth_ms) - 100000 + seq);
    layout_put48(value, birth_ms);
    layout_put48(value + 6, seq);
    layout_put48(value + 12, seq); /* k */
    layout_put48(value + 18, 0);
    value[24] = 0;
    memcpy(value + 25, k.p, k.n);
    (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'o', partition_of(k), SLICE_NONE),
                     slice_of(field, sizeof field), slice_of(value, 25 + k.n));
}

/* Halves that are missing are done once they are old, by one node or by two at once: one entry, ever. */
static void private_messages(void **state)
{
    struct world *w = need(state);
    struct conv_key conv = conv_key_pair(S("ann"), S("bob"));
    unsigned part = partition_of(conv_key_slice(&conv));
    user_put(w, "ann");
    user_put(w, "bob");
    for (uint64_t seq = 1; seq <= 300; seq++)
        intent_put(w, &conv, seq, seq <= 290 ? T0 : T0 + 5000);
    pass(w, 3000);
    struct store *a = node(w, 0), *b = node(w, 0);
    EVENTUALLY(intents(w, part) == 10);
    assert_int_equal(inbox_count(w, "bob"), 290);
    assert_int_equal(inbox_count(w, "ann"), 0);
    pass(w, 4999);
    usleep(300000); /* too young still; there is nothing to wait for */
    assert_int_equal(intents(w, part), 10);
    pass(w, 1);
    EVENTUALLY(intents(w, part) == 0);
    assert_int_equal(inbox_count(w, "bob"), 300);
    /* Acknowledged, and an intent that somebody had not settled comes again. */
    (void)RAW_NUMBER(&w->raw, S("DEL"), raw_key(&w->raw, 'I', partition_of_user(S("bob")), S("bob")));
    (void)RAW_NUMBER(&w->raw, S("DEL"), raw_key(&w->raw, 'i', partition_of_user(S("bob")), S("bob")));
    intent_put(w, &conv, 17, T0);
    EVENTUALLY(intents(w, part) == 0);
    assert_int_equal(inbox_count(w, "bob"), 0);
    struct sweep_stats stats;
    sweep_get_stats(redis_of(a), &stats);
    assert_true(stats.intents >= 1);
    store_close(a);
    store_close(b);
}

/* Until no more than so many are left. It may take long, on a machine that others keep busy; but some must go each
 * minute. */
static void fewer_intents(struct world *w, const unsigned parts[2], long long most)
{
    long long left = intents(w, parts[0]) + intents(w, parts[1]);
    while (left > most) {
        long long before = left;
        EVENTUALLY((left = intents(w, parts[0]) + intents(w, parts[1])) < before);
    }
}

/* 20,000 of them after an outage, page by page, while connections break: each in the inbox once. */
static void a_backlog(void **state)
{
    struct world *w = need(state);
    enum { PAIRS = 20, EACH = 1000 };
    static struct conv_key convs[PAIRS];
    struct slice argv[1 + 1 + 2 * EACH];
    const char *p[2 + 2 * EACH];
    size_t sizes[2 + 2 * EACH];
    static char fields[EACH][9], values[EACH][25 + CONV_KEY_MAX];
    user_put(w, "ann");
    for (unsigned i = 0, tried = 0; i < PAIRS; tried++) { /* all of one partition */
        char other[16];
        snprintf(other, sizeof other, "u%u", tried);
        convs[i] = conv_key_pair(S("ann"), S(other));
        if (partition_of(conv_key_slice(&convs[i])) % 512 != 7)
            continue;
        user_put(w, other);
        struct slice k = conv_key_slice(&convs[i]);
        argv[0] = S("HSET");
        argv[1] = raw_key(&w->raw, 'o', partition_of(k), SLICE_NONE);
        for (unsigned seq = 1; seq <= EACH; seq++) {
            char *f = fields[seq - 1], *v = values[seq - 1];
            f[0] = 'p';
            store_be64(f + 1, layout_id_end(T0) - (uint64_t)PAIRS * EACH + i * EACH + seq);
            layout_put48(v, T0);
            layout_put48(v + 6, seq);
            layout_put48(v + 12, seq);
            layout_put48(v + 18, 0);
            v[24] = 1; /* from the higher id: into ann's inbox */
            memcpy(v + 25, k.p, k.n);
            argv[2 * seq] = slice_of(f, 9);
            argv[2 * seq + 1] = slice_of(v, 25 + k.n);
        }
        for (unsigned n = 0; n < 2 + 2 * EACH; n++) {
            p[n] = argv[n].p;
            sizes[n] = argv[n].n;
        }
        freeReplyObject(redisCommandArgv(raw_master(&w->raw, argv[1]), 2 + 2 * EACH, p, sizes));
        i++;
    }
    const unsigned parts[2] = {7, 519};
    assert_int_equal(intents(w, parts[0]) + intents(w, parts[1]), PAIRS * EACH);
    pass(w, 4000);
    struct store *s = node(w, 0);
    for (long long most = PAIRS * EACH * 9 / 10; most >= PAIRS * EACH / 2; most -= PAIRS * EACH / 10) {
        fewer_intents(w, parts, most);
        raw_end_links(&w->raw);
    }
    fewer_intents(w, parts, 0);
    assert_int_equal(inbox_count(w, "ann"), PAIRS * EACH);
    store_close(s);
}

static void membership_put(struct world *w, const struct conv_key *conv, const char *user, bool put, uint64_t version)
{
    char field[300], value[LAYOUT_HALF] = {0};
    struct slice k = conv_key_slice(conv);
    int n = snprintf(field, sizeof field, "j%.*s%c%s", (int)k.n, k.p, 0, user);
    layout_put48(value, T0);
    layout_put48(value + 6, version);
    value[12] = put;
    (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'o', partition_of(k), SLICE_NONE), slice_of(field, (size_t)n),
                     slice_of(value, sizeof value));
    if (put)
        (void)RAW_NUMBER(&w->raw, S("ZADD"), raw_key(&w->raw, 'M', partition_of(k), k), S("0"), S(user));
}

static bool subscribed(struct world *w, const struct conv_key *conv, const char *user)
{
    struct slice key = raw_key(&w->raw, 'u', partition_of_user(S(user)), S(user));
    redisReply *v = RAW(&w->raw, S("HGET"), key, conv_key_slice(conv));
    bool member = v->type == REDIS_REPLY_STRING && v->str[0] == 1;
    freeReplyObject(v);
    return member;
}

/* Halves of memberships; who was deleted meanwhile is no member. */
static void memberships(void **state)
{
    struct world *w = need(state);
    struct conv_key conv = conv_key_channel(S("room"));
    struct slice k = conv_key_slice(&conv), gone;
    unsigned part = partition_of(k);
    char x[LAYOUT_GONE] = {0};
    user_put(w, "ann");
    user_put(w, "bob");
    channel_put(w, &conv, 0, 3, LAYOUT_MADE);
    membership_put(w, &conv, "ann", true, 5);
    membership_put(w, &conv, "deleted", true, 6);
    membership_put(w, &conv, "bob", true, 7);
    x[8] = 1;
    gone = raw_key(&w->raw, 'u', partition_of_user(S("deleted")), S("deleted"));
    (void)RAW_NUMBER(&w->raw, S("HSET"), gone, S("x"), slice_of(x, sizeof x));
    pass(w, 3000);
    struct store *s = node(w, 0);
    EVENTUALLY(intents(w, part) == 0);
    assert_true(subscribed(w, &conv, "ann") && subscribed(w, &conv, "bob"));
    assert_false(subscribed(w, &conv, "deleted"));
    assert_int_equal(RAW_NUMBER(&w->raw, S("ZCARD"), raw_key(&w->raw, 'M', part, k)), 2);
    membership_put(w, &conv, "ann", false, 8);
    membership_put(w, &conv, "bob", false, 6); /* older than what stands there */
    EVENTUALLY(intents(w, part) == 0);
    assert_false(subscribed(w, &conv, "ann"));
    assert_true(subscribed(w, &conv, "bob"));
    store_close(s);
}

int main(void)
{
    hash_init();
    log_open(NULL, LOG_TEXT, getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR + 1);
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(private_messages),
        TEST(memberships),
        TEST(a_backlog),
    };
    return cmocka_run_group_tests_name("redis_sweep_halves", tests, NULL, NULL);
}
