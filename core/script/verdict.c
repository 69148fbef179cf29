#include "core/script/verdict.h"

#include "core/base/utf8.h"
#include "core/script/json_lua.h"
#include "core/script/state.h"
#include "core/script/words.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAGIC = 0x7e9d1c75, CLAIMS_MAX = 4096 };

const struct verdict *verdict_at(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TUSERDATA || lua_objlen(L, index) < sizeof(struct verdict))
        return NULL;
    const struct verdict *v = lua_touserdata(L, index);
    return v->magic == MAGIC ? v : NULL;
}

const char *verdict_describe(lua_State *L, int index)
{
    static const char *const names[] = {"accept", "reject", "drop", "push", "tier", "keep"};
    const struct verdict *v = verdict_at(L, index);
    return v ? names[v->kind] : luaL_typename(L, index);
}

static struct verdict *new_verdict_with(lua_State *L, enum verdict_kind kind, size_t more)
{
    struct verdict *v = lua_newuserdata(L, sizeof *v + more);
    memset(v, 0, sizeof *v);
    v->magic = MAGIC;
    v->kind = kind;
    return v;
}

static struct verdict *new_verdict(lua_State *L, enum verdict_kind kind)
{
    return new_verdict_with(L, kind, 0);
}

/* The codes that a script may give; not CODE_OK. */
static const char *code_at(const void *ctx, unsigned i)
{
    (void)ctx;
    return i == CODE_OK ? NULL : code_name((enum code)i);
}

static int lua_reject(lua_State *L)
{
    const char *code = luaL_checkstring(L, 1), *message = luaL_optstring(L, 2, "");
    double ms = luaL_optnumber(L, 3, 0);
    enum code found = CODE_OK;
    for (int c = CODE_BAD_REQUEST; c < CODE_COUNT; c++)
        if (strcmp(code_name((enum code)c), code) == 0)
            found = (enum code)c;
    if (found == CODE_OK) {
        const char *near = words_nearest(code, code_at, NULL, CODE_COUNT);
        if (near)
            return luaL_error(L, "magpie.reject: there is no error code \"%s\"; did you mean \"%s\"?", code, near);
        return luaL_error(L, "magpie.reject: there is no error code \"%s\"", code);
    }
    if (!(ms >= 0 && ms <= UINT32_MAX))
        return luaL_error(L, "magpie.reject: the time to wait is a number of milliseconds");
    if (!utf8_valid(slice_str(message)))
        return luaL_error(L, "magpie.reject: the message is not UTF-8");
    struct verdict *v = new_verdict(L, VERDICT_REJECT);
    v->reject.code = found;
    v->reject.retry_after_ms = (uint32_t)ceil(ms);
    snprintf(v->reject.message, sizeof v->reject.message, "%s", message[0] ? message : "refused by a script");
    /* Not in the middle of a character. */
    size_t n = strlen(v->reject.message);
    while (n && !utf8_valid(slice_of(v->reject.message, n)))
        v->reject.message[--n] = '\0';
    return 1;
}

static int lua_drop(lua_State *L)
{
    new_verdict(L, VERDICT_DROP);
    return 1;
}

/* The text field of the table at 1, checked. */
static uint8_t get_text(lua_State *L, const char *field, bool (*good)(struct slice), char out[64])
{
    size_t n = 0;
    state_field(L, 1, field);
    if (!lua_isnil(L, -1)) {
        const char *p = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
        if (!p || !good(slice_of(p, n)))
            luaL_error(L, "magpie.accept: the %s is not a valid one", field);
        memcpy(out, p, n);
    }
    lua_pop(L, 1);
    return (uint8_t)n;
}

/* The table `claims` of the table at 1, as JSON in the scratch buffer; empty: it has none. */
static struct slice get_claims(lua_State *L)
{
    state_field(L, 1, "claims");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return SLICE_NONE;
    }
    struct slice claims = lua_istable(L, -1) ? json_lua_encode(state_of(L), L, lua_gettop(L)) : SLICE_NONE;
    if (!claims.n || claims.p[0] != '{')
        luaL_error(L, "magpie.accept: claims is a table with names, {role = \"staff\"}");
    if (claims.n >= CLAIMS_MAX)
        luaL_error(L, "magpie.accept: the claims have %d bytes of JSON at most", CLAIMS_MAX - 1);
    lua_pop(L, 1);
    return claims;
}

static int lua_accept(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        new_verdict(L, VERDICT_ACCEPT);
        return 1;
    }
    state_check_options(L, 1, "accept");
    words_check_keys(L, 1, "magpie.accept: unknown field", "id name claims");
    struct slice claims = get_claims(L);
    struct verdict *v = new_verdict_with(L, VERDICT_ACCEPT, claims.n + 1);
    v->accept.has_claims = claims.n > 0;
    if (claims.n)
        memcpy(v + 1, claims.p, claims.n);
    ((char *)(v + 1))[claims.n] = '\0';
    v->accept.id_len = get_text(L, "id", value_user_id, v->accept.id);
    v->accept.name_len = get_text(L, "name", value_name, v->accept.name);
    if (slice_eq(slice_of(v->accept.id, v->accept.id_len), SLICE_LIT("system")))
        return luaL_error(L, "magpie.accept: the id \"system\" is reserved");
    return 1;
}

/* A whole number from 0 to UINT32_MAX of the table at 1; 0 when absent. */
static uint32_t get_number(lua_State *L, const char *function, const char *field)
{
    state_field(L, 1, field);
    double n = lua_isnil(L, -1) ? 0 : lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    lua_pop(L, 1);
    if (!(n >= 0 && n <= UINT32_MAX))
        luaL_error(L, "magpie.%s: %s is a number, 0 or more", function, field);
    return (uint32_t)ceil(n);
}

int verdict_push(lua_State *L)
{
    static const char *const modes[] = {[MODE_ALL] = "all", [MODE_MERGED] = "merged", [MODE_NONE] = "none"};
    state_check_options(L, 1, "push");
    words_check_keys(L, 1, "magpie.push: unknown field", "mode slice_ms max");
    struct verdict *v = new_verdict(L, VERDICT_PUSH);
    v->advice.has_push = true;
    v->advice.slice_ms = get_number(L, "push", "slice_ms");
    v->advice.slice_max = get_number(L, "push", "max");
    state_field(L, 1, "mode");
    if (lua_isnil(L, -1)) {
        v->advice.over_limit = true;
    } else {
        const char *mode = lua_tostring(L, -1);
        for (int i = MODE_ALL; mode && i <= MODE_NONE; i++)
            if (strcmp(mode, modes[i]) == 0)
                v->advice.mode = (enum push_mode)i;
        if (v->advice.mode == MODE_DEFAULT)
            return luaL_error(L, "magpie.push: mode is \"all\", \"merged\" or \"none\"");
    }
    lua_pop(L, 1);
    return 1;
}

static int lua_tier(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    bool large = strcmp(name, "large") == 0;
    if (!large && strcmp(name, "small") != 0)
        return luaL_error(L, "magpie.tier: a channel is \"small\" or \"large\"");
    struct verdict *v = new_verdict(L, VERDICT_TIER);
    v->advice.has_tier = true;
    v->advice.tier = large ? TIER_LARGE : TIER_SMALL;
    return 1;
}

static int lua_keep(lua_State *L)
{
    state_check_options(L, 1, "keep");
    words_check_keys(L, 1, "magpie.keep: unknown field", "ttl max");
    struct verdict *v = new_verdict(L, VERDICT_KEEP);
    v->advice.has_keep = true;
    state_field(L, 1, "ttl");
    double ttl = lua_isnil(L, -1) ? 0 : lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    if (!(ttl >= 0 && ttl <= 1e11))
        return luaL_error(L, "magpie.keep: ttl is a number of seconds, 0 or more");
    v->advice.ttl_ms = (uint64_t)ceil(ttl * 1000);
    lua_pop(L, 1);
    v->advice.keep_max = get_number(L, "keep", "max");
    return 1;
}

void verdicts_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"reject", lua_reject}, {"accept", lua_accept}, {"drop", lua_drop},
                                         {"tier", lua_tier},     {"keep", lua_keep},     {NULL, NULL}};
    luaL_register(L, NULL, functions);
}
