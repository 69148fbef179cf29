/* Users and channels that are deleted; users that are made; messages that are recalled by an operator; mutes that say
 * until when. */
#include "hub_kit.h"

#include "core/hub/host/ban_change.h"
#include "core/hub/host/host_account.h"
#include "core/hub/host/host_delete.h"
#include "core/hub/host/host_member.h"
#include "core/hub/host/host_recall.h"
#include "core/hub/host/host_send.h"
#include "core/hub/people/ban.h"

static void ignore(void *owner, struct store_op *op)
{
    (void)owner, (void)op;
}

static struct host_user_delete user_delete(struct kit *k, const char *id, bool recall)
{
    struct host_user_delete q = {.user = S(id), .recall = recall};
    (void)KIT_HOST(k, host_user_delete, &q);
    return q;
}

static struct host_channel_delete channel_delete(struct kit *k, const char *name)
{
    struct host_channel_delete q = {.channel = S(name)};
    (void)KIT_HOST(k, host_channel_delete, &q);
    return q;
}

static void a_user_goes_with_all_it_has(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 4);
    const char *ann = kit_id(&k, "ann", 1), *bob = kit_id(&k, "bob", 2), *rooms[3];
    struct peer *a = peer_login(&k, ann, 0), *a2 = peer_login(&k, ann, 3), *b = peer_login(&k, bob, 0);
    for (unsigned i = 0; i < 3; i++) {
        rooms[i] = kit_channel(&k, "room", i);
        works(peer_ask(b, 3, "{\"name\":\"%s\"}", rooms[i]));
        works(peer_ask(a, 3, "{\"name\":\"%s\"}", rooms[i]));
        works(peer_ask(a, 4, "{\"channel\":\"%s\",\"content\":\"public\"}", rooms[i]));
    }
    works(peer_ask(a, 2, "{\"receiverId\":\"%s\",\"content\":\"private\"}", bob));
    works(peer_ask(b, 2, "{\"receiverId\":\"%s\",\"content\":\"back\"}", ann));
    struct ban_change mute = {.kind = MUTE_MEMBER, .user = S(ann), .channel = S(rooms[0])};
    assert_int_equal(KIT_HOST(&k, ban_change, &mute), CODE_OK);
    mute = (struct ban_change){.kind = MUTE_USER, .user = S(ann)};
    assert_int_equal(KIT_HOST(&k, ban_change, &mute), CODE_OK);

    struct host_user_delete q = user_delete(&k, ann, false);
    assert_int_equal(q.op.code, CODE_OK);
    assert_true(q.connections == 2 && q.channels == 3 && q.messages == 0);
    has(peer_push(a, 105), "\"reason\":\"kicked\"");
    peer_end(a);
    peer_end(a2);
    assert_int_equal(kit_user(&k, ann), NONE);
    assert_false(ban_muted(kit_shard(&k, 3), S(ann), S(rooms[0])));
    struct host_user look = {.user = S(ann)};
    assert_int_equal(KIT_HOST(&k, host_user, &look), CODE_NOT_FOUND);
    store_user_load_free(&look.load);
    fails(peer_ask(b, 2, "{\"receiverId\":\"%s\",\"content\":\"late\"}", ann), "not_found");
    fails(peer_ask(b, 15, "{\"id\":\"%s\",\"blocked\":true}", ann), "not_found");
    assert_int_equal(number(peer_ask(b, 3, "{\"name\":\"%s\"}", rooms[0]), "members"), 1);
    const char *page = peer_ask(b, 5, "{\"peerId\":\"%s\"}", ann);
    has(page, "\"content\":\"private\",\"sender\":{\"id\":\"ann");
    has(page, "\",\"name\":\"\"}");
    assert_int_equal(user_delete(&k, ann, false).op.code, CODE_NOT_FOUND);
    assert_int_equal(user_delete(&k, "no body", false).op.code, CODE_NOT_FOUND);

    /* The provider vouches for somebody of that id again: it begins with nothing. */
    struct peer *again = peer_login(&k, ann, 0);
    has(peer_ask(again, 10, "{}"), "\"conversations\":[]");
    works(peer_ask(b, 2, "{\"receiverId\":\"%s\",\"content\":\"hello again\"}", ann));
    has(peer_push(again, 101), "hello again");
    peer_close(a);
    peer_close(a2);
    peer_close(again);
    peer_close(b);
    kit_end(&k);
}

/* What a pair's owner shard remembers of the deleted one goes too: who blocked whom, and that there was such a user. */
static void its_blocks_are_forgotten(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 3);
    const char *ann = kit_id(&k, "ann", 1), *bob = kit_id(&k, "bob", 2);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, bob, 0);
    works(peer_ask(a, 2, "{\"receiverId\":\"%s\",\"content\":\"private\"}", bob));
    works(peer_ask(a, 15, "{\"id\":\"%s\",\"blocked\":true}", bob));
    fails(peer_ask(b, 2, "{\"receiverId\":\"%s\",\"content\":\"x\"}", ann), "forbidden");
    assert_int_equal(user_delete(&k, ann, false).op.code, CODE_OK);
    fails(peer_ask(b, 2, "{\"receiverId\":\"%s\",\"content\":\"x\"}", ann), "not_found");
    struct peer *again = peer_login(&k, ann, 0);
    works(peer_ask(b, 2, "{\"receiverId\":\"%s\",\"content\":\"hello again\"}", ann));
    peer_close(a);
    peer_close(again);
    peer_close(b);
    kit_end(&k);
}

static void its_messages_are_recalled(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 3);
    const char *ann = kit_id(&k, "ann", 1), *bob = kit_id(&k, "bob", 2);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, bob, 0);
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    for (int i = 0; i < 150; i++)
        works(peer_ask(i % 3 ? a : b, 4, "{\"channel\":\"room\",\"content\":\"secret\"}"));
    works(peer_ask(a, 6, "{\"name\":\"room\"}")); /* where it is no longer, too */
    works(peer_ask(a, 2, "{\"receiverId\":\"%s\",\"content\":\"private\"}", bob));
    gate_fail(OP_RECALL, STORE_RETRY); /* once, then it is tried again */
    struct host_user_delete q = {.user = S(ann), .recall = true};
    KIT_HOST_BEGIN(&k, host_user_delete, &q);
    KIT_UNTIL(&k, kit_gate.calls[OP_RECALL] >= 64);
    gate_open(OP_RECALL);
    KIT_UNTIL(&k, !q.op.home);
    assert_int_equal(q.op.code, CODE_OK);
    assert_int_equal(q.messages, 101);
    peer_push(b, 109);
    const char *page = peer_ask(b, 5, "{\"channel\":\"room\",\"limit\":200}");
    unsigned recalled = 0, kept = 0;
    for (const char *at = page; (at = strstr(at, "\"recalled\":true")); at++)
        recalled++;
    for (const char *at = page; (at = strstr(at, "\"content\":\"secret\"")); at++)
        kept++;
    assert_true(recalled == 100 && kept == 50);
    has(peer_ask(b, 7, "{}"), "\"recalled\":true");
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* Nothing has happened when its very beginning fails, and who is connected stays so. */
static void it_does_not_begin(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    gate_hold(OP_USER_FORGET);
    struct host_user_delete q = {.user = S("ann")};
    KIT_HOST_BEGIN(&k, host_user_delete, &q);
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1);
    struct peer *late = peer_open(&k, 0);
    uint16_t seq = peer_put(late, 1, "{\"token\":\"ann\"}"); /* waits */
    kit_settle(&k);
    gate_next(STORE_RETRY);
    KIT_UNTIL(&k, !q.op.home);
    assert_int_equal(q.op.code, CODE_UNAVAILABLE);
    works(peer_answer(late, 1, seq));
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"here\"}"));
    has(peer_push(late, 102), "here");
    gate_open(OP_USER_FORGET);
    assert_int_equal(user_delete(&k, "ann", false).op.code, CODE_OK);
    peer_end(a);
    peer_end(late);
    peer_close(a);
    peer_close(late);
    kit_end(&k);
}

/* Logins, requests and a second order that come while it is under way. */
static void in_the_middle(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    works(peer_ask(b, 2, "{\"receiverId\":\"ann\",\"content\":\"x\"}"));
    gate_hold(OP_MEMBER_DEL);
    struct host_user_delete q = {.user = S("ann")}, second = {.user = S("ann")};
    KIT_HOST_BEGIN(&k, host_user_delete, &q);
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1);
    KIT_HOST_BEGIN(&k, host_user_delete, &second);
    struct peer *late = peer_open(&k, 0);
    uint16_t seq = peer_put(late, 1, "{\"token\":\"ann\"}");
    struct host_send send = {.sender = S("ann"), .channel = S("room"), .content = S("ghost")};
    assert_int_equal(KIT_HOST(&k, host_send, &send), CODE_NOT_FOUND);
    fails(peer_ask(b, 2, "{\"receiverId\":\"ann\",\"content\":\"y\"}"), "not_found");
    gate_next(STORE_RETRY); /* a failing store is asked again */
    gate_open(OP_MEMBER_DEL);
    KIT_UNTIL(&k, !q.op.home && !second.op.home);
    assert_true(q.op.code == CODE_OK && second.op.code == CODE_OK);
    assert_true(q.channels == 1 && second.channels == 1);
    /* It asks the store once it may: somebody new, or not yet. */
    const char *answer = peer_answer(late, 1, seq);
    if (strstr(answer, "\"error\""))
        fails(answer, "unavailable");
    peer_close(a);
    peer_close(b);
    peer_close(late);
    kit_end(&k);
}

/* What a killed server has left is finished by the next one, without anybody's asking. */
static void the_next_start_finishes(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 0), *cat = kit_id(&k, "cat", 1);
    struct peer *b = peer_login(&k, "bob", 0);
    const char *room = kit_channel(&k, "room", 1), *den = kit_channel(&k, "den", 0);
    const char *ids[] = {ann, cat};
    for (int i = 0; i < 2; i++) {
        struct host_user_add add = {.user = S(ids[i])};
        assert_int_equal(KIT_HOST(&k, host_user_add, &add), CODE_OK);
        struct host_member join = {.user = S(ids[i]), .channel = S(room), .may_create = true};
        assert_int_equal(KIT_HOST(&k, host_member, &join), CODE_OK);
    }
    works(peer_ask(b, 3, "{\"name\":\"%s\"}", den));
    works(peer_ask(b, 4, "{\"channel\":\"%s\",\"content\":\"x\"}", den));
    /* As after a kill: the marks are there, and nobody knows of them. */
    struct mailbox home;
    mailbox_init(&home, NULL, NULL);
    struct store_user_forget forget[2];
    struct store_channel_close close;
    struct conv_key key = conv_key_channel(S(den));
    for (int i = 0; i < 2; i++) {
        forget[i] = (struct store_user_forget){
            .op = {.home = &home, .done = ignore}, .id = S(ids[i]), .force = true, .step = FORGET_BEGIN};
        store_user_forget(k.store, &forget[i]);
    }
    close = (struct store_channel_close){.op = {.home = &home, .done = ignore}, .conv = conv_key_slice(&key)};
    store_channel_close(k.store, &close);
    for (size_t ran = 0; ran < 3; usleep(1000))
        ran += mailbox_run(&home, NULL);
    assert_int_equal(close.op.status, STORE_OK);
    kit_shard(&k, 0)->deletions_found = false; /* a start */
    KIT_UNTIL(&k, kit_shard(&k, 0)->deletions_found && kit_gate.calls[OP_CHANNEL_WIPE] >= 1 &&
                      kit_gate.calls[OP_USER_FORGET] >= 4);
    kit_settle(&k);
    assert_true(!kit_shard(&k, 0)->deletions && !kit_shard(&k, 1)->deletions);
    assert_int_equal(user_delete(&k, ann, false).op.code, CODE_NOT_FOUND);
    assert_int_equal(channel_delete(&k, den).op.code, CODE_NOT_FOUND);
    assert_int_equal(number(peer_ask(b, 3, "{\"name\":\"%s\"}", room), "members"), 1);
    assert_int_equal(number(peer_ask(b, 3, "{\"name\":\"%s\"}", den), "seq"), 1);
    peer_close(b);
    kit_end(&k);
    mailbox_fini(&home); /* the store's threads may look at it until they have ended */
}

static void a_channel_goes_with_all_it_has(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 4);
    const char *room = kit_channel(&k, "room", 2);
    struct peer *p[3];
    for (unsigned i = 0; i < 3; i++) {
        p[i] = peer_login(&k, kit_id(&k, "u", i), 0);
        works(peer_ask(p[i], 3, "{\"name\":\"%s\"}", room));
    }
    for (int i = 0; i < 130; i++) { /* more than go at a time, most of them not here */
        char id[32];
        snprintf(id, sizeof id, "away%d", i);
        struct host_user_add add = {.user = S(id)};
        assert_int_equal(KIT_HOST(&k, host_user_add, &add), CODE_OK);
        struct host_member join = {.user = S(id), .channel = S(room)};
        assert_int_equal(KIT_HOST(&k, host_member, &join), CODE_OK);
    }
    for (int i = 0; i < 5; i++)
        works(peer_ask(p[0], 4, "{\"channel\":\"%s\",\"content\":\"x\"}", room));
    struct ban_change ban = {.kind = BAN_MEMBER, .user = S("away1"), .channel = S(room)};
    assert_int_equal(KIT_HOST(&k, ban_change, &ban), CODE_OK);
    char packed[CHANNEL_RULE_SIZE];
    channel_rule_pack(&(struct channel_rule){.tier = TIER_LARGE, .closed = true}, packed);
    ban = (struct ban_change){.kind = CHANNEL_RULE, .channel = S(room), .reason = slice_of(packed, sizeof packed)};
    assert_int_equal(KIT_HOST(&k, ban_change, &ban), CODE_OK);

    struct host_channel_delete q = channel_delete(&k, room);
    assert_int_equal(q.op.code, CODE_OK);
    assert_int_equal(q.members, 132);
    for (unsigned i = 0; i < 4; i++) {
        struct channel_rule rule;
        assert_false(ban_member(kit_shard(&k, i), S("away1"), S(room)));
        assert_false(channel_rule_find(kit_shard(&k, i), S(room), &rule));
        assert_int_equal(chan_find(kit_shard(&k, i), S(room)), NONE);
    }
    fails(peer_ask(p[1], 4, "{\"channel\":\"%s\",\"content\":\"x\"}", room), "not_found");
    fails(peer_ask(p[1], 5, "{\"channel\":\"%s\"}", room), "not_found");
    has(peer_ask(p[1], 10, "{}"), "\"conversations\":[]");
    assert_int_equal(channel_delete(&k, room).op.code, CODE_NOT_FOUND);
    assert_int_equal(channel_delete(&k, " x").op.code, CODE_NOT_FOUND);
    const char *made = peer_ask(p[2], 3, "{\"name\":\"%s\"}", room);
    assert_true(number(made, "seq") == 5 && number(made, "first") == 6 && number(made, "members") == 1);
    has(made, "\"tier\":\"small\"");
    assert_int_equal(number(peer_ask(p[2], 4, "{\"channel\":\"%s\",\"content\":\"new\"}", room), "seq"), 6);
    for (unsigned i = 0; i < 3; i++)
        peer_close(p[i]);
    kit_end(&k);
}

/* Subscriptions and messages that come while it is under way are refused, and a failing store is asked again. */
static void a_channel_in_the_middle(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"x\"}"));
    gate_fail(OP_CHANNEL_CLOSE, STORE_RETRY);
    assert_int_equal(channel_delete(&k, "room").op.code, CODE_UNAVAILABLE);
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"x\"}"));
    gate_open(OP_CHANNEL_CLOSE);
    gate_fail(OP_CHANNEL_WIPE, STORE_RETRY);
    struct host_channel_delete q = {.channel = S("room")};
    KIT_HOST_BEGIN(&k, host_channel_delete, &q);
    KIT_UNTIL(&k, kit_gate.calls[OP_CHANNEL_WIPE] >= 1);
    fails(peer_ask(b, 3, "{\"name\":\"room\"}"), "unavailable");
    fails(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"x\"}"), "not_found");
    assert_non_null(q.op.home);
    gate_open(OP_CHANNEL_WIPE);
    KIT_UNTIL(&k, !q.op.home);
    assert_int_equal(q.op.code, CODE_OK);
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

static void users_are_made(void **state)
{
    struct kit k;
    char token[200];
    (void)state;
    kit_open(&k, 2);
    strcpy(k.opt.auth_mode, "open");
    kit_start(&k);
    struct host_user_add add = {.user = S("ann"), .name = S("Ann")};
    assert_int_equal(KIT_HOST(&k, host_user_add, &add), CODE_OK);
    assert_int_equal(KIT_HOST(&k, host_user_add, &add), CODE_FORBIDDEN);
    static const struct {
        const char *id, *name;
    } wrong[] = {{"a b", "x"}, {"", "x"}, {"system", "x"}, {"bob", "System"}, {"bob", "a\nb"}};
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        add = (struct host_user_add){.user = S(wrong[i].id), .name = S(wrong[i].name)};
        assert_int_equal(KIT_HOST(&k, host_user_add, &add), CODE_BAD_REQUEST);
    }
    struct host_send send = {.receiver = S("ann"), .content = S("welcome")};
    assert_int_equal(KIT_HOST(&k, host_send, &send), CODE_OK);
    struct host_user_token t = {.user = S("nobody")};
    assert_int_equal(KIT_HOST(&k, host_user_token, &t), CODE_NOT_FOUND);
    t.user = S("ann");
    assert_int_equal(KIT_HOST(&k, host_user_token, &t), CODE_OK);
    strcpy(token, t.token);
    struct peer *a = peer_open(&k, 0);
    const char *in = peer_ask(a, 1, "{\"token\":\"%s\"}", token);
    has(in, "{\"id\":\"ann\",\"name\":\"Ann\"");
    assert_int_equal(number(in, "inbox"), 1);
    add = (struct host_user_add){.user = S("ann"), .name = S("Ann")};
    assert_int_equal(KIT_HOST(&k, host_user_add, &add), CODE_FORBIDDEN); /* who is connected is there, too */
    assert_int_equal(KIT_HOST(&k, host_user_token, &t), CODE_OK);

    /* Deleted and made again: the old token opens nothing. */
    assert_int_equal(user_delete(&k, "ann", false).op.code, CODE_OK);
    struct peer *b = peer_open(&k, 0);
    fails(peer_ask(b, 1, "{\"token\":\"%s\"}", token), "unauthorized");
    assert_int_equal(KIT_HOST(&k, host_user_add, &add), CODE_OK);
    fails(peer_ask(b, 1, "{\"token\":\"%s\"}", token), "unauthorized");
    assert_int_equal(KIT_HOST(&k, host_user_token, &t), CODE_OK);
    assert_int_equal(number(peer_ask(b, 1, "{\"token\":\"%s\"}", t.token), "inbox"), 0);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

static void tokens_of_others_are_not_ours(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct peer *a = peer_login(&k, "ann", 0);
    struct host_user_token t = {.user = S("ann")};
    assert_int_equal(KIT_HOST(&k, host_user_token, &t), CODE_FORBIDDEN);
    assert_string_equal(t.token, "");
    peer_close(a);
    kit_end(&k);
}

static void any_message_is_recalled(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 3);
    k.opt.recall_ms = 1;
    kit_start(&k);
    const char *ann = kit_id(&k, "ann", 0), *bob = kit_id(&k, "bob", 1);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, bob, 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"rude\"}"));
    works(peer_ask(a, 2, "{\"receiverId\":\"%s\",\"content\":\"rude\"}", bob));
    usleep(20000);
    fails(peer_ask(a, 14, "{\"channel\":\"room\",\"seq\":1}"), "forbidden"); /* its own time has passed */
    struct host_recall q = {.channel = S("room"), .seq = 1};
    assert_int_equal(KIT_HOST(&k, host_recall, &q), CODE_OK);
    assert_false(q.again);
    has(peer_push(a, 109), "{\"channel\":\"room\",\"seq\":1,");
    has(peer_push(b, 109), "{\"channel\":\"room\",\"seq\":1,");
    assert_int_equal(KIT_HOST(&k, host_recall, &q), CODE_OK);
    assert_true(q.again);
    q = (struct host_recall){.users = {S(bob), S(ann)}, .seq = 1};
    assert_int_equal(KIT_HOST(&k, host_recall, &q), CODE_OK);
    has(peer_push(a, 109), bob); /* each sees the other as the peer */
    has(peer_push(b, 109), ann);
    q.seq = 2;
    assert_int_equal(KIT_HOST(&k, host_recall, &q), CODE_NOT_FOUND);
    q = (struct host_recall){.channel = S("nowhere"), .seq = 1};
    assert_int_equal(KIT_HOST(&k, host_recall, &q), CODE_NOT_FOUND);
    struct host_recall wrong[] = {{.channel = S("room")}, {.users = {S(ann)}, .seq = 1}, {.channel = S(" "), .seq = 1}};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(KIT_HOST(&k, host_recall, &wrong[i]), CODE_BAD_REQUEST);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

static void a_mute_says_until_when(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    struct ban_change q = {.kind = MUTE_MEMBER, .user = S("ann"), .channel = S("room"), .seconds = 3600};
    assert_int_equal(KIT_HOST(&k, ban_change, &q), CODE_OK);
    const char *answer = peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"x\"}");
    fails(answer, "forbidden");
    uint64_t left = number(answer, "retryAfter");
    assert_true(left > 3500000 && left <= 3600000);
    char until[64];
    time_t at = (time_t)((clock_wall_ms() + left + 999) / 1000), other = at - 1;
    strftime(until, sizeof until, "you are muted until %Y-%m-%dT%H:%M:%SZ", gmtime(&at));
    if (!strstr(answer, until))
        strftime(until, sizeof until, "you are muted until %Y-%m-%dT%H:%M:%SZ", gmtime(&other));
    has(answer, until);
    q = (struct ban_change){.kind = MUTE_USER, .user = S("ann")}; /* for good: the longer one counts */
    assert_int_equal(KIT_HOST(&k, ban_change, &q), CODE_OK);
    answer = peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"x\"}");
    has(answer, "\"message\":\"you are muted\"}");
    peer_close(a);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_goes_with_all_it_has),
        cmocka_unit_test(its_blocks_are_forgotten),
        cmocka_unit_test(its_messages_are_recalled),
        cmocka_unit_test(it_does_not_begin),
        cmocka_unit_test(in_the_middle),
        cmocka_unit_test(the_next_start_finishes),
        cmocka_unit_test(a_channel_goes_with_all_it_has),
        cmocka_unit_test(a_channel_in_the_middle),
        cmocka_unit_test(users_are_made),
        cmocka_unit_test(tokens_of_others_are_not_ours),
        cmocka_unit_test(any_message_is_recalled),
        cmocka_unit_test(a_mute_says_until_when),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
