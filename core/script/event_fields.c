#include "core/script/event_fields.h"

#include "core/net/conn.h"
#include "core/script/event.h"
#include "core/script/json_decode.h"
#include "core/script/json_lua.h"
#include "core/script/read_result.h"
#include "core/script/state.h"
#include "core/script/words.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

static const char *const key_names[KEYS] = {
    [KEY_USER] = "user",
    [KEY_CHANNEL] = "channel",
    [KEY_RECEIVER] = "receiver",
    [KEY_PEER] = "peer",
    [KEY_PAIR] = "pair",
    [KEY_CONTENT] = "content",
    [KEY_SIZE] = "size",
    [KEY_MEMBERS] = "members",
    [KEY_RATE] = "rate",
    [KEY_TIER] = "tier",
    [KEY_ID] = "id",
    [KEY_NAME] = "name",
    [KEY_SEQ] = "seq",
    [KEY_CREATED] = "createdAt",
    [KEY_IP] = "ip",
    [KEY_TRANSPORT] = "transport",
    [KEY_TOKEN] = "token",
    [KEY_DEVICE] = "device",
    [KEY_RESTORED] = "restored",
    [KEY_REASON] = "reason",
    [KEY_BODY] = "body",
    [KEY_ACTION] = "action",
    [KEY_SYSTEM] = "system",
    [KEY_RECEIVERS] = "receivers",
    [KEY_MESSAGE] = "message",
    [KEY_CLAIMS] = "claims",
    [KEY_EDIT] = "edit",
    [KEY_EDITED] = "editedAt",
};

#define F(k) (1u << KEY_##k)
/* Which fields each event has. */
static const uint32_t fields_of[HOOK_EVENTS + 1] = {
    [HOOK_CONNECT] = F(IP) | F(TRANSPORT),
    [HOOK_LOGIN] = F(NAME) | F(TOKEN) | F(DEVICE) | F(IP) | F(TRANSPORT) | F(USER) | F(CLAIMS),
    [HOOK_SUBSCRIBE] = F(USER) | F(CHANNEL) | F(MEMBERS) | F(RESTORED),
    [HOOK_UNSUBSCRIBE] = F(USER) | F(CHANNEL) | F(MEMBERS),
    [HOOK_CREATE] = F(USER) | F(CHANNEL),
    [HOOK_HISTORY] = F(USER) | F(CHANNEL) | F(PEER),
    [HOOK_PRESENCE] = F(USER),
    [HOOK_MESSAGE] = F(USER) | F(CHANNEL) | F(RECEIVER) | F(CONTENT) | F(SIZE) | F(EDIT),
    [HOOK_CONVERSATION] =
        F(USER) | F(CHANNEL) | F(PAIR) | F(CONTENT) | F(SIZE) | F(MEMBERS) | F(RATE) | F(TIER) | F(SYSTEM) | F(EDIT),
    [HOOK_DELIVERED] = F(USER) | F(CHANNEL) | F(RECEIVER) | F(CONTENT) | F(SIZE) | F(ID) | F(SEQ) | F(CREATED) |
                       F(MEMBERS) | F(SYSTEM),
    [HOOK_LOGGED_IN] = F(USER) | F(IP) | F(TRANSPORT) | F(DEVICE),
    [HOOK_CLOSE] = F(USER) | F(REASON),
    [HOOK_OFFLINE] = F(USER) | F(CHANNEL) | F(PEER) | F(RECEIVERS) | F(MESSAGE) | F(MEMBERS) | F(SYSTEM),
    [HOOK_EDIT] = F(USER) | F(CHANNEL) | F(PEER) | F(SEQ) | F(CONTENT) | F(SIZE),
    [HOOK_RECALL] = F(USER) | F(CHANNEL) | F(PEER) | F(SEQ),
    [HOOK_EDITED] =
        F(USER) | F(CHANNEL) | F(PEER) | F(SEQ) | F(CONTENT) | F(SIZE) | F(ID) | F(MEMBERS) | F(EDITED) | F(SYSTEM),
    [HOOK_RECALLED] = F(USER) | F(CHANNEL) | F(PEER) | F(SEQ) | F(ID) | F(MEMBERS) | F(SYSTEM),
    [HOOK_MEMBER] = F(USER) | F(CHANNEL) | F(MEMBERS) | F(REASON),
    [HOOK_USER] = F(USER) | F(REASON),
    [FIELDS_OF_ACTION] = F(USER) | F(BODY) | F(SEQ) | F(ACTION),
};
/* Events whose content scripts may set. */
enum { CONTENT_OPEN = 1u << HOOK_MESSAGE | 1u << HOOK_EDIT };

/* --- Fields ------------------------------------------------------------------------------------------------------- */

static void push_text(lua_State *L, struct slice s)
{
    if (s.n)
        lua_pushlstring(L, s.p, s.n);
    else
        lua_pushnil(L);
}

/* What the provider vouches for beside id and name: a table, empty where there is nothing. It is a copy, and new fields
 * cannot be set: who does that thinks that it changes something. */
static void push_claims(const struct state *st, lua_State *L, struct slice claims)
{
    if (claims.n) {
        lua_pushcfunction(L, json_lua_decode);
        lua_pushlstring(L, claims.p, claims.n);
        lua_call(L, 1, 1);
    }
    if (!claims.n || !lua_istable(L, -1))
        lua_newtable(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->claims_meta);
    lua_setmetatable(L, -2);
}

static void push_user(struct state *st, lua_State *L, const struct event *e)
{
    if (!e->user.n) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, 0, 2);
    lua_pushlstring(L, e->user.p, e->user.n);
    lua_setfield(L, -2, "id");
    if (e->user_name.n) {
        lua_pushlstring(L, e->user_name.p, e->user_name.n);
        lua_setfield(L, -2, "name");
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->user_meta);
    lua_setmetatable(L, -2);
    st->user_table = lua_topointer(L, -1);
}

/* Pushes the claims of the table e.user at `index`; nil where they were not made yet. They are kept beside it, not in
 * it: a script that sends e.user to somebody does not mean them. */
static void get_claims(const struct state *st, lua_State *L, int index)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->claims_of);
    lua_pushvalue(L, index);
    lua_rawget(L, -2);
    lua_remove(L, -2);
}

/* Makes them for the present event's e.user at `index`, and pushes them. */
static void make_claims(const struct state *st, lua_State *L, int index)
{
    push_claims(st, L, st->event->claims);
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->claims_of);
    lua_pushvalue(L, index);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

static bool present_user(const struct state *st, lua_State *L, int index)
{
    return st->event && st->user_table && lua_topointer(L, index) == st->user_table;
}

/* The value at the top is e.user, which may be looked at when the event is over: with its claims. */
static void fill_user(const struct state *st, lua_State *L)
{
    int user = lua_gettop(L);
    if (!lua_istable(L, user) || !present_user(st, L, user))
        return;
    get_claims(st, L, user);
    if (lua_isnil(L, -1))
        make_claims(st, L, user);
    lua_settop(L, user);
}

/* __index of e.user: its claims, which are made when they are asked for, and what it does not have. */
static int user_index(lua_State *L)
{
    struct state *st = state_of(L);
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "name";
    if (strcmp(name, "claims") == 0) {
        get_claims(st, L, 1);
        if (!lua_isnil(L, -1))
            return 1;
        if (!present_user(st, L, 1))
            return luaL_error(L, "the event is over: keep e.user.claims in a local while it runs");
        make_claims(st, L, 1);
        return 1;
    }
    if (strcmp(name, "id") != 0 && strcmp(name, "name") != 0)
        return luaL_error(L, "e.user has no field %s; it has: id name claims", name);
    return 0;
}

static int claims_newindex(lua_State *L)
{
    return luaL_error(L, "claims are what the authentication provider vouches for; nothing can be set there");
}

/* The two ids, lower first, with a tab between: no channel's name. */
static void push_pair(lua_State *L, const struct hook_call *h)
{
    if (h->channel.n || !h->peer.n) {
        lua_pushnil(L);
        return;
    }
    char text[160];
    bool first = slice_cmp(h->user, h->peer) <= 0;
    struct slice a = first ? h->user : h->peer, b = first ? h->peer : h->user;
    int n = snprintf(text, sizeof text, "%.*s\t%.*s", (int)a.n, a.p, (int)b.n, b.p);
    lua_pushlstring(L, text, (size_t)n);
}

/* The message, with the fields that pushes and history have. */
static void push_message(lua_State *L, const struct hook_call *h)
{
    lua_createtable(L, 0, 6);
    read_push_id(L, h->id);
    lua_setfield(L, -2, "id");
    lua_pushnumber(L, (double)h->seq);
    lua_setfield(L, -2, "seq");
    lua_pushnumber(L, (double)h->created_ms);
    lua_setfield(L, -2, "createdAt");
    lua_pushlstring(L, h->content.p ? h->content.p : "", h->content.n);
    lua_setfield(L, -2, "content");
    lua_createtable(L, 0, 2);
    push_text(L, h->user);
    lua_setfield(L, -2, "id");
    push_text(L, h->user_name);
    lua_setfield(L, -2, "name");
    lua_setfield(L, -2, "sender");
}

static void push_receivers(lua_State *L, const struct hook_call *h)
{
    lua_createtable(L, (int)h->receiver_count, 0);
    for (uint32_t i = 0; i < h->receiver_count; i++) {
        lua_pushlstring(L, h->receivers[i].p, h->receivers[i].n);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static void push_field(struct state *st, lua_State *L, const struct event *e, enum key key)
{
    const struct hook_call *h = e->h;
    switch (key) {
    case KEY_USER:
        push_user(st, L, e);
        return;
    case KEY_BODY:
        json_lua_push(st, L, e->body, JSON_LUA_DROP_NULL);
        return;
    case KEY_SEQ:
        lua_pushnumber(L, h ? (double)h->seq : e->seq);
        return;
    case KEY_ACTION:
        lua_pushinteger(L, e->action);
        return;
    case KEY_CHANNEL:
        push_text(L, h->channel);
        return;
    case KEY_RECEIVER:
    case KEY_PEER:
        push_text(L, h->peer);
        return;
    case KEY_PAIR:
        push_pair(L, h);
        return;
    case KEY_CONTENT:
        lua_pushlstring(L, h->content.p ? h->content.p : "", h->content.n);
        return;
    case KEY_SIZE:
        lua_pushnumber(L, (double)h->content.n);
        return;
    case KEY_MEMBERS:
        lua_pushnumber(L, h->members);
        return;
    case KEY_RATE:
        lua_pushnumber(L, (double)h->rate);
        return;
    case KEY_TIER:
        lua_rawgeti(L, LUA_REGISTRYINDEX, st->keys_ref);
        lua_rawgeti(L, -1, KEYS + 1 + (int)h->tier);
        lua_remove(L, -2);
        return;
    case KEY_ID:
        read_push_id(L, h->id);
        return;
    case KEY_CREATED:
        lua_pushnumber(L, (double)h->created_ms);
        return;
    case KEY_NAME:
        push_text(L, h->user_name);
        return;
    case KEY_IP:
        push_text(L, h->ip);
        return;
    case KEY_TRANSPORT:
        lua_pushstring(L, conn_transport_name(h->websocket, h->secure));
        return;
    case KEY_TOKEN:
        push_text(L, h->token);
        return;
    case KEY_DEVICE:
        push_text(L, h->device);
        return;
    case KEY_RESTORED:
        lua_pushboolean(L, h->restored);
        return;
    case KEY_REASON:
        lua_pushstring(L, h->message ? h->message : "");
        return;
    case KEY_CLAIMS:
        push_claims(st, L, e->claims);
        return;
    case KEY_RECEIVERS:
        push_receivers(L, h);
        return;
    case KEY_MESSAGE:
        push_message(L, h);
        return;
    case KEY_EDIT:
        if (h->edit)
            lua_pushboolean(L, 1);
        else
            lua_pushnil(L);
        return;
    case KEY_EDITED:
        lua_pushnumber(L, (double)h->edited_ms);
        return;
    case KEY_SYSTEM:
        lua_pushboolean(L, slice_eq(h->user, SLICE_LIT("system")));
        return;
    default:
        lua_pushnil(L);
    }
}

static unsigned which_of(const struct event *e)
{
    return e->h ? e->h->event : FIELDS_OF_ACTION;
}

bool event_has(unsigned which, enum key key)
{
    return fields_of[which] & 1u << key;
}

bool event_content_open(unsigned which)
{
    return CONTENT_OPEN & 1u << which;
}

void event_names(unsigned which, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (enum key key = 0; key < KEYS && n < size; key++)
        if (event_has(which, key))
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? " " : "", key_names[key]);
}

static enum key find_key(const struct state *st, const char *name)
{
    enum key key = 0;
    while (key < KEYS && st->keys[key] != name)
        key++;
    return key;
}

/* Raises the error for a field that the event does not have. */
static int no_such_field(lua_State *L, unsigned which, const char *name)
{
    char names[256], of[64] = "the e of an action";
    if (which != FIELDS_OF_ACTION)
        snprintf(of, sizeof of, "the event \"%s\"", hook_event_name((enum hook_event)which));
    event_names(which, names, sizeof names);
    const char *near = words_nearest_of(name, names);
    if (near)
        return luaL_error(L, "%s has no field %s; did you mean e.%s?", of, name, near);
    return luaL_error(L, "%s has no field %s; it has: %s", of, name, names);
}

/* __index: called for what the table does not have (yet). */
static int event_index(lua_State *L)
{
    struct state *st = state_of(L);
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    const char *name = lua_tostring(L, 2);
    enum key key = find_key(st, name);
    if (!st->event || lua_topointer(L, 1) != st->event_table)
        return luaL_error(L, "the event is over: keep e.%s in a local while it runs", name);
    unsigned which = which_of(st->event);
    if (key == KEYS || !event_has(which, key))
        return no_such_field(L, which, name);
    push_field(st, L, st->event, key);
    if (lua_istable(L, -1)) {
        /* The same table the next time. Texts and numbers are made anew: an event that stays empty costs less. */
        lua_pushvalue(L, 2);
        lua_pushvalue(L, -2);
        lua_rawset(L, 1);
    }
    return 1;
}

/* __index of a table that was filled: nothing more is to come. Upvalue: which event's. */
static int filled_index(lua_State *L)
{
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    unsigned which = (unsigned)lua_tointeger(L, lua_upvalueindex(1));
    enum key key = find_key(state_of(L), lua_tostring(L, 2));
    return key == KEYS || !event_has(which, key) ? no_such_field(L, which, lua_tostring(L, 2)) : 0;
}

/* __newindex: but for the content of a message or an edit, setting a field would change nothing. */
static int event_newindex(lua_State *L)
{
    struct state *st = state_of(L);
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    if (st->event && lua_topointer(L, 1) == st->event_table) {
        unsigned which = which_of(st->event);
        if (find_key(st, name) != KEY_CONTENT || !event_content_open(which))
            return luaL_error(L,
                              event_content_open(which) ? "of an event only e.content can be set, not e.%s"
                                                        : "nothing of this event can be set, e.%s neither",
                              name);
    }
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 0;
}

/* Pops the function at the top into a metatable that scripts cannot get at, and pushes that. */
static void make_meta(lua_State *L, lua_CFunction newindex)
{
    lua_createtable(L, 0, 3);
    lua_insert(L, -2);
    lua_setfield(L, -2, "__index");
    if (newindex) {
        lua_pushcfunction(L, newindex);
        lua_setfield(L, -2, "__newindex");
    }
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

void event_fill(struct state *st, lua_State *L, int index)
{
    if (!st->event || lua_topointer(L, index) != st->event_table)
        return;
    unsigned which = which_of(st->event);
    lua_pushvalue(L, index);
    for (enum key key = 0; key < KEYS; key++) {
        if (!event_has(which, key))
            continue;
        lua_pushstring(L, key_names[key]);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        bool there = !lua_isnil(L, -1);
        if (there && key == KEY_USER)
            fill_user(st, L);
        lua_pop(L, 1);
        if (there) {
            lua_pop(L, 1);
            continue;
        }
        push_field(st, L, st->event, key);
        if (key == KEY_USER)
            fill_user(st, L);
        lua_rawset(L, -3);
    }
    /* Nothing more is to come, also when the event is over. */
    lua_pushinteger(L, (int)which);
    lua_pushcclosure(L, filled_index, 1);
    make_meta(L, event_newindex);
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

/* The present event's table lies in the registry under its metatable. */
void event_fill_present(struct state *st, lua_State *L)
{
    if (!st->event)
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->event_slot);
    event_fill(st, L, lua_gettop(L));
    lua_pop(L, 1);
}

void event_push(struct state *st, lua_State *L)
{
    lua_createtable(L, 0, 0);
    st->event_table = lua_topointer(L, -1);
    st->user_table = NULL;
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->event_meta);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, st->event_slot);
}

/* --- Opening ------------------------------------------------------------------------------------------------------ */

void event_fields_open(struct state *st, lua_State *L)
{
    lua_createtable(L, KEYS + TIER_COUNT, 0);
    for (int i = 0; i < KEYS; i++) {
        lua_pushstring(L, key_names[i]);
        st->keys[i] = lua_tostring(L, -1);
        lua_rawseti(L, -2, i + 1);
    }
    static const char *const tiers[] = {[TIER_DM] = "dm", [TIER_SMALL] = "small", [TIER_LARGE] = "large"};
    for (int i = 0; i < TIER_COUNT; i++) {
        lua_pushstring(L, tiers[i]);
        lua_rawseti(L, -2, KEYS + 1 + i);
    }
    st->keys_ref = luaL_ref(L, LUA_REGISTRYINDEX); /* for ever: the addresses stay good */
    lua_pushcfunction(L, event_index);
    make_meta(L, event_newindex);
    st->event_meta = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, user_index);
    make_meta(L, NULL);
    st->user_meta = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, claims_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    st->claims_meta = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k"); /* an entry goes with its e.user */
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    st->claims_of = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushboolean(L, 0);
    st->event_slot = luaL_ref(L, LUA_REGISTRYINDEX);
}
