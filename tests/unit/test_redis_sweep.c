/* What the sweeper does with what is past its time (sweep.c). */
#include "redis_sweep_kit.h"

/* The same of a long time, which a node believes only by and by. */
static void pass_days(struct world *w, struct store *s, uint64_t days)
{
    for (uint64_t i = 0; i < days; i++) {
        pass(w, DAY);
        (void)store_time_ms(s);
    }
}

static void rows_end(void **state)
{
    struct world *w = need(state);
    struct conv_key conv = conv_key_channel(S("room"));
    channel_put(w, &conv, 200, 1, LAYOUT_MADE);
    w->o.tiers[TIER_SMALL].ttl_ms = 3 * DAY;
    struct store *s = node(w, 0);
    EVENTUALLY(channel_look(w, &conv) == (long long)(T0 + DAY));
    assert_int_equal(channel_fields(w, &conv), 201);
    for (unsigned i = 0; i < 3; i++) { /* it is looked at each day, since options change */
        pass(w, DAY);
        EVENTUALLY(channel_look(w, &conv) > (long long)atomic_load(&w->wall));
    }
    assert_int_equal(channel_look(w, &conv), T0 + 3 * DAY + 1);
    assert_int_equal(channel_fields(w, &conv), 201);
    pass(w, 70);
    EVENTUALLY(channel_fields(w, &conv) == 201 - 70);
    /* Shorter from now on: that is seen at the next look. */
    w->o.tiers[TIER_SMALL].ttl_ms = DAY;
    store_configure(s, &w->o);
    pass(w, 1);
    EVENTUALLY(channel_fields(w, &conv) == 1);
    assert_int_equal(channel_look(w, &conv), 0);
    store_close(s);
}

/* Who has neither members nor messages goes, unless it shall stay; and nothing does while the clock is in doubt. */
static void channels_go(void **state)
{
    struct world *w = need(state);
    struct conv_key conv = conv_key_channel(S("room")), empty = conv_key_channel(S("empty"));
    struct slice k = conv_key_slice(&conv);
    char gone[LAYOUT_HEAD_CHANNEL];
    w->o.keep_vacant = true;
    channel_put(w, &conv, 100, 0, LAYOUT_MADE);
    channel_put(w, &empty, 0, 0, LAYOUT_MADE);
    struct store *s = node(w, 0);
    pass_days(w, s, 91);
    EVENTUALLY(channel_fields(w, &conv) == 1 && channel_look(w, &empty) > (long long)(T0 + 91 * DAY));
    assert_int_equal(channel_fields(w, &empty), 1);
    w->o.keep_vacant = false;
    store_configure(s, &w->o);
    pass(w, DAY);
    EVENTUALLY(channel_fields(w, &empty) == 0);
    EVENTUALLY(channel_look(w, &conv) == 0);
    redisReply *v = RAW(&w->raw, S("HGET"), raw_key(&w->raw, 'm', partition_of(k), k), S("h"));
    assert_int_equal(v->len, LAYOUT_HEAD_CHANNEL);
    head_channel(gone, 100, 0, 0);
    assert_memory_equal(v->str + 4, gone + 4, 6); /* its numbers go on */
    assert_int_equal(v->str[1], 0);
    freeReplyObject(v);
    assert_int_equal(RAW_NUMBER(&w->raw, S("HGET"), raw_key(&w->raw, 'c', partition_of(k), SLICE_NONE), S("n")), 0);
    store_close(s);
}

/* A channel that is being deleted, and whose members are gone, is ended. */
static void wiping_goes_on(void **state)
{
    struct world *w = need(state);
    struct conv_key conv = conv_key_channel(S("room")), peopled = conv_key_channel(S("peopled"));
    channel_put(w, &conv, 100, 0, LAYOUT_MADE | LAYOUT_WIPING);
    channel_put(w, &peopled, 3, 1, LAYOUT_MADE | LAYOUT_WIPING);
    struct store *s = node(w, 0);
    EVENTUALLY(channel_fields(w, &conv) == 1);
    assert_int_equal(channel_fields(w, &peopled), 4);
    store_close(s);
}

struct putting {
    struct store_member_put op;
    bool done;
};

static void is_put(void *owner, struct store_op *op)
{
    (void)owner;
    ((struct putting *)op)->done = true;
}

/* The seq with which a channel begins that ann makes. */
static uint64_t made(struct store *s, const struct conv_key *conv)
{
    static struct mailbox home; /* the engine's thread may look at it after it has posted */
    static bool ready;
    struct putting q = {.op = {.conv = conv_key_slice(conv), .user = S("ann"), .may_create = true}};
    if (!ready)
        mailbox_init(&home, NULL, NULL);
    ready = true;
    q.op.op = (struct store_op){.home = &home, .done = is_put};
    store_member_put(s, &q.op);
    EVENTUALLY((mailbox_run(&home, NULL), q.done));
    assert_int_equal(q.op.op.status, STORE_OK);
    assert_true(q.op.created);
    assert_int_equal(q.op.first, q.op.seq ? q.op.seq + 1 : 0);
    return q.op.seq;
}

/* Names of channels of partition 7. */
static void names_of_7(struct conv_key *out, unsigned n)
{
    char name[24];
    for (unsigned i = 0, found = 0; found < n; i++) {
        snprintf(name, sizeof name, "room %u", i);
        out[found] = conv_key_channel(S(name));
        found += partition_of(conv_key_slice(&out[found])) == 7;
    }
}

/* Names of channels that are gone are dropped, those that went first, when there are too many; and no number is given
 * twice all the same. */
static void names_are_few(void **state)
{
    enum { FEW = 4, BESIDE = 68, NAMES = 130 };
    struct world *w = need(state);
    struct conv_key names[NAMES];
    unsigned ending, kept = 0;
    w->names_max = FEW;
    user_put(w, "ann");
    names_of_7(names, NAMES);
    for (unsigned i = 0; i < NAMES; i++)
        channel_put(w, &names[i], 1 + i % 5, 0, LAYOUT_MADE | LAYOUT_WIPING);
    (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'c', 7, SLICE_NONE), S("n"), S("130"));
    struct store *s = node(w, 0);
    EVENTUALLY(raw_keys(&w->raw, 'e', &ending) == 0);
    EVENTUALLY(RAW_NUMBER(&w->raw, S("HLEN"), raw_key(&w->raw, 'c', 7, SLICE_NONE)) <= FEW + BESIDE);
    for (unsigned i = 0; i < NAMES; i++) {
        struct slice k = conv_key_slice(&names[i]);
        bool known = channel_fields(w, &names[i]) == 1;
        char field[CONV_KEY_MAX + 1] = "g";
        memcpy(field + 1, k.p, k.n);
        assert_int_equal(
            RAW_NUMBER(&w->raw, S("HEXISTS"), raw_key(&w->raw, 'c', 7, SLICE_NONE), slice_of(field, k.n + 1)), known);
        kept += known;
        uint64_t had = 1 + i % 5, seq = made(s, &names[i]);
        if (known)
            assert_int_equal(seq, had);
        else
            assert_in_range(seq, had, 5);
    }
    assert_in_range(kept, FEW, FEW + BESIDE);
    struct conv_key elsewhere = conv_key_channel(S("elsewhere"));
    assert_int_equal(made(s, &elsewhere), 0);
    store_close(s);
}

/* Dedup windows go once they are past, however long nobody has swept. */
static void windows_go(void **state)
{
    struct world *w = need(state);
    unsigned ending, kept;
    for (unsigned i = 0; i < 500; i++) {
        char window[24];
        snprintf(window, sizeof window, "%llu", (unsigned long long)(T0 / 600000 - 499 + i));
        (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'd', 5, S(window)), S("digest"), S("first"));
    }
    char oldest[24];
    snprintf(oldest, sizeof oldest, "%llu", (unsigned long long)(T0 / 600000 - 499));
    (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'c', 5, SLICE_NONE), S("w"), S(oldest));
    struct store *s = node(w, 0);
    EVENTUALLY((kept = raw_keys(&w->raw, 'd', &ending)) <= 3);
    assert_true(kept >= 2);
    pass(w, HOUR);
    EVENTUALLY(raw_keys(&w->raw, 'd', &ending) == 0);
    store_close(s);
}

/* What earlier times to live have ended, as all nodes know it. */
static uint64_t small_ended(struct world *w)
{
    struct clock_record record;
    redisReply *v = RAW(&w->raw, S("HGET"), raw_key(&w->raw, 'N', 0, SLICE_NONE), S("time"));
    assert_int_equal(clock_record_decode(slice_of(v->str, v->len), &record), 0);
    freeReplyObject(v);
    return record.limits[EXPIRY_SMALL - 1].ended_ms;
}

/* A time to live that is longer after a restart brings nothing back. */
static void limits_are_kept(void **state)
{
    struct world *w = need(state);
    struct store *s = node(w, 0);
    store_close(s);
    s = node(w, 0);
    pass_days(w, s, 100);
    store_close(s);
    w->o.tiers[TIER_SMALL].ttl_ms = 0;
    s = node(w, 0);
    uint64_t ended = T0 + 10 * DAY + 1;
    EVENTUALLY(small_ended(w) == ended);
    store_close(s);
}

int main(void)
{
    hash_init();
    log_open(NULL, LOG_TEXT, getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR + 1);
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(rows_end),       TEST(channels_go), TEST(names_are_few),
        TEST(wiping_goes_on), TEST(windows_go),  TEST(limits_are_kept),
    };
    return cmocka_run_group_tests_name("redis_sweep", tests, NULL, NULL);
}
