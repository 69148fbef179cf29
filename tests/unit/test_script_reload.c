/* Loading, checking and reloading: all or nothing, with file and line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/hub/registry/hook.h"
#include "core/hub/hub.h"
#include "core/hub/shard/metric.h"
#include "core/hub/shard/options.h"
#include "core/hub/shard/shard.h"
#include "core/hub/registry/tables.h"
#include "core/hub/shard/shards.h"
#include "core/script/scripts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHARDS = 2 };

struct fixture {
    char folder[64];
    struct store *store;
    struct hub *hub;
    struct scripts *scripts;
    struct cJSON *config;
    const char *load[8];
    struct buf errors;
};

static struct fixture f;

static void write_script(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s.lua", f.folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int begin(void **state)
{
    (void)state;
    memset(&f, 0, sizeof f);
    strcpy(f.folder, "/tmp/magpie-scripts-XXXXXX");
    assert_non_null(mkdtemp(f.folder));
    char why[200];
    struct hub_options options = {.rate_user = 1,
                                  .rate_channel = 1,
                                  .slice_ms = 200,
                                  .slice_max = 20,
                                  .content_max = 1000,
                                  .net = {.frame = 65536, .connections = 10, .origins = (const char *const[]){NULL}}};
    strcpy(options.auth_mode, "open");
    assert_int_equal(store_open(&f.store, &(struct store_options){.engine = "memory"}, why, sizeof why), 0);
    f.hub = hub_new(SHARDS, f.store, &options);
    f.scripts = scripts_new(f.hub);
    assert_non_null(f.scripts);
    f.config = json_parse(
        SLICE_LIT("{\"rate\":{\"user\":2,\"channel\":2,\"policy\":\"drop\"},\"push\":{\"slice_ms\":200,\"max\":20}}"),
        &(const char *){NULL});
    return 0;
}

static int end(void **state)
{
    (void)state;
    char command[100];
    hub_stop(f.hub);
    scripts_free(f.scripts);
    hub_free(f.hub);
    store_close(f.store);
    json_free(f.config);
    buf_free(&f.errors);
    snprintf(command, sizeof command, "rm -r '%s'", f.folder);
    return system(command);
}

static struct scripts_options options(void)
{
    return (struct scripts_options){
        .path = f.folder, .load = f.load, .budget_ms = 50, .memory = 8 << 20, .content_max = 1000, .config = f.config};
}

/* Loads; on failure the errors are in f.errors. */
static bool reload(void)
{
    struct scripts_options o = options();
    buf_free(&f.errors);
    if (scripts_prepare(f.scripts, &o, &f.errors) != 0) {
        buf_byte(&f.errors, 0);
        return false;
    }
    assert_int_equal(scripts_commit(f.scripts), 0);
    return true;
}

static bool told(const char *text)
{
    return f.errors.p && strstr(f.errors.p, text) != NULL;
}

static enum hook_verdict say(unsigned shard, const char *content, struct hook_call *h)
{
    struct bucket bucket = {0, 0};
    *h = (struct hook_call){.shard = hub_shard(f.hub, shard),
                            .user = SLICE_LIT("ada"),
                            .channel = SLICE_LIT("tea"),
                            .content = slice_str(content),
                            .bucket = &bucket};
    return hooks_run(HOOK_MESSAGE, h);
}

#define COUNTING(n)                                                                                                    \
    "local magpie = require 'magpie'\nlocal generation = '" n "'\n"                                                    \
    "magpie.on('message', function(e) magpie.shared.incr('all') e.content = generation .. ':' .. "                     \
    "magpie.kv.incr('here') .. "                                                                                       \
    "':' .. magpie.shared.get('all') end)"

static void content_is(unsigned shard, const char *expected)
{
    struct hook_call h;
    assert_int_equal(say(shard, "x", &h), HOOK_PASS);
    if (!slice_eq(h.content, slice_str(expected)))
        fail_msg("expected %s, got %.*s", expected, (int)h.content.n, h.content.p);
}

static void test_reload(void **state)
{
    (void)state;
    write_script("a", COUNTING("one"));
    f.load[0] = "a";
    assert_true(reload());
    content_is(0, "one:1:1");
    content_is(1, "one:1:2");
    content_is(0, "one:2:3");
    /* kv and shared survive; the code is new. */
    write_script("a", COUNTING("two"));
    assert_true(reload());
    content_is(0, "two:3:4");
    /* Whatever is wrong, the old ones stay: syntax, an error while loading, a missing file beside a good one. */
    write_script("a", COUNTING("three") "\n\nlocal = 5");
    assert_false(reload());
    assert_true(told("/a.lua:5:"));
    content_is(0, "two:4:5");
    write_script("a", COUNTING("three") "\nerror('no')");
    assert_false(reload());
    assert_true(told("/a.lua:4: no"));
    content_is(1, "two:2:6");
    write_script("a", COUNTING("three"));
    f.load[1] = "missing";
    assert_false(reload());
    assert_true(told("/missing.lua: No such file"));
    content_is(0, "two:5:7");
    f.load[1] = NULL;
    assert_true(reload());
    content_is(0, "three:6:8");
    /* None: no hook is left. */
    f.load[0] = NULL;
    assert_true(reload());
    struct hook_call h;
    say(0, "x", &h);
    assert_true(slice_eq(h.content, SLICE_LIT("x")));
}

static void test_all_errors(void **state)
{
    (void)state;
    write_script("a", "x = = 1");
    write_script("b", "\nerror('from b')");
    write_script("c", COUNTING("c"));
    write_script("d", "local x = 1");
    f.load[0] = "a";
    f.load[1] = "b";
    f.load[2] = "c";
    f.load[3] = "d";
    f.load[4] = NULL;
    assert_false(reload());
    assert_true(told("/d.lua: registers nothing"));
    assert_true(told("/a.lua:1:"));
    assert_true(told("/b.lua:2: from b"));
    struct scripts_options o = options();
    buf_free(&f.errors);
    assert_int_not_equal(scripts_check(&o, &f.errors), 0);
    buf_byte(&f.errors, 0);
    assert_true(told("/b.lua:2: from b"));
    f.load[0] = "c";
    f.load[1] = NULL;
    buf_free(&f.errors);
    assert_int_equal(scripts_check(&o, &f.errors), 0);
}

static void test_names(void **state)
{
    (void)state;
    write_script("a", "");
    static const char *const wrong[] = {"../a", "a.lua", "/etc/passwd", "", "a//b", "a b", "a/"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        f.load[0] = wrong[i];
        assert_false(reload());
        assert_true(told("is no name of a script"));
    }
    f.load[0] = f.load[1] = "a";
    assert_false(reload());
    assert_true(told("named twice"));
}

static void test_conflicts(void **state)
{
    (void)state;
    write_script("a", "require('magpie').action(200, function() end)");
    write_script("b", "require('magpie').action(200, function() end)");
    f.load[0] = "a";
    f.load[1] = "b";
    assert_false(reload());
    assert_true(told("action 200 of b is one of a already"));
    f.load[1] = NULL;
    assert_true(reload());
    assert_non_null(action_find(hub_shard(f.hub, 1)->tables, 200));
    /* What shards do not agree on. */
    write_script("c", "local magpie = require 'magpie' for i = 1, magpie.shared.incr('loads') do magpie.on('message', "
                      "function() end) end");
    f.load[0] = "c";
    assert_false(reload());
    assert_true(told("other hooks, actions or commands on one shard than on another"));
    assert_non_null(action_find(hub_shard(f.hub, 1)->tables, 200));
}

/* A script named `ratelimit` stands in for the limits in C, for as long as it is there. */
static void test_ratelimit_takes_over(void **state)
{
    (void)state;
    struct hook_call h;
    f.load[0] = NULL;
    assert_true(reload());
    uint32_t with_c = hub_shard(f.hub, 0)->tables->hook_count[HOOK_MESSAGE];
    f.load[0] = "ratelimit"; /* the shipped one: the folder has no such file */
    assert_true(reload());
    assert_int_equal(hub_shard(f.hub, 0)->tables->hook_count[HOOK_MESSAGE], with_c); /* one came, one went */
    hub_shard(f.hub, 0)->now_ms = 5000;
    assert_int_equal(say(0, "x", &h), HOOK_PASS);
    assert_false(h.charged);
    assert_int_equal(say(0, "x", &h), HOOK_PASS);
    assert_int_equal(say(0, "x", &h), HOOK_REJECT); /* 2 a second by its config, not the hub's 1 */
    assert_int_equal(h.code, CODE_RATE_LIMITED);
    assert_int_equal(h.retry_after_ms, 500);
    f.load[0] = NULL;
    assert_true(reload());
    assert_int_equal(say(0, "x", &h), HOOK_PASS);
    assert_true(h.charged);
}

/* By priority, over all scripts; equal ones in the order of loading. */
static void test_order(void **state)
{
    (void)state;
    write_script("a",
                 "require('magpie').on('message', function(e) e.content = e.content .. 'a' "
                 "end)\nrequire('magpie').on('message', function(e) e.content = e.content .. 'A' end, {priority = 5})");
    write_script("b",
                 "require('magpie').on('message', function(e) e.content = e.content .. 'b' "
                 "end)\nrequire('magpie').on('message', function(e) e.content = e.content .. 'B' end, {priority = 9})");
    f.load[0] = "a";
    f.load[1] = "b";
    assert_true(reload());
    struct hook_call h;
    assert_int_equal(say(1, "", &h), HOOK_PASS);
    if (memcmp(h.content.p, "BAab", 4) != 0)
        fail_msg("%.*s", (int)h.content.n, h.content.p);
}

static void note_figures(void *ctx, const struct script_info *i)
{
    if (strcmp(i->name, "a") == 0)
        *(struct script_info *)ctx = *i;
}

static void test_figures(void **state)
{
    (void)state;
    write_script("a", COUNTING("one") "\nmagpie.every(1000, function() end) magpie.action(300, function() end) "
                                      "magpie.command('greet', 'says hello', function() end)");
    f.load[0] = "a";
    assert_true(reload());
    struct hook_call h;
    for (int i = 0; i < 10; i++)
        say((unsigned)i % SHARDS, "x", &h);
    struct script_info info = {.name = NULL};
    scripts_each(f.scripts, note_figures, &info);
    assert_true(info.loaded && info.hooks == 1 && info.actions == 1 && info.commands == 1 && info.timers == 1);
    assert_int_equal(info.calls, 10 + SHARDS);
    assert_int_equal(info.errors, 0);
    assert_true(info.memory > 10000);
    f.load[0] = NULL;
    assert_true(reload());
    scripts_each(f.scripts, note_figures, &info);
    assert_true(!info.loaded && info.memory == 0 && info.calls == 10 + SHARDS);
}

struct seen {
    const char *name;
    double value; /* -1: there is none */
};

static void note_metric(void *ctx, const struct metric *m, const char *labels, double value,
                        const struct metric_histogram *h)
{
    struct seen *s = ctx;
    char name[METRIC_NAME + METRIC_LABELS];
    (void)h;
    snprintf(name, sizeof name, "%s{%s}", m->name, labels);
    if (strcmp(name, s->name) == 0)
        s->value = value;
}

static double metric(const char *name)
{
    struct seen s = {.name = name, .value = -1};
    metrics_each(f.hub, note_metric, &s);
    return s.value;
}

/* Every script has its figures: no two are one, and no name is too long. */
static void test_figures_have_names(void **state)
{
    (void)state;
    char name[64], figure[128];
    write_script("a-b", COUNTING("one"));
    write_script("a_b", COUNTING("x"));
    write_script("A_B", COUNTING("y"));
    f.load[0] = "a-b";
    f.load[1] = "a-b";
    assert_false(reload());
    assert_true(told("scripts.load: a-b is named twice"));
    f.load[1] = NULL;
    assert_true(reload());
    struct hook_call h;
    for (int i = 0; i < 10; i++)
        say(0, "x", &h);
    assert_int_equal((int)metric("magpie_script_calls_total{script=\"a-b\"}"), 10 + SHARDS);
    f.load[1] = "a_b";
    f.load[2] = "A_B";
    assert_true(reload());
    assert_int_equal((int)metric("magpie_script_calls_total{script=\"a_b\"}"), SHARDS);
    assert_int_equal((int)metric("magpie_script_calls_total{script=\"A_B\"}"), SHARDS);
    assert_int_equal((int)metric("magpie_script_calls_total{script=\"a-b\"}"), 10 + 2 * SHARDS);
    f.load[1] = NULL;
    assert_true(reload());
    /* The longest. */
    memset(name, 'x', sizeof name);
    name[63] = '\0';
    write_script(name, COUNTING("x"));
    f.load[0] = name;
    assert_true(reload());
    snprintf(figure, sizeof figure, "magpie_script_cpu_seconds_total{script=\"%s\"}", name);
    assert_true(metric(figure) > 0);
}

/* Many scripts that were loaded once leave room for others' metrics. */
static void test_figures_leave_room(void **state)
{
    (void)state;
    char name[8];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "s%d", i);
        write_script(name, COUNTING("s"));
        f.load[0] = name;
        assert_true(reload());
    }
    assert_int_equal((int)metric("magpie_script_calls_total{script=\"s99\"}"), SHARDS);
    char other[16];
    for (int i = 0; i < 300; i++) {
        struct metric m = {.kind = METRIC_COUNTER, .owner = &f};
        snprintf(other, sizeof other, "plugin%d_total", i);
        memcpy(m.name, other, sizeof other);
        assert_true(metric_register(f.hub, &m) >= 0);
    }
    metrics_remove(f.hub, &f);
}

/* A reload that is refused later, by whoever prepares together with it, leaves no trace. */
static void test_abandon(void **state)
{
    (void)state;
    write_script("a", COUNTING("one"));
    f.load[0] = "a";
    assert_true(reload());
    write_script("a", COUNTING("two"));
    struct scripts_options o = options();
    assert_int_equal(scripts_prepare(f.scripts, &o, &f.errors), 0);
    assert_int_not_equal(scripts_prepare(f.scripts, &o, &f.errors), 0); /* one at a time */
    scripts_abandon(f.scripts);
    content_is(0, "one:1:1");
    assert_true(reload());
    content_is(0, "two:2:2");
}

static void test_login_needed(void **state)
{
    (void)state;
    struct scripts_options o = options();
    o.login_needed = true;
    assert_int_not_equal(scripts_prepare(f.scripts, &o, &f.errors), 0);
    buf_byte(&f.errors, 0);
    assert_true(told("nobody could log in"));
}

int main(void)
{
    hash_init();
#define TEST(t) cmocka_unit_test_setup_teardown(t, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_reload),    TEST(test_all_errors),           TEST(test_names),
        TEST(test_conflicts), TEST(test_ratelimit_takes_over), TEST(test_order),
        TEST(test_figures),   TEST(test_figures_have_names),   TEST(test_figures_leave_room),
        TEST(test_abandon),   TEST(test_login_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
