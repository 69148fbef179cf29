/* magpie.join, leave, mute, unmute, ban, unban, recall, user_add, user_token, user_delete, channel_delete. */
#include "core/base/push.h"
#include "core/base/utf8.h"
#include "core/script/api.h"
#include "core/script/state.h"
#include "core/script/waiting.h"
#include "core/script/world.h"

#include <lauxlib.h>

const char *const order_names[ORDER_KINDS] = {[ORDER_JOIN] = "join",
                                              [ORDER_LEAVE] = "leave",
                                              [ORDER_MUTE] = "mute",
                                              [ORDER_UNMUTE] = "unmute",
                                              [ORDER_BAN] = "ban",
                                              [ORDER_UNBAN] = "unban",
                                              [ORDER_RECALL] = "recall",
                                              [ORDER_USER_ADD] = "user_add",
                                              [ORDER_USER_DELETE] = "user_delete",
                                              [ORDER_CHANNEL_DELETE] = "channel_delete"};

static struct slice check_text(lua_State *L, int arg, bool (*good)(struct slice), const char *what)
{
    size_t n;
    const char *p = luaL_checklstring(L, arg, &n);
    luaL_argcheck(L, good(slice_of(p, n)), arg, what);
    return slice_of(p, n);
}

static struct slice check_user(lua_State *L, int arg)
{
    return check_text(L, arg, value_user_id, "not a user's id");
}

static struct slice check_channel(lua_State *L, int arg)
{
    return check_text(L, arg, value_channel, "not a channel's name");
}

static int give(lua_State *L, const struct script_order *o)
{
    struct world *w = api_begin(L, order_names[o->kind]);
    int rc = w->order(w, state_of(L), o);
    if (rc != 0)
        return luaL_error(L, "magpie.%s: %s", order_names[o->kind], err_str(rc));
    lua_pushboolean(L, 1);
    return 1;
}

/* --- Memberships -------------------------------------------------------------------------------------------------- */

static int lua_join(lua_State *L)
{
    struct script_order o = {.kind = ORDER_JOIN, .user = check_user(L, 1), .channel = check_channel(L, 2)};
    return give(L, &o);
}

static int lua_leave(lua_State *L)
{
    static const char *const changes[] = {"left", "kicked", "banned", "closed", NULL}; /* by enum member_change */
    struct script_order o = {.kind = ORDER_LEAVE, .user = check_user(L, 1), .channel = check_channel(L, 2)};
    o.change = (unsigned)luaL_checkoption(L, 3, "left", changes);
    return give(L, &o);
}

/* --- Bans and mutes: (user [, channel [, seconds]]) --------------------------------------------------------------- */

static int change(lua_State *L, enum order_kind kind, bool lift)
{
    struct script_order o = {.kind = kind, .user = check_user(L, 1)};
    if (!lua_isnoneornil(L, 2))
        o.channel = check_channel(L, 2);
    if (!lift && !lua_isnoneornil(L, 3)) {
        double seconds = luaL_checknumber(L, 3);
        luaL_argcheck(L, seconds >= 0 && seconds <= UINT32_MAX, 3, "a number of seconds; 0: until it is lifted");
        o.seconds = (uint64_t)seconds + (seconds > (double)(uint64_t)seconds);
    }
    return give(L, &o);
}

static int lua_mute(lua_State *L)
{
    return change(L, ORDER_MUTE, false);
}
static int lua_unmute(lua_State *L)
{
    return change(L, ORDER_UNMUTE, true);
}
static int lua_ban(lua_State *L)
{
    return change(L, ORDER_BAN, false);
}
static int lua_unban(lua_State *L)
{
    return change(L, ORDER_UNBAN, true);
}

/* --- Messages ----------------------------------------------------------------------------------------------------- */

/* recall(conversation, seq) */
static int lua_recall(lua_State *L)
{
    struct script_order o = {.kind = ORDER_RECALL};
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    luaL_argcheck(L, conversation_parse(slice_of(text, n), &o.conv), 1,
                  "a channel's name, or a pair as in e.pair: two ids with a tab between");
    double seq = luaL_checknumber(L, 2);
    luaL_argcheck(L, seq >= 1 && seq <= 9007199254740992.0 && seq == (double)(uint64_t)seq, 2,
                  "a message's seq: a whole number from 1 on");
    o.seq = (uint64_t)seq;
    return give(L, &o);
}

/* --- Users and channels ------------------------------------------------------------------------------------------- */

/* user_add(id [, name]) */
static int lua_user_add(lua_State *L)
{
    struct script_order o = {.kind = ORDER_USER_ADD, .user = check_user(L, 1)};
    if (!lua_isnoneornil(L, 2))
        o.name = check_text(L, 2, value_name, "a name has 1 to 64 bytes and no control characters");
    luaL_argcheck(L, !value_name_reserved(o.user), 1, "the id is the server's own, or looks like it");
    luaL_argcheck(L, !value_name_reserved(o.name), 2, "the name is the server's own, or looks like it");
    return give(L, &o);
}

/* user_delete(id [, "keep"|"recall"]) */
static int lua_user_delete(lua_State *L)
{
    static const char *const messages[] = {"keep", "recall", NULL};
    struct script_order o = {.kind = ORDER_USER_DELETE, .user = check_user(L, 1)};
    o.recall = luaL_checkoption(L, 2, "keep", messages) == 1;
    return give(L, &o);
}

static int lua_channel_delete(lua_State *L)
{
    struct script_order o = {.kind = ORDER_CHANNEL_DELETE, .channel = check_channel(L, 1)};
    return give(L, &o);
}

/* user_token(id, fn) */
static int lua_user_token(lua_State *L)
{
    struct slice user = check_user(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    struct world *w = api_begin(L, "user_token");
    struct waiting *q = waiting_new(L, 2, "user_token");
    int rc = w->user_token(w, q, user);
    if (rc == 0)
        return 0;
    waiting_undo(q);
    return luaL_error(L, "magpie.user_token: %s", err_str(rc));
}

void api_order_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"join", lua_join},
                                         {"leave", lua_leave},
                                         {"mute", lua_mute},
                                         {"unmute", lua_unmute},
                                         {"ban", lua_ban},
                                         {"unban", lua_unban},
                                         {"recall", lua_recall},
                                         {"user_add", lua_user_add},
                                         {"user_token", lua_user_token},
                                         {"user_delete", lua_user_delete},
                                         {"channel_delete", lua_channel_delete},
                                         {NULL, NULL}};
    luaL_register(L, NULL, functions);
}
