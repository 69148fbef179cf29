/* Kicks: of the present, the absent and the unknown, with and without the end of their tokens, and of users whose login
 * is under way. */
#include "hub_kit.h"

#include "core/hub/shard/token.h"

static void kicks_close_every_connection(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, ann, 1), *c = peer_login(&k, kit_id(&k, "cat", 1), 1);
    struct host_kick q = {.user = S(ann), .message = S("too \"loud\"")};
    assert_int_equal(KIT_HOST(&k, host_kick, &q), CODE_OK);
    assert_int_equal(q.connections, 2);
    assert_string_equal(peer_push(a, 105), "{\"reason\":\"kicked\",\"message\":\"too \\\"loud\\\"\"}");
    peer_push(b, 105);
    peer_end(a);
    peer_end(b);
    works(peer_ask(c, 9, "{}"));
    q = (struct host_kick){.user = S(ann)};
    assert_int_equal(KIT_HOST(&k, host_kick, &q), CODE_OK); /* known, and away */
    assert_int_equal(q.connections, 0);
    q = (struct host_kick){.user = S("nobody")};
    assert_int_equal(KIT_HOST(&k, host_kick, &q), CODE_NOT_FOUND);
    q = (struct host_kick){.user = S("nobody"), .revoke = true};
    assert_int_equal(KIT_HOST(&k, host_kick, &q), CODE_NOT_FOUND);
    q = (struct host_kick){.user = S("no body"), .revoke = true};
    assert_int_equal(KIT_HOST(&k, host_kick, &q), CODE_NOT_FOUND);
    assert_int_equal(kit_user(&k, "nobody"), NONE);
    peer_close(a);
    peer_close(b);
    peer_close(c);
    kit_end(&k);
}

/* A client of mode open: its id and token. */
static struct peer *newcomer(struct kit *k, char id[64], char token[TOKEN_MAX + 1])
{
    struct peer *p = peer_open(k, 0);
    const char *answer = peer_ask(p, 1, "{\"name\":\"Ann\"}");
    assert_int_equal(sscanf(answer, "{\"id\":\"%63[^\"]\",\"name\":\"Ann\",\"token\":\"%160[^\"]\"", id, token), 2);
    return p;
}

static void open_kit(struct kit *k, unsigned shards)
{
    kit_open(k, shards);
    strcpy(k->opt.auth_mode, "open");
    kit_start(k);
}

static void revoking_ends_every_token(void **state)
{
    struct kit k;
    char id[64], token[TOKEN_MAX + 1];
    (void)state;
    open_kit(&k, 2);
    for (int present = 0; present < 2; present++) {
        struct peer *a = newcomer(&k, id, token);
        if (!present) {
            peer_close(a);
            kit_settle(&k);
        }
        struct host_kick q = {.user = S(id), .revoke = true};
        assert_int_equal(KIT_HOST(&k, host_kick, &q), CODE_OK);
        assert_int_equal(q.connections, present);
        if (present) {
            peer_end(a);
            peer_close(a);
        }
        a = peer_open(&k, 1);
        fails(peer_ask(a, 1, "{\"token\":\"%s\"}", token), "unauthorized");
        peer_close(a);
    }
    kit_end(&k);
}

/* What cannot be stored is not in force: the token goes on working, and the connections stay. */
static void revoking_that_fails(void **state)
{
    struct kit k;
    char id[64], token[TOKEN_MAX + 1];
    (void)state;
    open_kit(&k, 1);
    struct peer *a = newcomer(&k, id, token), *b = peer_open(&k, 0);
    gate_fail(OP_USER_SAVE, STORE_RETRY);
    struct host_kick q = {.user = S(id), .revoke = true};
    assert_int_equal(KIT_HOST(&k, host_kick, &q), CODE_UNAVAILABLE);
    fails(peer_ask(a, 16, "{}"), "unavailable");
    gate_open(OP_USER_SAVE);
    works(peer_ask(a, 9, "{}"));
    works(peer_ask(b, 1, "{\"token\":\"%s\"}", token));
    /* Perhaps stored: then no old token may work. */
    gate_fail(OP_USER_SAVE, STORE_UNKNOWN);
    q = (struct host_kick){.user = S(id), .revoke = true};
    assert_int_equal(KIT_HOST(&k, host_kick, &q), CODE_UNAVAILABLE);
    gate_open(OP_USER_SAVE);
    struct peer *c = peer_open(&k, 0);
    fails(peer_ask(c, 1, "{\"token\":\"%s\"}", token), "unauthorized");
    peer_close(a);
    peer_close(b);
    peer_close(c);
    kit_end(&k);
}

/* The user is being loaded: the kick waits for that, without spinning, and then finds it. */
static void a_kick_during_the_first_login(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    for (int revoke = 0; revoke < 2; revoke++) {
        struct shard *s = kit_shard(&k, 1);
        gate_hold(OP_USER_LOAD);
        struct peer *a = peer_open(&k, 0);
        uint16_t seq = peer_put(a, 1, "{\"token\":\"%s\"}", ann);
        kit_settle(&k);
        struct host_kick q = {.user = S(ann), .revoke = revoke};
        KIT_HOST_BEGIN(&k, host_kick, &q);
        kit_settle(&k); /* which would not come to an end if it went round and round */
        assert_non_null(s->parked);
        assert_non_null(q.op.home);
        gate_open(OP_USER_LOAD);
        works(peer_answer(a, 1, seq));
        KIT_UNTIL(&k, q.op.home == NULL);
        assert_int_equal(q.op.code, CODE_OK);
        assert_int_equal(q.connections, 1);
        peer_end(a);
        peer_close(a);
        kit_settle(&k);
    }
    kit_end(&k);
}

/* Nothing comes of the login that a kick waited for. */
static void a_kick_during_a_login_that_fails(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    gate_hold(OP_USER_LOAD);
    struct peer *a = peer_open(&k, 0);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"ann\"}");
    kit_settle(&k);
    struct host_kick q[3];
    for (int i = 0; i < 3; i++) {
        q[i] = (struct host_kick){.user = S("ann"), .revoke = i % 2};
        KIT_HOST_BEGIN(&k, host_kick, &q[i]);
    }
    kit_settle(&k);
    gate_next(STORE_RETRY);
    fails(peer_answer(a, 1, seq), "unavailable");
    gate_open(OP_USER_LOAD);
    for (int i = 0; i < 3; i++) {
        KIT_UNTIL(&k, q[i].op.home == NULL);
        assert_int_equal(q[i].op.code, CODE_NOT_FOUND);
    }
    peer_close(a);
    kit_end(&k);
}

/* A second login of a known user is under way when it is kicked: it does not slip through. */
static void a_kick_during_a_further_login(void **state)
{
    struct kit k;
    char id[64], token[TOKEN_MAX + 1];
    (void)state;
    open_kit(&k, 1);
    for (int step = 0; step < 2; step++) {
        enum store_op_kind op = step ? OP_USER_SAVE : OP_USER_LOAD;
        struct peer *a = newcomer(&k, id, token), *b = peer_open(&k, 0);
        gate_hold(op);
        uint16_t seq = peer_put(b, 1, "{\"token\":\"%s\",\"name\":\"Other\"}", token);
        kit_settle(&k);
        assert_int_equal(kit_gate.held, 1);
        struct host_kick q = {.user = S(id), .revoke = true};
        KIT_HOST_BEGIN(&k, host_kick, &q);
        kit_settle(&k);
        gate_open(op);
        KIT_UNTIL(&k, q.op.home == NULL);
        assert_int_equal(q.op.code, CODE_OK);
        peer_end(a);
        if (step) { /* its rename was stored before */
            fails(peer_answer(b, 1, seq), "unauthorized");
            fails(peer_ask(b, 1, "{\"token\":\"%s\"}", token), "unauthorized");
        } else {
            has(peer_push(b, 105), "kicked");
            peer_end(b);
        }
        peer_close(a);
        peer_close(b);
        kit_settle(&k);
        assert_int_equal(kit_user(&k, id), NONE);
    }
    /* Without the end of tokens too: what is under way is closed. */
    struct peer *a = newcomer(&k, id, token), *b = peer_open(&k, 0);
    gate_hold(OP_USER_LOAD);
    peer_put(b, 1, "{\"token\":\"%s\"}", token);
    kit_settle(&k);
    struct host_kick q = {.user = S(id)};
    assert_int_equal(KIT_HOST(&k, host_kick, &q), CODE_OK);
    assert_int_equal(q.connections, 2);
    gate_open(OP_USER_LOAD);
    has(peer_push(b, 105), "kicked");
    peer_end(a);
    peer_end(b);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* A login that comes while an absent user's tokens are being ended waits, and is refused. */
static void a_login_during_a_kick(void **state)
{
    static const enum store_op_kind steps[] = {OP_USER_LOAD, OP_USER_SAVE};
    struct kit k;
    char id[64], token[TOKEN_MAX + 1];
    (void)state;
    open_kit(&k, 1);
    for (int i = 0; i < 2; i++) {
        struct peer *a = newcomer(&k, id, token);
        works(peer_ask(a, 3, "{\"name\":\"room\"}"));
        peer_close(a);
        kit_settle(&k);
        gate_hold(steps[i]);
        struct host_kick q = {.user = S(id), .revoke = true};
        KIT_HOST_BEGIN(&k, host_kick, &q);
        kit_settle(&k);
        a = peer_open(&k, 0);
        uint16_t seq = peer_put(a, 1, "{\"token\":\"%s\"}", token);
        kit_settle(&k);
        assert_int_equal(peer_left(a), 0);
        gate_open(steps[i]);
        KIT_UNTIL(&k, q.op.home == NULL);
        assert_int_equal(q.op.code, CODE_OK);
        fails(peer_answer(a, 1, seq), "unauthorized");
        peer_close(a);
        kit_settle(&k);
    }
    kit_end(&k);
}

/* One who comes for the first time, by a provider, while its tokens are ended, is let in. */
static void a_first_login_during_a_kick(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    gate_hold(OP_USER_LOAD);
    struct host_kick q = {.user = S("ann"), .revoke = true};
    KIT_HOST_BEGIN(&k, host_kick, &q);
    kit_settle(&k);
    struct peer *a = peer_open(&k, 0);
    uint16_t seq = peer_put(a, 1, "{\"token\":\"ann\"}");
    kit_settle(&k);
    gate_open(OP_USER_LOAD);
    KIT_UNTIL(&k, q.op.home == NULL);
    assert_int_equal(q.op.code, CODE_NOT_FOUND);
    works(peer_answer(a, 1, seq));
    peer_close(a);
    kit_end(&k);
}

/* Kicks that wait are answered when the hub stops. */
static void the_hub_stops_during_kicks(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    gate_hold(OP_USER_LOAD);
    struct peer *a = peer_open(&k, 0);
    peer_put(a, 1, "{\"token\":\"%s\"}", ann);
    kit_settle(&k);
    struct host_kick q = {.user = S(ann)}, r = {.user = S(ann), .revoke = true};
    KIT_HOST_BEGIN(&k, host_kick, &q);
    KIT_HOST_BEGIN(&k, host_kick, &r);
    kit_settle(&k);
    kit_end(&k);
    assert_null(q.op.home);
    assert_null(r.op.home);
    peer_close(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kicks_close_every_connection),
        cmocka_unit_test(revoking_ends_every_token),
        cmocka_unit_test(revoking_that_fails),
        cmocka_unit_test(a_kick_during_the_first_login),
        cmocka_unit_test(a_kick_during_a_login_that_fails),
        cmocka_unit_test(a_kick_during_a_further_login),
        cmocka_unit_test(a_login_during_a_kick),
        cmocka_unit_test(a_first_login_during_a_kick),
        cmocka_unit_test(the_hub_stops_during_kicks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
