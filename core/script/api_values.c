/* magpie.kv, magpie.shared, magpie.store, magpie.bucket. */
#include "core/base/hash.h"
#include "core/hub/shard/shard.h"
#include "core/script/api.h"
#include "core/script/buckets.h"
#include "core/script/script_store.h"
#include "core/script/state.h"
#include "core/script/values.h"
#include "core/script/world.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

/* Which of them, the functions' upvalue. */
enum keep { KEEP_KV, KEEP_SHARED, KEEP_STORE, KEEPS };
static const char *const keep_names[KEEPS] = {"kv", "shared", "store"};

static enum keep keep_at(lua_State *L)
{
    return (enum keep)lua_tointeger(L, lua_upvalueindex(1));
}

static struct values *values_at(lua_State *L)
{
    const struct script_env *env = state_of(L)->shard_set->env;
    return keep_at(L) == KEEP_SHARED ? env->shared : env->kv;
}

static struct script_space *space_of(lua_State *L)
{
    return state_of(L)->space;
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
    luaL_argcheck(L, n <= STORE_KEY_MAX || keep_at(L) != KEEP_STORE, 1, "a key of magpie.store has 134 bytes at most");
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
    int rc =
        keep_at(L) == KEEP_STORE ? script_space_get(space_of(L), key, &v) : values_get(values_at(L), key, now(L), &v);
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

/* Why it was not done: what else is returned. */
static const char *why(int rc)
{
    return rc == ERR_FULL ? "full" : rc == ERR_AGAIN ? "busy" : err_str(rc);
}

static int result(lua_State *L, int rc)
{
    if (rc == ERR_NOMEM)
        return luaL_error(L, "not enough memory");
    lua_pushboolean(L, rc == 0);
    if (rc == 0)
        return 1;
    lua_pushstring(L, why(rc));
    return 2;
}

/* 1: it was there; 0; negative: it could not be done. */
static int remove_key(lua_State *L, struct slice key)
{
    return keep_at(L) == KEEP_STORE ? script_space_del(space_of(L), key) : values_del(values_at(L), key, now(L));
}

static int lua_del(lua_State *L)
{
    int rc = remove_key(L, check_key(L));
    if (rc < 0) {
        lua_pushnil(L);
        lua_pushstring(L, why(rc));
        return 2;
    }
    lua_pushboolean(L, rc);
    return 1;
}

static int lua_set(lua_State *L)
{
    struct script_value v = {.type = VALUE_NONE};
    struct slice key = check_key(L);
    uint64_t ttl = check_ttl(L, 3);
    bool stored = keep_at(L) == KEEP_STORE;
    int rc;
    size_t n;
    switch (lua_type(L, 2)) {
    case LUA_TNIL:
        rc = remove_key(L, key);
        return result(L, rc < 0 ? rc : 0);
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
        luaL_argcheck(L, n <= STORE_TEXT_MAX || !stored, 2, "a text in magpie.store has 4000 bytes at most");
        break;
    default:
        return luaL_argerror(L, 2, "a text, a number or a boolean; tables by way of magpie.json.encode()");
    }
    return result(L, stored ? script_space_set(space_of(L), key, &v, ttl)
                            : values_set(values_at(L), key, &v, ttl, now(L)));
}

static int lua_incr(lua_State *L)
{
    struct slice key = check_key(L);
    double n = luaL_optnumber(L, 2, 1), value = 0;
    uint64_t ttl = check_ttl(L, 3);
    int rc = keep_at(L) == KEEP_STORE ? script_space_incr(space_of(L), key, n, ttl, &value)
                                      : values_incr(values_at(L), key, n, ttl, now(L), &value);
    if (rc == ERR_INVALID)
        return luaL_error(L, "incr: what is kept there is no number");
    if (rc == ERR_FULL || rc == ERR_AGAIN) {
        lua_pushnil(L);
        lua_pushstring(L, why(rc));
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
    if (h && h->shard && h->shard->bus && h->take_count < sizeof h->takes / sizeof h->takes[0])
        h->takes[h->take_count++] = (struct hook_take){taken, (float)n};
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
/* Scripts have buckets of their own. */
static uint64_t bucket_salt(const struct state *st)
{
    return hash_seeded(slice_str(st->name), st->shard_set->env->bucket_seed) << 1;
}

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
        wait = buckets_take(st->shard_set->env->buckets,
                            hash_seeded(slice_of(key, len), st->shard_set->env->bucket_seed) ^ bucket_salt(st), rate,
                            burst, n, now(L), &taken);
        if (!wait)
            note(st, taken, n);
    }
    lua_pushboolean(L, wait == 0);
    lua_pushnumber(L, wait == UINT32_MAX ? (double)INFINITY : wait);
    return 2;
}

static void open_one(lua_State *L, enum keep keep)
{
    static const luaL_Reg functions[] = {{"get", lua_get}, {"set", lua_set}, {"incr", lua_incr}, {"del", lua_del}};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        lua_pushinteger(L, keep);
        lua_pushcclosure(L, functions[i].func, 1);
        lua_setfield(L, -2, functions[i].name);
    }
    lua_setfield(L, -2, keep_names[keep]);
}

void api_keep_open(lua_State *L)
{
    for (enum keep keep = 0; keep < KEEPS; keep++)
        open_one(L, keep);
    lua_pushcfunction(L, lua_bucket);
    lua_setfield(L, -2, "bucket");
}
