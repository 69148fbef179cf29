#include "core/script/json_lua.h"

#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/base/utf8.h"
#include "core/script/event.h"
#include "core/script/json_decode.h"
#include "core/script/state.h"

#include <cjson/cJSON.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Integers that a double holds exactly. */
static const double exact = 9007199254740992.0;

/* --- To Lua ------------------------------------------------------------------------------------------------------- */

void json_lua_mark_array(struct state *st, lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->array_meta);
    lua_setmetatable(L, -2);
}

void json_lua_push(struct state *st, lua_State *L, const cJSON *value, enum json_lua_null null)
{
    luaL_checkstack(L, 4, "JSON is too deep");
    const cJSON *item;
    if (cJSON_IsObject(value)) {
        lua_newtable(L);
        cJSON_ArrayForEach(item, value)
        {
            if (null == JSON_LUA_DROP_NULL && cJSON_IsNull(item))
                continue;
            lua_pushstring(L, item->string);
            json_lua_push(st, L, item, null);
            lua_rawset(L, -3);
        }
    } else if (cJSON_IsArray(value)) {
        lua_newtable(L);
        int i = 0;
        cJSON_ArrayForEach(item, value)
        {
            json_lua_push(st, L, item, null);
            lua_rawseti(L, -2, ++i);
        }
        json_lua_mark_array(st, L);
    } else if (cJSON_IsString(value)) {
        lua_pushstring(L, value->valuestring);
    } else if (cJSON_IsNumber(value)) {
        lua_pushnumber(L, value->valuedouble);
    } else if (cJSON_IsBool(value)) {
        lua_pushboolean(L, cJSON_IsTrue(value));
    } else {
        lua_pushlightuserdata(L, NULL);
    }
}

/* --- From Lua ----------------------------------------------------------------------------------------------------- */

static void put_number(lua_State *L, double n, struct buf *out)
{
    char text[40];
    if (!isfinite(n))
        luaL_error(L, "JSON has no number like %s", isnan(n) ? "NaN" : "infinity");
    if (n == floor(n) && fabs(n) < exact) {
        buf_printf(out, "%.0f", n);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, n);
        if (strtod(text, NULL) == n)
            break;
    }
    buf_str(out, text);
}

/* What was written so far: not too long, and counted as the script's memory. */
static void check_size(struct state *st, lua_State *L)
{
    if (st->scratch.cap != st->scratch_counted || !buf_ok(&st->scratch))
        state_scratch_count(st, L);
    if (st->scratch.n > JSON_LUA_MAX)
        luaL_error(L, "more than %d bytes of JSON", JSON_LUA_MAX);
}

/* In pieces, since escapes make it up to six times as long. They need not end where characters do: what is escaped is
 * single bytes. */
static void put_text(struct state *st, lua_State *L, int index)
{
    enum { PIECE = 4096 };
    struct buf *out = &st->scratch;
    size_t n;
    const char *p = lua_tolstring(L, index, &n);
    if (n > JSON_LUA_MAX)
        luaL_error(L, "more than %d bytes of JSON", JSON_LUA_MAX);
    if (!utf8_valid(slice_of(p, n)))
        luaL_error(L, "JSON texts are UTF-8, and this one is not");
    buf_byte(out, '"');
    for (size_t at = 0; at < n; at += PIECE) {
        buf_json_escape(out, slice_of(p + at, n - at < PIECE ? n - at : PIECE));
        check_size(st, L);
    }
    buf_byte(out, '"');
}

/* Whether the table at the top is an array, and how long. */
static bool is_array(struct state *st, lua_State *L, size_t *n)
{
    bool marked = false;
    if (lua_getmetatable(L, -1)) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, st->array_meta);
        marked = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);
    }
    *n = lua_objlen(L, -1);
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if ((count & 1023) == 1023)
            state_poll(st, L);
        double k = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
        if (!(k >= 1 && k <= (double)*n) || k != floor(k)) {
            lua_pop(L, 2);
            if (marked)
                luaL_error(L, "an array has other keys than 1 to n");
            return false;
        }
        count++;
    }
    if (marked && count != *n)
        luaL_error(L, "an array has holes");
    return count == *n && (*n > 0 || marked);
}

static void put_value(struct state *st, lua_State *L, int depth);

static void put_table(struct state *st, lua_State *L, int depth)
{
    struct buf *out = &st->scratch;
    size_t n;
    if (depth > JSON_DEPTH)
        luaL_error(L, "tables are more than %d deep, or one holds itself", JSON_DEPTH);
    event_fill(st, L, lua_gettop(L));
    if (is_array(st, L, &n)) {
        buf_byte(out, '[');
        for (size_t i = 1; i <= n; i++) {
            if (i > 1)
                buf_byte(out, ',');
            lua_rawgeti(L, -1, (int)i);
            put_value(st, L, depth);
            lua_pop(L, 1);
        }
        buf_byte(out, ']');
        return;
    }
    buf_byte(out, '{');
    bool first = true;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "a table with keys other than texts (a %s), and not 1 to n, is no JSON",
                       luaL_typename(L, -2));
        if (!first)
            buf_byte(out, ',');
        first = false;
        put_text(st, L, -2);
        buf_byte(out, ':');
        put_value(st, L, depth);
    }
    buf_byte(out, '}');
}

/* The value at the top. */
static void put_value(struct state *st, lua_State *L, int depth)
{
    struct buf *out = &st->scratch;
    check_size(st, L);
    state_poll(st, L);
    luaL_checkstack(L, 6, "too deep");
    switch (lua_type(L, -1)) {
    case LUA_TTABLE:
        put_table(st, L, depth + 1);
        break;
    case LUA_TSTRING:
        put_text(st, L, -1);
        break;
    case LUA_TNUMBER:
        put_number(L, lua_tonumber(L, -1), out);
        break;
    case LUA_TBOOLEAN:
        buf_str(out, lua_toboolean(L, -1) ? "true" : "false");
        break;
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(L, -1)) {
            buf_lit(out, "null");
            break;
        }
        /* fall through */
    default:
        luaL_error(L, "a %s has no place in JSON", luaL_typename(L, -1));
    }
}

struct slice json_lua_encode(struct state *st, lua_State *L, int index)
{
    state_scratch(st);
    lua_pushvalue(L, index);
    put_value(st, L, 0);
    lua_pop(L, 1);
    check_size(st, L);
    return buf_slice(&st->scratch);
}

static int lua_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    struct slice text = json_lua_encode(state_of(L), L, 1);
    lua_pushlstring(L, text.p, text.n);
    return 1;
}

static int lua_array(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    json_lua_mark_array(state_of(L), L);
    return 1;
}

void json_lua_open(struct state *st, lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"decode", json_lua_decode}, {"encode", lua_encode}, {"array", lua_array}, {NULL, NULL}};
    lua_createtable(L, 0, 1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    st->array_meta = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
}
