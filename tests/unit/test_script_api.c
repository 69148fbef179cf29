/* The functions of the module `magpie` that change nothing: text, JSON, buckets, patterns, the config. */
#include "script_api_kit.h"

#include "core/base/json.h"

#include <cjson/cJSON.h>

static unsigned allocations;

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
    const struct CMUnitTest tests[] = {
        TEST(test_text),
        TEST(test_json),
        TEST(test_json_decode),
        TEST(test_json_is_counted),
        TEST(test_json_is_stopped),
        TEST(test_keep),
        TEST(test_bucket),
        TEST(test_refund),
        TEST(test_glob),
        TEST(test_config),
        TEST(test_lua),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
