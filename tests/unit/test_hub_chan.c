/* Channels as one shard sees them: the interest that the owner is told. */
#include "walk_kit.h"
#include "core/hub/talk/interest.h"
#include "core/hub/people/user.h"

static uint8_t interest_of(struct kit *k, const char *name, unsigned shard)
{
    struct conv *v = kit_conv(k, conv_key_channel(S(name)));
    return v && v->interest ? v->interest[shard] : 0;
}

static void the_owner_knows_who_listens(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *room = kit_channel(&k, "room", 1), *ann = kit_id(&k, "ann", 0);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, kit_id(&k, "bob", 0), 0);
    works(peer_ask(a, 3, "{\"name\":\"%s\"}", room));
    works(peer_ask(b, 3, "{\"name\":\"%s\",\"push\":\"merged\"}", room));
    kit_settle(&k);
    assert_int_equal(interest_of(&k, room, 0), 1 << MODE_DEFAULT | 1 << MODE_MERGED);
    assert_int_equal(interest_of(&k, room, 1), 0);
    works(peer_ask(b, 3, "{\"name\":\"%s\",\"push\":\"all\"}", room));
    kit_settle(&k);
    assert_int_equal(interest_of(&k, room, 0), 1 << MODE_DEFAULT | 1 << MODE_ALL);
    peer_close(a); /* without a connection it listens no more … */
    works(peer_ask(b, 6, "{\"name\":\"%s\"}", room));
    kit_settle(&k);
    assert_int_equal(interest_of(&k, room, 0), 0);
    a = peer_login(&k, ann, 1); /* … and with one again */
    kit_settle(&k);
    assert_int_equal(interest_of(&k, room, 0), 1 << MODE_DEFAULT);
    assert_int_equal(chan_at(kit_shard(&k, 0), chan_find(kit_shard(&k, 0), S(room)))->pending, 0);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* What else changes on the shard while a subscription is under way must not take back what the owner notes of it at
 * that moment. */
static void interest_during_a_subscription(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *room = kit_channel(&k, "room", 1);
    struct shard *home = kit_shard(&k, 0), *owner = kit_shard(&k, 1);
    struct peer *a = peer_login(&k, kit_id(&k, "ann", 0), 0), *b = peer_login(&k, kit_id(&k, "bob", 0), 0);
    works(peer_ask(b, 3, "{\"name\":\"%s\",\"push\":\"none\"}", room));
    kit_settle(&k);
    gate_hold(OP_MEMBER_PUT);
    uint16_t seq = peer_put(a, 3, "{\"name\":\"%s\",\"push\":\"all\"}", room);
    kit_settle(&k);
    assert_int_equal(chan_at(home, chan_find(home, S(room)))->pending, 1);
    gate_open(OP_MEMBER_PUT);
    /* The owner's turns only: it notes the new member, and the answer waits at home. */
    for (int i = 0; i < 1000 && !(interest_of(&k, room, 0) & 1 << MODE_ALL); i++) {
        ev_run(owner->loop, EVRUN_NOWAIT);
        usleep(200);
    }
    assert_int_equal(interest_of(&k, room, 0), 1 << MODE_NONE | 1 << MODE_ALL);
    /* At home a member of another mode comes. */
    uint32_t user = user_new(home, S("x0"));
    user_pin(home, user);
    user_ready(home, user);
    assert_int_not_equal(sub_add(home, user, chan_find(home, S(room)), MODE_MERGED, false, 0, false), NONE);
    for (int i = 0; i < 3; i++)
        ev_run(owner->loop, EVRUN_NOWAIT);
    assert_int_equal(interest_of(&k, room, 0), 1 << MODE_NONE | 1 << MODE_ALL | 1 << MODE_MERGED);
    works(peer_answer(a, 3, seq));
    kit_settle(&k);
    assert_int_equal(interest_of(&k, room, 0), 1 << MODE_NONE | 1 << MODE_ALL | 1 << MODE_MERGED);
    user_unpin(home, user_find(home, S("x0")));
    kit_settle(&k);
    assert_int_equal(interest_of(&k, room, 0), 1 << MODE_NONE | 1 << MODE_ALL);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* One shard's loop alone, until its channel has this many members. */
static void turn_until_members(struct shard *s, const char *room, uint32_t n)
{
    uint32_t there = UINT32_MAX;
    for (uint64_t end = clock_mono_ms() + 20000; there != n && clock_mono_ms() < end;) {
        ev_run(s->loop, EVRUN_NOWAIT);
        uint32_t chan = chan_find(s, S(room));
        there = chan == TABLE_NONE ? 0 : chan_at(s, chan)->member_count;
        usleep(200);
    }
    assert_int_equal(there, n);
}

static uint32_t deaf(const struct shard *s, const char *room)
{
    return chan_at(s, chan_find(s, S(room)))->awaited;
}

/* Who is back before the owner has heard that it went must not hear what is still on its way, and then nothing of what
 * comes before the owner hears that it is back: a gap. */
static void back_before_the_owner_knows(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *room = kit_channel(&k, "room", 1), *ann = kit_id(&k, "ann", 0);
    struct shard *home = kit_shard(&k, 0), *owner = kit_shard(&k, 1);
    struct peer *a = peer_login(&k, ann, 0);
    works(peer_ask(a, 3, "{\"name\":\"%s\",\"push\":\"all\"}", room));
    kit_settle(&k);
    peer_reset(a);
    turn_until_members(home, room, 0);
    uint32_t chan = chan_get(home, S(room));
    interest_hold(home, chan);
    arrive(home, publication(room, 1, EVERY)); /* waits for its walk */
    interest_await(home, chan);
    assert_null(chan_at(home, chan)->queue);
    chan_at(home, chan)->awaited = 0;
    interest_release(home, chan, 0);
    kit_turn(&k);
    a = peer_login(&k, ann, 0);
    kit_settle(&k);
    peer_reset(a);
    turn_until_members(home, room, 0);
    a = peer_open(&k, 0);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"%s\"}", ann);
    turn_until_members(home, room, 1);
    assert_int_equal(interest_of(&k, room, 0), 1 << MODE_ALL); /* of the time before */
    assert_int_not_equal(deaf(home, room), 0);
    shard_post(owner, home, &publication(room, 1, EVERY)->mail);
    for (int i = 0; i < 3; i++)
        ev_run(owner->loop, EVRUN_NOWAIT); /* she is gone, 2 is posted to nobody, she is back */
    assert_int_equal(interest_of(&k, room, 0), 1 << MODE_ALL);
    shard_post(owner, home, &publication(room, 3, EVERY)->mail);
    works(peer_answer(a, 1, seq));
    kit_settle(&k);
    assert_int_equal(number(peer_push(a, 102), "seq"), 3);
    assert_int_equal(peer_left(a), 0);
    assert_int_equal(deaf(home, room), 0);
    /* Beside another member there is no gap, and nobody is kept from anything. */
    struct peer *b = peer_login(&k, kit_id(&k, "bob", 0), 0);
    works(peer_ask(b, 3, "{\"name\":\"%s\",\"push\":\"all\"}", room));
    peer_reset(a);
    turn_until_members(home, room, 1);
    a = peer_open(&k, 0);
    seq = peer_put(a, 1, "{\"token\":\"%s\"}", ann);
    turn_until_members(home, room, 2);
    assert_int_equal(deaf(home, room), 0);
    shard_post(owner, home, &publication(room, 4, EVERY)->mail);
    works(peer_answer(a, 1, seq));
    assert_int_equal(number(peer_push(a, 102), "seq"), 4);
    assert_int_equal(number(peer_push(b, 102), "seq"), 4);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* A subscription that the owner notes before it hears of who is back loses nothing by that. */
static void a_subscription_beside_one_who_is_back(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *room = kit_channel(&k, "room", 1), *ann = kit_id(&k, "ann", 0);
    struct shard *home = kit_shard(&k, 0), *owner = kit_shard(&k, 1);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, kit_id(&k, "bob", 0), 0);
    works(peer_ask(a, 3, "{\"name\":\"%s\",\"push\":\"all\"}", room));
    kit_settle(&k);
    peer_reset(a);
    turn_until_members(home, room, 0);
    gate_hold(OP_MEMBER_PUT);
    uint16_t joining = peer_put(b, 3, "{\"name\":\"%s\",\"push\":\"all\"}", room);
    uint64_t end = clock_mono_ms() + 20000;
    while (kit_gate.held == 0 && clock_mono_ms() < end) {
        ev_run(home->loop, EVRUN_NOWAIT);
        ev_run(owner->loop, EVRUN_NOWAIT);
        usleep(200);
    }
    assert_int_equal(interest_of(&k, room, 0), 0);
    gate_open(OP_MEMBER_PUT);
    while (mailbox_empty(&owner->mailbox) && clock_mono_ms() < end)
        usleep(200);
    a = peer_open(&k, 0);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"%s\"}", ann);
    turn_until_members(home, room, 1);
    assert_int_not_equal(deaf(home, room), 0);
    /* One mail: bob is noted. That ann is back is in the next one. */
    (void)mailbox_run_some(&owner->mailbox, owner, 1);
    assert_int_equal(interest_of(&k, room, 0), 1 << MODE_ALL);
    shard_post(owner, home, &publication(room, 1, EVERY)->mail);
    works(peer_answer(b, 3, joining));
    works(peer_answer(a, 1, seq));
    kit_settle(&k);
    assert_int_equal(number(peer_push(a, 102), "seq"), 1);
    assert_int_equal(number(peer_push(b, 102), "seq"), 1);
    assert_int_equal(deaf(home, room), 0);
    shard_post(owner, home, &publication(room, 2, EVERY)->mail);
    kit_settle(&k);
    assert_int_equal(number(peer_push(a, 102), "seq"), 2);
    assert_int_equal(number(peer_push(b, 102), "seq"), 2);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* Where the channel's owner is the shard itself, it knows at once. */
static void back_at_the_owner(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *room = kit_channel(&k, "room", 0), *ann = kit_id(&k, "ann", 0);
    struct peer *a = peer_login(&k, ann, 0);
    works(peer_ask(a, 3, "{\"name\":\"%s\",\"push\":\"all\"}", room));
    kit_settle(&k);
    peer_reset(a);
    turn_until_members(kit_shard(&k, 0), room, 0);
    a = peer_login(&k, ann, 1);
    assert_int_equal(deaf(kit_shard(&k, 0), room), 0);
    works(peer_ask(a, 4, "{\"channel\":\"%s\",\"content\":\"x\"}", room));
    assert_int_equal(number(peer_push(a, 102), "seq"), 1);
    peer_close(a);
    kit_end(&k);
}

/* A subscription that fails leaves no channel, no interest and no quota behind. */
static void a_subscription_that_fails(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 2);
    k.opt.subscriptions_max = 2;
    k.opt.channels_max = 2;
    kit_start(&k);
    struct shard *home = kit_shard(&k, 0);
    const char *ann = kit_id(&k, "ann", 0);
    struct peer *a = peer_login(&k, ann, 0);
    gate_fail(OP_MEMBER_PUT, STORE_RETRY);
    for (int i = 0; i < 5; i++)
        fails(peer_ask(a, 3, "{\"name\":\"room\"}"), "unavailable");
    gate_open(OP_MEMBER_PUT);
    kit_settle(&k);
    assert_int_equal(home->chans.live, 0);
    assert_int_equal(user_at(home, kit_user(&k, ann))->sub_count, 0);
    works(peer_ask(a, 3, "{\"name\":\"one\"}"));
    works(peer_ask(a, 3, "{\"name\":\"two\"}"));
    works(peer_ask(a, 3, "{\"name\":\"two\"}"));
    fails(peer_ask(a, 3, "{\"name\":\"three\"}"), "quota");
    struct peer *b = peer_login(&k, kit_id(&k, "bob", 1), 1);
    fails(peer_ask(b, 3, "{\"name\":\"three\"}"), "quota"); /* limits.channels */
    works(peer_ask(a, 6, "{\"name\":\"one\"}"));
    works(peer_ask(b, 3, "{\"name\":\"three\"}"));
    fails(peer_ask(a, 3, "{\"name\":\"one\"}"), "quota");
    works(peer_ask(a, 3, "{\"name\":\"three\"}"));
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_owner_knows_who_listens), cmocka_unit_test(interest_during_a_subscription),
        cmocka_unit_test(back_before_the_owner_knows), cmocka_unit_test(a_subscription_beside_one_who_is_back),
        cmocka_unit_test(back_at_the_owner),           cmocka_unit_test(a_subscription_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
