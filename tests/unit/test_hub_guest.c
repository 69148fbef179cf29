/* Guests: users of mode open whose token was never used again are forgotten, with their memberships; nobody else is. */
#include "hub_kit.h"

#include "core/hub/act/guest.h"
#include "core/hub/people/user.h"

enum { TTL_MS = 40 };

static void begin(struct kit *k, unsigned shards)
{
    kit_open(k, shards);
    strcpy(k->opt.auth_mode, "open");
    k->opt.guest_ms = TTL_MS;
    kit_start(k);
}

static struct peer *newcomer(struct kit *k, unsigned shard, char id[64], char token[256])
{
    struct peer *p = peer_open(k, shard);
    const char *answer = peer_ask(p, 1, "{\"name\":\"Ann\"}");
    assert_int_equal(sscanf(answer, "{\"id\":\"%63[^\"]\",\"name\":\"Ann\",\"token\":\"%250[^\"]\"", id, token), 2);
    return p;
}

/* A hunt, now. */
static void hunt(struct kit *k)
{
    struct shard *s = kit_shard(k, 0);
    kit_settle(k);
    s->sweep_at_ms = 0;
    guests_tick(s);
    kit_settle(k);
}

static bool known(struct kit *k, const char *id)
{
    struct host_user u = {.user = S(id)};
    enum code code = KIT_HOST(k, host_user, &u);
    store_user_load_free(&u.load);
    return code == CODE_OK;
}

static void guests_are_forgotten_with_their_memberships(void **state)
{
    struct kit k;
    char id[64], token[256], other[64], other_token[256];
    (void)state;
    begin(&k, 4);
    struct peer *a = newcomer(&k, 3, id, token), *b = newcomer(&k, 1, other, other_token);
    works(peer_ask(a, 3, "{\"name\":\"one\"}"));
    works(peer_ask(a, 3, "{\"name\":\"two\"}"));
    assert_int_equal(number(peer_ask(b, 3, "{\"name\":\"two\"}"), "members"), 2);
    usleep(2 * TTL_MS * 1000);
    hunt(&k);
    assert_true(known(&k, id)); /* an open connection counts from its end */
    peer_close(a);
    kit_settle(&k);
    hunt(&k);
    assert_true(known(&k, id));
    usleep(2 * TTL_MS * 1000);
    hunt(&k);
    assert_false(known(&k, id));
    assert_int_equal(number(peer_ask(b, 3, "{\"name\":\"two\"}"), "members"), 1);
    struct peer *c = peer_open(&k, 0);
    fails(peer_ask(c, 1, "{\"token\":\"%s\"}", token), "unauthorized");
    peer_close(b);
    peer_close(c);
    kit_end(&k);
}

/* … and with the channels that were theirs alone: there is room for others. */
static void guests_are_forgotten_with_their_channels(void **state)
{
    struct kit k;
    char id[64], token[256], other[64], other_token[256];
    (void)state;
    kit_open(&k, 4);
    strcpy(k.opt.auth_mode, "open");
    k.opt.guest_ms = TTL_MS;
    k.opt.channels_max = 9;
    kit_start(&k);
    struct peer *b = newcomer(&k, 1, other, other_token);
    for (int round = 0; round < 3; round++) {
        struct peer *a = newcomer(&k, 3, id, token);
        for (int i = 0; i < 8; i++)
            works(peer_ask(a, 3, "{\"name\":\"room%d\"}", i));
        works(peer_ask(b, 3, "{\"name\":\"room7\"}"));
        works(peer_ask(b, 3, "{\"name\":\"mine\"}"));
        fails(peer_ask(b, 3, "{\"name\":\"more\"}"), "quota");
        peer_close(a);
        kit_settle(&k);
        fails(peer_ask(b, 3, "{\"name\":\"more\"}"), "quota"); /* its memberships outlive its connection */
        usleep(2 * TTL_MS * 1000);
        hunt(&k);
        hunt(&k);
        assert_false(known(&k, id));
        assert_int_equal(number(peer_ask(b, 3, "{\"name\":\"room7\"}"), "members"), 1);
        for (int i = 0; i < 7; i++) {
            char name[20];
            snprintf(name, sizeof name, "room%d", i);
            struct conv_key key = conv_key_channel(S(name));
            struct conv *v = kit_conv(&k, key);
            assert_null(v);
            works(peer_ask(b, 3, "{\"name\":\"b%d\"}", i));
        }
        fails(peer_ask(b, 3, "{\"name\":\"more\"}"), "quota");
        for (int i = 0; i < 7; i++)
            works(peer_ask(b, 6, "{\"name\":\"b%d\"}", i));
        works(peer_ask(b, 6, "{\"name\":\"room7\"}"));
    }
    peer_close(b);
    kit_end(&k);
}

static void whoever_comes_back_is_no_guest(void **state)
{
    struct kit k;
    char id[64], token[256];
    (void)state;
    begin(&k, 2);
    struct peer *a = newcomer(&k, 0, id, token), *b = peer_open(&k, 1);
    works(peer_ask(b, 1, "{\"token\":\"%s\"}", token));
    peer_close(b);
    peer_close(a);
    usleep(2 * TTL_MS * 1000);
    hunt(&k);
    hunt(&k);
    assert_true(known(&k, id));
    kit_end(&k);
}

/* The store cannot write down that a guest has come back: it is let in all the same, and is no guest from then on; the
 * store hears of it when it can. */
static void coming_back_to_a_full_disk(void **state)
{
    struct kit k;
    char id[64], token[256];
    (void)state;
    begin(&k, 2);
    struct peer *a = newcomer(&k, 0, id, token), *b = peer_open(&k, 1);
    peer_close(a);
    kit_settle(&k);
    gate_fail(OP_USER_SAVE, STORE_RETRY);
    works(peer_ask(b, 1, "{\"token\":\"%s\"}", token));
    unsigned failed = kit_gate.calls[OP_USER_SAVE];
    struct peer *c = peer_open(&k, 0); /* once is enough */
    works(peer_ask(c, 1, "{\"token\":\"%s\"}", token));
    assert_int_equal(kit_gate.calls[OP_USER_SAVE], failed);
    struct shard *s = shard_of(k.hub, S(id));
    for (int i = 0; i < 3; i++) { /* not yet */
        s->owed_at_ms = 0;
        guests_owed_tick(s);
        kit_settle(&k);
        guests_owed_tick(s); /* nor at once again */
        kit_settle(&k);
        assert_int_equal(kit_gate.calls[OP_USER_SAVE], ++failed);
    }
    peer_close(b);
    peer_close(c);
    kit_settle(&k);
    usleep(2 * TTL_MS * 1000);
    hunt(&k);
    assert_true(known(&k, id));
    gate_open(OP_USER_SAVE);
    assert_non_null(s->owed);
    s->owed_at_ms = 0;
    guests_owed_tick(s);
    kit_settle(&k);
    assert_null(s->owed);
    assert_int_equal(kit_user(&k, id), NONE);
    hunt(&k);
    hunt(&k);
    assert_true(known(&k, id));
    kit_end(&k);
}

/* It ends before that. */
static void owed_at_the_end(void **state)
{
    struct kit k;
    char id[64], token[256];
    (void)state;
    begin(&k, 1);
    struct peer *a = newcomer(&k, 0, id, token), *b = peer_open(&k, 0);
    gate_fail(OP_USER_SAVE, STORE_UNKNOWN);
    works(peer_ask(b, 1, "{\"token\":\"%s\"}", token));
    assert_non_null(kit_shard(&k, 0)->owed);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

/* The guest's last connection ends while its login with the token is being stored: what is stored last must not be
 * "guest". */
static void coming_back_while_leaving(void **state)
{
    struct kit k;
    char id[64], token[256];
    (void)state;
    begin(&k, 1);
    struct peer *a = newcomer(&k, 0, id, token), *b = peer_open(&k, 0);
    gate_hold(OP_USER_SAVE);
    uint16_t seq = peer_put(b, 1, "{\"token\":\"%s\"}", token);
    kit_settle(&k);
    assert_int_equal(kit_gate.held, 1);
    peer_close(a);
    kit_settle(&k);
    gate_open(OP_USER_SAVE);
    works(peer_answer(b, 1, seq));
    peer_close(b);
    usleep(2 * TTL_MS * 1000);
    hunt(&k);
    hunt(&k);
    assert_true(known(&k, id));
    kit_end(&k);
}

/* A guest with private messages stays, for the other one's sake. */
static void guests_with_private_messages_stay(void **state)
{
    struct kit k;
    char id[64], token[256], other[64], other_token[256];
    (void)state;
    begin(&k, 2);
    struct peer *a = newcomer(&k, 0, id, token), *b = newcomer(&k, 1, other, other_token);
    works(peer_ask(a, 2, "{\"receiverId\":\"%s\",\"content\":\"hello\"}", other));
    peer_close(a);
    peer_close(b);
    kit_settle(&k);
    usleep(2 * TTL_MS * 1000);
    hunt(&k);
    hunt(&k);
    assert_true(known(&k, id));
    assert_true(known(&k, other));
    kit_end(&k);
}

/* A login that comes while the guest is being forgotten waits; whether it is let in depends on how that ends. */
static void a_login_during_the_forgetting(void **state)
{
    static const struct {
        enum store_op_kind held;
        enum store_status status;
        bool stays;
    } cases[] = {
        {OP_USER_LOAD, STORE_OK, false},      {OP_MEMBER_DEL, STORE_OK, false},   {OP_USER_FORGET, STORE_OK, false},
        {OP_USER_LOAD, STORE_RETRY, true},    {OP_MEMBER_DEL, STORE_RETRY, true}, {OP_USER_FORGET, STORE_RETRY, true},
        {OP_USER_FORGET, STORE_DENIED, true},
    };
    struct kit k;
    char id[64], token[256];
    (void)state;
    begin(&k, 2);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct peer *a = newcomer(&k, (unsigned)i % 2, id, token);
        works(peer_ask(a, 3, "{\"name\":\"room\"}"));
        peer_close(a);
        kit_settle(&k);
        usleep(2 * TTL_MS * 1000);
        gate_hold(cases[i].held);
        hunt(&k);
        assert_int_equal(kit_gate.held, 1);
        assert_int_equal(user_at(shard_of(k.hub, S(id)), kit_user(&k, id))->state, USER_FORGETTING);
        a = peer_open(&k, 0);
        uint16_t seq = peer_put(a, 1, "{\"token\":\"%s\"}", token);
        struct host_kick kick = {.user = S(id)};
        KIT_HOST_BEGIN(&k, host_kick, &kick); /* and a kick waits likewise */
        kit_settle(&k);
        assert_int_equal(peer_left(a), 0);
        gate_next(cases[i].status);
        gate_open(cases[i].held);
        KIT_UNTIL(&k, kick.op.home == NULL);
        assert_int_equal(kick.op.code, cases[i].stays ? CODE_OK : CODE_NOT_FOUND);
        if (cases[i].stays)
            has(peer_push(a, 105),
                "kicked"); /* with its login under way: the kick's turn comes while it is stored that it is no guest */
        else
            fails(peer_answer(a, 1, seq), "unauthorized");
        peer_close(a);
        kit_settle(&k);
        assert_int_equal(kit_user(&k, id), NONE);
        assert_int_equal(known(&k, id), cases[i].stays);
    }
    kit_end(&k);
}

/* limits.guest 0: never. */
static void without_a_limit_nobody_is_hunted(void **state)
{
    struct kit k;
    char id[64], token[256];
    (void)state;
    kit_open(&k, 1);
    strcpy(k.opt.auth_mode, "open");
    kit_start(&k);
    struct peer *a = newcomer(&k, 0, id, token);
    peer_close(a);
    hunt(&k);
    assert_int_equal(kit_gate.calls[OP_GUESTS_DUE], 0);
    assert_int_equal(kit_gate.calls[OP_USER_SAVE], 1);
    kit_end(&k);
}

/* More than one batch: the hunt goes on by itself. */
static void many_guests(void **state)
{
    enum { MANY = 300 };
    struct kit k;
    char id[64], token[256];
    (void)state;
    begin(&k, 2);
    for (int i = 0; i < MANY; i++)
        peer_close(newcomer(&k, 0, id, token));
    kit_settle(&k);
    usleep(2 * TTL_MS * 1000);
    kit_shard(&k, 0)->sweep_at_ms = 0;
    KIT_UNTIL(&k, atomic_load(&kit_gate.calls[OP_USER_FORGET]) >= MANY);
    kit_settle(&k);
    assert_false(known(&k, id));
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guests_are_forgotten_with_their_memberships),
        cmocka_unit_test(guests_are_forgotten_with_their_channels),
        cmocka_unit_test(whoever_comes_back_is_no_guest),
        cmocka_unit_test(coming_back_while_leaving),
        cmocka_unit_test(coming_back_to_a_full_disk),
        cmocka_unit_test(owed_at_the_end),
        cmocka_unit_test(guests_with_private_messages_stay),
        cmocka_unit_test(a_login_during_the_forgetting),
        cmocka_unit_test(without_a_limit_nobody_is_hunted),
        cmocka_unit_test(many_guests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
