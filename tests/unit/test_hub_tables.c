/* The tables of actions, hooks and providers: drafts, commits while shards run, removal, and the end of the old
 * ones. */
#include "hub_kit.h"

#include "core/hub/registry/action.h"

static _Atomic unsigned served[8];

static void handle(struct call *c)
{
    unsigned n = (unsigned)(uintptr_t)c->action_ctx;
    char body[32];
    atomic_fetch_add(&served[n], 1);
    call_reply(c, slice_of(body, (size_t)snprintf(body, sizeof body, "{\"n\":%u}", n)));
}

static struct action numbered(uint16_t number, unsigned n, const void *owner)
{
    return (struct action){.number = number,
                           .name = "test",
                           .class = CLASS_NOW,
                           .handle = handle,
                           .ctx = (void *)(uintptr_t)n,
                           .owner = owner};
}

static enum hook_verdict pass(struct hook_call *h, void *ctx)
{
    (void)h, (void)ctx;
    return HOOK_PASS;
}

static enum auth_when refuse(struct auth_call *a, void *ctx)
{
    (void)ctx;
    a->answer.code = CODE_FORBIDDEN;
    return AUTH_NOW;
}

static void set_flag(void *ctx)
{
    *(bool *)ctx = true;
}

static void without_a_draft_nothing_is_registered(void **state)
{
    struct kit k = {0};
    struct action a = numbered(1500, 1, &k);
    (void)state;
    kit_begin(&k, 2);
    assert_int_equal(action_register(k.hub, &a), ERR_INVALID);
    assert_int_equal(hook_register(k.hub, &(struct hook){.event = HOOK_CLOSE, .fn = pass}), ERR_INVALID);
    assert_int_equal(auth_register(k.hub, &(struct auth_provider){.name = "x", .ask = refuse}), ERR_INVALID);
    tables_remove(k.hub, &k);
    tables_abandon(k.hub);
    log_set_level(LOG_ERROR + 1);
    assert_int_equal(tables_commit(k.hub, NULL, NULL), ERR_INVALID);
    log_set_level(LOG_ERROR);
    kit_end(&k);
}

static void drafts(void **state)
{
    struct kit k = {0};
    struct action a = numbered(1500, 1, &k), b = numbered(1501, 2, NULL);
    bool done = false;
    (void)state;
    kit_begin(&k, 2);
    assert_int_equal(tables_begin(k.hub), 0);
    assert_int_equal(tables_begin(k.hub), ERR_AGAIN);
    assert_int_equal(action_register(k.hub, &a), 0);
    assert_int_equal(actions_register(k.hub, (struct action[]){b, a}, 2), ERR_EXISTS);
    assert_int_equal(hook_register(k.hub, &(struct hook){.event = HOOK_EVENTS, .fn = pass}), ERR_INVALID);
    tables_abandon(k.hub); /* nothing of it is seen */
    struct peer *p = peer_login(&k, "ann", 0);
    fails(peer_ask(p, 1500, "{}"), "unknown_action");
    assert_int_equal(tables_begin(k.hub), 0);
    assert_int_equal(action_register(k.hub, &a), 0);
    fails(peer_ask(p, 1500, "{}"), "unknown_action"); /* not yet */
    assert_int_equal(tables_commit(k.hub, set_flag, &done), 0);
    assert_true(done); /* without threads at once */
    assert_int_equal(number(peer_ask(p, 1500, "{}"), "n"), 1);
    assert_int_equal(tables_begin(k.hub), 0);
    tables_remove(k.hub, NULL); /* nobody: takes out nothing, built in things least of all */
    tables_remove(k.hub, &a);
    assert_int_equal(tables_commit(k.hub, NULL, NULL), 0);
    assert_int_equal(number(peer_ask(p, 1500, "{}"), "n"), 1);
    works(peer_ask(p, 3, "{\"name\":\"room\"}"));
    peer_close(p);
    kit_end(&k);
}

static void what_an_owner_registered_goes_with_it(void **state)
{
    struct kit k = {0};
    int mine = 0, other = 0;
    struct action a = numbered(1500, 1, &mine), b = numbered(1501, 2, &other);
    (void)state;
    kit_begin(&k, 1);
    assert_int_equal(tables_begin(k.hub), 0);
    assert_int_equal(actions_register(k.hub, (struct action[]){a, b}, 2), 0);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(
            hook_register(
                k.hub, &(struct hook){.event = HOOK_CLOSE, .fn = pass, .owner = i % 2 ? &mine : &other, .priority = i}),
            0);
        assert_int_equal(hook_register(k.hub, &(struct hook){.event = HOOK_CONNECT, .fn = pass, .owner = &mine}), 0);
    }
    struct auth_provider p = {.name = "mine", .ask = refuse, .owner = &mine};
    assert_int_equal(auth_register(k.hub, &p), 0);
    assert_int_equal(auth_register(k.hub, &p), ERR_EXISTS);
    for (int i = 0; i < AUTH_PROVIDERS - 2; i++) {
        snprintf(p.name, sizeof p.name, "p%d", i);
        p.owner = &other;
        assert_int_equal(auth_register(k.hub, &p), 0);
    }
    strcpy(p.name, "one too many");
    assert_int_equal(auth_register(k.hub, &p), ERR_FULL);
    assert_int_equal(tables_commit(k.hub, NULL, NULL), 0);
    struct shard *s = kit_shard(&k, 0);
    unsigned close_before = s->tables->hook_count[HOOK_CLOSE];
    assert_true(hooks_any(s, HOOK_CONNECT));
    assert_int_equal(tables_begin(k.hub), 0);
    tables_remove(k.hub, &mine);
    assert_int_equal(action_register(k.hub, &a), 0); /* its number is free again */
    tables_remove(k.hub, &mine);
    assert_int_equal(tables_commit(k.hub, NULL, NULL), 0);
    assert_int_equal(s->tables->hook_count[HOOK_CLOSE], close_before - 3);
    assert_int_equal(s->tables->hook_count[HOOK_CONNECT], 0);
    for (unsigned i = 1; i < s->tables->hook_count[HOOK_CLOSE]; i++) /* the rest keeps its order */
        assert_true(s->tables->hooks[HOOK_CLOSE][i - 1].priority >= s->tables->hooks[HOOK_CLOSE][i].priority);
    assert_null(action_find(s->tables, 1500));
    assert_non_null(action_find(s->tables, 1501));
    for (unsigned i = 0; i < s->tables->auth_count; i++)
        assert_string_not_equal(s->tables->auth[i].name, "mine");
    kit_end(&k);
}

/* Commits while shards serve: each request is answered by the one or the other, `done` comes on main and after it
 * nobody uses the old ones. */
static void commits_under_load(void **state)
{
    struct kit k = {0};
    struct peer *p[4];
    char id[8], owner[2];
    (void)state;
    kit_open(&k, 4);
    k.threads = true;
    kit_start(&k);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(id, sizeof id, "u%u", i);
        p[i] = peer_login(&k, id, i);
    }
    for (unsigned round = 0; round < 60; round++) {
        unsigned n = round % 2;
        bool done = false;
        struct action a = numbered(1500, n, &owner[n]);
        assert_int_equal(tables_begin(k.hub), 0);
        tables_remove(k.hub, &owner[!n]);
        assert_int_equal(action_register(k.hub, &a), 0);
        assert_int_equal(tables_commit(k.hub, set_flag, &done), 0);
        assert_int_equal(tables_begin(k.hub), ERR_AGAIN);
        for (unsigned i = 0; i < 4; i++)
            for (int j = 0; j < 5; j++)
                peer_put(p[i], 1500, "{}");
        KIT_UNTIL(&k, done);
        unsigned before = atomic_load(&served[!n]);
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(number(peer_ask(p[i], 1500, "{}"), "n"), n);
        assert_int_equal(atomic_load(&served[!n]), before);
    }
    /* A commit under way when the hub stops. */
    assert_int_equal(tables_begin(k.hub), 0);
    bool done = false;
    assert_int_equal(tables_commit(k.hub, set_flag, &done), 0);
    for (unsigned i = 0; i < 4; i++)
        peer_close(p[i]);
    kit_end(&k);
    assert_true(done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_draft_nothing_is_registered),
        cmocka_unit_test(drafts),
        cmocka_unit_test(what_an_owner_registered_goes_with_it),
        cmocka_unit_test(commits_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
