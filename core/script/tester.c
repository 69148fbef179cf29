/* `magpied --run-script-tests DIR`: every *_test.lua of a folder, in a sandbox of its own, with the module "test"
 * beside "magpie". */
#include "core/script/tester.h"

#include "core/base/err.h"
#include "core/base/json.h"
#include "core/hub/registry/command.h"
#include "core/script/buckets.h"
#include "core/script/event.h"
#include "core/script/json_lua.h"
#include "core/script/scripts.h"
#include "core/script/state.h"
#include "core/script/tester_lua.h"
#include "core/script/timer.h"
#include "core/script/values.h"
#include "core/script/verdict.h"
#include "core/script/watchdog.h"
#include "core/script/world_fake.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { SUBJECTS_MAX = 100, TEXT_MAX = 1 << 20 };
enum { SUBJECT_BUDGET_US = 200000, TEST_BUDGET_US = 30000000, MEMORY_MAX = 64 << 20 };

/* A script under test, alone in a world of its own. */
struct subject {
    struct fake_world world;
    struct script_env env;
    struct shard_set shard_set;
    struct script_stats stats;
    struct state *st;
    struct cJSON *config;
};

/* One test file. */
struct tester {
    const char *folder;
    const struct cJSON *config; /* defaults */
    struct watchdog *dog;
    struct watched *outer, *inner; /* of the tests, of the scripts */
    struct values *shared;
    struct subject *subjects[SUBJECTS_MAX];
    unsigned count;
    FILE *out;
    unsigned passed, failed;
    const char *file; /* name of the test's file */
};

/* The tester of the running test: hangs in the test's own shard_set. */
struct test_troupe {
    struct shard_set shard_set; /* first */
    struct tester *tester;
};

static struct tester *tester_of(lua_State *L)
{
    return ((struct test_troupe *)state_of(L)->shard_set)->tester;
}

static void subject_free(struct subject *x)
{
    if (!x)
        return;
    state_free(x->st);
    values_free(x->env.kv);
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
        json_lua_encode(st, L, lua_gettop(L));
        buf_byte(&st->scratch, 0);
        struct cJSON *value = buf_ok(&st->scratch) ? cJSON_Parse(st->scratch.p) : NULL;
        if (!value || !lay(x->config, lua_tostring(L, -2), value))
            luaL_error(L, "test.load: the config cannot be taken");
    }
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
    x->env = (struct script_env){.world = &x->world.world,
                                 .watched = t->inner,
                                 .kv = values_new(1, 16 << 20),
                                 .shared = t->shared,
                                 .buckets = buckets_new()};
    x->env.refunds = x->env.buckets ? refunds_new(x->env.buckets) : NULL;
    take_config(L, x, 2, t->config);
    x->shard_set = (struct shard_set){
        .env = &x->env, .config = x->config, .budget_us = SUBJECT_BUDGET_US, .memory_max = MEMORY_MAX, .loading = true};
    x->st = x->env.kv && x->env.refunds ? state_new(&x->shard_set, name, &x->stats) : NULL;
    if (!x->st)
        return luaL_error(L, "not enough memory");
    char file[512];
    struct buf text = BUF_INIT;
    snprintf(file, sizeof file, "%s/%s.lua", t->folder, name);
    bool there = read_text(file, &text);
    int rc = there ? state_load(x->st, file, buf_slice(&text)) : ERR_IO;
    buf_free(&text);
    if (rc != 0) {
        lua_pushnil(L);
        lua_pushstring(L, there ? x->st->error : "there is no such script");
        return 2;
    }
    x->shard_set.loading = false;
    timers_begin(x->st, true);
    lua_pushinteger(L, (int)t->count);
    return 1;
}

static struct subject *check_subject(lua_State *L)
{
    struct tester *t = tester_of(L);
    double n = luaL_checknumber(L, 1);
    luaL_argcheck(L, n >= 1 && n <= t->count, 1, "a script that was loaded");
    struct subject *x = t->subjects[(unsigned)n - 1];
    luaL_argcheck(L, x->st && !x->shard_set.loading, 1, "a script that was loaded");
    return x;
}

/* --- Events from tables ------------------------------------------------------------------------------------------- */

/* A text field of the table at 3; its value stays on the stack. */
static struct slice text_field(lua_State *L, int table, const char *name)
{
    size_t n = 0;
    luaL_checkstack(L, 2, "too many fields");
    state_field(L, table, name);
    const char *p = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
    return slice_of(p, n);
}

static double number_field(lua_State *L, int table, const char *name)
{
    state_field(L, table, name);
    double n = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return n >= 0 && n <= 9e15 ? n : 0;
}

/* user = "ada" or {id = "ada", name = "Ada"} */
static void user_field(lua_State *L, int table, struct slice *id, struct slice *name)
{
    *id = text_field(L, table, "user");
    *name = SLICE_NONE;
    if (lua_istable(L, -1)) {
        int user = lua_gettop(L);
        *id = text_field(L, user, "id");
        *name = text_field(L, user, "name");
    }
}

static enum store_tier tier_field(lua_State *L, int table, bool channel)
{
    struct slice tier = text_field(L, table, "tier");
    if (slice_eq(tier, SLICE_LIT("large")))
        return TIER_LARGE;
    return channel ? TIER_SMALL : TIER_DM;
}

static void take_fields(lua_State *L, int table, struct hook_call *h)
{
    user_field(L, table, &h->user, &h->user_name);
    h->channel = text_field(L, table, "channel");
    h->peer = text_field(L, table, "receiver");
    if (!h->peer.n)
        h->peer = text_field(L, table, "peer");
    h->content = text_field(L, table, "content");
    h->token = text_field(L, table, "token");
    h->device = text_field(L, table, "device");
    h->ip = text_field(L, table, "ip");
    struct slice name = text_field(L, table, "name");
    if (name.n)
        h->user_name = name;
    h->websocket = slice_eq(text_field(L, table, "transport"), SLICE_LIT("websocket"));
    h->message = text_field(L, table, "reason").p;
    state_field(L, table, "restored");
    h->restored = lua_toboolean(L, -1);
    state_field(L, table, "clientId");
    h->repeat_possible = lua_toboolean(L, -1);
    h->members = (uint32_t)number_field(L, table, "members");
    h->rate = (float)number_field(L, table, "rate");
    h->seq = (uint64_t)number_field(L, table, "seq");
    h->created_ms = (uint64_t)number_field(L, table, "createdAt");
    h->tier = tier_field(L, table, h->channel.n > 0);
}

static void put_text(lua_State *L, const char *field, struct slice s)
{
    lua_pushlstring(L, s.p ? s.p : "", s.n);
    lua_setfield(L, -2, field);
}

static void put_number(lua_State *L, const char *field, double n)
{
    lua_pushnumber(L, n);
    lua_setfield(L, -2, field);
}

static void put_advice(lua_State *L, const struct hook_advice *a)
{
    static const char *const modes[] = {[MODE_ALL] = "all", [MODE_MERGED] = "merged", [MODE_NONE] = "none"};
    if (a->has_push) {
        lua_newtable(L);
        if (!a->over_limit)
            put_text(L, "mode", slice_str(modes[a->mode]));
        put_number(L, "slice_ms", a->slice_ms);
        put_number(L, "max", a->slice_max);
        lua_setfield(L, -2, "push");
    }
    if (a->has_tier)
        put_text(L, "tier", slice_str(a->tier == TIER_LARGE ? "large" : "small"));
    if (a->has_keep) {
        lua_newtable(L);
        put_number(L, "ttl", (double)a->ttl_ms / 1000);
        put_number(L, "max", a->keep_max);
        lua_setfield(L, -2, "keep");
    }
}

static void put_result(lua_State *L, const struct subject *x, const struct hook_call *h, enum hook_verdict v,
                       bool failed)
{
    static const char *const names[] = {
        [HOOK_PASS] = "pass", [HOOK_ACCEPT] = "accept", [HOOK_REJECT] = "reject", [HOOK_DROP] = "drop"};
    lua_newtable(L);
    put_text(L, "verdict", slice_str(names[v]));
    if (v == HOOK_REJECT) {
        put_text(L, "code", slice_str(code_name(h->code)));
        put_text(L, "message", slice_str(h->message));
        put_number(L, "retryAfter", h->retry_after_ms);
    }
    if (v == HOOK_ACCEPT && x->st->accepted_id_len) {
        put_text(L, "id", slice_of(x->st->accepted_id, x->st->accepted_id_len));
        put_text(L, "name", slice_of(x->st->accepted_name, x->st->accepted_name_len));
    }
    if (h->event == HOOK_MESSAGE)
        put_text(L, "content", h->content);
    if (failed)
        put_text(L, "error", slice_str(x->st->error));
    put_advice(L, &h->advice);
}

static int find_event(lua_State *L, const char *name)
{
    for (int i = 0; i < HOOK_EVENTS; i++)
        if (strcmp(hook_event_name((enum hook_event)i), name) == 0)
            return i;
    return luaL_error(L, "there is no event \"%s\"", name);
}

/* fire(subject, event, fields): what the hooks say. By priority, the first verdict wins. */
static int lua_fire(lua_State *L)
{
    struct subject *x = check_subject(L);
    struct state *st = x->st;
    struct hook_call h = {.event = (enum hook_event)find_event(L, luaL_checkstring(L, 2)), .conn = UINT32_MAX};
    luaL_checktype(L, 3, LUA_TTABLE);
    take_fields(L, 3, &h);
    enum hook_verdict v = HOOK_PASS;
    uint64_t errors = atomic_load(&x->stats.errors);
    bool done[HANDLERS_MAX] = {false};
    while (v == HOOK_PASS) {
        struct handler *next = NULL;
        for (uint32_t i = 0; i < st->handler_count; i++)
            if (!done[i] && st->handlers[i].event == h.event && (!next || st->handlers[i].priority > next->priority))
                next = &st->handlers[i];
        if (!next)
            break;
        done[next - st->handlers] = true;
        if (event_wanted(next, &h))
            v = event_run(st, next, &h);
    }
    put_result(L, x, &h, v, atomic_load(&x->stats.errors) != errors);
    return 1;
}

/* act(subject, number, {user =, body =, seq =}): {body =} or {error = {code, message, retryAfter}} */
static int lua_act(lua_State *L)
{
    struct subject *x = check_subject(L);
    struct state *outer = state_of(L);
    double number = luaL_checknumber(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    struct event e = {.action = (uint16_t)number, .seq = (uint16_t)number_field(L, 3, "seq")};
    user_field(L, 3, &e.user, &e.user_name);
    state_field(L, 3, "body");
    if (lua_isnil(L, -1))
        buf_lit(state_scratch(outer), "{}");
    else
        json_lua_encode(outer, L, lua_gettop(L));
    buf_byte(&outer->scratch, 0);
    struct custom_action *a = NULL;
    for (uint32_t i = 0; i < x->st->action_count; i++)
        if (x->st->actions[i].number == number)
            a = &x->st->actions[i];
    if (!a)
        return luaL_error(L, "the script has no action %d", (int)number);
    struct cJSON *body = buf_ok(&outer->scratch) ? cJSON_Parse(outer->scratch.p) : NULL;
    struct action_answer out;
    e.body = body;
    event_run_action(x->st, a, &e, &out);
    cJSON_Delete(body);
    lua_newtable(L);
    if (out.code != CODE_OK) {
        lua_newtable(L);
        put_text(L, "code", slice_str(code_name(out.code)));
        put_text(L, "message", slice_str(out.message));
        put_number(L, "retryAfter", out.retry_after_ms);
        lua_setfield(L, -2, "error");
        return 1;
    }
    /* As text; the module decodes it. */
    put_text(L, "json", out.body);
    return 1;
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
                                        [DEED_LOG] = "log"};
    struct subject *x = check_subject(L);
    lua_newtable(L);
    for (int i = 1; x->world.first; i++) {
        const struct deed *d = x->world.first;
        lua_newtable(L);
        put_text(L, "what", slice_str(names[d->kind]));
        put_text(L, "target", slice_str(d->target));
        put_text(L, "text", slice_str(d->text));
        put_number(L, "n", d->n);
        lua_rawseti(L, -2, i);
        fake_world_shift(&x->world);
    }
    return 1;
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
    static const luaL_Reg functions[] = {{"load", lua_load_subject},
                                         {"fire", lua_fire},
                                         {"act", lua_act},
                                         {"command", lua_run_command},
                                         {"advance", lua_advance},
                                         {"set_time", lua_set_time},
                                         {"did", lua_did},
                                         {"report", lua_report},
                                         {NULL, NULL}};
    lua_getfield(L, LUA_GLOBALSINDEX, "require");
    if (luaL_loadbufferx(L, tester_lua, strlen(tester_lua), "=test", "t") != 0)
        return lua_error(L);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_call(L, 1, 1);
    lua_pushcclosure(L, lua_require, 2);
    lua_setfield(L, LUA_GLOBALSINDEX, "require");
    return 0;
}

static void run_file(struct tester *t, const char *name)
{
    struct fake_world world;
    struct script_stats stats = {0};
    struct script_env env = {.world = &world.world, .watched = t->outer, .shared = t->shared, .kv = t->shared};
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
    snprintf(file, sizeof file, "%s/%s", t->folder, name);
    struct state *st = state_new(&shard_set.shard_set, "test", &stats);
    const char *why = NULL;
    if (!st || lua_cpcall(st->L, open_module, NULL) != 0)
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
        t.shared = values_new(1, 16 << 20);
        if (t.outer && t.inner && t.shared)
            run_file(&t, files[i]->d_name);
        else
            t.failed++;
        values_free(t.shared);
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
