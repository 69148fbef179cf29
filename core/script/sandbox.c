#include "core/script/sandbox.h"

#include "core/base/random.h"
#include "core/script/event.h"
#include "core/script/stack.h"
#include "core/script/state.h"
#include "core/script/strings.h"
#include "core/script/world.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

/* Bytes that one print() writes. */
enum { PRINT_MAX = 16 << 10 };

/* --- Base --------------------------------------------------------------------------------------------------------- */

/* Fields of an event are fetched when they are asked for; whoever walks over it wants all of them. */
static int lua_pairs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    event_fill(state_of(L), L, 1);
    lua_pushvalue(L, lua_upvalueindex(1)); /* next */
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

/* Not LuaJIT's: that runs the handler before the error has unwound, where no hook can stop it. */
static int lua_xpcall(lua_State *L)
{
    struct state *st = state_of(L);
    luaL_checkany(L, 2);
    int args = lua_gettop(L) - 2;
    lua_pushvalue(L, 2);
    lua_insert(L, 1);
    lua_remove(L, 3); /* handler, function, arguments */
    int status = lua_pcall(L, args, LUA_MULTRET, 0);
    if (status == 0) {
        lua_pushboolean(L, 1);
        lua_replace(L, 1);
        return lua_gettop(L);
    }
    state_poll(st, L);
    lua_call(L, 1, 1); /* handler(error) */
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

static int lua_print(lua_State *L)
{
    struct state *st = state_of(L);
    int n = lua_gettop(L);
    for (int i = 1; i <= n; i++) {
        lua_pushvalue(L, lua_upvalueindex(1)); /* tostring */
        lua_pushvalue(L, i);
        lua_call(L, 1, 1); /* which may call print() */
        if (!lua_isstring(L, -1))
            return luaL_error(L, "'tostring' must return a string to 'print'");
        lua_replace(L, i);
    }
    struct buf *b = state_scratch(st);
    for (int i = 1; i <= n && b->n < PRINT_MAX; i++) {
        size_t len = 0;
        const char *p = lua_tolstring(L, i, &len);
        if (i > 1)
            buf_byte(b, ' ');
        buf_put(b, p, len < 1024 ? len : 1024);
    }
    struct world *w = st->shard_set->env->world;
    const struct log_field fields[] = {
        LOG_STR("script", st->name), LOG_SLICE("text", buf_slice(b)), {.type = LOG_F_END}};
    w->log(w, LOG_INFO, "script.print", fields);
    return 0;
}

/* --- Coroutines --------------------------------------------------------------------------------------------------- */

/* Resumes co with n arguments on top of L's stack; results go there. Returns their number, or -1 with the error
 * there. */
static int resume(lua_State *L, lua_State *co, int n)
{
    if (lua_status(co) == 0 && lua_gettop(co) == 0) {
        lua_pushliteral(L, "cannot resume dead coroutine");
        return -1;
    }
    if (co == L || !lua_checkstack(co, n)) {
        lua_pushliteral(L, "cannot resume this coroutine");
        return -1;
    }
    lua_xmove(L, co, n);
    int status = lua_resume(co, n);
    if (status != 0 && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return -1;
    }
    int results = lua_gettop(co);
    luaL_checkstack(L, results + 1, "too many results to resume");
    lua_xmove(co, L, results);
    return results;
}

static lua_State *check_coroutine(lua_State *L, int arg)
{
    lua_State *co = lua_tothread(L, arg);
    luaL_argcheck(L, co, arg, "coroutine expected");
    return co;
}

/* Whether it may be resumed: suspended, or not begun. */
static bool resumable(lua_State *L, lua_State *co)
{
    lua_Debug ar;
    if (co == L)
        return false;
    if (lua_status(co) == LUA_YIELD)
        return true;
    return lua_status(co) == 0 && lua_getstack(co, 0, &ar) == 0; /* else it runs: it resumed us */
}

static int lua_co_resume(lua_State *L)
{
    lua_State *co = check_coroutine(L, 1);
    int n = -1;
    if (resumable(L, co))
        n = resume(L, co, lua_gettop(L) - 1);
    else
        lua_pushliteral(L, "cannot resume this coroutine: it is running or dead");
    state_poll(state_of(L), L);
    lua_pushboolean(L, n >= 0);
    lua_insert(L, n >= 0 ? -(n + 1) : -2);
    return n >= 0 ? n + 1 : 2;
}

static int wrapped(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    if (!resumable(L, co))
        return luaL_error(L, "cannot resume this coroutine: it is running or dead");
    int n = resume(L, co, lua_gettop(L));
    if (n < 0)
        return lua_error(L);
    return n;
}

static int lua_co_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, wrapped, 1);
    return 1;
}

/* --- table.insert and table.sort ---------------------------------------------------------------------------------- */

/* LuaJIT's takes any position, and works its way there from the end. */
static int lua_insert_at(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    size_t n = lua_objlen(L, 1);
    if (lua_gettop(L) == 2) {
        lua_rawseti(L, 1, (int)n + 1);
        return 0;
    }
    if (lua_gettop(L) != 3)
        return luaL_error(L, "wrong number of arguments to 'insert'");
    double at = luaL_checknumber(L, 2);
    if (!(at >= 1 && at <= (double)n + 1))
        return luaL_argerror(L, 2, "position out of bounds");
    int place = (int)at;
    for (int i = (int)n; i >= place; i--) {
        lua_rawgeti(L, 1, i);
        lua_rawseti(L, 1, i + 1);
        if ((i & 4095) == 0)
            state_poll(state_of(L), L);
    }
    lua_settop(L, 3);
    lua_rawseti(L, 1, place);
    return 0;
}

static int less_plain(lua_State *L)
{
    lua_pushboolean(L, lua_lessthan(L, 1, 2));
    return 1;
}

/* Whether element a of the table stands before element b. */
static bool before(lua_State *L, int a, int b)
{
    lua_rawgeti(L, 1, a);
    lua_rawgeti(L, 1, b);
    bool numbers = lua_isnil(L, 2) && lua_type(L, -1) == LUA_TNUMBER && lua_type(L, -2) == LUA_TNUMBER;
    if (numbers) {
        bool less = lua_tonumber(L, -2) < lua_tonumber(L, -1);
        lua_pop(L, 2);
        return less;
    }
    if (lua_isnil(L, 2))
        lua_pushcfunction(L, less_plain);
    else
        lua_pushvalue(L, 2);
    lua_insert(L, -3);
    lua_call(L, 2, 1);
    bool less = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return less;
}

static void swap(lua_State *L, int a, int b)
{
    lua_rawgeti(L, 1, a);
    lua_rawgeti(L, 1, b);
    lua_rawseti(L, 1, a);
    lua_rawseti(L, 1, b);
}

static void sift_down(lua_State *L, int root, int n)
{
    for (;;) {
        int child = 2 * root;
        if (child > n)
            return;
        if (child < n && before(L, child, child + 1))
            child++;
        if (!before(L, root, child))
            return;
        swap(L, root, child);
        root = child;
    }
}

/* Heapsort: n log n whatever the comparison says, no recursion, and it can be stopped between two steps. */
static int lua_sort(lua_State *L)
{
    struct state *st = state_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    luaL_checkstack(L, 8, "");
    int n = (int)lua_objlen(L, 1);
    for (int i = n / 2; i >= 1; i--) {
        sift_down(L, i, n);
        state_poll(st, L);
    }
    for (int i = n; i > 1; i--) {
        swap(L, 1, i);
        sift_down(L, 1, i - 1);
        state_poll(st, L);
    }
    return 0;
}

/* --- Assembly ----------------------------------------------------------------------------------------------------- */

struct pick {
    const char *library; /* "": the globals */
    const char *names;   /* of functions and values, with spaces between */
};

static const struct pick picks[] = {
    {"", "assert error getmetatable ipairs next pcall rawequal rawget rawset select setmetatable tonumber tostring "
         "type unpack"},
    {LUA_STRLIBNAME, "byte char format len lower reverse sub upper"},
    {LUA_TABLIBNAME, "concat maxn remove"},
    {LUA_MATHLIBNAME, "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min "
                      "modf pi pow rad random "
                      "randomseed sin sinh sqrt tan tanh"},
    {LUA_BITLIBNAME, "arshift band bnot bor bswap bxor lshift rol ror rshift tobit tohex"},
    {LUA_COLIBNAME, "create running status yield"},
};

/* The function at the top, if it is one of LuaJIT's in C, is pushed anew: the guard of the stack sees only those
 * (string.format calls __tostring). Those in assembler stay as they are; they call without any C stack. */
static void put_under_guard(lua_State *L)
{
    lua_CFunction f = lua_tocfunction(L, -1);
    if (!f)
        return;
    int n = 0;
    while (lua_getupvalue(L, -(n + 1), n + 1))
        n++;
    lua_pushcclosure(L, f, n);
    lua_replace(L, -2);
}

/* Copies the named fields from the table at `from` to the one at `to`. */
static void copy_fields(lua_State *L, int from, int to, const char *names)
{
    while (*names) {
        size_t n = strcspn(names, " ");
        lua_pushlstring(L, names, n);
        lua_pushvalue(L, -1);
        lua_rawget(L, from);
        put_under_guard(L);
        lua_rawset(L, to);
        names += n;
        names += *names == ' ';
    }
}

static void open_libraries(lua_State *L)
{
    static const lua_CFunction open[] = {luaopen_base, luaopen_table, luaopen_string, luaopen_math, luaopen_bit};
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        lua_pushcfunction(L, open[i]);
        lua_call(L, 0, 0);
    }
}

static void add_base(lua_State *L, int env)
{
    lua_getfield(L, env, "next");
    lua_pushcclosure(L, lua_pairs, 1);
    lua_setfield(L, env, "pairs");
    lua_getfield(L, env, "tostring");
    lua_pushcclosure(L, lua_print, 1);
    lua_setfield(L, env, "print");
    lua_pushcfunction(L, lua_xpcall);
    lua_setfield(L, env, "xpcall");
    lua_pushliteral(L, "Lua 5.1");
    lua_setfield(L, env, "_VERSION");
}

static void add_libraries(lua_State *L, int env)
{
    lua_getfield(L, env, LUA_STRLIBNAME);
    strings_open(L);
    /* What stands behind ("x"):upper(). Nobody gets hold of the metatable. */
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 3);
    static const luaL_Reg tables[] = {{"insert", lua_insert_at}, {"sort", lua_sort}, {NULL, NULL}};
    lua_getfield(L, env, LUA_TABLIBNAME);
    luaL_register(L, NULL, tables);
    lua_pop(L, 1);
    static const luaL_Reg coroutines[] = {{"resume", lua_co_resume}, {"wrap", lua_co_wrap}, {NULL, NULL}};
    lua_getfield(L, env, LUA_COLIBNAME);
    luaL_register(L, NULL, coroutines);
    lua_pop(L, 1);
}

void sandbox_open(lua_State *L)
{
    stack_guard_install(L);
    open_libraries(L);
    lua_newtable(L);
    int env = lua_gettop(L);
    for (size_t i = 0; i < sizeof picks / sizeof picks[0]; i++) {
        if (!picks[i].library[0]) {
            copy_fields(L, LUA_GLOBALSINDEX, env, picks[i].names);
            continue;
        }
        lua_getfield(L, LUA_GLOBALSINDEX, picks[i].library);
        lua_newtable(L);
        copy_fields(L, lua_gettop(L) - 1, lua_gettop(L), picks[i].names);
        lua_setfield(L, env, picks[i].library);
        lua_pop(L, 1);
    }
    add_base(L, env);
    add_libraries(L, env);
    lua_pushvalue(L, env);
    lua_setfield(L, env, "_G");
    /* Each state draws its own numbers. */
    lua_getfield(L, env, LUA_MATHLIBNAME);
    lua_getfield(L, -1, "randomseed");
    lua_pushnumber(L, random_below(UINT32_MAX));
    lua_call(L, 1, 0);
    lua_pop(L, 1);
    lua_replace(L, LUA_GLOBALSINDEX);
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_settop(L, 0);
}
