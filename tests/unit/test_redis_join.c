/* How a node joins the others (nodes/node.c). */
#include "redis_sweep_kit.h"

/* The number that an incarnation has, or 0. */
static unsigned number_of(struct world *w, const char *inc)
{
    redisReply *v = RAW(&w->raw, S("HGET"), raw_key(&w->raw, 'N', 0, SLICE_NONE), S(inc));
    unsigned n = v->type == REDIS_REPLY_STRING ? load_be16(v->str) : 0;
    freeReplyObject(v);
    return n;
}

static void numbers(void **state)
{
    struct world *w = need(state);
    struct store *a = node(w, 3), *b, *c;
    assert_int_equal(try_node(w, &b, 3), ERR_EXISTS);
    char host[64] = "", want[192];
    gethostname(host, sizeof host - 1);
    snprintf(want, sizeof want, "node 3 is alive on %s: give this one another number, or 0 for any that is free", host);
    assert_string_equal(w->why, want);
    b = node(w, 0);
    c = node(w, 0);
    assert_int_equal(number_of(w, "i1"), 3);
    assert_int_equal(number_of(w, "i2"), 1);
    assert_int_equal(number_of(w, "i3"), 2);
    store_close(a);
    a = node(w, 3); /* free at once */
    store_close(a);
    store_close(b);
    store_close(c);
    struct slice key = raw_key(&w->raw, 'N', 0, SLICE_NONE);
    assert_int_equal(RAW_NUMBER(&w->raw, S("HGET"), key, S("#")), 4);
    assert_int_equal(RAW_NUMBER(&w->raw, S("HLEN"), key), 3); /* #, clock, time: no node is left */
}

static void another_format(void **state)
{
    struct world *w = need(state);
    struct store *s;
    (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'C', 0, SLICE_NONE), S("format"), S("2"));
    assert_int_equal(try_node(w, &s, 0), ERR_INVALID);
    assert_string_equal(
        w->why, "the data has format 2; this server knows 1: start the version of Magpie that the other nodes have");
}

/* Who was taken for dead and lives joins again, under a new incarnation and with the same clock. */
static void buried_alive(void **state)
{
    struct world *w = need(state);
    struct store *s = node(w, 9);
    uint64_t before = store_time_ms(s);
    struct slice key = raw_key(&w->raw, 'N', 0, SLICE_NONE);
    assert_int_equal(RAW_NUMBER(&w->raw, S("HDEL"), key, S("i1")), 1);
    EVENTUALLY(number_of(w, "i2") == 9);
    assert_int_equal(store_time_ms(s), before);
    pass(w, 500);
    assert_int_equal(store_time_ms(s), before + 500);
    store_close(s);
}

/* One clock for all, whatever the masters' clocks do meanwhile; and an operator's word, on any node. */
static void one_clock(void **state)
{
    struct world *w = need(state);
    struct store *a = node(w, 0);
    atomic_fetch_add(&w->wall, 10 * DAY);
    struct store *b = node(w, 0);
    assert_int_equal(store_time_ms(a), T0);
    assert_int_equal(store_time_ms(b), T0);
    uint64_t stamp = store_time_ms(b);
    store_clock_accept(b);
    EVENTUALLY(store_age_ms(b, stamp - 1) == 10 * DAY + 1);
    EVENTUALLY(store_age_ms(a, stamp - 1) == 10 * DAY + 1);
    assert_int_equal(store_age_ms(a, stamp), 0); /* that was in doubt */
    assert_int_equal(store_date_ms(a), T0 + 10 * DAY);
    assert_int_equal(store_time_ms(a), T0);
    pass(w, 5);
    assert_int_equal(store_time_ms(a), T0 + 5);
    store_close(a);
    store_close(b);
    /* All have ended, and the masters' clocks are a year ahead: nothing ends before somebody says so. */
    struct conv_key conv = conv_key_channel(S("room"));
    channel_put(w, &conv, 20, 1, LAYOUT_MADE);
    atomic_fetch_add(&w->wall, 365 * DAY);
    a = node(w, 0);
    struct store_stats stats;
    store_get_stats(a, &stats);
    assert_true(stats.clock_paused);
    assert_int_equal(store_date_ms(a), T0 + 375 * DAY + 5);
    assert_int_equal(store_time_ms(a), T0 + 5);
    EVENTUALLY(channel_look(w, &conv) > (long long)T0);
    assert_int_equal(channel_fields(w, &conv), 21);
    store_close(a);
    a = node(w, 0);
    b = node(w, 0);
    store_get_stats(b, &stats);
    assert_true(stats.clock_paused);
    store_clock_accept(a);
    EVENTUALLY((store_get_stats(a, &stats), !stats.clock_paused));
    EVENTUALLY((store_get_stats(b, &stats), !stats.clock_paused));
    EVENTUALLY(channel_fields(w, &conv) == 1);
    store_close(a);
    store_close(b);
}

int main(void)
{
    hash_init();
    log_open(NULL, LOG_TEXT, getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR + 1);
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(numbers),
        TEST(another_format),
        TEST(buried_alive),
        TEST(one_clock),
    };
    return cmocka_run_group_tests_name("redis_join", tests, NULL, NULL);
}
