/* magpie.send_user, send_channel, announce, push, kick. */
#include "core/base/utf8.h"
#include "core/script/api.h"
#include "core/script/json_lua.h"
#include "core/script/state.h"
#include "core/script/verdict.h"
#include "core/script/world.h"

#include <lauxlib.h>

/* What one script may send on one shard: so many at once, and a second. Enough for any bot; two scripts that answer
 * each other for ever are held back. */
static const float sends_rate = 1000;

bool content_good(const struct state *st, struct slice content)
{
    return content.n >= 1 && content.n <= st->shard_set->env->world->content_max && utf8_valid(content);
}

struct world *api_begin(lua_State *L, const char *function)
{
    struct state *st = state_of(L);
    struct world *w = st->shard_set->env->world;
    if (st->shard_set->loading)
        luaL_error(L, "magpie.%s: not while a script loads; magpie.after(0, function() … end) runs when it is in force",
                   function);
    uint64_t now = w->mono_ms(w);
    float refill = (float)(now - st->sends_at) * sends_rate / 1000;
    st->sends_at = now;
    st->sends_spent = st->sends_spent > refill ? st->sends_spent - refill : 0;
    if (st->sends_spent + 1 > sends_rate)
        luaL_error(L, "magpie.%s: more than %d a second", function, (int)sends_rate);
    st->sends_spent += 1;
    return w;
}

static int end(lua_State *L, const char *function, int rc)
{
    if (rc != 0)
        return luaL_error(L, "magpie.%s: %s", function, err_str(rc));
    lua_pushboolean(L, 1);
    return 1;
}

static struct slice check_text(lua_State *L, int arg, bool (*good)(struct slice), const char *what)
{
    size_t n;
    const char *p = luaL_checklstring(L, arg, &n);
    luaL_argcheck(L, good(slice_of(p, n)), arg, what);
    return slice_of(p, n);
}

static struct slice check_content(lua_State *L, int arg)
{
    size_t n;
    const char *p = luaL_checklstring(L, arg, &n);
    luaL_argcheck(L, content_good(state_of(L), slice_of(p, n)), arg, "a message is UTF-8 of 1 to limits.content bytes");
    return slice_of(p, n);
}

static int lua_send_user(lua_State *L)
{
    struct slice user = check_text(L, 1, value_user_id, "not a user's id"), content = check_content(L, 2);
    struct world *w = api_begin(L, "send_user");
    return end(L, "send_user", w->send(w, state_of(L), user, SLICE_NONE, content));
}

static int lua_send_channel(lua_State *L)
{
    struct slice channel = check_text(L, 1, value_channel, "not a channel's name"), content = check_content(L, 2);
    struct world *w = api_begin(L, "send_channel");
    return end(L, "send_channel", w->send(w, state_of(L), SLICE_NONE, channel, content));
}

static int lua_announce(lua_State *L)
{
    struct slice content = check_content(L, 1);
    struct world *w = api_begin(L, "announce");
    return end(L, "announce", w->announce(w, content));
}

/* push(user, action, body [, from]), or magpie.push{…}: a verdict. */
static int lua_push(lua_State *L)
{
    if (lua_istable(L, 1))
        return verdict_push(L);
    struct state *st = state_of(L);
    struct slice user = check_text(L, 1, value_user_id, "not a user's id"), from = SLICE_NONE;
    if (!lua_isnoneornil(L, 4))
        from = check_text(L, 4, value_user_id, "not a user's id");
    double action = luaL_checknumber(L, 2);
    luaL_argcheck(L, action >= 100 && action <= 32767 && action == (double)(int)action, 2,
                  "a push has an action from 100 on");
    luaL_checktype(L, 3, LUA_TTABLE);
    struct slice body = json_lua_encode(st, L, 3);
    luaL_argcheck(L, body.p[0] == '{', 3, "the body is an object");
    luaL_argcheck(L, body.n <= JSON_LUA_FRAME_MAX, 3, "the body has 256 KiB at most");
    struct world *w = api_begin(L, "push");
    return end(L, "push", w->push(w, user, (uint16_t)action, body, from));
}

static int lua_kick(lua_State *L)
{
    struct slice user = check_text(L, 1, value_user_id, "not a user's id"), reason = SLICE_NONE;
    if (!lua_isnoneornil(L, 2))
        reason = check_text(L, 2, utf8_valid, "the reason is UTF-8");
    luaL_argcheck(L, reason.n <= 256, 2, "the reason has 256 bytes at most");
    struct world *w = api_begin(L, "kick");
    return end(L, "kick", w->kick(w, state_of(L), user, reason));
}

void api_send_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"send_user", lua_send_user}, {"send_channel", lua_send_channel},
                                         {"announce", lua_announce},   {"push", lua_push},
                                         {"kick", lua_kick},           {NULL, NULL}};
    luaL_register(L, NULL, functions);
}
