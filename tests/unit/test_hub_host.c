/* Operations for the layers above: sending, membership, pushes, announcements, closing. Kicks: test_hub_kick.c. */
#include "hub_kit.h"
#include "core/hub/hub.h"
#include "core/hub/act/provider.h"
#include "core/hub/host/host.h"
#include "core/hub/host/host_member.h"
#include "core/hub/host/host_send.h"

static struct host_send to_user(const char *sender, const char *receiver, const char *content)
{
    return (struct host_send){.sender = S(sender), .receiver = S(receiver), .content = S(content)};
}

static struct host_send to_channel(const char *sender, const char *channel, const char *content)
{
    return (struct host_send){.sender = S(sender), .channel = S(channel), .content = S(content)};
}

/* The server's own messages go past memberships, blocks and limits. */
static void system_sends_anywhere(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 2);
    k.opt.rate_user = k.opt.rate_channel = 1;
    kit_start(&k);
    struct peer *a = peer_login(&k, kit_id(&k, "ann", 0), 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    for (int i = 1; i <= 5; i++) {
        struct host_send q = to_channel("", "room", "news");
        assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_OK);
        assert_int_equal(q.seq, i);
        assert_true(q.id > 0 && q.created_ms > 0 && !q.duplicate);
        has(peer_push(a, 102), "\"content\":\"news\",\"sender\":{\"id\":\"system\",\"name\":\"system\"}");
        q = to_user("", kit_id(&k, "ann", 0), "psst");
        assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_OK);
        assert_int_equal(q.seq, i);
        has(peer_push(a, 101), "\"content\":\"psst\"");
    }
    struct host_send none = to_channel("", "nowhere", "x"), nobody = to_user("", "nobody", "x");
    assert_int_equal(KIT_HOST(&k, host_send, &none), CODE_NOT_FOUND);
    assert_int_equal(KIT_HOST(&k, host_send, &nobody), CODE_NOT_FOUND);
    peer_close(a);
    kit_end(&k);
}

/* In somebody's name every rule holds. */
static void in_the_name_of_a_user(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 4);
    k.opt.rate_user = 2;
    kit_start(&k);
    const char *ann = kit_id(&k, "ann", 0), *bob = kit_id(&k, "bob", 3), *eve = kit_id(&k, "eve", 2);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, bob, 0), *e = peer_login(&k, eve, 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    struct host_send q = to_channel(bob, "room", "x");
    assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_FORBIDDEN); /* no subscriber */
    q = to_channel("nobody", "room", "x");
    assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_NOT_FOUND);
    has(q.op.message, "sender");
    q = to_channel(ann, "room", "x");
    assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_OK);
    has(peer_push(a, 102), ann);
    works(peer_ask(b, 15, "{\"id\":\"%s\",\"blocked\":true}", eve));
    q = to_user(eve, bob, "x");
    assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_FORBIDDEN);
    q = to_user(ann, bob, "x");
    assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_OK);
    has(peer_push(b, 101), ann);
    has(peer_push(a, 101), ann); /* the sender's own connections too */
    q = to_user(ann, bob, "x");
    assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_RATE_LIMITED); /* its own bucket, which is empty now */
    assert_true(q.op.retry_after_ms > 0 && q.op.retry_after_ms <= 500);
    fails(peer_ask(a, 2, "{\"receiverId\":\"%s\",\"content\":\"x\"}", bob), "rate_limited");
    /* A user that is away has no bucket, and may send. */
    peer_close(e);
    kit_settle(&k);
    q = to_user(eve, ann, "bye");
    assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_OK);
    has(peer_push(a, 101), "bye");
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

static void a_repeated_client_id(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 2);
    k.opt.rate_user = 1;
    kit_start(&k);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    for (int who = 0; who < 2; who++) {
        struct host_send q = to_channel(who ? "ann" : "", "room", "once");
        q.client_id = S("c1");
        assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_OK);
        uint64_t id = q.id;
        assert_false(q.duplicate);
        for (int i = 0; i < 3; i++) {
            q = to_channel(who ? "ann" : "", "room", "once");
            q.client_id = S("c1");
            assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_OK); /* over ann's limit, and yet */
            assert_true(q.duplicate);
            assert_int_equal(q.id, id);
        }
        peer_push(a, 102);
    }
    kit_settle(&k);
    assert_int_equal(peer_left(a), 0);
    peer_close(a);
    kit_end(&k);
}

/* What can be no message is refused before anything is made of it. */
static void sends_that_cannot_be(void **state)
{
    struct kit k;
    char longer[66], longest[301];
    (void)state;
    memset(longer, 'x', 65);
    longer[65] = 0;
    memset(longest, 'x', 300);
    longest[300] = 0;
    kit_open(&k, 2);
    k.opt.content_max = 10;
    kit_start(&k);
    struct peer *a = peer_login(&k, "ann", 0);
    struct host_send cases[] = {
        to_user("", "ann", ""),
        to_user("", "ann", "\xff"),
        to_user("", longer, "x"),
        to_user("", longest, "x"),
        to_user(longer, "ann", "x"),
        to_user("a b", "ann", "x"),
        to_channel("", longer, "x"),
        to_channel("", longest, "x"),
        to_channel("", " r", "x"),
        to_channel(longest, "r", "x"),
        {.content = S("x")},
        {.receiver = S("ann"), .channel = S("r"), .content = S("x")},
        {.receiver = S("ann"), .content = S("x"), .client_id = S(longest)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(KIT_HOST(&k, host_send, &cases[i]), CODE_BAD_REQUEST);
        assert_true(cases[i].op.message[0]);
    }
    struct host_send large = to_user("", "ann", "12345678901");
    assert_int_equal(KIT_HOST(&k, host_send, &large), CODE_TOO_LARGE);
    assert_int_equal(host_push(k.hub, NULL, S(longest), 200, S("{}")), ERR_INVALID);
    assert_int_equal(host_push(k.hub, NULL, S(""), 200, S("{}")), ERR_INVALID);
    assert_int_equal(host_push(k.hub, NULL, S("ann"), 99, S("{}")), ERR_INVALID);
    struct host_user u = {.user = S(longest)};
    assert_int_equal(KIT_HOST(&k, host_user, &u), CODE_NOT_FOUND);
    store_user_load_free(&u.load);
    peer_close(a);
    kit_end(&k);
}

static enum hook_verdict reject(struct hook_call *h, void *ctx)
{
    (void)ctx;
    if (h->event == HOOK_CONVERSATION && slice_eq(h->content, S("drop")))
        return HOOK_DROP;
    if (!slice_eq(h->content, S("bad")))
        return HOOK_PASS;
    h->code = CODE_FORBIDDEN;
    h->message = "no such words";
    return HOOK_REJECT;
}

static void hooks_apply_to_users_and_not_to_the_system(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    kit_hook(&k, HOOK_MESSAGE, 0, reject, NULL);
    struct host_send q = to_channel("ann", "room", "bad");
    assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_FORBIDDEN);
    assert_string_equal(q.op.message, "no such words");
    q = to_channel("", "room", "bad");
    assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_OK);
    kit_hook(&k, HOOK_CONVERSATION, 0, reject, NULL);
    q = to_channel("", "room", "bad");
    assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_OK);
    q = to_channel("ann", "room", "drop");
    assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_OK);
    assert_int_equal(q.seq, 0);
    q = to_channel("", "room", "drop");
    assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_OK);
    assert_int_equal(q.seq, 3);
    peer_close(a);
    kit_end(&k);
}

/* --- Membership --------------------------------------------------------------------------------------------------- */

static void membership_of_anybody(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 0), *bob = kit_id(&k, "bob", 1);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, bob, 0);
    peer_close(b); /* known, and away */
    kit_settle(&k);
    struct host_member q = {.user = S(ann), .channel = S("room")};
    assert_int_equal(KIT_HOST(&k, host_member, &q), CODE_NOT_FOUND); /* no such channel, and it may not make it */
    q = (struct host_member){.user = S(ann), .channel = S("room"), .leave = true};
    assert_int_equal(KIT_HOST(&k, host_member, &q), CODE_NOT_FOUND);
    q = (struct host_member){
        .user = S(ann), .channel = S("room"), .may_create = true, .set_push = true, .push = MODE_ALL};
    assert_int_equal(KIT_HOST(&k, host_member, &q), CODE_OK);
    assert_int_equal(q.members, 1);
    assert_false(q.existed);
    q = (struct host_member){.user = S(bob), .channel = S("room")};
    assert_int_equal(KIT_HOST(&k, host_member, &q), CODE_OK);
    assert_int_equal(q.members, 2);
    q = (struct host_member){.user = S("nobody"), .channel = S("room"), .may_create = true};
    assert_int_equal(KIT_HOST(&k, host_member, &q), CODE_NOT_FOUND);
    q = (struct host_member){.user = S(ann), .channel = S(" "), .may_create = true};
    assert_int_equal(KIT_HOST(&k, host_member, &q), CODE_BAD_REQUEST);
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"1\"}"));
    peer_push(a, 102);
    b = peer_login(&k, bob, 1); /* finds its membership */
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"2\"}"));
    has(peer_push(b, 102), "\"2\"");
    q = (struct host_member){.user = S(bob), .channel = S("room"), .leave = true};
    assert_int_equal(KIT_HOST(&k, host_member, &q), CODE_OK);
    assert_true(q.existed);
    assert_int_equal(q.members, 1);
    fails(peer_ask(b, 4, "{\"channel\":\"room\",\"content\":\"x\"}"), "forbidden");
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"3\"}"));
    kit_settle(&k);
    has(peer_push(b, 112), "\"change\":\"left\",\"members\":1}");
    assert_int_equal(peer_left(b), 0);
    q = (struct host_member){.user = S(bob), .channel = S("room"), .leave = true};
    assert_int_equal(KIT_HOST(&k, host_member, &q), CODE_OK);
    assert_false(q.existed);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* A membership that is made while its user logs in holds for that very connection. */
static void membership_made_during_a_login(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 0);
    struct peer *a = peer_login(&k, ann, 0);
    peer_close(a);
    kit_settle(&k);
    a = peer_open(&k, 1);
    gate_hold(OP_USER_LOAD);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"%s\"}", ann);
    kit_settle(&k);
    struct host_member q = {.user = S(ann), .channel = S("room"), .may_create = true};
    KIT_HOST_BEGIN(&k, host_member, &q);
    kit_settle(&k);
    assert_int_equal(kit_gate.held, 2); /* the login's, and the question whether there is such a user */
    gate_store_next(&kit_gate, 1, STORE_OK);
    KIT_UNTIL(&k, q.op.home == NULL);
    assert_int_equal(q.op.code, CODE_OK);
    gate_open(OP_USER_LOAD);
    works(peer_answer(a, 1, seq));
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"1\"}"));
    has(peer_push(a, 102), "\"1\"");
    peer_close(a);
    kit_end(&k);
}

/* --- Users and pushes --------------------------------------------------------------------------------------------- */

static void users_and_their_connections(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 0);
    struct peer *a = peer_login(&k, ann, 0), *a2 = peer_login(&k, ann, 1);
    works(peer_ask(a, 3, "{\"name\":\"room\",\"push\":\"all\"}"));
    struct host_user u = {.user = S(ann)};
    assert_int_equal(KIT_HOST(&k, host_user, &u), CODE_OK);
    assert_int_equal(u.connections, 2);
    assert_int_equal(u.load.subscription_count, 1);
    assert_true(slice_eq(u.load.name, S(ann)));
    store_user_load_free(&u.load);
    u = (struct host_user){.user = S("nobody")};
    assert_int_equal(KIT_HOST(&k, host_user, &u), CODE_NOT_FOUND);
    store_user_load_free(&u.load);
    assert_int_equal(host_push(k.hub, NULL, S(ann), 777, S("{\"x\":1}")), 0);
    assert_int_equal(host_push(k.hub, NULL, S("nobody"), 777, S("{}")), 0);
    assert_string_equal(peer_push(a, 777), "{\"x\":1}");
    assert_string_equal(peer_push(a2, 777), "{\"x\":1}");
    assert_int_equal(host_push(k.hub, kit_shard(&k, 0), S(ann), 778, S("{}")), 0); /* from a shard's own thread */
    peer_push(a, 778);
    peer_close(a);
    peer_close(a2);
    kit_end(&k);
}

/* More connections than a turn of the loop serves; those that have not logged in hear nothing. */
static void announcements_reach_everybody(void **state)
{
    enum { MANY = 40 };
    struct kit k;
    struct peer *p[MANY];
    char id[16];
    (void)state;
    kit_begin(&k, 2);
    struct peer *stranger = peer_open(&k, 0);
    for (int i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "u%d", i);
        p[i] = peer_login(&k, id, (unsigned)i % 2);
    }
    assert_int_equal(host_announce(k.hub, NULL, S("tea \"time\"")), 0);
    for (int i = 0; i < MANY; i++)
        has(peer_push(p[i], 106), "{\"content\":\"tea \\\"time\\\"\",\"createdAt\":");
    assert_int_equal(host_announce(k.hub, kit_shard(&k, 1), S("again")), 0);
    for (int i = 0; i < MANY; i++)
        has(peer_push(p[i], 106), "again");
    kit_settle(&k);
    assert_int_equal(peer_left(stranger), 0);
    for (int i = 0; i < MANY; i++)
        peer_close(p[i]);
    peer_close(stranger);
    kit_end(&k);
}

static void closing_by_handle(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *a = peer_login(&k, ann, 0);
    uint32_t conn = kit_conn(&k, ann), generation = conn_at(kit_shard(&k, 1)->net, conn)->generation;
    assert_int_equal(host_close(k.hub, NULL, 2, conn, generation, S("x")), ERR_NOTFOUND);
    assert_int_equal(host_close(k.hub, NULL, 1, conn, generation + 1, S("x")), 0);
    assert_int_equal(host_close(k.hub, NULL, 0, conn, generation, S("x")), 0);
    works(peer_ask(a, 9, "{}"));
    assert_int_equal(host_close(k.hub, NULL, 1, conn, generation, S("enough")), 0);
    assert_string_equal(peer_push(a, 105), "{\"reason\":\"kicked\",\"message\":\"enough\"}");
    peer_end(a);
    assert_int_equal(host_close(k.hub, NULL, 1, conn, generation, SLICE_NONE), 0);
    peer_close(a);
    kit_end(&k);
}

/* What is asked for while the hub stops, or after it, is answered; nothing is begun any more. */
static void after_the_end(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    struct host_send early = to_channel("", "room", "x"), late = early;
    struct host_member join = {.user = S("ann"), .channel = S("hall"), .may_create = true};
    struct host_kick kick = {.user = S("ann"), .revoke = true};
    struct host_user user = {.user = S("ann")};
    KIT_HOST_BEGIN(&k, host_send, &early); /* under way when it stops */
    hub_stop(k.hub);
    mailbox_run(&k.main, &k);
    assert_null(early.op.home);
    assert_int_equal(early.op.code, CODE_OK);
    KIT_HOST_BEGIN(&k, host_send, &late);
    KIT_HOST_BEGIN(&k, host_member, &join);
    KIT_HOST_BEGIN(&k, host_kick, &kick);
    KIT_HOST_BEGIN(&k, host_user, &user);
    assert_int_equal(host_announce(k.hub, NULL, S("x")), 0);
    assert_int_equal(host_push(k.hub, NULL, S("ann"), 300, S("{}")), 0);
    assert_int_equal(host_close(k.hub, NULL, 0, 0, 1, SLICE_NONE), 0);
    assert_int_equal(
        auth_finish(k.hub, (struct auth_ticket){.conn = 0, .generation = 1}, &(struct auth_answer){.code = CODE_OK}),
        0);
    hub_pump(k.hub);
    mailbox_run(&k.main, &k);
    assert_null(late.op.home);
    assert_null(join.op.home);
    assert_null(kick.op.home);
    assert_null(user.op.home);
    assert_int_equal(late.op.code, CODE_UNAVAILABLE);
    assert_int_equal(join.op.code, CODE_UNAVAILABLE);
    assert_int_equal(kick.op.code, CODE_UNAVAILABLE);
    assert_int_equal(user.op.code, CODE_UNAVAILABLE);
    store_user_load_free(&user.load);
    KIT_HOST_BEGIN(&k, host_kick, &kick); /* nobody pumps: the last to go does */
    kit_end(&k);
    assert_null(kick.op.home);
    peer_close(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(system_sends_anywhere),
        cmocka_unit_test(in_the_name_of_a_user),
        cmocka_unit_test(a_repeated_client_id),
        cmocka_unit_test(sends_that_cannot_be),
        cmocka_unit_test(hooks_apply_to_users_and_not_to_the_system),
        cmocka_unit_test(membership_of_anybody),
        cmocka_unit_test(membership_made_during_a_login),
        cmocka_unit_test(users_and_their_connections),
        cmocka_unit_test(announcements_reach_everybody),
        cmocka_unit_test(closing_by_handle),
        cmocka_unit_test(after_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
