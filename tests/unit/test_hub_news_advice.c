/* Advice of other nodes: what their policies said of a message, and what it was charged to, counts here too. */
#include "news_kit.h"

#include "core/hub/talk/advice.h"

/* --- Advice ------------------------------------------------------------------------------------------------------- */

static void slices_by_others_advice(void **state)
{
    struct kit k;
    char bytes[ADVICE_MAX];
    (void)state;
    kit_open(&k, 1);
    k.clustered = true;
    k.opt.slice_ms = 60;
    kit_start(&k);
    struct peer *a = peer_login_merge(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    struct advice over = {.said = {.has_push = true, .over_limit = true, .slice_ms = 40, .slice_max = 2}};
    for (unsigned i = 1; i <= 3; i++) {
        struct said *x = say("room", "far", "m%u", i);
        x->n.advice = slice_of(bytes, advice_encode(bytes, &over));
        hear(x);
    }
    gets(a, 2, "m2"); /* the newest two of the slice */
    gets(a, 3, "m3");
    /* Another mode for those who have none of their own. */
    struct advice merged = {.said = {.has_push = true, .mode = MODE_MERGED, .slice_ms = 40}};
    struct said *x = say("room", "far", "m4");
    x->n.advice = slice_of(bytes, advice_encode(bytes, &merged));
    hear(x);
    has(peer_push(a, 104), "m4");
    gets_nothing(&k, a);
    end_with(&k, a);
}

/* A tier that a policy chose elsewhere counts here, and is not saved once more. */
static void tiers_by_others_advice(void **state)
{
    struct kit k;
    char bytes[ADVICE_MAX];
    (void)state;
    struct peer *a = begin_in_room(&k);
    struct advice large = {.said = {.has_tier = true, .tier = TIER_LARGE}};
    struct said *x = say("room", "far", "one");
    x->n.advice = slice_of(bytes, advice_encode(bytes, &large));
    hear(x);
    KIT_UNTIL(&k, kit_conv(&k, conv_key_channel(S("room")))->tier == TIER_LARGE);
    assert_int_equal(kit_gate.calls[OP_CHANNEL_SAVE], 0);
    end_with(&k, a);
}

/* What others have sent counts for the limits here. */
static void charges_of_others(void **state)
{
    struct kit k;
    char bytes[ADVICE_MAX];
    (void)state;
    kit_open(&k, 2);
    k.clustered = true;
    k.opt.rate_channel = 2;
    k.opt.rate_user = 3;
    kit_start(&k);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *a = peer_login(&k, ann, 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    struct advice charged = {.charged_conv = true, .charged_user = true};
    for (unsigned i = 1; i <= 40; i++) {
        struct said *x = say("room", ann, "m%u", i);
        x->n.advice = slice_of(bytes, advice_encode(bytes, &charged));
        hear(x);
        hear(x);
        if (i == 1) { /* the second one counts for nothing */
            kit_settle(&k);
            float spent = kit_conv(&k, conv_key_channel(S("room")))->rate.spent;
            assert_true(spent > 0.5f && spent <= 1);
        }
    }
    kit_settle(&k);
    assert_true(conv_rate_now(shard_of(k.hub, S("croom")), kit_conv(&k, conv_key_channel(S("room")))) > 5);
    fails(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"x\"}"), "rate_limited");
    struct user *u = user_at(kit_shard(&k, 1), kit_user(&k, ann));
    KIT_UNTIL(&k, u->rate.spent > 3); /* below zero */
    assert_true(u->rate.spent <= 6);  /* by a second's worth at most */
    end_with(&k, a);
}

static void same_advice(const struct advice *a, const struct advice *b)
{
    assert_int_equal(a->said.has_push, b->said.has_push);
    assert_int_equal(a->said.mode, b->said.mode);
    assert_int_equal(a->said.slice_ms, b->said.slice_ms);
    assert_int_equal(a->said.slice_max, b->said.slice_max);
    assert_int_equal(a->said.over_limit, b->said.over_limit);
    assert_int_equal(a->said.has_tier, b->said.has_tier);
    assert_int_equal(a->said.tier, b->said.tier);
    assert_int_equal(a->charged_conv, b->charged_conv);
    assert_int_equal(a->charged_user, b->charged_user);
    assert_int_equal(a->conv_takes, b->conv_takes);
    assert_int_equal(a->user_takes, b->user_takes);
    for (unsigned i = 0; i < a->conv_takes + a->user_takes; i++) {
        assert_int_equal(a->takes[i].bucket, b->takes[i].bucket);
        assert_true(a->takes[i].n == b->takes[i].n);
    }
}

/* What hooks took on other nodes is taken where they would have run here. */
static struct {
    unsigned shards[KIT_SHARDS]; /* calls on each */
    double conv, user;
} taken_here;

static void take_here(struct shard *s, uint64_t bucket, double n)
{
    taken_here.shards[s->index]++;
    *(bucket == 77 ? &taken_here.conv : &taken_here.user) += n;
}

static void takes_of_others(void **state)
{
    struct kit k;
    char bytes[ADVICE_MAX];
    (void)state;
    memset(&taken_here, 0, sizeof taken_here);
    kit_open(&k, 2);
    k.clustered = true;
    kit_start(&k);
    hook_set_charge(k.hub, take_here);
    const char *ann = kit_id(&k, "ann", 0), *cid = kit_id(&k, "cid", 1), *room = kit_channel(&k, "room", 0);
    struct peer *a = peer_login(&k, ann, 0);
    char body[100];
    snprintf(body, sizeof body, "{\"name\":\"%s\"}", room);
    works(peer_ask(a, 3, body));
    struct advice charged = {.charged_user = false};
    advice_put_takes(&charged, &(struct hook_take){77, 1.5f}, 1, false);
    advice_put_takes(&charged, &(struct hook_take){88, 2}, 1, true);
    for (unsigned i = 1; i <= 300; i++) { /* more than one batch of them */
        struct said *x = say(room, cid, "m%u", i);
        x->n.advice = slice_of(bytes, advice_encode(bytes, &charged));
        hear(x);
    }
    KIT_UNTIL(&k, taken_here.user >= 600);
    assert_true(taken_here.conv == 450 && taken_here.user == 600);
    assert_int_equal(taken_here.shards[0], 300); /* the channel's owner; its sender's is the other one */
    assert_int_equal(taken_here.shards[1], 300);
    end_with(&k, a);
}

/* What hooks take of a message here goes to the others with it, and what cannot be told is left out. */
static enum hook_verdict takes(struct hook_call *h, void *ctx)
{
    (void)ctx;
    h->takes[h->take_count++] = (struct hook_take){h->event == HOOK_MESSAGE ? 88 : 77, 1};
    if (h->event == HOOK_MESSAGE)
        h->takes[h->take_count++] = (struct hook_take){99, 1e9f};
    return HOOK_PASS;
}

static void takes_are_told(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 1);
    k.clustered = true;
    kit_start(&k);
    assert_int_equal(tables_begin(k.hub), 0);
    assert_int_equal(hook_register(k.hub, &(struct hook){.event = HOOK_MESSAGE, .fn = takes, .owner = &k}), 0);
    assert_int_equal(hook_register(k.hub, &(struct hook){.event = HOOK_CONVERSATION, .fn = takes, .owner = &k}), 0);
    assert_int_equal(tables_commit(k.hub, NULL, NULL), 0);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    gate_hold(OP_APPEND);
    uint16_t seq = peer_put(a, 4, "{\"channel\":\"room\",\"content\":\"x\"}");
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1);
    struct advice b = advice_decode(((const struct store_append *)kit_gate.list[0].op)->advice);
    assert_int_equal(b.conv_takes, 1);
    assert_int_equal(b.user_takes, 1);
    assert_int_equal(b.takes[0].bucket, 77);
    assert_int_equal(b.takes[1].bucket, 88);
    gate_open(OP_APPEND);
    works(peer_answer(a, 4, seq));
    end_with(&k, a);
}

static void advice_in_bytes(void **state)
{
    char bytes[ADVICE_MAX];
    (void)state;
    for (unsigned i = 0; i < 64; i++) {
        struct advice a = {.said = {.has_push = i & 1, .over_limit = i & 2, .has_tier = i & 4},
                           .charged_conv = i & 8,
                           .charged_user = i & 16};
        if (a.said.has_push) {
            a.said.mode = MODE_MERGED;
            a.said.slice_ms = 70000;
            a.said.slice_max = 3;
        }
        if (a.said.has_tier)
            a.said.tier = TIER_LARGE;
        for (unsigned t = 0; i & 32 && t < 9; t++) /* one does not fit */
            advice_put_takes(&a, &(struct hook_take){UINT64_MAX - t, 0.5f}, 1, t > 2);
        unsigned n = advice_encode(bytes, &a);
        assert_true(n <= ADVICE_MAX);
        struct advice b = advice_decode(slice_of(bytes, n));
        same_advice(&a, &b);
        /* What is cut short, or from a later version, is no advice. */
        static const struct advice none;
        for (unsigned cut = 0; cut < n; cut++) {
            b = advice_decode(slice_of(bytes, cut));
            same_advice(&none, &b);
        }
        bytes[0] = 2;
        b = advice_decode(slice_of(bytes, n));
        same_advice(&none, &b);
    }
    bytes[0] = 1;
    bytes[1] = 4;
    bytes[2] = TIER_DM; /* no channel's */
    struct advice b = advice_decode(slice_of(bytes, 3));
    assert_false(b.said.has_tier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_by_others_advice), cmocka_unit_test(tiers_by_others_advice),
        cmocka_unit_test(charges_of_others),       cmocka_unit_test(advice_in_bytes),
        cmocka_unit_test(takes_of_others),         cmocka_unit_test(takes_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
