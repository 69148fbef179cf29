#include "core/config/config_lua.h"

#include "core/base/spelling.h"
#include "core/config/machine.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MEMORY_MAX = 16 << 20,      /* bytes of the Lua state */
    INSTRUCTIONS_MAX = 2000000, /* virtual machine instructions: some 20 ms */
    VALUES_MAX = 10000,         /* in the returned tree */
    DEPTH_MAX = 16              /* tables inside one another */
};

struct run {
    struct slice text;  /* the chunk */
    const char *name;   /* for messages */
    struct cJSON *root; /* the tree so far; whoever called config_lua_run() gets it */
    unsigned values;    /* in the tree */
    long long memory;   /* bytes that Lua holds beyond what it had at first */
    lua_Alloc alloc;    /* LuaJIT's own allocator … */
    void *alloc_ctx;    /* … and its state */
};

/* LuaJIT's own allocator below a cap (its states cannot be made with another allocator on every platform). */
static void *capped_alloc(void *ctx, void *p, size_t old, size_t n)
{
    struct run *r = ctx;
    long long more = (long long)n - (long long)old;
    if (more > 0 && r->memory + more > MEMORY_MAX)
        return NULL;
    void *q = r->alloc(r->alloc_ctx, p, old, n);
    if (q || n == 0)
        r->memory += more;
    return q;
}

static void stop(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    luaL_error(L, "the config runs for too long: it should be plain data");
}

/* env(name [, default]): a variable of the environment. */
static int lua_env(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const char *value = getenv(name);
    if (value)
        lua_pushstring(L, value);
    else if (lua_isnoneornil(L, 2) && lua_gettop(L) < 2)
        return luaL_error(L, "env: the environment has no %s, and no default is given", name);
    else
        lua_settop(L, 2);
    return 1;
}

static const struct {
    const char *name;
    double value; /* 0: asked of the machine */
} constants[] = {
    {"KiB", 1024},   {"MiB", 1024 * 1024}, {"GiB", 1024.0 * 1024 * 1024},
    {"seconds", 1},  {"minutes", 60},      {"hours", 3600},
    {"days", 86400}, {"memory", 0},        {"descriptors", 0},
};

/* A name that is not there: most often a text without its quotes, which plain Lua would take for nil. The name itself
 * is told only where it is like a known one or is one of Lua's: any other may be a secret. */
static int lua_unknown(lua_State *L)
{
    static const char *const libraries[] = {
        "io",     "os",      "string", "table", "math",     "print",    "require",      "error", "pcall",  "load",
        "dofile", "package", "debug",  "ffi",   "tostring", "tonumber", "setmetatable", "pairs", "ipairs", "_G"};
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    for (unsigned i = 0; i < sizeof libraries / sizeof libraries[0]; i++)
        if (strcmp(name, libraries[i]) == 0)
            return luaL_error(L, "there is no %s here: a config is plain data, without Lua's libraries", name);
    unsigned best = 0;
    for (unsigned i = 1; i < sizeof constants / sizeof constants[0]; i++)
        if (spelling_distance(name, constants[i].name) < spelling_distance(name, constants[best].name))
            best = i;
    if (spelling_distance(name, constants[best].name) <= spelling_limit(name))
        return luaL_error(L, "unknown name %s; did you mean %s?", name, constants[best].name);
    return luaL_error(L, "unknown name: a text stands in quotes; known are KiB, MiB, GiB, seconds, minutes, hours, "
                         "days, memory, descriptors and env");
}

/* The environment of the chunk at the top of the stack. */
static void set_environment(lua_State *L)
{
    lua_newtable(L);
    for (unsigned i = 0; i < sizeof constants / sizeof constants[0]; i++) {
        double asked = strcmp(constants[i].name, "memory") == 0 ? (double)machine_memory() : machine_connections();
        lua_pushnumber(L, constants[i].value > 0 ? constants[i].value : asked);
        lua_setfield(L, -2, constants[i].name);
    }
    lua_pushcfunction(L, lua_env);
    lua_setfield(L, -2, "env");
    lua_newtable(L);
    lua_pushcfunction(L, lua_unknown);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_setfenv(L, -2);
}

/* --- The returned table as a tree --------------------------------------------------------------------------------- */

static struct cJSON *owned(lua_State *L, struct cJSON *item)
{
    if (!item)
        luaL_error(L, "out of memory");
    return item;
}

/* Whether the table at the top holds exactly the keys 1..n, n > 0. */
static bool is_list(lua_State *L)
{
    size_t n = lua_objlen(L, -1), count = 0;
    if (n == 0)
        return false;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        /* Every key must be a number in 1..n, and there must be n of them. */
        lua_Number k = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
        if (!(k >= 1 && k <= (lua_Number)n) || (lua_Number)(size_t)k != k) {
            lua_pop(L, 2);
            return false;
        }
        count++;
    }
    return count == n;
}

/* Hangs `item` into `parent` at once, so that an error that jumps out of here loses nothing. */
static void hang(lua_State *L, struct run *r, struct cJSON *parent, const char *key, struct cJSON *item)
{
    owned(L, item);
    bool ok = true;
    if (!parent)
        r->root = item;
    else if (key)
        ok = cJSON_AddItemToObject(parent, key, item);
    else
        ok = cJSON_AddItemToArray(parent, item);
    if (!ok) {
        cJSON_Delete(item);
        luaL_error(L, "out of memory");
    }
}

static void convert(lua_State *L, struct run *r, struct cJSON *parent, const char *key, unsigned depth);

static void convert_table(lua_State *L, struct run *r, struct cJSON *parent, const char *key, unsigned depth)
{
    if (depth >= DEPTH_MAX)
        luaL_error(L, "tables are more than %d deep", DEPTH_MAX);
    luaL_checkstack(L, 4, "too deep");
    bool list = is_list(L);
    struct cJSON *table = list ? cJSON_CreateArray() : cJSON_CreateObject();
    hang(L, r, parent, key, table);
    if (list) {
        for (size_t i = 1, n = lua_objlen(L, -1); i <= n; i++) {
            lua_rawgeti(L, -1, (int)i);
            convert(L, r, table, NULL, depth + 1);
            lua_pop(L, 1);
        }
        return;
    }
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        char index[48];
        const char *name = index;
        if (lua_type(L, -2) == LUA_TSTRING)
            name = lua_tostring(L, -2);
        else if (lua_type(L, -2) == LUA_TNUMBER)
            snprintf(index, sizeof index, "[%.15g]", lua_tonumber(L, -2));
        else
            snprintf(index, sizeof index, "[%s]", luaL_typename(L, -2));
        convert(L, r, table, name, depth + 1);
    }
}

static void convert_text(lua_State *L, struct run *r, struct cJSON *parent, const char *key)
{
    size_t n;
    const char *s = lua_tolstring(L, -1, &n);
    hang(L, r, parent, key, strlen(s) == n ? cJSON_CreateString(s) : cJSON_CreateRaw("a text with a zero byte"));
}

/* The value at the top of the stack becomes an item of `parent` (NULL: the root). */
static void convert(lua_State *L, struct run *r, struct cJSON *parent, const char *key, unsigned depth)
{
    if (++r->values > VALUES_MAX)
        luaL_error(L, "more than %d values", VALUES_MAX);
    switch (lua_type(L, -1)) {
    case LUA_TTABLE:
        convert_table(L, r, parent, key, depth);
        break;
    case LUA_TSTRING:
        convert_text(L, r, parent, key);
        break;
    case LUA_TNUMBER:
        hang(L, r, parent, key, cJSON_CreateNumber(lua_tonumber(L, -1)));
        break;
    case LUA_TBOOLEAN:
        hang(L, r, parent, key, cJSON_CreateBool(lua_toboolean(L, -1)));
        break;
    default:
        hang(L, r, parent, key, cJSON_CreateRaw("a function"));
    }
}

/* --- Running ------------------------------------------------------------------------------------------------------ */

/* Everything that may raise an error, under one protection. */
static int run_protected(lua_State *L)
{
    struct run *r = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lua_pushfstring(L, "@%s", r->name);
    const char *chunk_name = lua_tostring(L, -1);
    if (luaL_loadbufferx(L, r->text.p ? r->text.p : "", r->text.n, chunk_name, "t"))
        return lua_error(L);
    set_environment(L);
    lua_sethook(L, stop, LUA_MASKCOUNT, INSTRUCTIONS_MAX);
    lua_call(L, 0, 1);
    lua_sethook(L, NULL, 0, 0);
    if (!lua_istable(L, -1))
        return luaL_error(L, "%s: the file must return a table: return { ... }", r->name);
    convert(L, r, NULL, NULL, 0);
    return 0;
}

/* A syntax error quotes what it stumbled over, and that may be a secret: only signs are shown ("near '}'"), no
 * words. */
static size_t length_to_show(const char *message)
{
    const char *near = strstr(message, " near '");
    if (near) {
        unsigned char c = (unsigned char)near[7];
        if (c == '"' || c == '\'' || c == '[' || c == '_' || c >= 0x80 || isalnum(c))
            return (size_t)(near - message);
    }
    return strlen(message);
}

static void put_error(struct buf *error, struct run *r, lua_State *L, int status)
{
    size_t prefix = strlen(r->name);
    const char *message = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "unknown error";
    if (status == LUA_ERRMEM)
        message = "the config takes too much memory: it should be plain data";
    else if (r->text.n && r->text.p[0] == LUA_SIGNATURE[0])
        message = "this is compiled Lua; the config must be text";
    if (strncmp(message, r->name, prefix) != 0 || message[prefix] != ':')
        buf_printf(error, "%s: ", r->name);
    for (size_t i = 0, n = length_to_show(message); i < n; i++) {
        uint8_t c = (uint8_t)message[i];
        buf_byte(error, c < 0x20 || c == 0x7f ? ' ' : c);
    }
    buf_byte(error, '\n');
}

struct cJSON *config_lua_run(struct slice text, const char *name, struct buf *error)
{
    struct run r = {.text = text, .name = name};
    lua_State *L = luaL_newstate();
    if (!L) {
        buf_printf(error, "%s: out of memory\n", name);
        return NULL;
    }
    r.alloc = lua_getallocf(L, &r.alloc_ctx);
    lua_setallocf(L, capped_alloc, &r);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    int status = lua_cpcall(L, run_protected, &r);
    if (status) {
        put_error(error, &r, L, status);
        cJSON_Delete(r.root);
        r.root = NULL;
    }
    lua_setallocf(L, r.alloc, r.alloc_ctx); /* closing frees more than was counted */
    lua_close(L);
    return r.root;
}
