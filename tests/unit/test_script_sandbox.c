/* What a script cannot reach, cannot use up, and cannot outlive. */
#include "script_kit.h"

/* CPU time until a script is stopped. The promise is 100 ms; the clocks of a busy virtual machine, and sanitizers, get
 * more. */
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
enum { LONGEST_US = 20000000 };
#else
enum { LONGEST_US = 1000000 };
#endif

static struct kit k;

static int begin(void **state)
{
    (void)state;
    kit_begin(&k);
    return 0;
}

static int end(void **state)
{
    (void)state;
    kit_end(&k);
    return 0;
}

static void test_globals(void **state)
{
    (void)state;
    static const char *const absent[] = {"io",
                                         "os",
                                         "debug",
                                         "ffi",
                                         "jit",
                                         "package",
                                         "module",
                                         "load",
                                         "loadstring",
                                         "loadfile",
                                         "dofile",
                                         "newproxy",
                                         "getfenv",
                                         "setfenv",
                                         "collectgarbage",
                                         "gcinfo",
                                         "string.dump",
                                         "table.move",
                                         "table.foreach",
                                         "math.mod",
                                         "coroutine.close"};
    char text[200];
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        snprintf(text, sizeof text, "assert(%s == nil, '%s is there')", absent[i], absent[i]);
        kit_script(&k, text);
    }
    kit_script(&k,
               "local names = {} for name in pairs(_G) do names[#names + 1] = name end table.sort(names)\n"
               "local all = table.concat(names, ' ')\n"
               "assert(all == '_G _VERSION assert bit coroutine error getmetatable ipairs math next pairs pcall print "
               "rawequal rawget rawset require '\n"
               "  .. 'select setmetatable string table tonumber tostring type unpack xpcall', all)");
    assert_false(kit_load(&k, "require 'ffi'"));
    assert_non_null(strstr(k.st->error, "kit.lua:1: there is one module"));
    assert_false(kit_load(&k, "require 'os'"));
}

static void test_bytecode(void **state)
{
    (void)state;
    assert_false(kit_load(&k, "\033LJ\002\012"));
    assert_non_null(strstr(k.st->error, "compiled"));
}

static void test_string_metatable(void **state)
{
    (void)state;
    kit_script(&k, "assert(getmetatable('') == false)\n"
                   "assert(not pcall(setmetatable, '', {}))\n"
                   "assert(not pcall(function() local s = '' s.x = 1 end))\n"
                   "assert(('a'):upper() == 'A' and ('a'):rep(3) == 'aaa')\n"
                   "string.upper = function() return 'mine' end assert(('a'):upper() == 'mine')");
    /* Another script, another world. */
    kit_script(&k, "assert(('a'):upper() == 'A')");
}

static void test_event_metatable(void **state)
{
    (void)state;
    kit_script(
        &k, "local magpie = require 'magpie'\n"
            "magpie.on('message', function(e) assert(getmetatable(e) == false) assert(not pcall(setmetatable, e, {})) "
            "return magpie.drop() end, {fail = 'closed'})");
    struct hook_call h = kit_message("x");
    assert_int_equal(kit_fire(&k, &h), HOOK_DROP);
}

/* The call ends soon, with an error, and the next one works. */
static void stopped(const char *body, const char *because)
{
    char text[2000];
    snprintf(text, sizeof text,
             "local magpie = require 'magpie'\n"
             "magpie.on('message', function(e) if e.content == 'go' then %s end return magpie.drop() end, {fail = "
             "'closed'})",
             body);
    kit_script(&k, text);
    struct hook_call h = kit_message("go");
    uint64_t kills = k.stats.kills, began = clock_thread_cpu_us();
    enum hook_verdict v = kit_fire(&k, &h);
    uint64_t took = clock_thread_cpu_us() - began;
    if (v != HOOK_REJECT || !strstr(k.st->error, because))
        fail_msg("%s: verdict %d, error %s", body, v, k.st->error);
    assert_int_equal(h.code, CODE_INTERNAL);
    if (strstr(because, "budget"))
        assert_int_equal(k.stats.kills, kills + 1);
    if (took > LONGEST_US)
        fail_msg("%s: took %llu us", body, (unsigned long long)took);
    h = kit_message("x");
    assert_int_equal(kit_fire(&k, &h), HOOK_DROP);
}

static void test_endless(void **state)
{
    (void)state;
    static const char *const loops[] = {
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(error) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "local co = coroutine.wrap(function() while true do end end) co()",
        "while true do local co = coroutine.create(function() while true do end end) coroutine.resume(co) end",
        "while true do local co = coroutine.wrap(function() while true do pcall(coroutine.yield) end end) for i = 1, "
        "10 do "
        "pcall(co) end end",
        "local function f() return f() end f()",
        "while true do local t = {} for i = 1, 100 do t[i] = {i} end end",
        "while true do local s = '' for i = 1, 100 do s = s .. i end end",
        "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) while true do pcall(function() "
        "return t[1] "
        "end) end",
        "repeat until false",
        "local function f() return xpcall(f, f) end f()",
        "for i = 1, math.huge do end",
        "goto again ::again:: goto again",
        "local t = {} for i = 1, 50000 do t[i] = -i end while true do table.sort(t, function(a, b) return a < b end) "
        "end",
        "local t = {} for i = 1, 100000 do t[i] = i % 1000 end while true do table.sort(t) end",
        "string.find(('a'):rep(100000), '.-.-.-.-b')",
        "string.match(('a'):rep(30), ('a?'):rep(30) .. ('a'):rep(30) .. 'b')",
        "string.gsub(('('):rep(60000), '%b()', '')",
        "for _ in string.gmatch(('x'):rep(100000), '(.-)(.-)(.-)y') do end",
        "while true do string.gsub('aaaa', 'a', function() end) end",
        "local s = ('a'):rep(1000000) while true do s:lower() end",
        "local m = require 'magpie' local t = {} for i = 1, 300 do t[i] = {i} end while true do m.json.encode(t) end",
        "local m = require 'magpie' local s = ('a,'):rep(100000) while true do m.text.split(s, ',') end",
        "local m = require 'magpie' local s = '[' .. ('1,'):rep(50000) .. '1]' while true do m.json.decode(s) end",
        "setmetatable(_G, {__index = function() while true do end end}) local x = nothing",
        "while true do tostring(setmetatable({}, {__tostring = function() while true do end end})) end",
    };
    for (size_t i = 0; i < sizeof loops / sizeof loops[0]; i++)
        stopped(loops[i], "budget");
}

static void test_memory(void **state)
{
    (void)state;
    static const char *const bombs[] = {
        "local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end",
        "local s = ('x'):rep(1000000) while true do s = s .. s end",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local s = ('x'):rep(4000000) local t = {} for i = 1, 100 do t[i] = s end table.concat(t)",
        "string.gsub(('x'):rep(1000000), '.', ('y'):rep(1000))",
        "string.rep('x', 1e12)",
        "string.rep('x', 2^53)",
        "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
    };
    for (size_t i = 0; i < sizeof bombs / sizeof bombs[0]; i++) {
        /* A machine that is slow enough stops it for its time. */
        char text[1000];
        snprintf(
            text, sizeof text,
            "local magpie = require 'magpie'\nmagpie.on('message', function(e) if e.content == 'go' then %s end return "
            "magpie.drop() end, {fail = 'closed'})",
            bombs[i]);
        kit_script(&k, text);
        k.shard_set.budget_us = 30000000;
        struct hook_call h = kit_message("go");
        if (kit_fire(&k, &h) != HOOK_REJECT || !strstr(k.st->error, "memory"))
            fail_msg("%s: %s", bombs[i], k.st->error);
        if (k.shard_set.memory > k.shard_set.memory_max / 4)
            fail_msg("%s: %llu bytes are still held", bombs[i], (unsigned long long)k.shard_set.memory);
        h = kit_message("x");
        assert_int_equal(kit_fire(&k, &h), HOOK_DROP);
    }
}

static void test_depth(void **state)
{
    (void)state;
    static const char *const deep[] = {
        "local function f() return 1 + f() end f()",
        "local function f() return (string.gsub('a', 'a', f)) end f()",
        "local function f() local t = {2, 1} table.sort(t, f) return true end f()",
        "local function f() return coroutine.wrap(f)() end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(_, i) return (string.gsub('a', 'a', t)) end "
        "string.gsub('a', 'a', t)",
        "local t = setmetatable({}, {__tostring = function(t) return string.format('%s', t) end}) tostring(t)",
        "local t = setmetatable({}, {__lt = function(a, b) local l = {a, b} table.sort(l) return true end}) "
        "table.sort({t, t})",
        "local t = {} t[1] = t require('magpie').json.encode(t)",
        "string.rep('(', 40):find(string.rep('(', 40))",
        "string.find(('a'):rep(1000), ('.-'):rep(300) .. 'b')",
    };
    for (size_t i = 0; i < sizeof deep / sizeof deep[0]; i++) {
        k.shard_set.budget_us = 10000000;
        stopped(deep[i], "");
    }
    k.shard_set.budget_us = 20000;
}

static void test_extremes(void **state)
{
    (void)state;
    kit_script(
        &k,
        "local huge = {2^31, -2^31, 2^31 - 1, 2^53, -2^53, 2^63, -2^63, 1e308, -1e308, math.huge, -math.huge, 0/0, "
        "0.5}\n"
        "local t = {1, 2, 3}\n"
        "for _, a in ipairs(huge) do for _, b in ipairs(huge) do\n"
        "  pcall(string.sub, 'hello', a, b) pcall(string.byte, 'hello', a, b) pcall(string.find, 'hello', 'l', a) "
        "pcall(string.gsub, 'hello', 'l', 'x', a)\n"
        "  pcall(table.insert, t, a, b) pcall(table.remove, t, a) pcall(table.concat, t, ',', a, b) pcall(unpack, t, "
        "a, b) "
        "pcall(select, a, 1, 2)\n"
        "  pcall(string.char, a) pcall(string.format, '%d %c %x', a, b, a) pcall(math.random, a, b) pcall(bit.lshift, "
        "a, "
        "b) pcall(bit.tohex, a, b)\n"
        "  pcall(tonumber, '10', a) pcall(string.match, 'hello', '()', a) pcall(string.rep, '', a) pcall(string.rep, "
        "'', "
        "a, '') pcall(math.ldexp, a, b)\n"
        "end end\n"
        "assert(string.rep('', 1e9) == '' and string.rep('ab', 2, '-') == 'ab-ab' and string.rep('x', -1) == '' and "
        "string.rep('x', 0/0) == '')\n"
        "assert(#t <= 3 + 13 * 13)");
}

/* LuaJIT's literals of 64-bit integers bring a piece of its FFI along: it leads nowhere. */
static void test_cdata(void **state)
{
    (void)state;
    kit_script(&k, "local ok, x = pcall(function() return 1LL end)\n"
                   "assert(not pcall(function() return x.gc end))\n"
                   "assert(type(getmetatable(x)) ~= 'table')\n"
                   "assert(rawget(_G, 'ffi') == nil)\n"
                   "assert(not pcall(require, 'ffi'))\n"
                   "assert(not pcall(require('magpie').json.encode, {x}))\n"
                   "assert(not pcall(require('magpie').kv.set, 'x', x))");
}

static void test_load_budget(void **state)
{
    (void)state;
    assert_false(kit_load(&k, "\nwhile true do end"));
    assert_string_equal(k.st->error, "kit.lua:2: over its CPU budget");
    assert_false(kit_load(&k, "local x = \n= 3"));
    assert_non_null(strstr(k.st->error, "kit.lua:2:"));
    assert_false(kit_load(&k, "error({})"));
    assert_non_null(strstr(k.st->error, "no text"));
    assert_false(kit_load(&k, "error('a\\nb\\27[31m')"));
    assert_null(strchr(k.st->error, '\n'));
    assert_null(strchr(k.st->error, '\033'));
}

static struct hook_call from(const char *user, const char *content)
{
    struct hook_call h = kit_message(content);
    h.user = slice_str(user);
    return h;
}

static enum hook_verdict says(const char *user, const char *content)
{
    struct hook_call h = from(user, content);
    return kit_fire(&k, &h);
}

static int calls_made(void)
{
    struct script_value v;
    assert_int_equal(values_get(k.env.kv, SLICE_LIT("calls"), k.world.now_ms, &v), 0);
    return (int)v.number;
}

/* One user's bad input takes a rule away from nobody, not even from that user. */
static void test_errors_switch_nothing_off(void **state)
{
    (void)state;
    kit_script(&k,
               "local magpie = require 'magpie'\n"
               "magpie.on('message', function(e) magpie.kv.incr('calls') if e.content == 'bad' then error('no') end "
               "if e.content == 'rude' then return magpie.reject('forbidden') end end)");
    for (int i = 0; i < 50; i++)
        assert_int_equal(says("ada", "bad"), HOOK_PASS); /* open: as if it were not there */
    assert_int_equal(calls_made(), 50);
    assert_int_equal(says("bob", "rude"), HOOK_REJECT);
    assert_int_equal(says("ada", "rude"), HOOK_REJECT);
    assert_true(kit_logged(&k, "script.error", "kit.lua:2: no"));
    assert_false(kit_logged(&k, "script.breaker", ""));
}

/* Who costs too much is refused; nobody else is. */
static void test_breaker_of_one(void **state)
{
    (void)state;
    k.shard_set.budget_us = 1000;
    kit_script(&k, "local magpie = require 'magpie'\n"
                   "magpie.on('message', function(e) while e.content == 'go' do end "
                   "if e.content == 'rude' then return magpie.reject('forbidden') end end)\n"
                   "magpie.on('delivered', function(e) magpie.kv.incr('calls') while e.content == 'go' do end end)");
    assert_int_equal(says("ada", "x"), HOOK_PASS);
    for (int i = 0; i < 10; i++)
        assert_int_equal(says("ada", "go"), HOOK_PASS);
    assert_int_equal(k.stats.kills, 10);
    assert_true(kit_logged(&k, "script.breaker", "for=caller failures=10 left_out_ms=5000 caller=ada"));
    struct hook_call h = from("ada", "x");
    assert_int_equal(kit_fire(&k, &h), HOOK_REJECT);
    assert_int_equal(h.code, CODE_INTERNAL);
    assert_int_equal(says("bob", "x"), HOOK_PASS);
    assert_int_equal(says("bob", "rude"), HOOK_REJECT);
    assert_int_equal(k.stats.kills, 10);
    fake_world_advance(&k.world, 5000);
    assert_int_equal(says("ada", "x"), HOOK_PASS);
    assert_int_equal(says("ada", "rude"), HOOK_REJECT);
    /* What has happened already is not refused; the hook is not asked. */
    h = from("ada", "go");
    h.event = HOOK_DELIVERED;
    for (int i = 0; i < 12; i++)
        assert_int_equal(kit_fire(&k, &h), HOOK_PASS);
    assert_int_equal(calls_made(), 10);
    h = from("bob", "x");
    h.event = HOOK_DELIVERED;
    kit_fire(&k, &h);
    assert_int_equal(calls_made(), 11);
}

/* What is broken for everybody is left out for all, as its `fail` says, and tried again. */
static void test_breaker_for_all(void **state)
{
    (void)state;
    static const char *const users[] = {"ada", "bob", "eve"};
    k.shard_set.budget_us = 1000;
    kit_script(&k, "local magpie = require 'magpie'\n"
                   "magpie.on('message', function(e) magpie.kv.incr('calls') if magpie.kv.get('well') then return "
                   "magpie.drop() end while true do end end)");
    for (int i = 0; i < 15; i++)
        assert_int_equal(says(users[i % 3], "x"), HOOK_PASS);
    assert_int_equal(calls_made(), 10);
    assert_true(kit_logged(&k, "script.breaker", "for=all"));
    fake_world_advance(&k.world, 6000);
    for (int i = 0; i < 5; i++)
        says("ada", "x");
    assert_int_equal(calls_made(), 11);
    assert_int_equal(values_set(k.env.kv, SLICE_LIT("well"), &(struct script_value){.type = VALUE_BOOL, .number = 1}, 0,
                                k.world.now_ms),
                     0);
    assert_int_equal(says("ada", "x"), HOOK_PASS);
    assert_int_equal(says("zoe", "x"), HOOK_DROP); /* a stranger is asked, and it works */
    assert_int_equal(says("ada", "x"), HOOK_DROP);
}

/* An action that is stopped for one user answers others. */
static void test_breaker_of_actions(void **state)
{
    (void)state;
    k.shard_set.budget_us = 1000;
    kit_script(&k, "require('magpie').action(200, function(e) while e.user.id == 'eve' do end return {} end)");
    struct action_answer out;
    struct event ada = {.user = SLICE_LIT("ada"), .action = 200}, eve = {.user = SLICE_LIT("eve"), .action = 200};
    event_run_action(k.st, &k.st->actions[0], &ada, &out);
    for (int i = 0; i < 15; i++) {
        event_run_action(k.st, &k.st->actions[0], &eve, &out);
        assert_int_equal(out.code, CODE_INTERNAL);
    }
    assert_int_equal(k.stats.kills, 10);
    event_run_action(k.st, &k.st->actions[0], &ada, &out);
    assert_int_equal(out.code, CODE_OK);
}

static void test_figures(void **state)
{
    (void)state;
    kit_script(&k, "require('magpie').on('message', function(e) if e.content == 'bad' then error('x') end "
                   "while e.content == 'go' do end end)");
    uint64_t calls = k.stats.calls, errors = k.stats.errors;
    for (int i = 0; i < 100; i++) {
        struct hook_call h = kit_message(i % 10 ? "good" : "bad");
        kit_fire(&k, &h);
    }
    assert_int_equal(k.stats.calls, calls + 100);
    assert_int_equal(k.stats.errors, errors + 10);
    assert_true(k.stats.cpu_ns > 0);
    assert_int_equal(k.stats.memory, k.st->memory);
    assert_true(k.st->memory > 1000);
}

/* The time that is told is what was used, when there were few calls too. */
static void test_cpu_is_right(void **state)
{
    (void)state;
    k.shard_set.budget_us = 10000;
    kit_script(&k, "require('magpie').on('message', function(e) while e.content == 'go' do end end)");
    uint64_t told = k.stats.cpu_ns, used = clock_thread_cpu_us();
    for (int i = 0; i < 6; i++)
        says("ada", "go");
    told = (k.stats.cpu_ns - told) / 1000;
    used = clock_thread_cpu_us() - used;
    assert_int_equal(k.stats.kills, 6);
    assert_in_range(told, 6 * k.shard_set.budget_us, used + 1000);
}

/* While nobody is inside Lua the watchdog sleeps, and it wakes for the next one. */
static void test_watchdog_wakes(void **state)
{
    (void)state;
    stopped("while true do end", "budget");
    nanosleep(&(struct timespec){.tv_sec = 2}, NULL);
    stopped("while true do end", "budget");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_globals, begin, end),
        cmocka_unit_test_setup_teardown(test_bytecode, begin, end),
        cmocka_unit_test_setup_teardown(test_string_metatable, begin, end),
        cmocka_unit_test_setup_teardown(test_event_metatable, begin, end),
        cmocka_unit_test_setup_teardown(test_endless, begin, end),
        cmocka_unit_test_setup_teardown(test_memory, begin, end),
        cmocka_unit_test_setup_teardown(test_depth, begin, end),
        cmocka_unit_test_setup_teardown(test_extremes, begin, end),
        cmocka_unit_test_setup_teardown(test_cdata, begin, end),
        cmocka_unit_test_setup_teardown(test_load_budget, begin, end),
        cmocka_unit_test_setup_teardown(test_errors_switch_nothing_off, begin, end),
        cmocka_unit_test_setup_teardown(test_breaker_of_one, begin, end),
        cmocka_unit_test_setup_teardown(test_breaker_for_all, begin, end),
        cmocka_unit_test_setup_teardown(test_breaker_of_actions, begin, end),
        cmocka_unit_test_setup_teardown(test_figures, begin, end),
        cmocka_unit_test_setup_teardown(test_cpu_is_right, begin, end),
        cmocka_unit_test_setup_teardown(test_watchdog_wakes, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
