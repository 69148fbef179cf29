/* magpie.kv, magpie.shared, magpie.bucket. */
#include "core/base/hash.h"
#include "core/hub/shard/shard.h"
#include "core/script/api.h"
#include "core/script/buckets.h"
#include "core/script/state.h"
#include "core/script/values.h"
#include "core/script/world.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

/* magpie.kv or magpie.shared, by the functions' upvalue. */
static struct values *keep_of(lua_State *L)
{
    const struct script_env *env = state_of(L)->shard_set->env;
    return lua_toboolean(L, lua_upvalueindex(1)) ? env->shared : env->kv;
}

static uint64_t now(lua_State *L)
{
    struct world *w = state_of(L)->shard_set->env->world;
    return w->mono_ms(w);
}

static struct slice check_key(lua_State *L)
{
    size_t n;
    const char *p = luaL_checklstring(L, 1, &n);
    luaL_argcheck(L, n <= VALUE_KEY_MAX, 1, "a key has 256 bytes at most");
    return slice_of(p, n);
}

/* Seconds; absent or 0: for ever. */
static uint64_t check_ttl(lua_State *L, int arg)
{
    double ttl = luaL_optnumber(L, arg, 0);
    luaL_argcheck(L, ttl >= 0 && ttl <= 1e11, arg, "a time to live is in seconds, 0 or more");
    return (uint64_t)ceil(ttl * 1000);
}

static int lua_get(lua_State *L)
{
    struct script_value v;
    struct slice key = check_key(L);
    int rc = values_get(keep_of(L), key, now(L), &v);
    if (rc == ERR_NOMEM)
        return luaL_error(L, "not enough memory");
    if (rc != 0)
        lua_pushnil(L);
    else if (v.type == VALUE_NUMBER)
        lua_pushnumber(L, v.number);
    else if (v.type == VALUE_BOOL)
        lua_pushboolean(L, v.number != 0);
    else {
        /* Into memory of Lua's first: pushing a string may raise an error. */
        struct buf *b = state_scratch(state_of(L));
        buf_slice_put(b, v.text);
        free((void *)(uintptr_t)v.text.p);
        state_scratch_count(state_of(L), L);
        lua_pushlstring(L, b->n ? b->p : "", b->n);
    }
    return 1;
}

static int result(lua_State *L, int rc)
{
    if (rc == ERR_NOMEM)
        return luaL_error(L, "not enough memory");
    lua_pushboolean(L, rc == 0);
    if (rc == 0)
        return 1;
    lua_pushstring(L, rc == ERR_FULL ? "full" : err_str(rc));
    return 2;
}

static int lua_del(lua_State *L)
{
    lua_pushboolean(L, values_del(keep_of(L), check_key(L), now(L)));
    return 1;
}

static int lua_set(lua_State *L)
{
    struct script_value v = {.type = VALUE_NONE};
    struct slice key = check_key(L);
    uint64_t ttl = check_ttl(L, 3);
    size_t n;
    switch (lua_type(L, 2)) {
    case LUA_TNIL:
        values_del(keep_of(L), key, now(L));
        lua_pushboolean(L, 1);
        return 1;
    case LUA_TNUMBER:
        v.type = VALUE_NUMBER;
        v.number = lua_tonumber(L, 2);
        break;
    case LUA_TBOOLEAN:
        v.type = VALUE_BOOL;
        v.number = lua_toboolean(L, 2);
        break;
    case LUA_TSTRING:
        v.type = VALUE_TEXT;
        v.text.p = lua_tolstring(L, 2, &n);
        v.text.n = n;
        luaL_argcheck(L, n <= VALUE_TEXT_MAX, 2, "a text has 1 MiB at most");
        break;
    default:
        return luaL_argerror(L, 2, "a text, a number or a boolean; tables by way of magpie.json.encode()");
    }
    return result(L, values_set(keep_of(L), key, &v, ttl, now(L)));
}

static int lua_incr(lua_State *L)
{
    struct slice key = check_key(L);
    double n = luaL_optnumber(L, 2, 1), value = 0;
    int rc = values_incr(keep_of(L), key, n, check_ttl(L, 3), now(L), &value);
    if (rc == ERR_INVALID)
        return luaL_error(L, "incr: what is kept there is no number");
    if (rc == ERR_FULL) {
        lua_pushnil(L);
        lua_pushliteral(L, "full");
        return 2;
    }
    if (rc != 0)
        return luaL_error(L, "not enough memory");
    lua_pushnumber(L, value);
    return 1;
}

/* --- Buckets ------------------------------------------------------------------------------------------------------ */

/* A send has turned out to be a repeat. */
static void give_back(struct shard *s, uint64_t what)
{
    struct script_env *env = s->scripts;
    if (env)
        refunds_give(env->refunds, s, what);
}

/* Notes tokens taken in a hook on a message that may be a repeat. */
static void note(struct state *st, uint64_t taken, double n)
{
    struct refunds *r = st->shard_set->env->refunds;
    struct hook_call *h = st->call;
    if (!h || !h->repeat_possible)
        return;
    if (!st->refund) {
        st->refund = refunds_begin(r, h->refund, h->refund_what);
        h->refund = give_back;
        h->refund_what = st->refund;
    }
    refunds_add(r, st->refund, taken, n);
}

/* bucket(key, rate, burst [, n]) */
static int lua_bucket(lua_State *L)
{
    struct state *st = state_of(L);
    size_t len;
    const char *key = luaL_checklstring(L, 1, &len);
    double rate = luaL_checknumber(L, 2), burst = luaL_checknumber(L, 3), n = luaL_optnumber(L, 4, 1);
    if (!(rate >= 0 && rate <= 1e9 && burst >= 0 && burst <= 1e9 && n >= 0 && n <= 1e9))
        return luaL_error(L, "magpie.bucket: rate, burst and n are numbers from 0 to a thousand million");
    if (st->shard_set->loading)
        return luaL_error(L, "magpie.bucket: not while a script loads");
    uint32_t wait = 0;
    if (rate > 0) {
        uint64_t taken;
        wait = buckets_take(st->shard_set->env->buckets, hash_bytes(slice_of(key, len)) ^ st->bucket_salt, rate, burst,
                            n, now(L), &taken);
        if (!wait)
            note(st, taken, n);
    }
    lua_pushboolean(L, wait == 0);
    lua_pushnumber(L, wait == UINT32_MAX ? (double)INFINITY : wait);
    return 2;
}

static void open_one(lua_State *L, const char *name, bool shared)
{
    static const luaL_Reg functions[] = {{"get", lua_get}, {"set", lua_set}, {"incr", lua_incr}, {"del", lua_del}};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        lua_pushboolean(L, shared);
        lua_pushcclosure(L, functions[i].func, 1);
        lua_setfield(L, -2, functions[i].name);
    }
    lua_setfield(L, -2, name);
}

void api_keep_open(lua_State *L)
{
    struct state *st = state_of(L);
    st->bucket_salt = hash_bytes(slice_str(st->name)) << 1;
    open_one(L, "kv", false);
    open_one(L, "shared", true);
    lua_pushcfunction(L, lua_bucket);
    lua_setfield(L, -2, "bucket");
}
