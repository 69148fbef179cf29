/* What scripts have the server do: pushes, messages, bans, orders, timers, actions. */
#include "script_api_kit.h"

#include "core/base/json.h"

static void test_registration_errors(void **state)
{
    (void)state;
    static const char *const wrong[] = {"magpie.on('mesage', function() end)",
                                        "magpie.on('message')",
                                        "magpie.on('message', function() end, {prio = 1})",
                                        "magpie.on('message', function() end, {fail = 'ajar'})",
                                        "magpie.on('message', function() end, {priority = 'x'})",
                                        "magpie.on('message', function() end, {channel = 3})",
                                        "magpie.action(199, function() end)",
                                        "magpie.action(1000, function() end)",
                                        "magpie.action(200.5, function() end)",
                                        "magpie.action(200, function() end) magpie.action(200, function() end)",
                                        "magpie.command('Hello', 'x', function() end)",
                                        "magpie.command('', 'x', function() end)",
                                        "magpie.send_user('ada', 'x')",
                                        "magpie.announce('x')",
                                        "magpie.kick('ada')",
                                        "magpie.join('ada', 'tea')",
                                        "magpie.user_token('ada', function() end)",
                                        "magpie.every(1, function() end)",
                                        "magpie.after(-1, function() end)",
                                        "magpie.after(0/0, function() end)",
                                        "magpie.accept{id = 'system'}",
                                        "magpie.accept{id = 'a b'}",
                                        "magpie.accept{name = '\\1'}",
                                        "magpie.metric('Bad')",
                                        "magpie.metric('x', -1)",
                                        "magpie.metric('magpie_messages_total')",
                                        "magpie.push(setmetatable({}, {__index = {mode = 'all'}}))",
                                        "magpie.keep(setmetatable({}, {__index = {ttl = 1}}))",
                                        "magpie.accept(setmetatable({}, {__index = {id = 'ada'}}))",
                                        "magpie.after(1, print, setmetatable({}, {__index = error}))",
                                        "magpie.every(10, print, setmetatable({}, {__index = error}))",
                                        "magpie.on('message', print, setmetatable({}, {__index = {priority = 1}}))",
                                        "magpie.command('a b c', 'three words', print)",
                                        "magpie.log('loud', 'x')"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[300];
        snprintf(text, sizeof text, HEAD "%s", wrong[i]);
        if (kit_load(&k, text))
            fail_msg("%s is taken", wrong[i]);
        if (!strstr(k.st->error, "kit.lua:2: "))
            fail_msg("%s: %s", wrong[i], k.st->error);
    }
    inside("assert(not pcall(magpie.on, 'message', function() end) and not pcall(magpie.action, 300, function() end) "
           "and not "
           "pcall(magpie.command, 'x', 'y', function() end))");
}

static const struct deed *deed(unsigned kind)
{
    const struct deed *d = k.world.first;
    while (d && d->kind != kind)
        d = d->next;
    assert_non_null(d);
    return d;
}

static void test_doing(void **state)
{
    (void)state;
    inside(
        "assert(magpie.send_user('bob', 'hello') and magpie.send_channel('tea', 'all') and magpie.announce('now') and "
        "magpie.kick('eve', 'go') and magpie.push('bob', 300, {x = 1}))\n"
        "assert(magpie.metric('things_total', 2)) magpie.log('warn', 'odd', {n = 3, s = 'x', b = true}) print('a', 1, "
        "nil)\n"
        "assert(magpie.now() == 1000000 and magpie.time() == 1767268800000)\n"
        "for _, f in ipairs{function() magpie.send_user('a b', 'x') end, function() magpie.send_user('bob', '') end, "
        "function() magpie.send_user('bob', ('x'):rep(20000)) end,\n"
        "  function() magpie.send_channel(' x', 'x') end, function() magpie.push('bob', 99, {}) end, function() "
        "magpie.push('bob', 40000, {}) end, function() magpie.push('bob', 200, {1}) end, function() magpie.push('bob', "
        "200) "
        "end,\n"
        "  function() magpie.kick('bob', '\\255') end, function() magpie.announce('\\255') end} do assert(not "
        "pcall(f)) end");
    assert_string_equal(deed(DEED_SEND_USER)->text, "hello");
    assert_string_equal(deed(DEED_SEND_CHANNEL)->target, "tea");
    assert_string_equal(deed(DEED_ANNOUNCE)->text, "now");
    assert_string_equal(deed(DEED_KICK)->text, "go");
    assert_int_equal(deed(DEED_PUSH)->n, 300);
    assert_string_equal(deed(DEED_PUSH)->text, "{\"x\":1}");
    assert_int_equal(deed(DEED_METRIC)->n, 2);
    assert_true(kit_logged(&k, "script.log", "n=3"));
    assert_true(kit_logged(&k, "script.print", "a 1 nil"));
    /* A loop of scripts that answer each other is held back. */
    inside("local n = 0 while pcall(magpie.send_user, 'bob', 'x') do n = n + 1 end assert(n <= 1000 and n > 900, n)");
}

/* What an operator may do. */
static void test_orders(void **state)
{
    (void)state;
    inside("assert(magpie.join('bob', 'tea') and magpie.leave('eve', 'tea', 'kicked') and magpie.mute('bob', nil, 1.5) "
           "and magpie.unmute('bob', 'tea') and magpie.ban('eve', 'tea', 60) and magpie.unban('eve'))\n"
           "assert(magpie.recall('tea', 7) and magpie.user_add('zed', 'Zed') and magpie.user_delete('zed', 'recall') "
           "and magpie.channel_delete('tea'))\n"
           "magpie.user_token('bob', function(err, token) magpie.log('info', 'told', {n = token}) end)");
    static const char *const wrong[] = {"magpie.join('a b', 'x')",        "magpie.join('a')",
                                        "magpie.leave('a', 'x', 'gone')", "magpie.mute('a', nil, -1)",
                                        "magpie.mute('a', nil, 1e10)",    "magpie.ban('a', ' x')",
                                        "magpie.recall('x', 0)",          "magpie.recall('x', 1.5)",
                                        "magpie.recall('a b\\tc', 1)",    "magpie.user_add('system')",
                                        "magpie.user_add('a', '\\1')",    "magpie.user_delete('a', 'burn')",
                                        "magpie.channel_delete('')",      "magpie.user_token('a')"};
    assert_string_equal(deed(DEED_ORDER + ORDER_JOIN)->target, "bob");
    assert_string_equal(deed(DEED_ORDER + ORDER_JOIN)->text, "tea");
    assert_string_equal(deed(DEED_ORDER + ORDER_LEAVE)->text, "tea kicked");
    assert_int_equal(deed(DEED_ORDER + ORDER_MUTE)->n, 2); /* never shorter than asked for */
    assert_string_equal(deed(DEED_ORDER + ORDER_MUTE)->text, "");
    assert_string_equal(deed(DEED_ORDER + ORDER_UNMUTE)->text, "tea");
    assert_int_equal(deed(DEED_ORDER + ORDER_BAN)->n, 60);
    assert_string_equal(deed(DEED_ORDER + ORDER_UNBAN)->target, "eve");
    assert_string_equal(deed(DEED_ORDER + ORDER_RECALL)->target, "tea");
    assert_int_equal(deed(DEED_ORDER + ORDER_RECALL)->n, 7);
    assert_string_equal(deed(DEED_ORDER + ORDER_USER_ADD)->text, "Zed");
    assert_string_equal(deed(DEED_ORDER + ORDER_USER_DELETE)->text, "recall");
    assert_string_equal(deed(DEED_ORDER + ORDER_CHANNEL_DELETE)->target, "tea");
    assert_true(fake_world_answer(&k.world, (unsigned)deed(DEED_TOKEN)->n, NULL, slice_str("\"secret\"")));
    assert_true(kit_logged(&k, "script.log", "n=secret"));
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[200];
        snprintf(text, sizeof text, "assert(not pcall(function() %s end))", wrong[i]);
        inside(text);
    }
}

/* Set while the script loads, they are for one of all nodes; later, or with each_shard, for the node that sets them. */
static void test_timers_over_nodes(void **state)
{
    (void)state;
    kit_script(&k, HEAD "magpie.every(100, function() magpie.log('info', 'ofone') end)\n"
                        "magpie.after(150, function() magpie.log('info', 'oneonce') end)\n"
                        "magpie.every(100, function() magpie.log('info', 'ofall') end, {each_shard = true})\n"
                        "magpie.on('message', function(e) magpie.after(50, function() magpie.log('info', 'later') end) "
                        "end)");
    k.world.follows = true;
    struct hook_call h = kit_message("x");
    assert_int_equal(kit_fire(&k, &h), HOOK_PASS);
    fake_world_advance(&k.world, 300);
    assert_false(kit_logged(&k, "script.log", "event=ofone"));
    assert_false(kit_logged(&k, "script.log", "event=oneonce"));
    assert_true(kit_logged(&k, "script.log", "event=ofall"));
    assert_true(kit_logged(&k, "script.log", "event=later"));
    k.world.follows = false; /* the other one has gone: this one goes on */
    fake_world_advance(&k.world, 300);
    assert_true(kit_logged(&k, "script.log", "event=ofone"));
    assert_false(kit_logged(&k, "script.log", "event=oneonce"));
}

static void test_timers(void **state)
{
    (void)state;
    kit_script(
        &k,
        HEAD "local n = 0\n"
             "magpie.every(100, function() n = n + 1 magpie.log('info', 'tick', {n = n}) if n == 3 then error('third') "
             "end end)\n"
             "local id = magpie.after(50, function() magpie.log('info', 'never') end) assert(magpie.cancel(id) and not "
             "magpie.cancel(id))\n"
             "magpie.after(250, function() magpie.log('info', 'once') magpie.after(10, function() magpie.log('info', "
             "'nested') end) "
             "end)\n"
             "local own own = magpie.every(20, function() magpie.cancel(own) magpie.log('info', 'own') end)\n"
             "magpie.every(1000, function() end, {each_shard = true})");
    fake_world_advance(&k.world, 1000);
    assert_true(kit_logged(&k, "script.log", "event=tick n=10"));
    assert_false(kit_logged(&k, "script.log", "event=never"));
    assert_true(kit_logged(&k, "script.log", "event=once"));
    assert_true(kit_logged(&k, "script.log", "event=nested"));
    assert_true(kit_logged(&k, "script.error", "kit.lua:3: third"));
    unsigned own = 0;
    for (const struct deed *d = k.world.first; d; d = d->next)
        own += strstr(d->text, "event=own") != NULL;
    assert_int_equal(own, 1);
    assert_int_equal(k.st->timer_count, 2);
    /* On another shard only those that want each. */
    state_free(k.st);
    k.shard_set.loading = true;
    k.st = state_new(&k.shard_set, "kit", &k.stats);
    assert_int_equal(
        state_load(
            k.st, "kit.lua",
            SLICE_LIT(HEAD "magpie.every(100, function() end) magpie.after(100, function() end, {each_shard = true})")),
        0);
    k.shard_set.loading = false;
    timers_begin(k.st, false);
    assert_int_equal(k.st->timer_count, 1);
    inside("local n = 0 while pcall(magpie.after, 1000, function() end) do n = n + 1 end assert(n == 1000)");
}

static void test_actions(void **state)
{
    (void)state;
    kit_script(
        &k,
        HEAD "magpie.action(200, function(e) assert(e.user.id == 'ada' and e.seq == 9 and e.action == 200)\n"
             "  local b = e.body if b.what == 'echo' then return b elseif b.what == 'list' then return {1} elseif "
             "b.what == 'reject' then return magpie.reject('quota', 'enough')\n"
             "  elseif b.what == 'nil' then return elseif b.what == 'text' then return 'x' elseif b.what == 'bad' then "
             "return {f = print} elseif b.what == 'null' then return {absent = b.n == nil} end error('what?') end)");
    static const struct {
        const char *body, *answer;
        enum code code;
    } cases[] = {
        {"{\"what\":\"echo\"}", "{\"what\":\"echo\"}", CODE_OK},
        {"{\"what\":\"list\"}", NULL, CODE_INTERNAL},
        {"{\"what\":\"reject\"}", NULL, CODE_QUOTA},
        {"{\"what\":\"nil\"}", "{}", CODE_OK},
        {"{\"what\":\"text\"}", NULL, CODE_INTERNAL},
        {"{\"what\":\"bad\"}", NULL, CODE_INTERNAL},
        {"{\"what\":\"null\",\"n\":null}", "{\"absent\":true}", CODE_OK},
        {"{}", NULL, CODE_INTERNAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *why;
        struct cJSON *body = json_parse(slice_str(cases[i].body), &why);
        struct event e = {.body = body, .user = SLICE_LIT("ada"), .action = 200, .seq = 9};
        struct action_answer out;
        event_run_action(k.st, &k.st->actions[0], &e, &out);
        assert_int_equal(out.code, cases[i].code);
        if (cases[i].answer)
            assert_true(slice_eq(out.body, slice_str(cases[i].answer)));
        json_free(body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_doing),   TEST(test_orders),
        TEST(test_timers),  TEST(test_timers_over_nodes),
        TEST(test_actions), TEST(test_registration_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
