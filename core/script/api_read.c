/* magpie.members, magpie.history: what the store knows, told later. */
#include "core/base/utf8.h"
#include "core/script/api.h"
#include "core/script/state.h"
#include "core/script/waiting.h"
#include "core/script/words.h"
#include "core/script/world.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

enum { HISTORY_LIMIT = 50, HISTORY_LIMIT_MAX = 200 };

bool conversation_parse(struct slice text, struct conv_key *out)
{
    const char *tab = text.n ? memchr(text.p, '\t', text.n) : NULL;
    if (!tab) {
        if (!value_channel(text))
            return false;
        *out = conv_key_channel(text);
        return true;
    }
    struct slice a = slice_of(text.p, (size_t)(tab - text.p)),
                 b = slice_of(tab + 1, text.n - (size_t)(tab - text.p) - 1);
    if (!value_user_id(a) || !value_user_id(b))
        return false;
    *out = conv_key_pair(a, b);
    return true;
}

static int begun(lua_State *L, struct waiting *w, int rc)
{
    if (rc == 0)
        return 0;
    const char *what = w->what;
    waiting_undo(w);
    return luaL_error(L, "magpie.%s: %s", what, err_str(rc));
}

/* members(channel, fn [, cursor]) */
static int lua_members(lua_State *L)
{
    size_t n, cursor_n = 0;
    const char *channel = luaL_checklstring(L, 1, &n), *cursor = luaL_optlstring(L, 3, "", &cursor_n);
    luaL_argcheck(L, value_channel(slice_of(channel, n)), 1, "not a channel's name");
    luaL_checktype(L, 2, LUA_TFUNCTION);
    luaL_argcheck(L, !cursor_n || value_user_id(slice_of(cursor, cursor_n)), 3, "not the cursor of a page");
    struct world *w = api_begin(L, "members");
    struct waiting *q = waiting_new(L, 2, "members");
    return begun(L, q, w->members(w, q, slice_of(channel, n), slice_of(cursor, cursor_n)));
}

/* A whole number of the options; false: it is not there. */
static bool get_number(lua_State *L, const char *field, double least, double most, uint64_t *out)
{
    state_field(L, 2, field);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    double n = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    if (!(n >= least && n <= most) || n != floor(n))
        luaL_error(L, "magpie.history: %s is a whole number from %d to %s", field, (int)least,
                   most < 1e6 ? "200" : "2^53");
    lua_pop(L, 1);
    *out = (uint64_t)n;
    return true;
}

/* history(conversation, {before =, after =, limit =}, fn) */
static int lua_history(lua_State *L)
{
    struct history_query h = {.limit = HISTORY_LIMIT};
    size_t n;
    uint64_t limit;
    const char *text = luaL_checklstring(L, 1, &n);
    luaL_argcheck(L, conversation_parse(slice_of(text, n), &h.conv), 1,
                  "a channel's name, or a pair as in e.pair: two ids with a tab between");
    state_check_options(L, 2, "history");
    words_check_keys(L, 2, "magpie.history: unknown option", "before after limit");
    luaL_checktype(L, 3, LUA_TFUNCTION);
    h.has_before = get_number(L, "before", 0, 9007199254740992.0, &h.before);
    h.has_after = get_number(L, "after", 0, 9007199254740992.0, &h.after);
    if (get_number(L, "limit", 1, HISTORY_LIMIT_MAX, &limit))
        h.limit = (uint32_t)limit;
    struct world *w = api_begin(L, "history");
    struct waiting *q = waiting_new(L, 3, "history");
    return begun(L, q, w->history(w, q, &h));
}

void api_read_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"members", lua_members}, {"history", lua_history}, {NULL, NULL}};
    luaL_register(L, NULL, functions);
}
