/* Authentication providers: answers at once, later, twice, never, wrong ones; connections and providers that go
 * meanwhile. */
#include "hub_kit.h"
#include "core/hub/act/provider.h"
#include "core/hub/host/host.h"

static struct auth_answer in(const char *id, const char *name)
{
    struct auth_answer a = {.code = CODE_OK, .id_len = (uint8_t)strlen(id), .name_len = (uint8_t)strlen(name)};
    memcpy(a.id, id, strlen(id) < 64 ? strlen(id) : 64);
    memcpy(a.name, name, strlen(name) < 64 ? strlen(name) : 64);
    return a;
}

static struct auth_answer out(enum code code, const char *message, uint32_t ms)
{
    struct auth_answer a = {.code = code, .retry_after_ms = ms};
    snprintf(a.message, sizeof a.message, "%s", message);
    return a;
}

/* Whatever shard the client came to, and whatever shard its user is of. */
static void answers_that_come_later(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 2);
    k.later = true;
    kit_start(&k);
    for (unsigned i = 0; i < 4; i++) {
        const char *id = kit_id(&k, "ann", i / 2);
        struct peer *p = peer_open(&k, i % 2);
        uint16_t login = peer_put(p, 1, "{\"token\":\"T\",\"name\":\"Client\"}"), ping = peer_put(p, 9, "{}");
        kit_settle(&k);
        assert_int_equal(k.ticket_count, 1);
        assert_int_equal(peer_left(p), 0); /* the frame behind it waits */
        struct auth_answer a = in(id, i % 2 ? "Provided" : "");
        assert_int_equal(auth_finish(k.hub, k.tickets[0], &a), 0);
        const char *answer = peer_answer(p, 1, login);
        has(answer, id);
        has(answer, i % 2 ? "\"name\":\"Provided\"" : "\"name\":\"Client\"");
        has(answer, "\"token\":\"T\""); /* its own, handed back */
        has(peer_answer(p, 9, ping), "time");
        assert_int_equal(auth_finish(k.hub, k.tickets[0], &a), 0); /* once more: passed over */
        kit_settle(&k);
        works(peer_ask(p, 9, "{}"));
        k.ticket_count = 0;
        peer_close(p);
        kit_settle(&k);
    }
    assert_int_equal(auth_finish(k.hub, (struct auth_ticket){.shard = 2}, &(struct auth_answer){.code = CODE_OK}),
                     ERR_NOMEM);
    kit_end(&k);
}

static void refusals(void **state)
{
    static const struct {
        enum code code;
        const char *name;
    } cases[] = {{CODE_UNAUTHORIZED, "unauthorized"},
                 {CODE_FORBIDDEN, "forbidden"},
                 {CODE_RATE_LIMITED, "rate_limited"},
                 {CODE_UNAVAILABLE, "unavailable"}};
    struct kit k;
    (void)state;
    kit_open(&k, 2);
    k.later = true;
    kit_start(&k);
    struct peer *p = peer_open(&k, 0);
    for (size_t i = 0; i < 4; i++) {
        uint16_t seq = peer_put(p, 1, "{\"token\":\"T\"}");
        kit_settle(&k);
        struct auth_answer a = out(cases[i].code, "no, \"sorry\"", 77);
        assert_int_equal(auth_finish(k.hub, k.tickets[0], &a), 0);
        const char *answer = peer_answer(p, 1, seq);
        fails(answer, cases[i].name);
        has(answer, "no, \\\"sorry\\\"");
        if (cases[i].code == CODE_RATE_LIMITED)
            has(answer, "\"retryAfter\":77");
        k.ticket_count = 0;
    }
    k.later = false;
    works(peer_ask(p, 1, "{\"token\":\"ann\"}")); /* and then it is let in */
    peer_close(p);
    kit_end(&k);
}

/* Ids and names that cannot be one: an error of the provider, not of the client. */
static void answers_that_cannot_be(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 1);
    k.later = true;
    kit_start(&k);
    log_set_level(LOG_ERROR + 1);
    struct auth_answer cases[] = {in("", ""),        in("system", ""), in("a b", ""), in("ann", "bad\x01name"),
                                  in("ann", "\xff"), in("ann", ""),    in("ann", "")};
    cases[5].id_len = 65;
    cases[6].name_len = 200;
    struct peer *p = peer_open(&k, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint16_t seq = peer_put(p, 1, "{\"token\":\"T\"}");
        kit_settle(&k);
        assert_int_equal(auth_finish(k.hub, k.tickets[0], &cases[i]), 0);
        const char *answer = peer_answer(p, 1, seq);
        fails(answer, "internal");
        has(answer, i == 3 || i == 4 || i == 6 ? "the provider's name" : "the provider's id");
        k.ticket_count = 0;
    }
    struct auth_answer reserved = in("ann", "sYSTEM");
    uint16_t seq = peer_put(p, 1, "{\"token\":\"T\"}");
    kit_settle(&k);
    assert_int_equal(auth_finish(k.hub, k.tickets[0], &reserved), 0);
    fails(peer_answer(p, 1, seq), "forbidden");
    k.ticket_count = 0;
    peer_close(p);
    kit_end(&k);
}

/* A name that comes with an id is the user's from then on; without one it keeps what it had. */
static void names(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct peer *a = peer_open(&k, 0);
    has(peer_ask(a, 1, "{\"token\":\"ann\",\"name\":\"Ann\"}"), "\"name\":\"Ann\"");
    struct peer *b = peer_open(&k, 0);
    has(peer_ask(b, 1, "{\"token\":\"ann\"}"), "\"name\":\"Ann\"");
    struct peer *c = peer_open(&k, 0);
    has(peer_ask(c, 1, "{\"token\":\"cat\"}"), "\"name\":\"cat\""); /* none at all: the id */
    /* The server's own name is nobody's, wherever it comes from; nor is an id that would be the name. */
    struct peer *d = peer_open(&k, 0);
    fails(peer_ask(d, 1, "{\"token\":\"dan\",\"name\":\" System\"}"), "bad_request");
    fails(peer_ask(d, 1, "{\"token\":\"SYSTEM\"}"), "forbidden");
    has(peer_ask(d, 1, "{\"token\":\"SYSTEM\",\"name\":\"Sys\"}"), "\"id\":\"SYSTEM\",\"name\":\"Sys\"");
    peer_close(a);
    peer_close(b);
    peer_close(c);
    peer_close(d);
    kit_end(&k);
}

/* The connection goes while the provider thinks; its answer finds nobody, or another connection in the same place. */
static void connections_that_go(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 2);
    k.later = true;
    kit_start(&k);
    struct peer *p = peer_open(&k, 0);
    peer_put(p, 1, "{\"token\":\"T\"}");
    kit_settle(&k);
    assert_int_equal(kit_shard(&k, 0)->reqs, 1);
    peer_reset(p);
    kit_settle(&k);
    assert_int_equal(kit_shard(&k, 0)->reqs, 0);
    p = peer_open(&k, 0);
    uint16_t seq = peer_put(p, 1, "{\"token\":\"U\"}");
    kit_settle(&k);
    assert_int_equal(k.tickets[0].conn, k.tickets[1].conn);
    struct auth_answer wrong = in("eve", ""), right = in("ann", "");
    assert_int_equal(auth_finish(k.hub, k.tickets[0], &wrong), 0);
    kit_settle(&k);
    assert_int_equal(peer_left(p), 0);
    assert_int_equal(auth_finish(k.hub, k.tickets[1], &right), 0);
    has(peer_answer(p, 1, seq), "\"id\":\"ann\"");
    /* One that is closing already, and one that is closed by the server in the meantime. */
    struct peer *q = peer_open(&k, 0);
    peer_put(q, 1, "{\"token\":\"V\"}");
    kit_settle(&k);
    struct auth_ticket t = k.tickets[2];
    assert_int_equal(host_close(k.hub, NULL, t.shard, t.conn, t.generation, S("out")), 0);
    assert_int_equal(auth_finish(k.hub, t, &(struct auth_answer){.code = CODE_OK, .id_len = 3, .id = "bob"}), 0);
    has(peer_push(q, 105), "out");
    peer_end(q);
    kit_settle(&k);
    assert_int_equal(kit_user(&k, "bob"), NONE);
    peer_close(p);
    peer_close(q);
    kit_end(&k);
}

/* A provider that never answers: the login timeout ends it, and the hub's stop. */
static void never(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 1);
    k.later = true;
    k.opt.net.login_timeout = 1;
    kit_start(&k);
    struct peer *p = peer_open(&k, 0);
    peer_put(p, 1, "{\"token\":\"T\"}");
    has(peer_push(p, 105), "\"reason\":\"idle\"");
    peer_end(p);
    struct peer *q = peer_open(&k, 0);
    peer_put(q, 1, "{\"token\":\"T\"}");
    kit_settle(&k);
    peer_close(p);
    kit_end(&k);
    peer_close(q);
}

static void unregister(struct hub *hub, void *owner)
{
    tables_remove(hub, owner);
}

/* The provider is unloaded while a login waits for it: new ones are told, and its late answer still counts for nobody
 * but that one. */
static void a_provider_that_goes(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 1);
    k.later = true;
    kit_start(&k);
    struct peer *p = peer_open(&k, 0), *q = peer_open(&k, 0);
    uint16_t seq = peer_put(p, 1, "{\"token\":\"T\"}");
    kit_settle(&k);
    kit_tables(&k, unregister, &k);
    fails(peer_ask(q, 1, "{\"token\":\"T\"}"), "unavailable");
    struct auth_answer a = in("ann", "");
    assert_int_equal(auth_finish(k.hub, k.tickets[0], &a), 0);
    has(peer_answer(p, 1, seq), "\"id\":\"ann\"");
    peer_close(p);
    peer_close(q);
    kit_end(&k);
}

/* With threads: many logins, answered from another thread. */
static void from_another_thread(void **state)
{
    enum { MANY = 32 };
    struct kit k;
    struct peer *p[MANY];
    (void)state;
    kit_open(&k, 4);
    k.threads = true;
    kit_start(&k);
    for (unsigned i = 0; i < MANY; i++) {
        char id[16];
        snprintf(id, sizeof id, "user%u", i % 8);
        p[i] = peer_open(&k, i % 4);
        peer_put(p[i], 1, "{\"token\":\"%s\",\"device\":\"d%u\"}", id, i / 8);
    }
    for (unsigned i = 0; i < MANY; i++)
        works(peer_answer(p[i], 1, 1));
    for (unsigned i = 0; i < MANY; i++)
        works(peer_ask(p[i], 3, "{\"name\":\"room\"}"));
    works(peer_ask(p[0], 4, "{\"channel\":\"room\",\"content\":\"x\"}"));
    for (unsigned i = 0; i < MANY; i++)
        has(peer_push(p[i], 102), "\"x\"");
    for (unsigned i = 0; i < MANY; i++)
        peer_close(p[i]);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_that_come_later), cmocka_unit_test(refusals),
        cmocka_unit_test(answers_that_cannot_be),  cmocka_unit_test(names),
        cmocka_unit_test(connections_that_go),     cmocka_unit_test(never),
        cmocka_unit_test(a_provider_that_goes),    cmocka_unit_test(from_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
