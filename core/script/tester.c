/* `magpied --run-script-tests DIR`: every *_test.lua of a folder, in a sandbox of its own, with the module "test"
 * beside "magpie". */
#include "core/script/tester.h"

#include "core/base/err.h"
#include "core/base/json.h"
#include "core/hub/registry/command.h"
#include "core/script/buckets.h"
#include "core/script/event.h"
#include "core/script/json_lua.h"
#include "core/script/script_store.h"
#include "core/script/scripts.h"
#include "core/script/state.h"
#include "core/script/tester_lua.h"
#include "core/script/tester_private.h"
#include "core/script/timer.h"
#include "core/script/values.h"
#include "core/script/verdict.h"
#include "core/script/watchdog.h"
#include "core/script/words.h"
#include "core/script/world_fake.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 1 << 20 };
enum { KEPT_BYTES = 16 << 20, SUBJECT_BUDGET_US = 200000, TEST_BUDGET_US = 30000000, MEMORY_MAX = 64 << 20 };

static void subject_free(struct subject *x)
{
    if (!x)
        return;
    state_free(x->st);
    script_store_free(x->store);
    values_free(x->env.kv);
    values_free(x->env.shared);
    refunds_free(x->env.refunds);
    buckets_free(x->env.buckets);
    fake_world_fini(&x->world);
    cJSON_Delete(x->config);
    free(x);
}

static bool read_text(const char *file, struct buf *out)
{
    FILE *f = fopen(file, "re");
    char *room;
    size_t n = 1;
    while (f && n > 0 && out->n < TEXT_MAX && (room = buf_reserve(out, 65536)) != NULL) {
        n = fread(room, 1, 65536, f);
        out->n += n;
    }
    bool good = f && !ferror(f) && buf_ok(out);
    if (f)
        fclose(f);
    return good;
}

/* --- Loading a subject -------------------------------------------------------------------------------------------- */

/* Lays "a.b.c" = value over the tree. */
static bool lay(struct cJSON *root, const char *path, struct cJSON *value)
{
    const char *word;
    root = json_parent(root, path, &word);
    if (!root)
        return false;
    cJSON_DeleteItemFromObjectCaseSensitive(root, word);
    return cJSON_AddItemToObject(root, word, value);
}

/* "a.b.c" of all values below the object, with blanks between. */
static void list_paths(const struct cJSON *object, const char *before, struct buf *out)
{
    const struct cJSON *item;
    char path[128];
    cJSON_ArrayForEach(item, object)
    {
        snprintf(path, sizeof path, "%s%s%s", before, before[0] ? "." : "", item->string);
        buf_printf(out, "%s%s", out->n ? " " : "", path);
        if (cJSON_IsObject(item))
            list_paths(item, path, out);
    }
}

/* Raises an error where the config has no such option. Plugins have options of their own. */
static void check_path(lua_State *L, const struct cJSON *defaults, const char *path)
{
    if (json_at(defaults, path) || strncmp(path, "plugins.load.", 13) == 0)
        return;
    struct buf *b = state_scratch(state_of(L));
    list_paths(defaults, "", b);
    buf_byte(b, 0);
    const char *near = buf_ok(b) ? words_nearest_of(path, b->p) : NULL;
    luaL_error(
        L, near ? "test.load: the config has no option %s; did you mean %s?" : "test.load: the config has no option %s",
        path, near);
}

/* The config of a subject: the defaults, and the table at `index` ({["rate.user"] = 2}) over them. */
static void take_config(lua_State *L, struct subject *x, int index, const struct cJSON *defaults)
{
    x->config = cJSON_Duplicate(defaults, true);
    if (!x->config)
        luaL_error(L, "not enough memory");
    if (lua_isnoneornil(L, index))
        return;
    luaL_checktype(L, index, LUA_TTABLE);
    struct state *st = state_of(L);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "test.load: the config is a table like {[\"rate.user\"] = 2}");
        check_path(L, defaults, lua_tostring(L, -2));
        json_lua_encode(st, L, lua_gettop(L));
        buf_byte(&st->scratch, 0);
        struct cJSON *value = buf_ok(&st->scratch) ? cJSON_Parse(st->scratch.p) : NULL;
        if (!value || !lay(x->config, lua_tostring(L, -2), value))
            luaL_error(L, "test.load: the config cannot be taken");
    }
}

/* Everything that a script keeps, but for its store, is new. */
static bool subject_fresh(struct subject *x)
{
    values_free(x->env.kv);
    values_free(x->env.shared);
    refunds_free(x->env.refunds);
    buckets_free(x->env.buckets);
    x->env.kv = values_new(1, KEPT_BYTES);
    x->env.shared = values_new(1, KEPT_BYTES);
    x->env.buckets = buckets_new();
    x->env.refunds = x->env.buckets ? refunds_new(x->env.buckets) : NULL;
    return x->env.kv && x->env.shared && x->env.refunds;
}

/* Loads the script of x->name, anew if it is there; pushes true, or nil and its error. */
static int subject_run(lua_State *L, struct tester *t, struct subject *x)
{
    char file[512];
    struct buf text = BUF_INIT;
    state_free(x->st);
    x->shard_set = (struct shard_set){
        .env = &x->env, .config = x->config, .budget_us = SUBJECT_BUDGET_US, .memory_max = MEMORY_MAX, .loading = true};
    x->st = state_new(&x->shard_set, x->name, &x->stats);
    if (x->st)
        x->st->space = script_store_space(x->store, x->name);
    if (!x->st || !x->st->space)
        return luaL_error(L, "not enough memory");
    snprintf(file, sizeof file, "%s/%s.lua", t->folder, x->name);
    bool there = read_text(file, &text);
    int rc = there ? state_load(x->st, file, buf_slice(&text)) : ERR_IO;
    buf_free(&text);
    if (rc != 0) {
        lua_pushnil(L);
        lua_pushstring(L, there ? x->st->error : "there is no such script");
        return 2;
    }
    if (state_is_idle(x->st)) {
        lua_pushnil(L);
        lua_pushfstring(L, STATE_IDLE, file);
        return 2;
    }
    x->shard_set.loading = false;
    timers_begin(x->st, true);
    lua_pushboolean(L, 1);
    return 1;
}

/* load(name [, config]) → number of the subject, or nil and the script's error */
static int lua_load_subject(lua_State *L)
{
    struct tester *t = tester_of(L);
    const char *name = luaL_checkstring(L, 1);
    if (t->count == SUBJECTS_MAX)
        return luaL_error(L, "test.load: %d scripts a file at most", SUBJECTS_MAX);
    struct subject *x = calloc(1, sizeof *x);
    if (!x)
        return luaL_error(L, "not enough memory");
    t->subjects[t->count++] = x;
    fake_world_init(&x->world);
    x->world.out = t->out;
    x->env = (struct script_env){.world = &x->world.world, .watched = t->inner};
    snprintf(x->name, sizeof x->name, "%s", name);
    take_config(L, x, 2, t->config);
    x->store = script_store_new(NULL);
    if (!x->store || !subject_fresh(x))
        return luaL_error(L, "not enough memory");
    script_store_clock(x->store, &x->world.wall_ms);
    script_store_limit(x->store, KEPT_BYTES);
    unsigned number = t->count;
    int n = subject_run(L, t, x);
    if (n == 1)
        lua_pushinteger(L, (int)number);
    return n;
}

/* reload(subject), restart(subject): as when the server loads its scripts anew, or is itself started anew. */
static int lua_again(lua_State *L)
{
    struct subject *x = check_subject(L);
    if (lua_toboolean(L, lua_upvalueindex(1)) && !subject_fresh(x))
        return luaL_error(L, "not enough memory");
    return subject_run(L, tester_of(L), x);
}

struct subject *check_subject(lua_State *L)
{
    struct tester *t = tester_of(L);
    double n = luaL_checknumber(L, 1);
    luaL_argcheck(L, n >= 1 && n <= t->count, 1, "a script that was loaded");
    struct subject *x = t->subjects[(unsigned)n - 1];
    luaL_argcheck(L, x->st && !x->shard_set.loading, 1, "a script that was loaded");
    return x;
}

/* command(subject, name, words…): JSON, or nil and the error */
static int lua_run_command(lua_State *L)
{
    struct subject *x = check_subject(L);
    const char *name = luaL_checkstring(L, 2);
    struct command_call call = {.argc = 0};
    for (int i = 3; i <= lua_gettop(L) && call.argc < COMMAND_ARGS; i++) {
        size_t n;
        const char *p = luaL_checklstring(L, i, &n);
        call.argv[call.argc++] = slice_of(p, n);
    }
    for (uint32_t i = 0; i < x->st->command_count; i++) {
        if (strcmp(x->st->commands[i].name, name) != 0)
            continue;
        lua_State *inner = x->st->L;
        lua_settop(inner, 0);
        lua_rawgeti(inner, LUA_REGISTRYINDEX, x->st->command_runner);
        lua_pushinteger(inner, x->st->commands[i].fn);
        lua_pushlightuserdata(inner, &call);
        bool good = state_call(x->st, 2, 0, x->shard_set.budget_us, true) == 0;
        lua_settop(inner, 0);
        if (good) {
            lua_pushlstring(L, x->st->scratch.p, x->st->scratch.n);
            return 1;
        }
        lua_pushnil(L);
        lua_pushstring(L, x->st->error);
        return 2;
    }
    return luaL_error(L, "the script has no command \"%s\"", name);
}

/* --- The world ---------------------------------------------------------------------------------------------------- */

static int lua_advance(lua_State *L)
{
    struct subject *x = check_subject(L);
    double ms = luaL_checknumber(L, 2);
    luaL_argcheck(L, ms >= 0 && ms <= 1e12, 2, "milliseconds");
    fake_world_advance(&x->world, (uint64_t)ms);
    return 0;
}

static int lua_set_time(lua_State *L)
{
    struct subject *x = check_subject(L);
    double ms = luaL_checknumber(L, 2);
    luaL_argcheck(L, ms >= 0 && ms <= 9e15, 2, "milliseconds since 1970");
    x->world.wall_ms = (uint64_t)ms;
    return 0;
}

/* did(subject): a list of {what =, target =, n =, text =}; each is told once */
static int lua_did(lua_State *L)
{
    static const char *const names[] = {[DEED_SEND_USER] = "send_user",
                                        [DEED_SEND_CHANNEL] = "send_channel",
                                        [DEED_PUSH] = "push",
                                        [DEED_KICK] = "kick",
                                        [DEED_ANNOUNCE] = "announce",
                                        [DEED_METRIC] = "metric",
                                        [DEED_LOG] = "log",
                                        [DEED_MEMBERS] = "members",
                                        [DEED_HISTORY] = "history",
                                        [DEED_FETCH] = "fetch",
                                        [DEED_TOKEN] = "user_token"};
    struct subject *x = check_subject(L);
    lua_newtable(L);
    for (int i = 1; x->world.first; i++) {
        const struct deed *d = x->world.first;
        lua_newtable(L);
        put_text(L, "what", slice_str(d->kind < DEED_ORDER ? names[d->kind] : order_names[d->kind - DEED_ORDER]));
        put_text(L, "target", slice_str(d->target));
        put_text(L, "text", slice_str(d->text));
        put_number(L, "n", d->n);
        lua_rawseti(L, -2, i);
        fake_world_shift(&x->world);
    }
    return 1;
}

/* answer(subject, number of the call, JSON of the result or nil, error or nil) */
static int lua_answer(lua_State *L)
{
    struct subject *x = check_subject(L);
    double number = luaL_checknumber(L, 2);
    size_t n = 0;
    const char *json = luaL_optlstring(L, 3, "null", &n), *error = luaL_optstring(L, 4, NULL);
    if (!fake_world_answer(&x->world, (unsigned)number, error, slice_of(json, n)))
        return luaL_error(L, "answer: nobody waits for that; it is something that did() has told");
    return 0;
}

/* report(name, error or nil) */
static int lua_report(lua_State *L)
{
    struct tester *t = tester_of(L);
    const char *name = luaL_checkstring(L, 1), *error = luaL_optstring(L, 2, NULL);
    if (error) {
        fprintf(t->out, "FAILED %s: %s\n    %s\n", t->file, name, error);
        t->failed++;
    } else {
        t->passed++;
    }
    return 0;
}

/* --- A file ------------------------------------------------------------------------------------------------------- */

static int lua_require(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (strcmp(name, "test") == 0)
        lua_pushvalue(L, lua_upvalueindex(2));
    else {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
    }
    return 1;
}

/* The module "test": C functions as the argument of the part that is written in Lua. */
static int open_module(lua_State *L)
{
    static const luaL_Reg functions[] = {{"load", lua_load_subject}, {"fire", lua_fire},
                                         {"act", lua_act},           {"command", lua_run_command},
                                         {"advance", lua_advance},   {"set_time", lua_set_time},
                                         {"did", lua_did},           {"answer", lua_answer},
                                         {"report", lua_report},     {NULL, NULL}};
    lua_getfield(L, LUA_GLOBALSINDEX, "require");
    if (luaL_loadbufferx(L, tester_lua, strlen(tester_lua), "=test", "t") != 0)
        return lua_error(L);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    for (int fresh = 0; fresh < 2; fresh++) {
        lua_pushboolean(L, fresh);
        lua_pushcclosure(L, lua_again, 1);
        lua_setfield(L, -2, fresh ? "restart" : "reload");
    }
    lua_call(L, 1, 1);
    lua_pushcclosure(L, lua_require, 2);
    lua_setfield(L, LUA_GLOBALSINDEX, "require");
    return 0;
}

static void run_file(struct tester *t, const char *name)
{
    struct fake_world world;
    struct script_stats stats = {0};
    struct script_env env = {.world = &world.world, .watched = t->outer, .shared = t->kept, .kv = t->kept};
    struct test_troupe shard_set = {.shard_set = {.env = &env,
                                                  .config = t->config,
                                                  .budget_us = TEST_BUDGET_US,
                                                  .memory_max = MEMORY_MAX,
                                                  .loading = true},
                                    .tester = t};
    struct buf text = BUF_INIT;
    char file[512];
    t->file = name;
    unsigned before = t->passed + t->failed;
    fake_world_init(&world);
    world.out = t->out;
    snprintf(file, sizeof file, "%s/%s", t->folder, name);
    struct state *st = state_new(&shard_set.shard_set, "test", &stats);
    const char *why = NULL;
    struct script_store *store = script_store_new(NULL);
    if (st && store)
        st->space = script_store_space(store, "test");
    if (!st || !store || !st->space || lua_cpcall(st->L, open_module, NULL) != 0)
        why = "out of memory";
    else if (!read_text(file, &text))
        why = "cannot be read";
    else if (state_load_within(st, file, buf_slice(&text), TEST_BUDGET_US) != 0)
        why = st->error;
    else if (t->passed + t->failed == before)
        why = "it has no test.case()";
    if (why) {
        fprintf(t->out, "FAILED %s: %s\n", name, why);
        t->failed++;
    }
    while (t->count > 0)
        subject_free(t->subjects[--t->count]);
    state_free(st);
    script_store_free(store);
    fake_world_fini(&world);
    buf_free(&text);
}

static int is_test(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 9 && strcmp(d->d_name + n - 9, "_test.lua") == 0;
}

unsigned scripts_run_tests(const char *folder, const struct cJSON *config, FILE *out)
{
    struct dirent **files = NULL;
    struct tester t = {.folder = folder, .config = config, .out = out};
    int n = scandir(folder, &files, is_test, alphasort);
    if (n < 0)
        fprintf(out, "FAILED %s: it cannot be read\n", folder);
    t.dog = watchdog_new();
    t.outer = t.dog ? watchdog_watch(t.dog) : NULL;
    t.inner = t.dog ? watchdog_watch(t.dog) : NULL;
    for (int i = 0; i < n; i++) {
        t.kept = values_new(1, 16 << 20);
        if (t.outer && t.inner && t.kept)
            run_file(&t, files[i]->d_name);
        else
            t.failed++;
        values_free(t.kept);
        free(files[i]);
    }
    free(files);
    watchdog_free(t.dog);
    if (n == 0)
        fprintf(out, "FAILED %s: it has no *_test.lua\n", folder);
    if (n <= 0)
        t.failed++;
    fprintf(out, "%u passed, %u failed\n", t.passed, t.failed);
    return t.failed;
}
