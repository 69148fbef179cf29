/* Calls that are answered later: what their functions see, within which bounds, and that a reload ends them. */
#include "script_kit.h"

#include "core/script/waiting.h"

#define HEAD "local magpie = require 'magpie'\n"

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

static enum hook_verdict say(const char *user, const char *content)
{
    struct hook_call h = kit_message(content);
    h.user = slice_str(user);
    return kit_fire(&k, &h);
}

/* The number of the oldest call that waits for `what`; the deeds before it are forgotten. */
static unsigned asked(enum deed_kind kind, const char *target, const char *text)
{
    while (k.world.first && k.world.first->kind != kind)
        fake_world_shift(&k.world);
    assert_non_null(k.world.first);
    assert_string_equal(k.world.first->target, target);
    assert_string_equal(k.world.first->text, text);
    unsigned n = (unsigned)k.world.first->n;
    fake_world_shift(&k.world);
    return n;
}

static bool answer(unsigned n, const char *error, const char *json)
{
    return fake_world_answer(&k.world, n, error, slice_str(json));
}

/* What the script announced last. */
static const char *announced(void)
{
    static char text[200];
    text[0] = '\0';
    for (; k.world.first; fake_world_shift(&k.world))
        if (k.world.first->kind == DEED_ANNOUNCE)
            snprintf(text, sizeof text, "%s", k.world.first->text);
    return text;
}

static void answers(void **state)
{
    (void)state;
    kit_script(&k, HEAD "magpie.on('message', function(e)\n"
                        "  magpie.members('tea', function(err, r)\n"
                        "    magpie.announce(e.user.id .. ' ' .. (err or r.members[1].id .. ' ' .. r.cursor))\n"
                        "  end, e.content ~= 'first' and e.content or nil)\n"
                        "end)");
    say("ada", "first");
    say("bob", "bob");
    unsigned a = asked(DEED_MEMBERS, "tea", ""), b = asked(DEED_MEMBERS, "tea", "bob");
    assert_int_equal(k.st->waiting_count, 2);
    assert_true(answer(b, "unavailable", ""));
    assert_string_equal(announced(), "bob unavailable"); /* the event's fields are still there */
    assert_true(answer(a, NULL, "{\"members\":[{\"id\":\"cat\"}],\"cursor\":\"cat\"}"));
    assert_string_equal(announced(), "ada cat cat");
    assert_false(answer(a, NULL, "{}"));
    assert_int_equal(k.st->waiting_count, 0);
}

static void arguments(void **state)
{
    static const struct {
        const char *lua, *error;
    } wrong[] = {
        {"magpie.members('', print)", "not a channel's name"},
        {"magpie.members('tea')", "function expected"},
        {"magpie.members('tea', print, 'a b')", "not the cursor"},
        {"magpie.history('', {}, print)", "a channel's name, or a pair"},
        {"magpie.history('a\\tb\\tc', {}, print)", "a channel's name, or a pair"},
        {"magpie.history('tea', {befor = 1}, print)", "unknown option befor; did you mean before?"},
        {"magpie.history('tea', {limit = 0}, print)", "limit is a whole number from 1 to 200"},
        {"magpie.history('tea', {limit = 201}, print)", "limit is"},
        {"magpie.history('tea', {before = -1}, print)", "before is a whole number"},
        {"magpie.history('tea', {after = 1.5}, print)", "after is"},
        {"magpie.history('tea', {after = 'x'}, print)", "after is"},
        {"magpie.history('tea', {}, 'print')", "function expected"},
        {"magpie.history('tea', print)", "table expected"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[300];
        snprintf(text, sizeof text, HEAD "magpie.on('message', function(e) %s end)", wrong[i].lua);
        kit_script(&k, text);
        say("ada", "x");
        if (!strstr(k.st->error, wrong[i].error))
            fail_msg("%s: %s", wrong[i].lua, k.st->error);
        assert_int_equal(k.st->waiting_count, 0);
        assert_null(k.world.waits);
    }
    assert_false(kit_load(&k, HEAD "magpie.members('tea', print)"));
    assert_non_null(strstr(k.st->error, "not while a script loads"));
    kit_script(&k, HEAD "magpie.on('message', function(e) magpie.history('tea', {}, print) "
                        "magpie.history('bob\\tada', {before = 9, after = 2, limit = 200}, print) end)");
    while (k.world.first)
        fake_world_shift(&k.world);
    say("ada", "x");
    asked(DEED_HISTORY, "tea", "limit=50");
    asked(DEED_HISTORY, "ada\tbob", "limit=200 before=9 after=2");
}

/* So many and no more; each answer makes room. */
static void bounded(void **state)
{
    (void)state;
    kit_script(&k, HEAD "local n = 0\n"
                        "magpie.on('message', function(e)\n"
                        "  local ok, why = true\n"
                        "  while ok do ok, why = pcall(magpie.members, 'tea', print) if ok then n = n + 1 end end\n"
                        "  magpie.announce(n .. why)\n"
                        "end)");
    say("ada", "x");
    const char *text = announced();
    assert_non_null(strstr(text, "100"));
    assert_non_null(strstr(text, "100 calls of this script wait for their answers already"));
    assert_true(answer(7, "unavailable", ""));
    say("ada", "x");
    assert_non_null(strstr(announced(), "101"));
}

/* A function that is called later has the same budget, memory and breaker as any. */
static void limits(void **state)
{
    (void)state;
    kit_script(&k, HEAD
               "magpie.on('message', function(e)\n"
               "  magpie.members('tea', function(err)\n"
               "    if err == 'loop' then while true do pcall(function() while true do end end) end end\n"
               "    if err == 'hoard' then local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end end\n"
               "    if err == 'error' then error('oh no') end\n"
               "    magpie.announce('done')\n"
               "  end)\n"
               "end)");
    static const char *const costs[] = {"loop", "hoard"};
    for (size_t i = 0; i < 2; i++) {
        say("ada", "x");
        assert_true(answer(asked(DEED_MEMBERS, "tea", ""), costs[i], ""));
        assert_true(kit_logged(&k, "script.error", i ? "out of the memory" : "CPU budget"));
    }
    for (int i = 0; i < 20; i++) { /* an error costs nothing, and switches nothing off */
        say("ada", "x");
        assert_true(answer(asked(DEED_MEMBERS, "tea", ""), "error", ""));
    }
    for (int i = 0; i < 8; i++) {
        say("ada", "x");
        assert_true(answer(asked(DEED_MEMBERS, "tea", ""), "loop", ""));
    }
    assert_true(kit_logged(&k, "script.breaker", "for=caller"));
    say("ada", "x");
    assert_true(answer(asked(DEED_MEMBERS, "tea", ""), "fine", ""));
    assert_string_equal(announced(), ""); /* left out for ada … */
    say("bob", "x");
    assert_true(answer(asked(DEED_MEMBERS, "tea", ""), "fine", ""));
    assert_string_equal(announced(), "done"); /* … and for nobody else */
    assert_int_equal(k.st->waiting_count, 0);
}

/* A new load ends what the old one waited for. */
static void reloads(void **state)
{
    static const char script[] = HEAD "magpie.on('message', function(e) magpie.members('tea', function() "
                                      "magpie.announce('called') end) end)";
    (void)state;
    kit_script(&k, script);
    for (int i = 0; i < 50; i++)
        say("ada", "x");
    unsigned n = asked(DEED_MEMBERS, "tea", "");
    kit_script(&k, script);
    for (; k.world.waits; n++)
        answer(n, NULL, "{}");
    assert_string_equal(announced(), "");
    say("ada", "x");
    assert_true(answer(asked(DEED_MEMBERS, "tea", ""), NULL, "{}"));
    assert_string_equal(announced(), "called");
    say("ada", "x"); /* one that is never answered */
}

/* What the result is made of counts as the script's memory. */
static void large_results(void **state)
{
    (void)state;
    kit_script(&k, HEAD "magpie.on('message', function(e) magpie.members('tea', function(err, r) "
                        "magpie.announce(#r) end) end)");
    char *json = malloc(7 << 20);
    assert_non_null(json);
    memset(json, 'x', 7 << 20);
    json[0] = json[(7 << 20) - 2] = '"';
    json[(7 << 20) - 1] = '\0';
    say("ada", "x");
    assert_true(answer(asked(DEED_MEMBERS, "tea", ""), NULL, json));
    assert_string_equal(announced(), "");
    free(json);
    say("ada", "x");
    assert_true(answer(asked(DEED_MEMBERS, "tea", ""), NULL, "\"1234\""));
    assert_string_equal(announced(), "4");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {TEST(answers), TEST(arguments), TEST(bounded),
                                       TEST(limits),  TEST(reloads),   TEST(large_results)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
