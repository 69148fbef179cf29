/* What a hook is told, and what its verdict does. */
#include "script_api_kit.h"

static void test_verdicts(void **state)
{
    (void)state;
    static const struct {
        const char *lua;
        enum hook_verdict verdict;
        enum code code;
    } cases[] = {
        {"return", HOOK_PASS, 0},
        {"return nil", HOOK_PASS, 0},
        {"return magpie.accept()", HOOK_ACCEPT, 0},
        {"return magpie.drop()", HOOK_DROP, 0},
        {"return magpie.reject('forbidden', 'no')", HOOK_REJECT, CODE_FORBIDDEN},
        {"return magpie.reject('rate_limited', 'slow', 250)", HOOK_REJECT, CODE_RATE_LIMITED},
        {"return true", HOOK_REJECT, CODE_INTERNAL},
        {"return 'no'", HOOK_REJECT, CODE_INTERNAL},
        {"return {}", HOOK_REJECT, CODE_INTERNAL},
        {"return magpie.push{mode = 'all'}", HOOK_REJECT, CODE_INTERNAL}, /* a message has no slices yet */
        {"return magpie.reject('no such code')", HOOK_REJECT, CODE_INTERNAL},
        {"error('x')", HOOK_REJECT, CODE_INTERNAL},
        {"error({})", HOOK_REJECT, CODE_INTERNAL},
        {"magpie.drop()", HOOK_PASS, 0},
        {"coroutine.yield(1)", HOOK_REJECT, CODE_INTERNAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[300];
        snprintf(text, sizeof text, HEAD "magpie.on('message', function(e) %s end, {fail = 'closed'})", cases[i].lua);
        kit_script(&k, text);
        struct hook_call h = kit_message("hi");
        if (kit_fire(&k, &h) != cases[i].verdict || (cases[i].verdict == HOOK_REJECT && h.code != cases[i].code))
            fail_msg("%s: verdict %d, code %s, %s", cases[i].lua, k.verdict, code_name(h.code), k.st->error);
    }
    /* Open by default: as if it had passed. */
    kit_script(&k, HEAD "magpie.on('message', function(e) error('x') end)");
    struct hook_call h = kit_message("hi");
    assert_int_equal(kit_fire(&k, &h), HOOK_PASS);
    kit_script(&k, HEAD "magpie.on('subscribe', function(e) error('x') end)");
    h = (struct hook_call){.event = HOOK_SUBSCRIBE, .user = SLICE_LIT("ada"), .channel = SLICE_LIT("tea")};
    assert_int_equal(kit_fire(&k, &h), HOOK_REJECT);
    assert_int_equal(h.code, CODE_INTERNAL);
}

static void test_reject_text(void **state)
{
    (void)state;
    kit_script(&k, HEAD "local no = magpie.reject('rate_limited', ('\xc3\xa9'):rep(100), 12.5)\nmagpie.on('message', "
                        "function() return no end)");
    struct hook_call h = kit_message("hi");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kit_fire(&k, &h), HOOK_REJECT);
        assert_int_equal(h.retry_after_ms, 13);
        assert_int_equal(strlen(h.message), 94); /* whole characters */
    }
}

static struct hook_call arriving(const char *channel)
{
    return (struct hook_call){.event = HOOK_CONVERSATION,
                              .user = SLICE_LIT("bob"),
                              .user_name = SLICE_LIT("Bob"),
                              .channel = slice_str(channel),
                              .peer = channel ? SLICE_NONE : SLICE_LIT("ada"),
                              .content = SLICE_LIT("hi"),
                              .members = 7,
                              .rate = 2.5f,
                              .tier = channel ? TIER_LARGE : TIER_DM};
}

static void test_advice(void **state)
{
    (void)state;
    kit_script(&k, HEAD
               "magpie.on('conversation', function(e) return magpie.push{mode = 'merged', slice_ms = 100, max = 3}, "
               "magpie.tier('small') end, {priority = 1})\n"
               "magpie.on('conversation', function(e) return magpie.push{mode = 'none'}, magpie.keep{ttl = 1.5, max = "
               "9} end)");
    struct hook_call h = arriving("tea");
    assert_int_equal(kit_fire(&k, &h), HOOK_PASS);
    assert_true(h.advice.has_push && h.advice.has_tier && h.advice.has_keep && !h.advice.over_limit);
    assert_int_equal(h.advice.mode, MODE_MERGED);
    assert_int_equal(h.advice.slice_ms, 100);
    assert_int_equal(h.advice.slice_max, 3);
    assert_int_equal(h.advice.tier, TIER_SMALL);
    assert_int_equal(h.advice.ttl_ms, 1500);
    assert_int_equal(h.advice.keep_max, 9);
    /* Without a mode: over the limit. A rejection after it ends the chain. */
    kit_script(&k, HEAD "magpie.on('conversation', function(e) return magpie.push{slice_ms = 50}, magpie.drop() end)");
    h = arriving("tea");
    assert_int_equal(kit_fire(&k, &h), HOOK_DROP);
    assert_true(h.advice.has_push && h.advice.over_limit);
    static const char *const wrong[] = {"push{mode = 'some'}",  "push{slice = 1}", "push{max = -1}", "push{max = 'x'}",
                                        "push{slice_ms = 0/0}", "tier('dm')",      "tier()",         "keep{ttl = -1}",
                                        "keep{age = 1}",        "keep{max = 1e12}"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[200];
        snprintf(text, sizeof text, HEAD "magpie.%s", wrong[i]);
        assert_false(kit_load(&k, text));
    }
}

static void test_fields(void **state)
{
    (void)state;
    kit_script(
        &k,
        HEAD "local E = {fail = 'closed'}\n"
             "local function ok(x) assert(x) end\n"
             "magpie.on('message', function(e) ok(e.user.id == 'ada' and e.user.name == 'Ada' and e.channel == 'tea' "
             "and e.receiver "
             "== nil and e.content == 'hi' and e.size == 2) return magpie.drop() end, E)\n"
             "magpie.on('conversation', function(e) ok(e.user.id == 'bob' and e.members == 7 and e.rate == 2.5 and not "
             "e.system)\n"
             "  if e.channel then ok(e.channel == 'tea' and e.tier == 'large' and e.pair == nil) else ok(e.pair == "
             "'ada\\tbob' and "
             "e.tier == 'dm') end return magpie.drop() end, E)\n"
             "magpie.on('delivered', function(e) ok(e.id == '0000000000000000042' and e.seq == 3 and e.createdAt == 5 "
             "and e.content "
             "== 'x' and e.receiver == 'bob') return magpie.drop() end, E)\n"
             "magpie.on('connect', function(e) ok(e.ip == '::1' and e.transport == 'websocket') return "
             "magpie.reject('forbidden') "
             "end, E)\n"
             "magpie.on('login', function(e) ok(e.name == 'Ada' and e.token == 't' and e.device == 'd' and e.ip == "
             "'::1' and "
             "e.transport == 'tcp' and e.user == nil) return magpie.accept{id = 'x', name = 'X'} end)\n"
             "magpie.on('subscribe', function(e) ok(e.user.id == 'ada' and e.channel == 'tea' and e.members == 4 and "
             "e.restored == "
             "true) return magpie.accept() end)\n"
             "magpie.on('history', function(e) ok(e.peer == 'bob' and e.channel == nil) return magpie.accept() end)\n"
             "magpie.on('close', function(e) ok(e.user == nil and e.reason == 'idle') return magpie.drop() end, E)\n");
    struct hook_call h = kit_message("hi");
    assert_int_equal(kit_fire(&k, &h), HOOK_DROP);
    h = arriving("tea");
    assert_int_equal(kit_fire(&k, &h), HOOK_DROP);
    h = arriving(NULL);
    assert_int_equal(kit_fire(&k, &h), HOOK_DROP);
    h = (struct hook_call){.event = HOOK_CONNECT, .ip = SLICE_LIT("::1"), .websocket = true};
    assert_int_equal(kit_fire(&k, &h), HOOK_REJECT);
    assert_int_equal(h.code, CODE_FORBIDDEN);
    h = (struct hook_call){.event = HOOK_LOGIN,
                           .ip = SLICE_LIT("::1"),
                           .user_name = SLICE_LIT("Ada"),
                           .token = SLICE_LIT("t"),
                           .device = SLICE_LIT("d")};
    assert_int_equal(kit_fire(&k, &h), HOOK_ACCEPT);
    assert_true(slice_eq(slice_of(k.st->accepted_id, k.st->accepted_id_len), SLICE_LIT("x")));
    h = (struct hook_call){
        .event = HOOK_SUBSCRIBE, .user = SLICE_LIT("ada"), .channel = SLICE_LIT("tea"), .members = 4, .restored = true};
    assert_int_equal(kit_fire(&k, &h), HOOK_ACCEPT);
    h = (struct hook_call){.event = HOOK_HISTORY, .user = SLICE_LIT("ada"), .peer = SLICE_LIT("bob")};
    assert_int_equal(kit_fire(&k, &h), HOOK_ACCEPT);
    /* Its verdict counts for nothing; that it was one shows that the function got to its end. */
    h = (struct hook_call){.event = HOOK_DELIVERED,
                           .id = 42,
                           .seq = 3,
                           .created_ms = 5,
                           .content = SLICE_LIT("x"),
                           .peer = SLICE_LIT("bob"),
                           .user = SLICE_LIT("ada")};
    uint64_t errors = k.stats.errors;
    kit_fire(&k, &h);
    assert_null(strstr(k.st->error, "assertion"));
    h = (struct hook_call){.event = HOOK_CLOSE, .message = "idle"};
    kit_fire(&k, &h);
    assert_null(strstr(k.st->error, "assertion"));
    assert_int_equal(k.stats.errors, errors + 2); /* a drop is no answer to these */
}

/* A slip of the pen is told, where it would do nothing. */
static void test_slips(void **state)
{
    (void)state;
    wrong("message", "return e.chanel", "the event \"message\" has no field chanel; did you mean e.channel?");
    wrong("message", "return e.members",
          "\"message\" has no field members; it has: user channel receiver content size");
    wrong("close", "return e.channel", "\"close\" has no field channel; it has: user reason");
    wrong("message", "return e.user.nmae", "e.user has no field nmae");
    wrong("conversation", "e.content = 'x'", "nothing of this event can be set, e.content neither");
    wrong("message", "e.contnet = 'x'", "only e.content can be set, not e.contnet");
    wrong("message", "magpie.json.encode(e) return e.chanel", "no field chanel; did you mean e.channel?");
    wrong("message", "return magpie.push{mode = 'all'}",
          "returned push; it may return: nothing, magpie.reject(), magpie.accept(), magpie.drop()");
    wrong("message", "return magpie.accept{id = 'x'}", "returned accept");
    wrong("subscribe", "return magpie.drop()",
          "returned drop; it may return: nothing, magpie.reject(), magpie.accept()");
    wrong("delivered", "return magpie.reject('forbidden')", "returned reject; it may return: nothing");
    wrong("close", "return magpie.accept()", "returned accept; it may return: nothing");
    wrong("message", "return magpie.reject('forbiden')", "no error code \"forbiden\"; did you mean \"forbidden\"?");
    wrong("message", "return magpie.accept{nmae = 'x'}", "unknown field nmae; did you mean name?");
    assert_false(kit_load(&k, HEAD "magpie.on('mesage', print)"));
    assert_non_null(strstr(k.st->error, "did you mean \"message\"?"));
    assert_false(kit_load(&k, HEAD "magpie.on('message', print, {prioriy = 1})"));
    assert_non_null(strstr(k.st->error, "unknown option prioriy; did you mean priority?"));
    assert_false(kit_load(&k, HEAD "magpie.every(100, print, {each_shards = true})"));
    assert_non_null(strstr(k.st->error, "did you mean each_shard?"));
    /* What a timer sees of a former event is as strict, and what is absent is nil. */
    kit_script(&k, HEAD "magpie.on('message', function(e)\n"
                        "  magpie.after(1, function() assert(e.receiver == nil and e.channel == 'tea') e.x = 1 "
                        "assert(e.x == 1) return e.chanel end)\n"
                        "end)");
    struct hook_call h = kit_message("hi");
    kit_fire(&k, &h);
    fake_world_advance(&k.world, 10);
    assert_true(kit_logged(&k, "script.error", "has no field chanel"));
}

/* Vectors of RFC 4231 (test case 2) and RFC 2202. */
static void test_secrets(void **state)
{
    (void)state;
    kit_script(&k, HEAD
               "magpie.on('message', print)\n"
               "local function h(a) return magpie.hmac(a, 'Jefe', 'what do ya want for nothing?') end\n"
               "assert(h'sha256' == '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843')\n"
               "assert(h'sha1' == 'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79')\n"
               "assert(h'sha512' == '164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554' ..\n"
               "  '9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737')\n"
               "assert(#h'sha384' == 96 and #magpie.hmac('sha256', '', '') == 64)\n"
               "local a, b = magpie.random(16), magpie.random(16)\n"
               "assert(#a == 32 and a ~= b and a:find('^[0-9a-f]+$') and #magpie.random(1024) == 2048)\n"
               "local function fails(part, f, ...) local ok, why = pcall(f, ...) assert(not ok and why:find(part, 1, "
               "true), why) end\n"
               "fails('no algorithm \"sha265\"; did you mean \"sha256\"?', magpie.hmac, 'sha265', '', '')\n"
               "fails('no algorithm \"md5\"; known are: sha256', magpie.hmac, 'md5', '', '')\n"
               "fails('1 MiB', magpie.hmac, 'sha1', '', ('x'):rep(1048577))\n"
               "fails('1024', magpie.random, 0) fails('1024', magpie.random, 1025) fails('1024', magpie.random, 1.5)\n"
               "fails('1024', magpie.random, 0/0)");
}

static void test_claims(void **state)
{
    (void)state;
    kit_script(&k,
               HEAD "magpie.on('message', function(e)\n"
                    "  local c = e.user.claims\n"
                    "  if e.content == 'none' then assert(next(c) == nil and c.role == nil) return end\n"
                    "  assert(c.role == 'mod' and c.groups[2] == 'b' and e.user.claims == c)\n"
                    "  assert(not pcall(function() c.x = 1 end))\n"
                    "  assert(getmetatable(c) == false)\n"
                    "  local text = magpie.json.encode({from = e.user})\n"
                    "  assert(text == '{\"from\":{\"id\":\"ada\",\"name\":\"Ada\"}}' or text == "
                    "'{\"from\":{\"name\":\"Ada\",\"id\":\"ada\"}}', text)\n"
                    "  assert(not magpie.json.encode(e):find('mod'))\n"
                    "  magpie.after(1, function() assert(e.user.claims.role == 'mod') magpie.announce('later') end)\n"
                    "end, {fail = 'closed'})\n"
                    "magpie.on('login', function(e)\n"
                    "  if e.claims.role ~= 'mod' then return magpie.reject('forbidden') end\n"
                    "  return magpie.accept{id = 'ada', claims = {role = 'x'}}\n"
                    "end)\n"
                    "magpie.action(200, function(e) return {role = e.user.claims.role} end)\n"
                    "local other\n"
                    "magpie.on('close', function(e)\n"
                    "  if other then return other.claims.role end\n"
                    "  other = e.user\n"
                    "end)\n");
    struct hook_call h = kit_message("none");
    assert_int_equal(kit_fire(&k, &h), HOOK_PASS);
    h = kit_message("hi");
    h.claims = SLICE_LIT("{\"role\":\"mod\",\"groups\":[\"a\",\"b\"]}");
    if (kit_fire(&k, &h) != HOOK_PASS)
        fail_msg("%s", k.st->error);
    fake_world_advance(&k.world, 10);
    assert_true(k.world.first && k.world.first->kind == DEED_ANNOUNCE);
    h.event = HOOK_LOGIN;
    assert_int_equal(kit_fire(&k, &h), HOOK_ACCEPT);
    assert_string_equal(k.st->accepted_claims, "{\"role\":\"x\"}");
    h.claims = SLICE_NONE;
    assert_int_equal(kit_fire(&k, &h), HOOK_REJECT);
    assert_null(k.st->accepted_claims);
    struct action_answer out;
    event_run_action(k.st, &k.st->actions[0],
                     &(struct event){.user = SLICE_LIT("ada"), .claims = SLICE_LIT("{\"role\":\"mod\"}")}, &out);
    assert_true(slice_eq(out.body, SLICE_LIT("{\"role\":\"mod\"}")));
    /* Claims that nobody has asked for in time are not taken for none. */
    h = (struct hook_call){.event = HOOK_CLOSE, .user = SLICE_LIT("ada"), .message = "idle"};
    kit_fire(&k, &h);
    kit_fire(&k, &h);
    assert_non_null(strstr(k.st->error, "the event is over: keep e.user.claims"));
    static const char *const bad[] = {"magpie.accept{id = 'a', claims = {1, 2}}", "magpie.accept{id = 'a', claims = 3}",
                                      "magpie.accept{id = 'a', claims = {x = ('x'):rep(5000)}}",
                                      "magpie.accept{id = 'a', claims = {x = print}}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[200];
        snprintf(text, sizeof text, HEAD "%s", bad[i]);
        assert_false(kit_load(&k, text));
    }
}

static void test_offline(void **state)
{
    static const struct slice ids[] = {SLICE_LIT("bob"), SLICE_LIT("cat")};
    (void)state;
    kit_script(&k, HEAD "magpie.on('offline', function(e)\n"
                        "  assert(#e.receivers == 2 and e.receivers[2] == 'cat' and e.user.id == 'ada')\n"
                        "  local m = e.message\n"
                        "  assert(m.id == '0000000000000000042' and m.seq == 3 and m.createdAt == 5)\n"
                        "  assert(m.content == 'hi' and m.sender.id == 'ada' and m.sender.name == 'Ada')\n"
                        "  assert(e.channel == 'tea' and e.peer == nil and e.members == 4 and not e.system)\n"
                        "  magpie.announce('done')\n"
                        "end)");
    struct hook_call h = kit_message("hi");
    h.event = HOOK_OFFLINE;
    h.id = 42;
    h.seq = 3;
    h.created_ms = 5;
    h.members = 4;
    h.receivers = ids;
    h.receiver_count = 2;
    uint64_t errors = k.stats.errors;
    kit_fire(&k, &h);
    if (k.stats.errors != errors)
        fail_msg("%s", k.st->error);
    assert_true(k.world.first && k.world.first->kind == DEED_ANNOUNCE);
}

static void test_content(void **state)
{
    (void)state;
    kit_script(&k, HEAD
               "magpie.on('message', function(e) if e.content == 'bad' then e.content = '\\255' elseif e.content == "
               "'empty' then e.content = '' elseif e.content == 'table' then e.content = {}\n"
               "else e.content = e.content:upper() end end, {fail = 'closed'})");
    struct hook_call h = kit_message("hi");
    assert_int_equal(kit_fire(&k, &h), HOOK_PASS);
    assert_true(slice_eq(h.content, SLICE_LIT("HI")));
    static const char *const wrong[] = {"bad", "empty", "table"};
    for (size_t i = 0; i < 3; i++) {
        h = kit_message(wrong[i]);
        assert_int_equal(kit_fire(&k, &h), HOOK_REJECT);
    }
}

/* An event that is looked at later: filled when a timer is set, an error otherwise. */
static void test_event_is_over(void **state)
{
    (void)state;
    kit_script(&k, HEAD "local kept\n"
                        "magpie.on('message', function(e) if e.content == 'timer' then magpie.after(10, function() "
                        "magpie.send_channel(e.channel, e.content .. e.user.id) end)\n"
                        "elseif kept then return magpie.reject('forbidden', kept.channel) else kept = e end end)");
    struct hook_call h = kit_message("timer");
    kit_fire(&k, &h);
    fake_world_advance(&k.world, 10);
    assert_non_null(k.world.first);
    assert_int_equal(k.world.first->kind, DEED_SEND_CHANNEL);
    assert_string_equal(k.world.first->target, "tea");
    assert_string_equal(k.world.first->text, "timerada");
    h = kit_message("hi");
    kit_fire(&k, &h);
    kit_fire(&k, &h);
    assert_non_null(strstr(k.st->error, "the event is over: keep e.channel in a local"));
    inside("local n = 0 for key, value in pairs(e) do n = n + 1 end assert(n == 4, n) "
           "assert(magpie.json.decode(magpie.json.encode(e)).channel == 'tea')");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_verdicts), TEST(test_reject_text), TEST(test_advice), TEST(test_fields),  TEST(test_slips),
        TEST(test_secrets),  TEST(test_offline),     TEST(test_claims), TEST(test_content), TEST(test_event_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
