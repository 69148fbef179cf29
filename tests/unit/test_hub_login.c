/* Logins: from shard to shard, several at once, devices, renames, what comes meanwhile, a store that fails, connections
 * that go. */
#include "hub_kit.h"

#include "core/hub/people/ban.h"
#include "core/hub/host/host_member.h"
#include "core/hub/people/user.h"
#include "core/hub/shard/token.h"
#include "core/net/net.h"

/* Wherever a client comes in, its connection ends up with its user's shard, with all that it had sent already. */
static void the_connection_moves_to_its_user(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 4);
    for (unsigned from = 0; from < 4; from++)
        for (unsigned to = 0; to < 4; to++) {
            const char *id = kit_id(&k, "mover", to);
            struct peer *p = peer_open(&k, from);
            uint16_t login = peer_put(p, 1, "{\"token\":\"%s\"}", id);
            uint16_t join = peer_put(p, 3, "{\"name\":\"room\"}");
            uint16_t send = peer_put(p, 4, "{\"channel\":\"room\",\"content\":\"hello\"}");
            has(peer_answer(p, 1, login), id);
            works(peer_answer(p, 3, join));
            works(peer_answer(p, 4, send));
            has(peer_push(p, 102), "hello");
            for (unsigned i = 0; i < 4; i++)
                assert_int_equal(net_count(kit_shard(&k, i)->net), i == to);
            peer_close(p);
            kit_settle(&k);
        }
    kit_end(&k);
}

static void open_mode(void **state)
{
    struct kit k;
    char id[64], token[TOKEN_MAX + 1];
    (void)state;
    kit_open(&k, 4);
    strcpy(k.opt.auth_mode, "open");
    kit_start(&k);
    struct peer *a = peer_open(&k, 2);
    fails(peer_ask(a, 1, "{}"), "bad_request");
    fails(peer_ask(a, 1, "{\"name\":\"\"}"), "bad_request");
    fails(peer_ask(a, 1, "{\"name\":\"Ann\",\"token\":\"\"}"), "unauthorized");
    fails(peer_ask(a, 1, "{\"name\":\"Ann\",\"token\":\"forged\"}"), "unauthorized");
    const char *answer = peer_ask(a, 1, "{\"name\":\"Ann\"}");
    assert_int_equal(
        sscanf(answer, "{\"id\":\"%63[^\"]\",\"name\":\"Ann\",\"token\":\"%160[^\"]\",\"inbox\":0", id, token), 2);
    assert_ptr_equal(shard_of(k.hub, S(id)), kit_shard(&k, 2)); /* it need not move */
    assert_true(user_at(kit_shard(&k, 2), kit_user(&k, id))->guest);
    /* The same user again, elsewhere, with another name. */
    struct peer *b = peer_open(&k, 1);
    answer = peer_ask(b, 1, "{\"token\":\"%s\",\"name\":\"Anna\"}", token);
    has(answer, id);
    has(answer, "\"name\":\"Anna\"");
    assert_false(user_at(kit_shard(&k, 2), kit_user(&k, id))->guest);
    /* Logging out ends every token. */
    works(peer_ask(b, 16, "{}"));
    peer_end(b);
    struct peer *c = peer_open(&k, 0);
    fails(peer_ask(c, 1, "{\"token\":\"%s\"}", token), "unauthorized");
    struct peer *d = peer_open(&k, 2);
    fails(peer_ask(d, 1, "{\"token\":\"%s\"}", token), "unauthorized");
    peer_close(a);
    peer_close(b);
    peer_close(c);
    peer_close(d);
    kit_end(&k);
}

static void a_valid_token_of_nobody(void **state)
{
    struct kit k;
    char token[TOKEN_MAX + 1];
    (void)state;
    kit_open(&k, 2);
    strcpy(k.opt.auth_mode, "open");
    kit_start(&k);
    struct token_key key = {0};
    assert_int_equal(token_key_set(&key, k.opt.secret), 0);
    token_make(token, &key, S("nobody"), 0, clock_wall_ms());
    token_key_fini(&key);
    struct peer *a = peer_open(&k, 0), *b = peer_open(&k, 1);
    uint16_t one = peer_put(a, 1, "{\"token\":\"%s\"}", token), two = peer_put(b, 1, "{\"token\":\"%s\"}", token);
    fails(peer_answer(a, 1, one), "unauthorized");
    fails(peer_answer(b, 1, two), "unauthorized");
    /* Either may try again, as somebody else. */
    has(peer_ask(a, 1, "{\"name\":\"A\"}"), "token");
    has(peer_ask(b, 1, "{\"name\":\"B\"}"), "token");
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* Many logins of one user at once: one asks for what is known of it, the others wait. */
static void logins_of_one_user_wait_for_the_first(void **state)
{
    struct kit k;
    struct peer *p[8];
    uint16_t seq[8];
    (void)state;
    kit_begin(&k, 2);
    gate_hold(OP_USER_LOAD);
    for (int i = 0; i < 8; i++) {
        p[i] = peer_open(&k, (unsigned)i % 2);
        seq[i] = peer_put(p[i], 1, "{\"token\":\"%s\",\"name\":\"Ann\"}", kit_id(&k, "ann", 1));
    }
    kit_settle(&k);
    assert_int_equal(kit_gate.held, 1);
    peer_reset(p[7]); /* one goes while it waits */
    gate_open(OP_USER_LOAD);
    for (int i = 0; i < 7; i++)
        has(peer_answer(p[i], 1, seq[i]), "\"name\":\"Ann\"");
    assert_int_equal(kit_gate.calls[OP_USER_SAVE], 1);
    works(peer_ask(p[0], 3, "{\"name\":\"room\"}"));
    works(peer_ask(p[3], 4, "{\"channel\":\"room\",\"content\":\"x\"}"));
    for (int i = 0; i < 7; i++)
        has(peer_push(p[i], 102), "\"x\"");
    for (int i = 0; i < 7; i++)
        peer_close(p[i]);
    kit_end(&k);
}

/* The loader's store fails: all who wait are told, and the next try finds nothing in its way. */
static void a_failing_store_refuses_all_who_wait(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *id = kit_id(&k, "ann", 0);
    for (int round = 0; round < 2; round++) {
        enum store_op_kind op = round ? OP_USER_SAVE : OP_USER_LOAD;
        gate_hold(op);
        struct peer *a = peer_open(&k, 0), *b = peer_open(&k, 1);
        uint16_t one = peer_put(a, 1, "{\"token\":\"%s\"}", id);
        kit_settle(&k);
        uint16_t two = peer_put(b, 1, "{\"token\":\"%s\"}", id);
        kit_settle(&k);
        gate_next(STORE_RETRY);
        fails(peer_answer(a, 1, one), "unavailable");
        fails(peer_answer(b, 1, two), "unavailable");
        kit_settle(&k);
        assert_int_equal(kit_user(&k, id), NONE);
        gate_open(op);
        has(peer_ask(a, 1, "{\"token\":\"%s\"}", id), id);
        has(peer_ask(b, 1, "{\"token\":\"%s\"}", id), id);
        peer_close(a);
        peer_close(b);
        kit_settle(&k);
        id = kit_id(&k, "other", 0);
    }
    kit_end(&k);
}

/* A rename that cannot be stored is none; whoever comes back is let in all the same. */
static void a_rename_that_fails(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_open(&k, 0);
    gate_fail(OP_USER_SAVE, STORE_RETRY);
    has(peer_ask(b, 1, "{\"token\":\"ann\",\"name\":\"Queen\"}"), "\"name\":\"ann\"");
    gate_open(OP_USER_SAVE);
    struct peer *c = peer_open(&k, 0);
    has(peer_ask(c, 1, "{\"token\":\"ann\"}"), "\"name\":\"ann\"");
    works(peer_ask(a, 9, "{}"));
    peer_close(a);
    peer_close(b);
    peer_close(c);
    kit_end(&k);
}

static void the_same_device_replaces(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *id = kit_id(&k, "ann", 1);
    struct peer *p[3];
    for (int i = 0; i < 3; i++)
        p[i] = peer_open(&k, 0);
    works(peer_ask(p[0], 1, "{\"token\":\"%s\",\"device\":\"phone\"}", id));
    works(peer_ask(p[1], 1, "{\"token\":\"%s\",\"device\":\"desk\"}", id));
    works(peer_ask(p[2], 1, "{\"token\":\"%s\",\"device\":\"phone\"}", id));
    has(peer_push(p[0], 105), "\"reason\":\"replaced\"");
    peer_end(p[0]);
    works(peer_ask(p[1], 9, "{}"));
    works(peer_ask(p[2], 9, "{}"));
    fails(peer_ask(p[2], 1, "{}"), "forbidden");
    for (int i = 0; i < 3; i++)
        peer_close(p[i]);
    kit_end(&k);
}

/* A message that is stored while the inbox is being counted is counted. */
static void messages_during_a_login(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 0), *bob = kit_id(&k, "bob", 1);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, bob, 0);
    peer_close(a);
    kit_settle(&k);
    gate_hold(OP_USER_LOAD);
    a = peer_open(&k, 0);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"%s\"}", ann);
    kit_settle(&k);
    gate_next(STORE_OK); /* it is read … */
    KIT_UNTIL(&k, kit_gate.held == 0);
    usleep(20000);
    works(peer_ask(b, 2, "{\"receiverId\":\"%s\",\"content\":\"late\"}",
                   ann)); /* … and a message comes before the answer, or after it */
    kit_settle(&k);
    gate_open(OP_USER_LOAD);
    const char *answer = peer_answer(a, 1, seq);
    kit_settle(&k);
    if (number(answer, "inbox") == 1)
        assert_int_equal(number(peer_push(a, 103), "inbox"), 1);
    else
        has(peer_push(a, 101), "late");
    assert_int_equal(peer_left(a), 0); /* told once */
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* Messages without end do not keep a user out; it hears that there are some. */
static void messages_without_end(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct peer *a = peer_login(&k, "ann", 0);
    peer_close(a);
    kit_settle(&k);
    gate_hold(OP_USER_LOAD);
    a = peer_open(&k, 0);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"ann\"}");
    kit_settle(&k);
    unsigned rounds = 0;
    while (!peer_look(a, 1, seq) && ++rounds < 20) {
        assert_int_equal(kit_gate.held, 1);
        login_missed(kit_shard(&k, 0), kit_user(&k, "ann"));
        gate_next(STORE_OK);
        kit_settle(&k);
    }
    assert_true(rounds < 10);
    assert_int_equal(number(peer_answer(a, 1, seq), "inbox"), 1);
    peer_push(a, 103);
    gate_open(OP_USER_LOAD);
    peer_close(a);
    kit_end(&k);
}

/* A membership that ends while the user is read stays ended, although what is read still has it. */
static void a_membership_that_ends_during_a_login(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 0), *room = kit_channel(&k, "room", 1);
    struct peer *a = peer_login(&k, ann, 0);
    works(peer_ask(a, 3, "{\"name\":\"%s\"}", room));
    peer_close(a);
    kit_settle(&k);
    /* Read before the end, answered after it: the gate keeps a copy of what was read. */
    gate_hold(OP_USER_LOAD);
    a = peer_open(&k, 0);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"%s\"}", ann);
    kit_settle(&k);
    struct shard *s = kit_shard(&k, 0);
    struct host_member q = {.user = S(ann), .channel = S(room), .leave = true};
    assert_int_equal(KIT_HOST(&k, host_member, &q), CODE_OK);
    assert_true(q.existed);
    assert_true(user_at(s, kit_user(&k, ann))->waiting->stale);
    assert_int_equal(kit_gate.held, 1);
    gate_next(STORE_OK);
    kit_settle(&k);
    assert_int_equal(kit_gate.held, 1); /* it is read again */
    gate_open(OP_USER_LOAD);
    works(peer_answer(a, 1, seq));
    assert_int_equal(user_at(s, kit_user(&k, ann))->first_sub, NONE);
    peer_close(a);
    kit_end(&k);
}

/* A ban that comes into force while its user logs in: it is not let in, although it had been let through before. */
static void a_ban_during_a_login(void **state)
{
    struct kit k;
    struct ban_key key;
    bool existed;
    (void)state;
    kit_begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    gate_hold(OP_USER_SAVE);
    struct peer *a = peer_open(&k, 0);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"%s\"}", ann);
    kit_settle(&k);
    assert_int_equal(kit_gate.held, 1);
    assert_true(ban_key_make(&key, BAN_USER, S(ann), SLICE_NONE, SLICE_NONE));
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(
            ban_apply(kit_shard(&k, i), &key, &(struct ban_span){.until_ms = BAN_FOREVER}, S("noise"), false, &existed),
            0);
    gate_open(OP_USER_SAVE);
    const char *answer = peer_answer(a, 1, seq);
    fails(answer, "forbidden");
    has(answer, "noise");
    fails(peer_ask(a, 1, "{\"token\":\"%s\"}", ann), "forbidden");
    works(peer_ask(a, 1, "{\"token\":\"%s\"}", kit_id(&k, "bob", 1)));
    peer_close(a);
    kit_end(&k);
}

/* A connection that goes at any step of its login leaves nothing. */
static void a_connection_that_goes_during_its_login(void **state)
{
    static const enum store_op_kind steps[] = {OP_USER_LOAD, OP_USER_SAVE};
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    for (unsigned i = 0; i < 4; i++) {
        const char *id = kit_id(&k, i / 2 ? "two" : "one", i % 2);
        gate_hold(steps[i / 2]);
        struct peer *a = peer_open(&k, 0);
        peer_put(a, 1, "{\"token\":\"%s\",\"device\":\"phone\"}", id);
        kit_settle(&k);
        peer_reset(a);
        kit_settle(&k);
        assert_int_equal(net_count(kit_shard(&k, 0)->net) + net_count(kit_shard(&k, 1)->net), 0);
        gate_open(steps[i / 2]);
        kit_settle(&k);
        assert_int_equal(kit_user(&k, id), NONE);
    }
    /* Before it has even moved. */
    struct peer *b = peer_open(&k, 0);
    peer_put(b, 1, "{\"token\":\"%s\"}", kit_id(&k, "three", 1));
    ev_run(kit_shard(&k, 0)->loop, EVRUN_NOWAIT);
    ev_run(kit_shard(&k, 0)->loop, EVRUN_NOWAIT);
    peer_reset(b);
    kit_settle(&k);
    assert_int_equal(net_count(kit_shard(&k, 0)->net) + net_count(kit_shard(&k, 1)->net), 0);
    kit_end(&k);
}

/* The hub may stop with logins at any step. */
static void the_hub_stops_during_logins(void **state)
{
    struct kit k;
    struct peer *p[8];
    (void)state;
    kit_begin(&k, 2);
    gate_hold(OP_USER_LOAD);
    for (unsigned i = 0; i < 8; i++) {
        p[i] = peer_open(&k, i % 2);
        peer_put(p[i], 1, "{\"token\":\"%s\"}", kit_id(&k, "ann", i / 2 % 2));
        if (i < 6)
            kit_settle(&k);
        else
            kit_turn(&k);
    }
    kit_end(&k);
    for (unsigned i = 0; i < 8; i++)
        peer_close(p[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_connection_moves_to_its_user),
        cmocka_unit_test(open_mode),
        cmocka_unit_test(a_valid_token_of_nobody),
        cmocka_unit_test(logins_of_one_user_wait_for_the_first),
        cmocka_unit_test(a_failing_store_refuses_all_who_wait),
        cmocka_unit_test(a_rename_that_fails),
        cmocka_unit_test(the_same_device_replaces),
        cmocka_unit_test(messages_during_a_login),
        cmocka_unit_test(messages_without_end),
        cmocka_unit_test(a_membership_that_ends_during_a_login),
        cmocka_unit_test(a_ban_during_a_login),
        cmocka_unit_test(a_connection_that_goes_during_its_login),
        cmocka_unit_test(the_hub_stops_during_logins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
