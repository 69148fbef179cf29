#include "core/script/event.h"

#include "core/script/api.h"
#include "core/script/json_lua.h"
#include "core/script/state.h"
#include "core/script/verdict.h"

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
    [KEY_EVENT] = "event",
    [KEY_RECEIVERS] = "receivers",
    [KEY_MESSAGE] = "message",
};

/* Verdicts that a hook may return at once. */
enum { RESULTS = 4 };

#define F(k) (1u << KEY_##k)
/* Which fields each event has. */
static const uint32_t fields_of[HOOK_EVENTS] = {
    [HOOK_CONNECT] = F(IP) | F(TRANSPORT),
    [HOOK_LOGIN] = F(NAME) | F(TOKEN) | F(DEVICE) | F(IP) | F(TRANSPORT) | F(USER),
    [HOOK_SUBSCRIBE] = F(USER) | F(CHANNEL) | F(MEMBERS) | F(RESTORED),
    [HOOK_UNSUBSCRIBE] = F(USER) | F(CHANNEL) | F(MEMBERS),
    [HOOK_CREATE] = F(USER) | F(CHANNEL),
    [HOOK_HISTORY] = F(USER) | F(CHANNEL) | F(PEER),
    [HOOK_PRESENCE] = F(USER),
    [HOOK_MESSAGE] = F(USER) | F(CHANNEL) | F(RECEIVER) | F(CONTENT) | F(SIZE),
    [HOOK_CONVERSATION] =
        F(USER) | F(CHANNEL) | F(PAIR) | F(CONTENT) | F(SIZE) | F(MEMBERS) | F(RATE) | F(TIER) | F(SYSTEM),
    [HOOK_DELIVERED] = F(USER) | F(CHANNEL) | F(RECEIVER) | F(CONTENT) | F(SIZE) | F(ID) | F(SEQ) | F(CREATED) |
                       F(MEMBERS) | F(SYSTEM),
    [HOOK_LOGGED_IN] = F(USER) | F(IP) | F(TRANSPORT) | F(DEVICE),
    [HOOK_CLOSE] = F(USER) | F(REASON),
    [HOOK_OFFLINE] = F(USER) | F(CHANNEL) | F(PEER) | F(RECEIVERS) | F(MESSAGE) | F(MEMBERS) | F(SYSTEM),
};
static const uint32_t action_fields = F(USER) | F(BODY) | F(SEQ) | F(ACTION);

/* --- Fields ------------------------------------------------------------------------------------------------------- */

static void push_text(lua_State *L, struct slice s)
{
    if (s.n)
        lua_pushlstring(L, s.p, s.n);
    else
        lua_pushnil(L);
}

static void push_user(lua_State *L, const struct event *e)
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

static void push_id(lua_State *L, uint64_t id)
{
    char text[24];
    snprintf(text, sizeof text, "%019llu", (unsigned long long)id);
    lua_pushstring(L, text);
}

/* The message, with the fields that pushes and history have. */
static void push_message(lua_State *L, const struct hook_call *h)
{
    lua_createtable(L, 0, 6);
    push_id(L, h->id);
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
        push_user(L, e);
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
        push_id(L, h->id);
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
        lua_pushstring(L, h->websocket ? "websocket" : "tcp");
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
    case KEY_RECEIVERS:
        push_receivers(L, h);
        return;
    case KEY_MESSAGE:
        push_message(L, h);
        return;
    case KEY_SYSTEM:
        lua_pushboolean(L, slice_eq(h->user, SLICE_LIT("system")));
        return;
    default:
        lua_pushnil(L);
    }
}

static uint32_t fields(const struct event *e)
{
    return e->h ? fields_of[e->h->event] : action_fields;
}

/* __index: called for what the table does not have (yet). */
static int event_index(lua_State *L)
{
    struct state *st = state_of(L);
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    const char *name = lua_tostring(L, 2);
    enum key key = 0;
    while (key < KEYS && st->keys[key] != name)
        key++;
    if (key == KEYS)
        return 0;
    if (!st->event || lua_topointer(L, 1) != st->event_table)
        return luaL_error(L, "the event is over: keep e.%s in a local while it runs", name);
    if (!(fields(st->event) & 1u << key))
        return 0;
    push_field(st, L, st->event, key);
    if (lua_istable(L, -1)) {
        /* The same table the next time. Texts and numbers are made anew: an event that stays empty costs less. */
        lua_pushvalue(L, 2);
        lua_pushvalue(L, -2);
        lua_rawset(L, 1);
    }
    return 1;
}

void event_fill(struct state *st, lua_State *L, int index)
{
    if (!st->event || lua_topointer(L, index) != st->event_table)
        return;
    lua_pushvalue(L, index);
    for (enum key key = 0; key < KEYS; key++) {
        if (!(fields(st->event) & 1u << key))
            continue;
        lua_pushstring(L, key_names[key]);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        bool there = !lua_isnil(L, -1);
        lua_pop(L, 1);
        if (there) {
            lua_pop(L, 1);
            continue;
        }
        push_field(st, L, st->event, key);
        lua_rawset(L, -3);
    }
    /* Nothing more is to come, also when the event is over. */
    lua_pushnil(L);
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

/* --- Running a handler -------------------------------------------------------------------------------------------- */

/* "*" any run of bytes, "?" one byte. */
static bool glob_matches(const char *glob, struct slice s)
{
    const char *p = s.p, *end = s.p + s.n, *star = NULL, *again = NULL;
    while (p < end) {
        if (*glob == '*') {
            star = ++glob;
            again = p;
        } else if (*glob && (*glob == '?' || *glob == *p)) {
            glob++;
            p++;
        } else if (star) {
            glob = star;
            p = ++again;
        } else {
            return false;
        }
    }
    while (*glob == '*')
        glob++;
    return *glob == '\0';
}

bool event_wanted(const struct handler *handler, const struct hook_call *h)
{
    return !handler->glob || (h->channel.n && glob_matches(handler->glob, h->channel));
}

/* Who makes the hook run: a user, or before the login an address. */
static struct slice caller_of(const struct hook_call *h)
{
    return h->user.n ? h->user : h->ip;
}

/* What has happened cannot be refused any more. */
static bool can_refuse(enum hook_event event)
{
    return event != HOOK_DELIVERED && event != HOOK_UNSUBSCRIBE && event != HOOK_LOGGED_IN && event != HOOK_CLOSE &&
           event != HOOK_OFFLINE;
}

static enum hook_verdict refuse(struct hook_call *h)
{
    h->code = CODE_INTERNAL;
    h->message = "the server's script failed";
    return HOOK_REJECT;
}

static enum hook_verdict failed(struct state *st, struct handler *handler, struct hook_call *h)
{
    struct slice who = caller_of(h);
    handler_failed(st, handler, hook_event_name(handler->event), &who);
    return handler->open ? HOOK_PASS : refuse(h);
}

/* The table on which the function will be called, at the top of the stack. The caller has made sure that there is
 * memory, or is protected. */
static void push_event(struct state *st, lua_State *L)
{
    lua_createtable(L, 0, 0);
    st->event_table = lua_topointer(L, -1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->event_meta);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, st->event_slot);
}

/* Inside the protected call: makes the event, calls the function. The only argument: its reference. */
static int run_handler(lua_State *L)
{
    struct state *st = state_of(L);
    int fn = (int)lua_tointeger(L, 1);
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, fn);
    push_event(st, L);
    lua_call(L, 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* Calls; the results stay on the stack. */
static int call(struct state *st, int fn, struct event *e, bool timed)
{
    lua_State *L = st->L;
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->runner);
    lua_pushinteger(L, fn);
    st->event = e;
    int rc = state_call(st, 1, LUA_MULTRET, st->shard_set->budget_us, timed);
    st->event = NULL;
    return rc;
}

static void wrong_result(struct state *st, const struct handler *handler, const char *what)
{
    snprintf(st->error, sizeof st->error,
             "%s: a hook of \"%s\" returned %s; expected nothing, magpie.reject(), magpie.drop(), magpie.accept()%s",
             st->name, hook_event_name(handler->event), what,
             handler->event == HOOK_CONVERSATION ? ", magpie.push{}, magpie.tier() or magpie.keep{}" : "");
    atomic_fetch_add_explicit(&st->stats->errors, 1, memory_order_relaxed);
}

static void take_advice(struct hook_call *h, const struct hook_advice *a)
{
    struct hook_advice *to = &h->advice;
    if (a->has_push && !to->has_push) {
        to->has_push = true;
        to->mode = a->mode;
        to->slice_ms = a->slice_ms;
        to->slice_max = a->slice_max;
        to->over_limit = a->over_limit;
    }
    if (a->has_tier && !to->has_tier) {
        to->has_tier = true;
        to->tier = a->tier;
    }
    if (a->has_keep && !to->has_keep) {
        to->has_keep = true;
        to->ttl_ms = a->ttl_ms;
        to->keep_max = a->keep_max;
    }
}

/* One verdict. Returns false when the event does not know it. */
static bool take_verdict(struct state *st, struct hook_call *h, const struct verdict *v, enum hook_verdict *out)
{
    switch (v->kind) {
    case VERDICT_ACCEPT:
        st->accepted_id_len = v->accept.id_len;
        st->accepted_name_len = v->accept.name_len;
        memcpy(st->accepted_id, v->accept.id, v->accept.id_len);
        memcpy(st->accepted_name, v->accept.name, v->accept.name_len);
        *out = HOOK_ACCEPT;
        return true;
    case VERDICT_DROP:
        *out = HOOK_DROP;
        return h->event == HOOK_MESSAGE || h->event == HOOK_CONVERSATION;
    case VERDICT_REJECT:
        h->code = v->reject.code;
        h->retry_after_ms = v->reject.retry_after_ms;
        /* The verdict may be garbage by the time it is read. */
        snprintf(st->message, sizeof st->message, "%s", v->reject.message);
        h->message = st->message;
        *out = HOOK_REJECT;
        return true;
    default:
        if (h->event != HOOK_CONVERSATION)
            return false;
        take_advice(h, &v->advice);
        return true;
    }
}

/* The hub keeps a copy; without a hub (tests) the state does. */
static bool set_content(struct state *st, struct hook_call *h, struct slice content)
{
    if (h->shard)
        return hook_set_content(h, content);
    struct buf *b = state_scratch(st);
    buf_slice_put(b, content);
    h->content = buf_slice(b);
    return buf_ok(b);
}

/* A message's content, if the script gave it another. False: it is none. */
static bool take_content(struct state *st, struct hook_call *h)
{
    lua_State *L = st->L;
    size_t n = 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->event_slot);
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->keys_ref);
    lua_rawgeti(L, -1, KEY_CONTENT + 1);
    lua_remove(L, -2);
    lua_rawget(L, -2);
    const char *p = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
    bool good = lua_isnil(L, -1) || p;
    if (p && !slice_eq(slice_of(p, n), h->content))
        good = content_good(st, slice_of(p, n)) && set_content(st, h, slice_of(p, n));
    lua_pop(L, 2);
    if (!good)
        snprintf(st->error, sizeof st->error,
                 "%s: e.content was set to what cannot be sent: UTF-8 of 1 to limits.content bytes is", st->name);
    return good;
}

enum hook_verdict event_run(struct state *st, struct handler *handler, struct hook_call *h)
{
    lua_State *L = st->L;
    struct slice who = caller_of(h);
    switch (handler_ask(st, handler, &who)) {
    case BREAKER_ASK:
        break;
    case BREAKER_LEFT_OUT:
        return handler->open ? HOOK_PASS : refuse(h);
    case BREAKER_REFUSE:
        return handler->open && !can_refuse(h->event) ? HOOK_PASS : refuse(h);
    }
    struct event e = {.h = h, .user = h->user, .user_name = h->user_name};
    st->accepted_id_len = st->accepted_name_len = 0;
    st->refund = 0;
    st->call = h;
    int rc = call(st, handler->fn, &e, false);
    st->call = NULL;
    if (rc != 0)
        return failed(st, handler, h);
    enum hook_verdict out = HOOK_PASS;
    int n = lua_gettop(L) < RESULTS ? lua_gettop(L) : RESULTS;
    lua_settop(L, n); /* leaves room on the stack */
    bool good = true;
    for (int i = 1; i <= n && good && out == HOOK_PASS; i++) {
        if (lua_isnil(L, i))
            continue;
        const struct verdict *v = verdict_at(L, i);
        good = v && take_verdict(st, h, v, &out);
        if (!good)
            wrong_result(st, handler, verdict_describe(L, i));
    }
    if (good && handler->event == HOOK_MESSAGE && (out == HOOK_PASS || out == HOOK_ACCEPT))
        good = take_content(st, h);
    lua_settop(L, 0);
    if (!good)
        return failed(st, handler, h);
    breaker_worked(&handler->breaker);
    return out;
}

/* --- Custom actions ----------------------------------------------------------------------------------------------- */

static int encode_answer(lua_State *L)
{
    if (json_lua_encode(state_of(L), L, 1).n > JSON_LUA_FRAME_MAX)
        return luaL_error(L, "it is longer than %d bytes", JSON_LUA_FRAME_MAX);
    return 0;
}

static void answer_failed(struct action_answer *out)
{
    out->code = CODE_INTERNAL;
    snprintf(out->message, sizeof out->message, "the server's script failed");
}

void event_run_action(struct state *st, struct custom_action *a, const struct event *given, struct action_answer *out)
{
    lua_State *L = st->L;
    struct event e = *given;
    *out = (struct action_answer){.body = SLICE_LIT("{}")};
    if (handler_ask(st, &a->h, &e.user) != BREAKER_ASK) {
        answer_failed(out);
        return;
    }
    bool good = call(st, a->h.fn, &e, true) == 0;
    const struct verdict *v = good ? verdict_at(L, 1) : NULL;
    if (v && v->kind == VERDICT_REJECT) {
        out->code = v->reject.code;
        out->retry_after_ms = v->reject.retry_after_ms;
        snprintf(out->message, sizeof out->message, "%s", v->reject.message);
    } else if (good && lua_istable(L, 1)) {
        lua_settop(L, 1);
        lua_rawgeti(L, LUA_REGISTRYINDEX, st->encoder);
        lua_insert(L, 1);
        good = state_call(st, 1, 0, st->shard_set->budget_us, true) == 0;
        if (!good) {
            /* There is no line to tell: the function has returned. */
            char why[256];
            snprintf(why, sizeof why, "%.255s", st->error);
            snprintf(st->error, sizeof st->error, "%s.lua: the answer of action %u: %s", st->name, a->number, why);
        }
        out->body = buf_slice(&st->scratch);
        if (good && (!out->body.n || out->body.p[0] != '{')) {
            good = false;
            snprintf(st->error, sizeof st->error, "%s: the answer of action %u is no JSON object", st->name, a->number);
        }
    } else if (good && !lua_isnoneornil(L, 1)) {
        snprintf(st->error, sizeof st->error, "%s: action %u returned %s; expected a table, nothing or magpie.reject()",
                 st->name, a->number, verdict_describe(L, 1));
        good = false;
    }
    lua_settop(L, 0);
    if (good) {
        breaker_worked(&a->h.breaker);
        return;
    }
    char what[32];
    snprintf(what, sizeof what, "action %u", a->number);
    handler_failed(st, &a->h, what, &e.user);
    answer_failed(out);
}

/* --- Opening ------------------------------------------------------------------------------------------------------ */

void events_open(struct state *st, lua_State *L)
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
    lua_pushcfunction(L, run_handler);
    st->runner = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, encode_answer);
    st->encoder = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, event_index);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    st->event_meta = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushboolean(L, 0);
    st->event_slot = luaL_ref(L, LUA_REGISTRYINDEX);
}
