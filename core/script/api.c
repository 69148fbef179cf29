#include "core/script/api.h"

#include "core/base/json.h"
#include "core/script/event.h"
#include "core/script/json_lua.h"
#include "core/script/scripts_private.h"
#include "core/script/state.h"
#include "core/script/timer.h"
#include "core/script/verdict.h"
#include "core/script/waiting.h"
#include "core/script/words.h"
#include "core/script/world.h"

#include <cjson/cJSON.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One more element; NULL: out of memory. */
static void *grow(void *list, uint32_t *count, size_t size)
{
    char *p = realloc(list, (*count + 1) * size);
    if (p)
        memset(p + *count * size, 0, size);
    return p;
}

static void while_loading(lua_State *L, const char *function)
{
    if (!state_of(L)->shard_set->loading)
        luaL_error(L, "magpie.%s: only while the script loads", function);
}

static int reference(lua_State *L, int index)
{
    lua_pushvalue(L, index);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* --- on, action, command ------------------------------------------------------------------------------------------ */

static bool open_by_default(enum hook_event event)
{
    return event == HOOK_MESSAGE || event == HOOK_CONVERSATION || event == HOOK_DELIVERED ||
           event == HOOK_UNSUBSCRIBE || event == HOOK_LOGGED_IN || event == HOOK_CLOSE || event == HOOK_CONNECT ||
           event == HOOK_OFFLINE || event == HOOK_EDIT || event == HOOK_RECALL || event == HOOK_EDITED ||
           event == HOOK_RECALLED || event == HOOK_MEMBER || event == HOOK_USER;
}

static int field_of_options(lua_State *L, const char *field)
{
    if (lua_isnoneornil(L, 3))
        lua_pushnil(L);
    else
        state_field(L, 3, field);
    return lua_type(L, -1);
}

static void check_options(lua_State *L)
{
    if (lua_isnoneornil(L, 3))
        return;
    state_check_options(L, 3, "on");
    words_check_keys(L, 3, "magpie.on: unknown option", "priority channel fail");
}

static void read_options(lua_State *L, struct handler *h)
{
    check_options(L);
    if (field_of_options(L, "priority") != LUA_TNIL) {
        double p = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 1e9;
        if (!(p >= -1e6 && p <= 1e6))
            luaL_error(L, "magpie.on: priority is a number");
        h->priority = (int)p;
    }
    lua_pop(L, 1);
    if (field_of_options(L, "fail") != LUA_TNIL) {
        const char *fail = lua_tostring(L, -1);
        bool open = fail && strcmp(fail, "open") == 0;
        if (!open && (!fail || strcmp(fail, "closed") != 0))
            luaL_error(L, "magpie.on: fail is \"open\" or \"closed\"");
        h->open = open;
    }
    lua_pop(L, 1);
    int type = field_of_options(L, "channel");
    if (type != LUA_TNIL) {
        if (type != LUA_TSTRING)
            luaL_error(L, "magpie.on: channel is a text with * and ?");
        h->glob = strdup(lua_tostring(L, -1));
        if (!h->glob)
            luaL_error(L, "not enough memory");
    }
    lua_pop(L, 1);
}

static const char *event_at(const void *ctx, unsigned i)
{
    (void)ctx;
    return hook_event_name((enum hook_event)i);
}

int event_unknown(lua_State *L, const char *where, const char *name)
{
    const char *near = words_nearest(name, event_at, NULL, HOOK_EVENTS);
    if (near)
        return luaL_error(L, "%sthere is no event \"%s\"; did you mean \"%s\"?", where, name, near);
    return luaL_error(L, "%sthere is no event \"%s\"", where, name);
}

static int lua_on(lua_State *L)
{
    struct state *st = state_of(L);
    const char *name = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    while_loading(L, "on");
    int event = -1;
    for (int i = 0; i < HOOK_EVENTS; i++)
        if (strcmp(hook_event_name((enum hook_event)i), name) == 0)
            event = i;
    if (event < 0)
        return event_unknown(L, "magpie.on: ", name);
    if (st->handler_count == HANDLERS_MAX)
        return luaL_error(L, "magpie.on: a script has %d hooks at most", HANDLERS_MAX);
    struct handler *list = grow(st->handlers, &st->handler_count, sizeof *list);
    if (!list)
        return luaL_error(L, "not enough memory");
    st->handlers = list;
    struct handler *h = &list[st->handler_count++]; /* counted first: freed with the rest whatever happens */
    h->event = (enum hook_event)event;
    h->open = open_by_default(h->event);
    read_options(L, h);
    h->fn = reference(L, 2);
    return 0;
}

static int lua_action(lua_State *L)
{
    struct state *st = state_of(L);
    double number = luaL_checknumber(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    while_loading(L, "action");
    if (!(number >= 200 && number <= 999) || number != (double)(int)number)
        return luaL_error(L, "magpie.action: scripts have the actions 200 to 999");
    for (uint32_t i = 0; i < st->action_count; i++)
        if (st->actions[i].number == (uint16_t)number)
            return luaL_error(L, "magpie.action: %d is there already", (int)number);
    struct custom_action *list = grow(st->actions, &st->action_count, sizeof *list);
    if (!list)
        return luaL_error(L, "not enough memory");
    st->actions = list;
    list[st->action_count].number = (uint16_t)number;
    list[st->action_count++].h.fn = reference(L, 2);
    return 0;
}

static int lua_command(lua_State *L)
{
    struct state *st = state_of(L);
    const char *name = luaL_checkstring(L, 1), *help = luaL_checkstring(L, 2);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    while_loading(L, "command");
    size_t n = strlen(name);
    const char *blank = strchr(name, ' ');
    if (n == 0 || n > 32 || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_- ") != n || name[0] == ' ' ||
        name[n - 1] == ' ' || (blank && strchr(blank + 1, ' ')))
        return luaL_error(L, "magpie.command: a name is one or two words of a-z, 0-9, _ and -");
    if (strlen(help) > 200)
        return luaL_error(L, "magpie.command: the help is one line");
    if (st->command_count == HANDLERS_MAX)
        return luaL_error(L, "magpie.command: a script has %d commands at most", HANDLERS_MAX);
    struct custom_command *list = grow(st->commands, &st->command_count, sizeof *list);
    if (!list)
        return luaL_error(L, "not enough memory");
    st->commands = list;
    struct custom_command *c = &list[st->command_count++];
    c->name = strdup(name);
    c->help = strdup(help);
    if (!c->name || !c->help)
        return luaL_error(L, "not enough memory");
    c->fn = reference(L, 3);
    return 0;
}

/* --- Clocks, log, metrics, config --------------------------------------------------------------------------------- */

static struct world *world_of(lua_State *L)
{
    return state_of(L)->shard_set->env->world;
}

static int lua_now(lua_State *L)
{
    lua_pushnumber(L, (double)world_of(L)->mono_ms(world_of(L)));
    return 1;
}

static int lua_time(lua_State *L)
{
    lua_pushnumber(L, (double)world_of(L)->wall_ms(world_of(L)));
    return 1;
}

/* log(level, event, fields) */
static int lua_log(lua_State *L)
{
    enum { FIELDS = 16 };
    struct state *st = state_of(L);
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    int level = log_level_parse(slice_of(text, n));
    if (level < 0)
        return luaL_error(L, "magpie.log: the level is \"debug\", \"info\", \"warn\" or \"error\"");
    const char *event = luaL_checkstring(L, 2);
    struct log_field fields[FIELDS + 3] = {LOG_STR("script", st->name), LOG_STR("event", event)};
    unsigned count = 2;
    if (!lua_isnoneornil(L, 3)) {
        luaL_checktype(L, 3, LUA_TTABLE);
        event_fill(st, L, 3);
        luaL_checkstack(L, FIELDS * 2 + 8, "");
        for (lua_pushnil(L); lua_next(L, 3) && count < FIELDS + 2;) {
            if (lua_type(L, -2) != LUA_TSTRING)
                return luaL_error(L, "magpie.log: the names of fields are texts");
            const char *key = lua_tostring(L, -2);
            int type = lua_type(L, -1);
            if (type == LUA_TNUMBER && fabs(lua_tonumber(L, -1)) < 9e15 &&
                lua_tonumber(L, -1) == floor(lua_tonumber(L, -1))) {
                fields[count++] = LOG_INT(key, lua_tonumber(L, -1));
            } else if (type == LUA_TSTRING || type == LUA_TNUMBER) {
                size_t len;
                const char *p = lua_tolstring(L, -1, &len);
                fields[count++] = LOG_SLICE(key, slice_of(p, len));
            } else {
                fields[count++] = LOG_STR(key, type == LUA_TBOOLEAN ? (lua_toboolean(L, -1) ? "true" : "false")
                                                                    : luaL_typename(L, -1));
            }
            /* The values stay on the stack until they are written. */
            lua_pushvalue(L, -2);
        }
    }
    fields[count].type = LOG_F_END;
    world_of(L)->log(world_of(L), (enum log_level)level, "script.log", fields);
    return 0;
}

static int lua_metric(lua_State *L)
{
    size_t n;
    const char *name = luaL_checklstring(L, 1, &n);
    double by = luaL_optnumber(L, 2, 1);
    if (n == 0 || n > 60 || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != n ||
        (name[0] >= '0' && name[0] <= '9'))
        return luaL_error(L, "magpie.metric: a name is 1 to 60 of a-z, 0-9 and _, and begins with no digit");
    if (strncmp(name, "magpie_", 7) == 0)
        return luaL_error(L, "magpie.metric: names that begin with magpie_ are the server's own");
    if (!(by >= 0 && by <= 9e15))
        return luaL_error(L, "magpie.metric: a counter does not fall");
    int rc = world_of(L)->metric(world_of(L), name, by);
    lua_pushboolean(L, rc == 0);
    return 1;
}

/* config(path): the value, a table for a section, nil for what is not there. */
static int lua_config(lua_State *L)
{
    struct state *st = state_of(L);
    const char *path = luaL_optstring(L, 1, "");
    st->asked_config = true;
    const cJSON *at = json_at(st->shard_set->config, path);
    if (!at || cJSON_IsNull(at))
        return 0;
    json_lua_push(st, L, at, JSON_LUA_DROP_NULL);
    return 1;
}

/* --- Assembly ----------------------------------------------------------------------------------------------------- */

/* require "magpie": the only module. */
static int lua_require(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (strcmp(name, "magpie") != 0)
        return luaL_error(L, "there is one module, \"magpie\"; a script is one file");
    lua_pushvalue(L, lua_upvalueindex(1));
    return 1;
}

void api_open(struct state *st, lua_State *L)
{
    static const luaL_Reg functions[] = {{"on", lua_on},         {"action", lua_action}, {"command", lua_command},
                                         {"now", lua_now},       {"time", lua_time},     {"log", lua_log},
                                         {"metric", lua_metric}, {"config", lua_config}, {NULL, NULL}};
    events_open(st, L);
    command_runner_open(st, L);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    verdicts_open(L);
    timers_open(L);
    api_keep_open(L);
    api_send_open(L);
    api_order_open(L);
    api_secret_open(L);
    waiting_open(st, L);
    api_read_open(L);
    api_fetch_open(L);
    json_lua_open(st, L);
    lua_setfield(L, -2, "json");
    api_text_open(L);
    lua_setfield(L, -2, "text");
    lua_pushcclosure(L, lua_require, 1);
    lua_setfield(L, LUA_GLOBALSINDEX, "require");
}
