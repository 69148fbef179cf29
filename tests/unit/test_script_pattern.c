/* The pattern matcher beside LuaJIT's own: the same answers, on what people write and on thousands of random pairs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/script/pattern.h"
#include "script_kit.h"

#include <lualib.h>

/* LuaJIT with its own string library, and ours beside it. */
static struct kit k;
static lua_State *theirs;

static int begin(void **state)
{
    (void)state;
    kit_begin(&k);
    k.shard_set.memory_max = 64 << 20;
    assert_true(kit_load(&k, ""));
    theirs = luaL_newstate();
    luaL_openlibs(theirs);
    return 0;
}

static int end(void **state)
{
    (void)state;
    lua_close(theirs);
    kit_end(&k);
    return 0;
}

/* Runs the text in a state; what it returns, as text. */
static void run(lua_State *L, const char *text, char *out, size_t size)
{
    lua_settop(L, 0);
    bool good = luaL_loadstring(L, text) == 0 && lua_pcall(L, 0, 1, 0) == 0;
    const char *s = lua_tostring(L, -1);
    snprintf(out, size, "%s%s", good ? "" : "error", good && s ? s : "");
}

static const char show[] =
    "local function show(...) local t = {} for i = 1, select('#', ...) do t[i] = tostring((select(i, "
    "...))) end return table.concat(t, '|') end\n";

static void same(const char *body)
{
    char text[3000], a[8000], b[8000];
    snprintf(text, sizeof text, "%s%s", show, body);
    run(theirs, text, a, sizeof a);
    /* Outside of an entry: nothing can be killed here, and nothing must be. */
    run(k.st->L, text, b, sizeof b);
    if (strcmp(a, b) != 0)
        fail_msg("%s\nLuaJIT: %s\nhere:   %s", body, a, b);
}

static void test_known(void **state)
{
    (void)state;
    static const char *const calls[] = {
        "string.find('hello world', 'o w')",
        "string.find('hello', 'l+')",
        "string.find('hello', 'xyz')",
        "string.find('a.b', '.', 1, true)",
        "string.find('a.b', '%.')",
        "string.find('hello', '')",
        "string.find('hello', '', 10)",
        "string.find('hello', 'l', -2)",
        "string.find('hello', '^l', 3)",
        "string.find('hello', '(l)(l)')",
        "string.find('', '^$')",
        "string.find('abc', '[a-]')",
        "string.find('a]c', '[]]')",
        "string.find('a^c', '[%^]')",
        "string.match('key = value', '^(%w+)%s*=%s*(%w+)$')",
        "string.match('  trim  ', '^%s*(.-)%s*$')",
        "string.match('2026-11-25', '(%d+)-(%d+)-(%d+)')",
        "string.match('hello', '()ll()')",
        "string.match('\"quoted\"', '([\"\\'])(.-)%1')",
        "string.match('f(a(b)c)d', '%b()')",
        "string.match('THE (quick) fox', '%f[%a]%a+%f[%A]')",
        "string.match('x\\0y', '%z')",
        "string.match('abc', '.-', 2)",
        "string.match('aaa', 'a-b')",
        "string.match('[[x]]', '%[%[(.-)%]%]')",
        "string.gsub('hello world', 'o', '0')",
        "string.gsub('hello', '', '-')",
        "string.gsub('abc', '%w', '%0%0')",
        "string.gsub('hello world', '(%w+) (%w+)', '%2 %1')",
        "string.gsub('abc', 'b', '%%')",
        "string.gsub('$name is $age', '%$(%w+)', {name = 'Ada', age = 36})",
        "string.gsub('abc', '%w', function(c) if c == 'b' then return 'X' end end)",
        "string.gsub('abc', 'x*', '-')",
        "string.gsub('hello', 'l', 'L', 1)",
        "string.gsub('abc', '^a', 'x')",
        "string.gsub('aaa', '^a', 'x')",
        "string.gsub('abc', 'b', '%9')",
        "string.gsub('abc', '(b)', '%1%1')",
        "string.gsub('abc', 'b', true)",
        "string.gsub('abc', 'b', {b = {}})",
        "string.gsub('abc', 'b', 7)",
        "string.rep('ab', 3)",
        "string.rep('x', 0)",
        "string.rep('ab', 3, ',')",
        "string.find('a', '[a')",
        "string.find('a', '%')",
        "string.find('a', '(a')",
        "string.find('a', 'a)')",
        "string.find('a', '%1')",
        "string.find('a', '%f')",
        "string.find('a', '[^a')",
        "string.find('abc]', '[^]]+')",
        "string.find('x-y', '[x-]y')",
        "string.match('x', ('(x?)'):rep(33))",
        "string.match('0x1F', '^0[xX](%x+)$')",
        "string.match('a_b', '[%w_]+')",
        "string.match('a-z', '[a%-z]+')",
        "string.match('\xc3\xa9t\xc3\xa9', '[\\128-\\255]+')",
        "string.match('((', '(%()')",
    };
    char body[600];
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        snprintf(body, sizeof body, "return show(%s)", calls[i]);
        same(body);
    }
    same("local t = {} for k, v in string.gmatch('a=1, b=2', '(%w+)=(%w+)') do t[#t + 1] = k .. v end return "
         "table.concat(t, ' "
         "')");
    same("local t = {} for w in string.gmatch('one two', '%a*') do t[#t + 1] = '<' .. w .. '>' end return "
         "table.concat(t)");
    same("local t = {} for p in string.gmatch('abc', '()') do t[#t + 1] = p end return table.concat(t, ' ')");
    same("local t = {} for w in string.gmatch('^a^a', '^a') do t[#t + 1] = w end return table.concat(t, ' ')");
}

static uint64_t seed = 88172645463325252ull;

static unsigned draw(unsigned below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % below;
}

static void random_text(char *out, unsigned most, const char *from)
{
    unsigned n = draw(most + 1);
    for (unsigned i = 0; i < n; i++)
        *out++ = from[draw((unsigned)strlen(from))];
    *out = '\0';
}

/* Ours complains about a malformed pattern at once, theirs when it gets there: such pairs are passed over when ours is
 * the stricter. */
static void test_random(void **state)
{
    (void)state;
    char subject[40], pattern[24], text[400], a[2000], b[2000];
    for (int i = 0; i < 30000; i++) {
        random_text(subject, 20, "ab.(x-1 ]");
        random_text(pattern, 9, "ab.()x-*+?%[]^$1wsdf");
        snprintf(text, sizeof text,
                 "%sreturn show(string.find(%c%s%c, %c%s%c)) .. show(string.gsub('%s', '%s', '<%%0>'))", show, '\'',
                 subject, '\'', '\'', pattern, '\'', subject, pattern);
        run(theirs, text, a, sizeof a);
        run(k.st->L, text, b, sizeof b);
        if (strcmp(a, b) != 0 && strcmp(b, "error") != 0)
            fail_msg("subject '%s', pattern '%s'\nLuaJIT: %s\nhere:   %s", subject, pattern, a, b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_known, begin, end),
        cmocka_unit_test_setup_teardown(test_random, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
