/* magpie.text: plain texts, no patterns. */
#include "core/script/api.h"
#include "core/script/state.h"

#include <lauxlib.h>
#include <string.h>

static struct slice check(lua_State *L, int arg)
{
    size_t n;
    const char *p = luaL_checklstring(L, arg, &n);
    return slice_of(p, n);
}

static int lua_starts(lua_State *L)
{
    struct slice s = check(L, 1), with = check(L, 2);
    lua_pushboolean(L, s.n >= with.n && memcmp(s.p, with.p, with.n) == 0);
    return 1;
}

static int lua_ends(lua_State *L)
{
    struct slice s = check(L, 1), with = check(L, 2);
    lua_pushboolean(L, s.n >= with.n && memcmp(s.p + s.n - with.n, with.p, with.n) == 0);
    return 1;
}

static int lua_contains(lua_State *L)
{
    struct slice s = check(L, 1), part = check(L, 2);
    lua_pushboolean(L, part.n == 0 || memmem(s.p, s.n, part.p, part.n) != NULL);
    return 1;
}

/* split(s, separator [, parts]): a list; with `parts`, the last one holds the rest. */
static int lua_split(lua_State *L)
{
    struct state *st = state_of(L);
    struct slice s = check(L, 1), sep = check(L, 2);
    double max = luaL_optnumber(L, 3, 1e9);
    luaL_argcheck(L, sep.n > 0, 2, "an empty separator");
    luaL_argcheck(L, max >= 1, 3, "one part at least");
    lua_newtable(L);
    int count = 0;
    const char *at = s.p, *end = s.p + s.n, *hit;
    while (count + 1 < max && (hit = memmem(at, (size_t)(end - at), sep.p, sep.n)) != NULL) {
        lua_pushlstring(L, at, (size_t)(hit - at));
        lua_rawseti(L, -2, ++count);
        at = hit + sep.n;
        if ((count & 1023) == 0)
            state_poll(st, L);
    }
    lua_pushlstring(L, at, (size_t)(end - at));
    lua_rawseti(L, -2, ++count);
    return 1;
}

void api_text_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"starts", lua_starts}, {"ends", lua_ends}, {"contains", lua_contains}, {"split", lua_split}, {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
}
