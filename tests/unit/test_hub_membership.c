/* Subscribing and unsubscribing: channels that come and go under requests, and how fast one user may make them. */
#include "hub_kit.h"

#include "core/hub/host/ban_change.h"
#include "core/hub/host/host_member.h"
#include "core/hub/host/host_send.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/hook.h"

/* --- What hooks saw ----------------------------------------------------------------------------------------------- */

struct seen {
    unsigned created, subscribed;
    bool refuse; /* to make channels */
};

static enum hook_verdict on_create(struct hook_call *h, void *ctx)
{
    struct seen *seen = ctx;
    seen->created++;
    h->code = CODE_FORBIDDEN;
    h->message = "no new channels";
    return seen->refuse ? HOOK_REJECT : HOOK_PASS;
}

static enum hook_verdict on_subscribe(struct hook_call *h, void *ctx)
{
    (void)h;
    ((struct seen *)ctx)->subscribed++;
    return HOOK_PASS;
}

static void watch(struct kit *k, struct seen *seen)
{
    *seen = (struct seen){0};
    kit_hook(k, HOOK_CREATE, 5, on_create, seen);
    kit_hook(k, HOOK_SUBSCRIBE, 5, on_subscribe, seen);
}

/* --- Behind the hub ----------------------------------------------------------------------------------------------- */

static void loaded(void *owner, struct store_op *op)
{
    (void)owner;
    op->home = NULL;
}

/* What the store knows of a channel. */
static struct store_conv_load stored(struct kit *k, const char *name)
{
    struct conv_key key = conv_key_channel(S(name));
    struct store_conv_load l = {.op = {.home = &k->main, .done = loaded}, .conv = conv_key_slice(&key)};
    store_conv_load(k->store, &l);
    KIT_UNTIL(k, l.op.home == NULL);
    assert_int_equal(l.op.status, STORE_OK);
    return l;
}

static enum code say(struct kit *k, const char *channel)
{
    struct host_send q = {.channel = S(channel), .content = S("x")};
    return KIT_HOST(k, host_send, &q);
}

/* --- Going -------------------------------------------------------------------------------------------------------- */

/* The last one leaves: the channel is gone, for everybody and in all that is known of it. */
static void the_last_one_leaves(void **state)
{
    struct kit k;
    struct seen seen;
    (void)state;
    kit_open(&k, 4);
    k.opt.channels_max = 2;
    k.opt.large_members = 2;
    kit_start(&k);
    watch(&k, &seen);
    for (unsigned owner = 0; owner < 4; owner++) {
        const char *room = kit_channel(&k, "room", owner);
        struct peer *a = peer_login(&k, kit_id(&k, "ann", 0), 0), *b = peer_login(&k, kit_id(&k, "bob", 1), 1);
        for (int i = 0; i < 3; i++) {
            works(peer_ask(a, 3, "{\"name\":\"other\"}"));
            has(peer_ask(a, 3, "{\"name\":\"%s\"}", room), "\"members\":1,\"tier\":\"small\",\"push\":\"all\"");
            has(peer_ask(b, 3, "{\"name\":\"%s\"}", room), "\"members\":2,\"tier\":\"large\",\"push\":\"merged\"");
            fails(peer_ask(b, 3, "{\"name\":\"third\"}"), "quota");
            works(peer_ask(a, 6, "{\"name\":\"%s\"}", room));
            assert_true(stored(&k, room).exists);
            fails(peer_ask(a, 4, "{\"channel\":\"%s\",\"content\":\"x\"}", room), "forbidden");
            works(peer_ask(b, 6, "{\"name\":\"%s\"}", room));
            assert_false(stored(&k, room).exists);
            fails(peer_ask(a, 6, "{\"name\":\"%s\"}", room), "not_found");
            fails(peer_ask(b, 4, "{\"channel\":\"%s\",\"content\":\"x\"}", room), "not_found");
            fails(peer_ask(b, 5, "{\"channel\":\"%s\"}", room), "not_found");
            assert_int_equal(say(&k, room), CODE_NOT_FOUND);
            works(peer_ask(b, 3, "{\"name\":\"third\"}")); /* there is room again */
            works(peer_ask(b, 6, "{\"name\":\"third\"}"));
            works(peer_ask(a, 6, "{\"name\":\"other\"}"));
        }
        assert_int_equal(seen.created, 12); /* three lives of three channels, and three that were refused */
        assert_int_equal(seen.subscribed, 15);
        seen = (struct seen){0};
        peer_close(a);
        peer_close(b);
        kit_settle(&k);
    }
    kit_end(&k);
}

/* A subscription on its way when the last one leaves makes the channel anew, if it may, and is asked about once. */
static void somebody_comes_as_the_last_one_leaves(void **state)
{
    struct kit k;
    struct seen seen;
    (void)state;
    kit_begin(&k, 2);
    watch(&k, &seen);
    struct peer *a = peer_login(&k, kit_id(&k, "ann", 0), 0), *b = peer_login(&k, kit_id(&k, "bob", 1), 1);
    for (int i = 0; i < 3; i++) {
        const char *room = kit_channel(&k, i == 0 ? "one" : i == 1 ? "two" : "three", 1);
        works(peer_ask(a, 3, "{\"name\":\"%s\"}", room));
        seen = (struct seen){.refuse = i == 2};
        kit_gate.gate[OP_MEMBER_DEL] = GATE_LATE;
        uint16_t left = peer_put(a, 6, "{\"name\":\"%s\"}", room);
        KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1); /* the store has done it, and the hub does not know */
        kit_gate.gate[OP_MEMBER_PUT] = GATE_LATE;
        uint16_t came = peer_put(b, 3, "{\"name\":\"%s\"}", room);
        KIT_UNTIL(&k, gate_store_held(&kit_gate) == 2);
        assert_int_equal(seen.created, 0);
        assert_int_equal(seen.subscribed, 1);
        kit_gate.gate[OP_MEMBER_PUT] = GATE_OPEN;
        gate_open(OP_MEMBER_DEL);
        works(peer_answer(a, 6, left));
        if (i == 2) {
            fails(peer_answer(b, 3, came), "forbidden");
            assert_false(stored(&k, room).exists);
        } else {
            has(peer_answer(b, 3, came), "\"members\":1");
            works(peer_ask(b, 4, "{\"channel\":\"%s\",\"content\":\"x\"}", room));
            has(peer_push(b, 102), "\"content\":\"x\"");
            works(peer_ask(b, 6, "{\"name\":\"%s\"}", room));
        }
        assert_int_equal(seen.created, 1);
        assert_int_equal(seen.subscribed, 1);
    }
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

static void said_and_left(struct kit *k, struct peer *p, const char *room)
{
    works(peer_ask(p, 3, "{\"name\":\"%s\"}", room));
    works(peer_ask(p, 4, "{\"channel\":\"%s\",\"content\":\"x\"}", room));
    works(peer_ask(p, 6, "{\"name\":\"%s\"}", room));
    KIT_UNTIL(k, !stored(k, room).exists);
}

/* A channel in which something was said goes by itself, and the hub still believes in it. Where the machine is slower
 * than the message is short-lived, leaving tells the hub: then once more. Returns how often it was made. */
static unsigned let_go(struct kit *k, struct peer *p, const char *room)
{
    struct conv_key key = conv_key_channel(S(room));
    unsigned n = 0;
    do {
        said_and_left(k, p, room);
        assert_in_range(++n, 1, 1000);
    } while (!kit_conv(k, key) || !kit_conv(k, key)->exists);
    return n;
}

/* The store lets a channel go when its last message ends; the hub finds out with whatever comes first. */
static void it_goes_behind_the_hub(void **state)
{
    struct kit k;
    struct seen seen;
    (void)state;
    kit_open(&k, 2);
    k.store_opt.tiers[TIER_SMALL].ttl_ms = 30;
    kit_start(&k);
    watch(&k, &seen);
    const char *room = kit_channel(&k, "room", 1), *ann = kit_id(&k, "ann", 0);
    struct conv_key key = conv_key_channel(S(room));
    struct peer *a = peer_login(&k, ann, 0);
    unsigned n = let_go(&k, a, room);
    char again[64], page[64];
    snprintf(again, sizeof again, "\"seq\":%u,\"first\":%u,\"members\":1", n, n + 1);
    has(peer_ask(a, 3, "{\"name\":\"%s\"}", room), again);
    snprintf(page, sizeof page, "{\"messages\":[],\"first\":%u,\"last\":%u,", n + 1, n);
    has(peer_ask(a, 5, "{\"channel\":\"%s\"}", room), page);
    assert_int_equal(seen.created, n + 1);
    assert_int_equal(seen.subscribed, n + 1);
    let_go(&k, a, room);
    assert_int_equal(say(&k, room), CODE_NOT_FOUND);
    assert_null(kit_conv(&k, key));
    let_go(&k, a, room);
    fails(peer_ask(a, 6, "{\"name\":\"%s\"}", room), "not_found");
    assert_null(kit_conv(&k, key));
    /* Nor does joining for somebody make one that may not be made. */
    let_go(&k, a, room);
    struct host_member m = {.user = S(ann), .channel = S(room)};
    assert_int_equal(KIT_HOST(&k, host_member, &m), CODE_NOT_FOUND);
    let_go(&k, a, room);
    m.may_create = true;
    assert_int_equal(KIT_HOST(&k, host_member, &m), CODE_OK);
    assert_int_equal(m.members, 1);
    peer_close(a);
    kit_end(&k);
}

/* Names of channels and users that are not there cost no memory once the answer is out. */
static void names_that_are_not_there(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, kit_id(&k, "ann", 0), 0);
    for (int i = 0; i < 50; i++) {
        fails(peer_ask(a, 4, "{\"channel\":\"c%d\",\"content\":\"x\"}", i), "not_found");
        fails(peer_ask(a, 5, "{\"channel\":\"c%d\"}", i), "not_found");
        fails(peer_ask(a, 6, "{\"name\":\"c%d\"}", i), "not_found");
        fails(peer_ask(a, 2, "{\"receiverId\":\"u%d\",\"content\":\"x\"}", i), "not_found");
        fails(peer_ask(a, 15, "{\"id\":\"u%d\",\"blocked\":true}", i), "not_found");
        works(peer_ask(a, 3, "{\"name\":\"c%d\"}", i)); /* and one that was there for a moment */
        works(peer_ask(a, 6, "{\"name\":\"c%d\"}", i));
    }
    kit_settle(&k);
    assert_int_equal(kit_shard(&k, 0)->convs.live + kit_shard(&k, 1)->convs.live, 0);
    peer_close(a);
    kit_end(&k);
}

/* What an operator has ordered for a name outlives its channels. */
static void rules_outlive_channels(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, kit_id(&k, "ann", 0), 0), *b = peer_login(&k, kit_id(&k, "bob", 1), 1);
    const char *room = kit_channel(&k, "room", 1);
    char rule[CHANNEL_RULE_SIZE];
    works(peer_ask(a, 3, "{\"name\":\"%s\"}", room));
    channel_rule_pack(&(struct channel_rule){.push = MODE_NONE}, rule);
    struct ban_change q = {.kind = CHANNEL_RULE, .channel = S(room), .reason = slice_of(rule, sizeof rule)};
    assert_int_equal(KIT_HOST(&k, ban_change, &q), CODE_OK);
    struct ban_change ban = {.kind = BAN_MEMBER, .channel = S(room), .user = S(kit_id(&k, "bob", 1))};
    assert_int_equal(KIT_HOST(&k, ban_change, &ban), CODE_OK);
    for (int i = 0; i < 3; i++) {
        works(peer_ask(a, 6, "{\"name\":\"%s\"}", room));
        assert_false(stored(&k, room).exists);
        fails(peer_ask(b, 3, "{\"name\":\"%s\"}", room), "forbidden");
        has(peer_ask(a, 3, "{\"name\":\"%s\"}", room), "\"push\":\"none\"");
    }
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* --- Making too many ---------------------------------------------------------------------------------------------- */

static void too_many(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 2);
    k.opt.rate_user = 2; /* twenty at once */
    kit_start(&k);
    const char *ann = kit_id(&k, "ann", 0);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, kit_id(&k, "bob", 1), 1);
    struct peer *c = peer_login(&k, ann, 0); /* one user's connections count together */
    for (int i = 0; i < 20; i++)
        works(peer_ask(i % 2 ? a : c, 3, "{\"name\":\"room%d\"}", i));
    const char *answer = peer_ask(a, 3, "{\"name\":\"room20\"}");
    fails(answer, "rate_limited");
    assert_in_range(number(answer, "retryAfter"), 1, 500);
    assert_false(stored(&k, "room20").exists);
    fails(peer_ask(c, 3, "{\"name\":\"room20\"}"), "rate_limited");
    /* What is there costs nothing, to the end of the bucket and beyond. */
    works(peer_ask(b, 3, "{\"name\":\"bobs\"}"));
    for (int i = 0; i < 30; i++) {
        works(peer_ask(a, 3, "{\"name\":\"bobs\"}"));
        works(peer_ask(a, 6, "{\"name\":\"bobs\"}"));
        works(peer_ask(b, 3, "{\"name\":\"room%d\"}", i % 20));
    }
    /* Nor does what is refused, or fails; the one token that there is again is left. */
    struct user *u = user_at(kit_shard(&k, 0), kit_user(&k, ann));
    u->making.spent = 19;
    u->making.at = (uint32_t)kit_shard(&k, 0)->now_ms;
    gate_fail(OP_MEMBER_PUT, STORE_RETRY);
    for (int i = 0; i < 30; i++)
        fails(peer_ask(a, 3, "{\"name\":\"room20\"}"), "unavailable");
    gate_open(OP_MEMBER_PUT);
    works(peer_ask(a, 3, "{\"name\":\"room20\"}"));
    /* Leaving does not give it back: it is the making that costs. */
    u->making.spent = 20;
    u->making.at = (uint32_t)kit_shard(&k, 0)->now_ms;
    works(peer_ask(a, 6, "{\"name\":\"room20\"}"));
    fails(peer_ask(a, 3, "{\"name\":\"room20\"}"), "rate_limited");
    /* What the server makes for a user is not limited. */
    for (int i = 0; i < 40; i++) {
        char name[20];
        snprintf(name, sizeof name, "made%d", i);
        struct host_member m = {.user = S(ann), .channel = S(name), .may_create = true};
        assert_int_equal(KIT_HOST(&k, host_member, &m), CODE_OK);
    }
    peer_close(a);
    peer_close(b);
    peer_close(c);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_one_leaves),      cmocka_unit_test(somebody_comes_as_the_last_one_leaves),
        cmocka_unit_test(it_goes_behind_the_hub),   cmocka_unit_test(rules_outlive_channels),
        cmocka_unit_test(names_that_are_not_there), cmocka_unit_test(too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
