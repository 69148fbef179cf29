/* Conversations on their owner shard: loading and waiting, sweeping, tiers, what policies advise, the rate. */
#include "hub_kit.h"

static struct conv *channel_of(struct kit *k, const char *name)
{
    return kit_conv(k, conv_key_channel(S(name)));
}

/* Requests for a conversation that is being loaded wait for it, in their order; one load serves all. */
static void requests_wait_for_the_load(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *room = kit_channel(&k, "room", 1);
    struct peer *a = peer_login(&k, kit_id(&k, "ann", 0), 0), *b = peer_login(&k, kit_id(&k, "bob", 1), 0);
    gate_hold(OP_CONV_LOAD);
    uint16_t one = peer_put(a, 3, "{\"name\":\"%s\"}", room),
             two = peer_put(b, 4, "{\"channel\":\"%s\",\"content\":\"x\"}", room);
    kit_settle(&k);
    assert_int_equal(kit_gate.held, 1);
    assert_int_equal(channel_of(&k, room)->state, CONV_LOADING);
    assert_int_equal(channel_of(&k, room)->pins, 3);
    gate_open(OP_CONV_LOAD);
    works(peer_answer(a, 3, one));
    fails(peer_answer(b, 4, two), "not_found"); /* in either order: what makes it was not stored yet */
    kit_settle(&k);
    assert_int_equal(channel_of(&k, room)->pins, 0);
    assert_int_equal(kit_gate.calls[OP_CONV_LOAD], 1);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

static void a_load_that_fails(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, "ann", 0);
    static const struct {
        enum store_status status;
        const char *code;
    } cases[] = {{STORE_RETRY, "unavailable"},
                 {STORE_UNKNOWN, "unavailable"},
                 {STORE_FATAL, "internal"},
                 {STORE_NOTFOUND, "internal"}};
    for (size_t i = 0; i < 4; i++) {
        gate_hold(OP_CONV_LOAD);
        uint16_t one = peer_put(a, 4, "{\"channel\":\"room\",\"content\":\"1\"}"),
                 two = peer_put(a, 4, "{\"channel\":\"room\",\"content\":\"2\"}");
        kit_settle(&k);
        gate_next(cases[i].status);
        fails(peer_answer(a, 4, one), cases[i].code);
        fails(peer_answer(a, 4, two), cases[i].code);
        gate_open(OP_CONV_LOAD);
        assert_null(channel_of(&k, "room")); /* forgotten */
    }
    works(peer_ask(a, 3, "{\"name\":\"room\"}")); /* asked for anew */
    peer_close(a);
    kit_end(&k);
}

/* Somebody who was not there the last time may be there now. */
static void receivers_may_come_to_be(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, "ann", 0);
    fails(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"x\"}"), "not_found");
    struct peer *b = peer_login(&k, "bob", 0);
    works(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"x\"}"));
    has(peer_push(b, 101), "\"x\"");
    fails(peer_ask(a, 15, "{\"id\":\"cat\",\"blocked\":true}"), "not_found");
    fails(peer_ask(a, 2, "{\"receiverId\":\"cat\",\"content\":\"x\"}"), "not_found");
    struct peer *c = peer_login(&k, "cat", 1);
    works(peer_ask(a, 15, "{\"id\":\"cat\",\"blocked\":true}"));
    fails(peer_ask(c, 2, "{\"receiverId\":\"ann\",\"content\":\"x\"}"), "forbidden");
    works(peer_ask(a, 2, "{\"receiverId\":\"cat\",\"content\":\"x\"}")); /* the other way it goes */
    works(peer_ask(a, 15, "{\"id\":\"cat\",\"blocked\":false}"));
    works(peer_ask(c, 2, "{\"receiverId\":\"ann\",\"content\":\"x\"}"));
    peer_close(a);
    peer_close(b);
    peer_close(c);
    kit_end(&k);
}

/* What nobody uses or listens to is forgotten after a while, and is found again in the store. */
static void idle_conversations_are_swept(void **state)
{
    enum { IDLE_MS = 60000 };
    struct kit k;
    (void)state;
    kit_open(&k, 1);
    k.opt.slice_ms = 3600000;
    kit_start(&k);
    struct shard *s = kit_shard(&k, 0);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"heard\"}"));
    works(peer_ask(a, 3, "{\"name\":\"left\"}"));
    works(peer_ask(a, 4, "{\"channel\":\"left\",\"content\":\"x\"}"));
    works(peer_ask(a, 6, "{\"name\":\"left\"}"));
    works(peer_ask(a, 2, "{\"receiverId\":\"ann\",\"content\":\"x\"}"));
    kit_settle(&k);
    assert_int_equal(s->convs.live, 3);
    convs_sweep(s);
    assert_int_equal(s->convs.live, 3); /* used just now */
    s->now_ms += IDLE_MS + 1000;
    convs_sweep(s);
    assert_int_equal(s->convs.live, 1);
    assert_non_null(channel_of(&k, "heard")); /* it has listeners */
    assert_int_equal(number(peer_ask(a, 3, "{\"name\":\"left\"}"), "seq"), 1);
    assert_int_equal(number(peer_ask(a, 2, "{\"receiverId\":\"ann\",\"content\":\"y\"}"), "seq"), 2);
    /* One that is pinned stays. */
    gate_hold(OP_APPEND);
    uint16_t seq = peer_put(a, 2, "{\"receiverId\":\"ann\",\"content\":\"z\"}");
    kit_settle(&k);
    s->now_ms += IDLE_MS + 1000;
    convs_sweep(s);
    gate_open(OP_APPEND);
    assert_int_equal(number(peer_answer(a, 2, seq), "seq"), 3);
    peer_close(a);
    kit_end(&k);
}

/* Large at the threshold, small again below four fifths of it; in between what it was. */
static void tiers_follow_the_members(void **state)
{
    static const struct {
        uint32_t members;
        enum store_tier tier;
    } steps[] = {{1, TIER_SMALL}, {9, TIER_SMALL}, {10, TIER_LARGE}, {50, TIER_LARGE}, {9, TIER_LARGE}, {8, TIER_LARGE},
                 {7, TIER_SMALL}, {8, TIER_SMALL}, {9, TIER_SMALL},  {10, TIER_LARGE}, {0, TIER_SMALL}};
    struct kit k;
    (void)state;
    kit_open(&k, 1);
    k.opt.large_members = 10;
    kit_start(&k);
    struct shard *s = kit_shard(&k, 0);
    struct peer *a = peer_login(&k, "ann", 0);
    has(peer_ask(a, 3, "{\"name\":\"room\"}"), "\"tier\":\"small\",\"push\":\"all\"");
    struct slice key = conv_slice(channel_of(&k, "room"));
    uint32_t conv = table_find(&s->conv_keys, hash_bytes(key), &key);
    unsigned saves = 0;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        enum store_tier before = channel_of(&k, "room")->tier;
        conv_set_members(s, conv, steps[i].members);
        assert_int_equal(channel_of(&k, "room")->tier, steps[i].tier);
        saves += steps[i].tier != before;
    }
    kit_settle(&k);
    assert_int_equal(kit_gate.calls[OP_CHANNEL_SAVE], saves);
    conv_set_members(s, conv, 10);
    conv_set_members(s, conv, 9);
    kit_settle(&k);
    has(peer_ask(a, 3, "{\"name\":\"room\"}"), "\"tier\":\"small\""); /* counted anew: there is one member */
    peer_close(a);
    kit_end(&k);
}

static void members_make_a_channel_large(void **state)
{
    enum { MANY = 6 };
    struct kit k;
    struct peer *p[MANY];
    char id[8];
    (void)state;
    kit_open(&k, 2);
    k.opt.large_members = 5;
    k.opt.slice_ms = 1;
    kit_start(&k);
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "u%d", i);
        p[i] = peer_login(&k, id, 0);
        const char *answer = peer_ask(p[i], 3, "{\"name\":\"room\"}");
        assert_int_equal(number(answer, "members"), i + 1);
        has(answer, i + 1 >= 5 ? "\"tier\":\"large\",\"push\":\"merged\"" : "\"tier\":\"small\",\"push\":\"all\"");
    }
    works(peer_ask(p[0], 4, "{\"channel\":\"room\",\"content\":\"in a slice\"}"));
    for (int i = 0; i < MANY; i++)
        has(peer_push(p[i], 102), "in a slice");
    works(peer_ask(p[0], 6, "{\"name\":\"room\"}"));
    works(peer_ask(p[1], 6, "{\"name\":\"room\"}"));
    has(peer_ask(p[2], 3, "{\"name\":\"room\"}"),
        "\"members\":4,\"tier\":\"large\""); /* 4 of 5 is not below four fifths */
    works(peer_ask(p[2], 6, "{\"name\":\"room\"}"));
    has(peer_ask(p[3], 3, "{\"name\":\"room\"}"), "\"members\":3,\"tier\":\"small\"");
    /* Both tiers are read as one. */
    works(peer_ask(p[3], 4, "{\"channel\":\"room\",\"content\":\"alone\"}"));
    const char *page = peer_ask(p[3], 5, "{\"channel\":\"room\"}");
    has(page, "in a slice");
    has(page, "alone");
    has(page, "\"first\":1,\"last\":2");
    for (int i = 0; i < MANY; i++)
        peer_close(p[i]);
    kit_end(&k);
}

/* --- Advice ------------------------------------------------------------------------------------------------------- */

struct adviser {
    struct hook_advice say;
    float rate; /* of the newest message */
    uint32_t members;
    enum store_tier tier;
    unsigned calls;
};

static enum hook_verdict advise(struct hook_call *h, void *ctx)
{
    struct adviser *a = ctx;
    a->calls++;
    a->rate = h->rate;
    a->members = h->members;
    a->tier = h->tier;
    h->advice = a->say;
    return HOOK_PASS;
}

static void a_policy_chooses_the_push_mode(void **state)
{
    struct kit k;
    struct adviser policy = {.say = {.has_push = true, .mode = MODE_MERGED, .slice_ms = 1, .slice_max = 2}};
    (void)state;
    kit_open(&k, 1);
    k.opt.slice_ms = 3600000;
    kit_start(&k);
    kit_hook(&k, HOOK_CONVERSATION, 5, advise, &policy);
    struct peer *a = peer_login_merge(&k, "ann", 0), *b = peer_login(&k, "bob", 0), *c = peer_login(&k, "cat", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(b, 3, "{\"name\":\"room\",\"push\":\"all\"}"));
    works(peer_ask(c, 3, "{\"name\":\"room\",\"push\":\"none\"}"));
    works(peer_ask(b, 4, "{\"channel\":\"room\",\"content\":\"x\"}"));
    assert_int_equal(policy.members, 3);
    assert_int_equal(policy.tier, TIER_SMALL);
    has(peer_push(b, 102), "\"x\""); /* an explicit mode beats it */
    has(peer_push(a, 104), "\"omitted\":0");
    has(peer_ask(a, 3, "{\"name\":\"room\"}"), "\"push\":\"merged\"");
    /* It changes its mind: what is collected goes out before the next. */
    policy.say.slice_ms = 3600000;
    works(peer_ask(b, 4, "{\"channel\":\"room\",\"content\":\"y\"}"));
    policy.say = (struct hook_advice){.has_push = false};
    works(peer_ask(b, 4, "{\"channel\":\"room\",\"content\":\"z\"}"));
    has(peer_push(a, 104), "\"y\"");
    has(peer_push(a, 102), "\"z\"");
    kit_settle(&k);
    assert_int_equal(peer_left(c), 0);
    peer_close(a);
    peer_close(b);
    peer_close(c);
    kit_end(&k);
}

static void a_policy_chooses_the_tier_and_what_is_kept(void **state)
{
    struct kit k;
    struct adviser policy = {.say = {.has_tier = true, .tier = TIER_LARGE}};
    (void)state;
    kit_open(&k, 1);
    k.opt.large_members = 2;
    k.opt.slice_ms = 0;
    kit_start(&k);
    kit_hook(&k, HOOK_CONVERSATION, 5, advise, &policy);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 0);
    has(peer_ask(a, 3, "{\"name\":\"room\"}"), "small");
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"1\"}"));
    has(peer_ask(a, 3, "{\"name\":\"room\"}"), "large");
    policy.say.tier = TIER_SMALL;
    has(peer_ask(b, 3, "{\"name\":\"room\"}"), "large"); /* two members, which the number alone makes large too */
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"2\"}"));
    has(peer_ask(a, 3, "{\"name\":\"room\"}"), "small");
    policy.say = (struct hook_advice){.has_tier = false}; /* no opinion any more: the members decide */
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"3\"}"));
    has(peer_ask(a, 3, "{\"name\":\"room\"}"), "large");
    policy.say = (struct hook_advice){.has_keep = true, .keep_max = 2};
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"4\"}"));
    assert_int_equal(number(peer_ask(a, 5, "{\"channel\":\"room\"}"), "first"), 3);
    policy.say = (struct hook_advice){.has_keep = true, .ttl_ms = 1};
    works(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"gone soon\"}"));
    usleep(5000);
    has(peer_ask(a, 5, "{\"peerId\":\"bob\"}"), "\"messages\":[],\"first\":2,\"last\":1");
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

static void the_rate_is_that_of_lately(void **state)
{
    struct kit k;
    struct conv v = {.meter = 0};
    float rate = 0;
    (void)state;
    kit_begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    for (int i = 0; i < 1000; i++) { /* 100 a second, for long */
        s->now_ms += 10;
        rate = conv_rate(s, &v);
    }
    assert_true(rate > 95 && rate < 105);
    s->now_ms += 60000;
    rate = conv_rate(s, &v);
    assert_true(rate > 0.4f && rate < 0.6f); /* the one message alone, of two seconds */
    for (int i = 0; i < 100; i++) {          /* one a second */
        s->now_ms += 1000;
        rate = conv_rate(s, &v);
    }
    assert_true(rate > 0.9f && rate < 1.4f);
    v.meter_at = (uint32_t)s->now_ms - 0xFFFFFFF0u; /* the short clock wraps */
    assert_true(conv_rate(s, &v) > 0);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_wait_for_the_load),     cmocka_unit_test(a_load_that_fails),
        cmocka_unit_test(receivers_may_come_to_be),       cmocka_unit_test(idle_conversations_are_swept),
        cmocka_unit_test(tiers_follow_the_members),       cmocka_unit_test(members_make_a_channel_large),
        cmocka_unit_test(a_policy_chooses_the_push_mode), cmocka_unit_test(a_policy_chooses_the_tier_and_what_is_kept),
        cmocka_unit_test(the_rate_is_that_of_lately),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
