/* Each function of the module `magpie`, as a script sees it. */
#include "script_kit.h"

#include "core/base/json.h"
#include "core/plugin/answers.h"

#include <cjson/cJSON.h>

static struct kit k;

static int begin(void **state)
{
    (void)state;
    kit_begin(&k);
    k.shard_set.budget_us = 10000000; /* time is no matter here, and sanitizers are slow */
    return 0;
}

static int end(void **state)
{
    (void)state;
    kit_end(&k);
    return 0;
}

#define HEAD "local magpie = require 'magpie'\n"

/* Runs Lua inside a message hook; its assertions must hold. */
static void inside(const char *body)
{
    char text[4000];
    snprintf(text, sizeof text, HEAD "magpie.on('message', function(e)\n%s\nend, {fail = 'closed'})", body);
    kit_script(&k, text);
    struct hook_call h = kit_message("hi");
    if (kit_fire(&k, &h) == HOOK_REJECT && h.code == CODE_INTERNAL)
        fail_msg("%s", k.st->error);
}

static void test_text(void **state)
{
    (void)state;
    inside("local t = magpie.text\n"
           "assert(t.starts('hello', 'he') and not t.starts('hello', 'hello!') and t.starts('x', ''))\n"
           "assert(t.ends('hello', 'lo') and not t.ends('lo', 'hello') and t.ends('x', ''))\n"
           "assert(t.contains('a%b', '%') and not t.contains('abc', 'd') and t.contains('', ''))\n"
           "assert(table.concat(t.split('a,b,,c', ','), '|') == 'a|b||c')\n"
           "assert(table.concat(t.split('a, b, c', ', ', 2), '|') == 'a|b, c')\n"
           "assert(#t.split('', ',') == 1 and not pcall(t.split, 'x', ''))");
}

static void test_json(void **state)
{
    (void)state;
    inside(
        "local j = magpie.json\n"
        "assert(j.encode({1, 2, 'x'}) == '[1,2,\"x\"]' and j.encode({}) == '{}' and j.encode(j.array{}) == '[]' and "
        "j.encode(j.null) == 'null')\n"
        "assert(j.encode({a = {b = true}}) == '{\"a\":{\"b\":true}}')\n"
        "assert(j.encode(0.1) == '0.1' and j.encode(1e15) == '1000000000000000' and j.encode(2^53) == "
        "'9007199254740992' "
        "and j.encode(-0.5e-7) == '-5e-08')\n"
        "local v = j.decode('{\"n\":null,\"l\":[],\"m\":[1,[2]],\"s\":\"\\\\u00e9\"}')\n"
        "assert(v.n == j.null and j.encode(v.l) == '[]' and v.m[2][1] == 2 and v.s == 'é')\n"
        "table.insert(v.l, 7) assert(j.encode(v.l) == '[7]')\n"
        "v.l.x = 1 assert(not pcall(j.encode, v.l))\n"
        "local nothing, why = j.decode('{') assert(nothing == nil and #why > 0)\n"
        "assert(j.decode('[1] 2') == nil and j.decode('{\"a\":1,\"a\":2}') == nil and j.decode('\"\\255\"') == nil)\n"
        "assert(not pcall(j.encode, {[1] = 1, x = 2}) and not pcall(j.encode, {[2] = 1}) and not pcall(j.encode, 0/0) "
        "and "
        "not pcall(j.encode, math.huge))\n"
        "assert(not pcall(j.encode, function() end) and not pcall(j.encode, {'\\255'}) and not pcall(j.decode, "
        "('x'):rep(2^20 + 1)))\n"
        "assert(not pcall(setmetatable, j.array{}, {}))\n"
        "assert(not pcall(j.encode, ('x'):rep(2^20 + 1)) and #j.encode(('x'):rep(2^19)) == 2^19 + 2 and not "
        "pcall(magpie.push, 'bob', 200, {x = ('x'):rep(300000)}))\n"
        "local t = {} t.t = t assert(not pcall(j.encode, t))");
}

/* Escapes, depth and keys, read straight into tables; what is wrong is told as it is to clients. */
static void test_json_decode(void **state)
{
    (void)state;
    inside(
        "local j = magpie.json\n"
        "assert(j.decode([[\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00z\"]]) == "
        "'a\"\\\\/\\b\\f\\n\\r\\tAé€😀z')\n"
        "assert(j.decode('[\"\\\\n\",\"\",\"plain\"]')[1] == '\\n')\n"
        "local v = j.decode('{\"a\":{\"b\":[1,2,{\"c\":[]}]},\"d\":-0.5e1,\"\\\\u0065\":false,\"f\":null,\"g\":{}}')\n"
        "assert(v.a.b[2] == 2 and #v.a.b == 3 and v.d == -5 and v.e == false and v.f == j.null and next(v.g) == nil)\n"
        "assert(j.encode(v.a.b[3].c) == '[]' and j.encode(v.g) == '{}')\n"
        "assert(j.decode('7') == 7 and j.decode('true') == true and j.decode('null') == j.null)\n"
        "assert(j.decode(('['):rep(32) .. (']'):rep(32)))\n"
        "for text, expected in pairs{[''] = 'empty', ['{\"a\":1,\"\\\\u0061\":2}'] = 'duplicate key', "
        "['{\"a\":null,\"a\":null}'] = 'duplicate key', [('['):rep(33)] = 'nested deeper than 32', "
        "['[1e999]'] = 'number out of range', ['\"\\\\ud800\"'] = 'lone surrogate in a string', "
        "['[1] x'] = 'trailing bytes after the value'} do\n"
        "  local got, why = j.decode(text) assert(got == nil and why == expected, text .. ': ' .. tostring(why)) end");
}

static unsigned allocations;

static void *counted_malloc(size_t n)
{
    allocations++;
    return malloc(n);
}

/* All that JSON takes is the script's memory and time: no tree beside it, and the text that is written counts. */
static void test_json_is_counted(void **state)
{
    (void)state;
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = counted_malloc, .free_fn = free});
    inside("local v = magpie.json.decode('[' .. ('{\"a\":[]},'):rep(1000) .. '1]') assert(#v == 1001)");
    cJSON_InitHooks(NULL);
    assert_int_equal(allocations, 0);
    /* Written in pieces, so that escapes grow no buffer beyond the limit. */
    k.shard_set.memory_max = 32 << 20;
    inside("assert(#magpie.json.encode(('x'):rep(1000000)) == 1000002)\n"
           "local ok, why = pcall(magpie.json.encode, ('\\1'):rep(1000000)) assert(not ok and "
           "why:find('more than 1048576 bytes'), why)");
    assert_in_range(k.st->scratch.cap, 1 << 20, 4 << 20);
    assert_int_equal(k.st->scratch_counted, k.st->scratch.cap);
    assert_true(k.st->memory >= (int64_t)k.st->scratch.cap);
    int64_t before = k.st->memory;
    size_t held = k.st->scratch.cap;
    struct buf *b = state_scratch(k.st);
    assert_int_equal(b->cap, 0);
    assert_int_equal(k.st->memory, before - (int64_t)held);
    /* No more than scripts.memory lets it. */
    k.shard_set.memory_max = 3 << 20;
    kit_script(&k, HEAD "magpie.on('message', function(e) return magpie.reject('forbidden', "
                        "magpie.json.encode(('x'):rep(1000000))) end, {fail = 'closed'})");
    struct hook_call h = kit_message("hi");
    assert_int_equal(kit_fire(&k, &h), HOOK_REJECT);
    assert_int_equal(h.code, CODE_INTERNAL);
    assert_non_null(strstr(k.st->error, "out of the memory"));
    assert_true(k.shard_set.memory < 3 << 20);
}

/* Stopped in the middle. */
static void test_json_is_stopped(void **state)
{
    (void)state;
    static const char *const loops[] = {
        "local s = '[' .. ('1.5,'):rep(20000) .. '1]' while true do magpie.json.decode(s) end",
        "local s = '[' .. ('[],'):rep(10000) .. '1]' while true do magpie.json.decode(s) end",
        "local t = {} for i = 1, 50000 do t[i] = i + 0.1 end while true do magpie.json.encode(t) end",
        "local t = {} for i = 1, 100000 do t[i] = 1 end t.x = 1 while true do pcall(magpie.json.encode, t) end",
        "local s = ('x'):rep(1000000) while true do magpie.json.encode(s) end",
    };
    for (size_t i = 0; i < sizeof loops / sizeof loops[0]; i++) {
        char text[400];
        snprintf(text, sizeof text, HEAD "magpie.on('message', function(e) %s end, {fail = 'closed'})", loops[i]);
        kit_script(&k, text);
        k.shard_set.budget_us = 200000;
        struct hook_call h = kit_message("hi");
        uint64_t kills = k.stats.kills;
        assert_int_equal(kit_fire(&k, &h), HOOK_REJECT);
        if (k.stats.kills != kills + 1)
            fail_msg("%s: %s", loops[i], k.st->error);
    }
}

static void test_keep(void **state)
{
    (void)state;
    inside("for _, s in ipairs{magpie.kv, magpie.shared} do\n"
           "assert(s.get('a') == nil and s.set('a', 'x') and s.get('a') == 'x')\n"
           "assert(s.set('a', 1.5) and s.get('a') == 1.5 and s.set('b', false) and s.get('b') == false and s.set('c', "
           "'') and "
           "s.get('c') == '')\n"
           "assert(s.incr('n') == 1 and s.incr('n', 5) == 6 and s.incr('n', -6) == 0 and not pcall(s.incr, 'b'))\n"
           "assert(s.del('a') == true and s.del('a') == false and s.get('a') == nil)\n"
           "assert(s.set('b', nil) and s.get('b') == nil)\n"
           "assert(not pcall(s.set, 'a', {}) and not pcall(s.set, ('k'):rep(257), 1) and not pcall(s.set, 'a', 1, -1) "
           "and not "
           "pcall(s.set, 'a', 1, 0/0))\n"
           "s.set('short', 1, 10) s.set('long', 1, 1000) s.incr('counted', 1, 10) s.incr('counted', 1, 1000)\n"
           "s.set('bin', 'a\\0b') assert(s.get('bin') == 'a\\0b')\n"
           "end");
    fake_world_advance(&k.world, 10000);
    inside("for _, s in ipairs{magpie.kv, magpie.shared} do assert(s.get('short') == nil and s.get('long') == 1 and "
           "s.get('counted') == nil) end");
    /* Full: told, and what is there stays. */
    inside("local ok, why = true\n"
           "for i = 1, 100 do ok, why = magpie.kv.set('big' .. i, ('x'):rep(50000)) if not ok then break end end\n"
           "assert(ok == false and why == 'full') assert(#magpie.kv.get('big1') == 50000)\n"
           "for i = 1, 100 do magpie.kv.del('big' .. i) end assert(magpie.kv.set('big', ('x'):rep(50000)))");
}

static void test_bucket(void **state)
{
    (void)state;
    inside(
        "local ok, wait = magpie.bucket('a', 10, 2) assert(ok and wait == 0)\n"
        "assert(magpie.bucket('a', 10, 2)) ok, wait = magpie.bucket('a', 10, 2) assert(not ok and wait == 100, wait)\n"
        "assert(magpie.bucket('b', 10, 2, 2) and not magpie.bucket('b', 10, 2, 1))\n"
        "ok, wait = magpie.bucket('c', 10, 2, 3) assert(not ok and wait == math.huge)\n"
        "assert(magpie.bucket('d', 0, 0)) ok, wait = magpie.bucket('e', 1, 0) assert(not ok)\n"
        "for _, x in ipairs{-1, 0/0, math.huge, 1e300} do assert(not pcall(magpie.bucket, 'f', x, 1) and not "
        "pcall(magpie.bucket, 'f', 1, x) and not pcall(magpie.bucket, 'f', 1, 1, x)) end");
    fake_world_advance(&k.world, 100);
    inside("assert(magpie.bucket('a', 10, 2) and not magpie.bucket('a', 10, 2))");
    assert_false(kit_load(&k, HEAD "magpie.bucket('a', 1, 1)"));
}

/* What a repeat took is given back, by way of the hook's refund. */
static void test_refund(void **state)
{
    (void)state;
    kit_script(&k, HEAD "magpie.on('message', function(e)\n"
                        "if not magpie.bucket('a', 1, 2) or not magpie.bucket('b', 1, 5) then return "
                        "magpie.reject('rate_limited', 'slow', 1) end end)");
    struct hook_call h = kit_message("hi");
    h.repeat_possible = true;
    assert_int_equal(kit_fire(&k, &h), HOOK_PASS);
    assert_non_null((void *)(uintptr_t)h.refund);
    refunds_give(k.env.refunds, NULL, h.refund_what);
    refunds_give(k.env.refunds, NULL, h.refund_what); /* once */
    for (int i = 0; i < 2; i++) {
        h = kit_message("hi");
        assert_int_equal(kit_fire(&k, &h), HOOK_PASS);
        assert_null((void *)(uintptr_t)h.refund);
    }
    h = kit_message("hi");
    assert_int_equal(kit_fire(&k, &h), HOOK_REJECT);
}

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

/* A hook's body that must fail with this error. */
static void wrong(const char *event, const char *lua, const char *error)
{
    char text[500];
    snprintf(text, sizeof text, HEAD "magpie.on('%s', function(e) %s end, {fail = 'open'})", event, lua);
    kit_script(&k, text);
    struct hook_call h = kit_message("hi");
    for (int i = 0; i < HOOK_EVENTS; i++)
        if (strcmp(hook_event_name((enum hook_event)i), event) == 0)
            h.event = (enum hook_event)i;
    h.members = 3;
    uint64_t errors = k.stats.errors;
    assert_int_equal(kit_fire(&k, &h), HOOK_PASS);
    if (k.stats.errors != errors + 1)
        fail_msg("%s: %s: no error", event, lua);
    if (!strstr(k.st->error, error))
        fail_msg("%s: %s: expected %s, got %s", event, lua, error, k.st->error);
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

static void test_glob(void **state)
{
    (void)state;
    kit_script(&k, HEAD "magpie.on('message', function(e) return magpie.drop() end, {channel = "
                        "'staff/*'})\nmagpie.on('message', function(e) return magpie.accept() end, {channel = 't?a'})");
    struct hook_call h = kit_message("x");
    assert_int_equal(kit_fire(&k, &h), HOOK_ACCEPT);
    h.channel = SLICE_LIT("staff/");
    assert_int_equal(kit_fire(&k, &h), HOOK_DROP);
    h.channel = SLICE_LIT("staff");
    assert_int_equal(kit_fire(&k, &h), HOOK_PASS);
    h.channel = SLICE_NONE;
    h.peer = SLICE_LIT("bob");
    assert_int_equal(kit_fire(&k, &h), HOOK_PASS);
}

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

static void test_config(void **state)
{
    (void)state;
    struct cJSON *tree = json_parse(
        SLICE_LIT("{\"rate\":{\"user\":7,\"policy\":\"drop\"},\"list\":[1,2],\"absent\":null}"), &(const char *){NULL});
    k.shard_set.config = tree;
    kit_script(
        &k,
        HEAD "local c = magpie.config assert(c('rate.user') == 7 and c('rate').policy == 'drop' and c('list')[2] == 2 "
             "and c('no.such') == nil and c('rate.user.more') == nil and c('absent') == nil and c().rate.user == 7)");
    json_free(tree);
}

static void test_lua(void **state)
{
    (void)state;
    inside("local co = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end) assert(co(1) == 2 "
           "and co(5) "
           "== 10 and not pcall(co))\n"
           "local c = coroutine.create(function(...) return select('#', ...), coroutine.running() ~= nil end) local "
           "ok, n, r = "
           "coroutine.resume(c, 1, nil, nil) assert(ok and n == 3 and r and coroutine.status(c) == 'dead')\n"
           "local ok, why = coroutine.resume(c) assert(not ok and why:find('dead'))\n"
           "local self self = coroutine.create(function() return coroutine.resume(self) end) local ok, inner = "
           "coroutine.resume(self) assert(ok and inner == false)\n"
           "local ok, why = xpcall(function(a) error(a, 0) end, function(m) return 'handled ' .. m end, 'x') "
           "assert(not ok and "
           "why == 'handled x')\n"
           "local ok, a, b = xpcall(function(...) return ... end, print, 1, 2) assert(ok and a == 1 and b == 2)\n"
           "local t = {5, 2, 8, 1} table.sort(t) assert(table.concat(t, ' ') == '1 2 5 8') table.sort(t, function(a, "
           "b) return a "
           "> b end) assert(table.concat(t, ' ') == '8 5 2 1')\n"
           "t = {'b', 'a'} table.sort(t) assert(t[1] == 'a') assert(not pcall(table.sort, {1, 'x'}))\n"
           "t = {} for i = 1, 1000 do t[i] = (i * 7919) % 1009 end table.sort(t) for i = 2, 1000 do assert(t[i - 1] <= "
           "t[i]) end\n"
           "t = {1, 2} table.insert(t, 3) table.insert(t, 1, 0) assert(table.concat(t) == '0123' and table.remove(t, "
           "1) == 0 and "
           "not pcall(table.insert, t, 9, 1))\n"
           "assert(getmetatable(setmetatable({}, {__metatable = 'x'})) == 'x')");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_text),
        TEST(test_json),
        TEST(test_json_decode),
        TEST(test_json_is_counted),
        TEST(test_json_is_stopped),
        TEST(test_keep),
        TEST(test_bucket),
        TEST(test_refund),
        TEST(test_verdicts),
        TEST(test_reject_text),
        TEST(test_advice),
        TEST(test_fields),
        TEST(test_slips),
        TEST(test_secrets),
        TEST(test_offline),
        TEST(test_claims),
        TEST(test_content),
        TEST(test_event_is_over),
        TEST(test_glob),
        TEST(test_registration_errors),
        TEST(test_doing),
        TEST(test_orders),
        TEST(test_timers),
        TEST(test_timers_over_nodes),
        TEST(test_actions),
        TEST(test_config),
        TEST(test_lua),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
