/* Events and actions from the tables of a test. */
#include "core/base/json.h"
#include "core/script/api.h"
#include "core/script/event.h"
#include "core/script/event_fields.h"
#include "core/script/json_lua.h"
#include "core/script/tester_private.h"
#include "core/script/words.h"

#include <cjson/cJSON.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* --- Events from tables ------------------------------------------------------------------------------------------- */

/* A text field of the table; its value stays on the stack. */
static struct slice text_field(lua_State *L, int table, const char *name)
{
    size_t n = 0;
    luaL_checkstack(L, 2, "too many fields");
    state_field(L, table, name);
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "%s: expected a text, got a %s", name, luaL_typename(L, -1));
    const char *p = lua_tolstring(L, -1, &n);
    return slice_of(p, n);
}

static double number_field(lua_State *L, int table, const char *name)
{
    state_field(L, table, name);
    double n = lua_isnil(L, -1) ? 0 : lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    if (!(n >= 0 && n <= 9e15))
        luaL_error(L, "%s: expected a number, 0 or more", name);
    lua_pop(L, 1);
    return n;
}

static bool bool_field(lua_State *L, int table, const char *name)
{
    state_field(L, table, name);
    bool yes = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return yes;
}

/* claims = {role = "staff"}: JSON, which a text on the stack keeps. */
static struct slice claims_field(lua_State *L, int table)
{
    size_t n;
    state_field(L, table, "claims");
    if (lua_isnil(L, -1))
        return SLICE_NONE;
    luaL_checktype(L, -1, LUA_TTABLE);
    struct slice json = json_lua_encode(state_of(L), L, lua_gettop(L));
    lua_pushlstring(L, json.p, json.n);
    const char *p = lua_tolstring(L, -1, &n);
    return slice_of(p, n);
}

/* {id = "ada", name = "Ada", claims = {…}} at the top of the stack. */
static void user_table(lua_State *L, struct slice *id, struct slice *name, struct slice *claims)
{
    int user = lua_gettop(L);
    words_check_keys(L, user, "user: unknown field", "id name claims");
    *id = text_field(L, user, "id");
    *name = text_field(L, user, "name");
    *claims = claims_field(L, user);
}

/* user = "ada" or {id = "ada", name = "Ada"} */
static void user_field(lua_State *L, int table, struct slice *id, struct slice *name, struct slice *claims)
{
    luaL_checkstack(L, 8, "too many fields");
    state_field(L, table, "user");
    *id = *name = *claims = SLICE_NONE;
    if (lua_istable(L, -1)) {
        user_table(L, id, name, claims);
    } else if (!lua_isnil(L, -1)) {
        lua_pop(L, 1);
        *id = text_field(L, table, "user");
    }
}

static enum store_tier tier_field(lua_State *L, int table, bool channel)
{
    struct slice tier = text_field(L, table, "tier");
    if (tier.n && !slice_eq(tier, SLICE_LIT("large")) && !slice_eq(tier, SLICE_LIT("small")) &&
        !slice_eq(tier, SLICE_LIT("dm")))
        luaL_error(L, "tier: expected \"dm\", \"small\" or \"large\"");
    if (slice_eq(tier, SLICE_LIT("large")))
        return TIER_LARGE;
    return channel ? TIER_SMALL : TIER_DM;
}

/* What may be given, beside the event's own fields. */
static const char *more_fields(enum hook_event event)
{
    switch (event) {
    case HOOK_MESSAGE:
        return " peer clientId";
    case HOOK_CONVERSATION:
        return " receiver peer clientId";
    case HOOK_DELIVERED:
        return " peer";
    default:
        return "";
    }
}

static void check_fields(lua_State *L, int table, enum hook_event event)
{
    char known[320], what[80];
    event_names(event, known, sizeof known - 32);
    strcat(known, more_fields(event));
    snprintf(what, sizeof what, "fire: \"%s\" has no field", hook_event_name(event));
    for (const char *const *made = (const char *const[]){"size", "pair", "system", NULL}; *made; made++) {
        state_field(L, table, *made);
        if (!lua_isnil(L, -1) && words_have(known, *made))
            luaL_error(L, "fire: %s is not given: it is made from the other fields", *made);
        lua_pop(L, 1);
    }
    words_check_keys(L, table, what, known);
}

static void take_message(lua_State *L, int table, struct hook_call *h)
{
    struct slice id = text_field(L, table, "id");
    h->id = id.n ? strtoull(id.p, NULL, 10) : 0;
    h->content = text_field(L, table, "content");
    h->seq = (uint64_t)number_field(L, table, "seq");
    h->created_ms = (uint64_t)number_field(L, table, "createdAt");
}

/* receivers = {"bob"}, message = {content = "hi"}. The list stays on the stack. */
static void take_missed(lua_State *L, int table, struct hook_call *h)
{
    state_field(L, table, "receivers");
    luaL_checktype(L, -1, LUA_TTABLE);
    int list = lua_gettop(L);
    uint32_t n = (uint32_t)lua_objlen(L, list);
    struct slice *ids = lua_newuserdata(L, (n + 1) * sizeof *ids);
    for (uint32_t i = 0; i < n; i++) {
        size_t len;
        lua_rawgeti(L, list, (int)i + 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "receivers: expected a list of ids");
        const char *p = lua_tolstring(L, -1, &len); /* the list keeps it */
        ids[i] = slice_of(p, len);
        lua_pop(L, 1);
    }
    h->receivers = ids;
    h->receiver_count = n;
    state_field(L, table, "message");
    if (lua_isnil(L, -1))
        return;
    luaL_checktype(L, -1, LUA_TTABLE);
    int message = lua_gettop(L);
    words_check_keys(L, message, "message: unknown field", "id seq createdAt content sender");
    take_message(L, message, h);
    state_field(L, message, "sender");
    if (lua_istable(L, -1))
        user_table(L, &h->user, &h->user_name, &h->claims);
}

static void take_fields(lua_State *L, int table, struct hook_call *h)
{
    check_fields(L, table, h->event);
    luaL_checkstack(L, 64, "too many fields");
    user_field(L, table, &h->user, &h->user_name, &h->claims);
    if (h->event == HOOK_LOGIN)
        h->claims = claims_field(L, table);
    h->channel = text_field(L, table, "channel");
    h->peer = text_field(L, table, "receiver");
    if (!h->peer.n)
        h->peer = text_field(L, table, "peer");
    h->token = text_field(L, table, "token");
    h->device = text_field(L, table, "device");
    h->ip = text_field(L, table, "ip");
    struct slice name = text_field(L, table, "name");
    if (name.n)
        h->user_name = name;
    struct slice transport = text_field(L, table, "transport");
    h->secure = slice_eq(transport, SLICE_LIT("wss")) || slice_eq(transport, SLICE_LIT("tcps"));
    h->websocket = slice_eq(transport, SLICE_LIT("websocket")) || slice_eq(transport, SLICE_LIT("wss"));
    h->message = text_field(L, table, "reason").p;
    h->restored = bool_field(L, table, "restored");
    h->repeat_possible = bool_field(L, table, "clientId");
    h->edit = bool_field(L, table, "edit");
    h->edited_ms = (uint64_t)number_field(L, table, "editedAt");
    h->members = (uint32_t)number_field(L, table, "members");
    h->rate = (float)number_field(L, table, "rate");
    h->tier = tier_field(L, table, h->channel.n > 0);
    if (h->event == HOOK_OFFLINE)
        take_missed(L, table, h);
    else
        take_message(L, table, h);
}

static void put_advice(lua_State *L, const struct hook_advice *a)
{
    static const char *const modes[] = {[MODE_ALL] = "all", [MODE_MERGED] = "merged", [MODE_NONE] = "none"};
    if (a->has_push) {
        lua_newtable(L);
        if (!a->over_limit)
            put_text(L, "mode", slice_str(modes[a->mode]));
        put_number(L, "slice_ms", a->slice_ms);
        put_number(L, "max", a->slice_max);
        lua_setfield(L, -2, "push");
    }
    if (a->has_tier)
        put_text(L, "tier", slice_str(a->tier == TIER_LARGE ? "large" : "small"));
    if (a->has_keep) {
        lua_newtable(L);
        put_number(L, "ttl", (double)a->ttl_ms / 1000);
        put_number(L, "max", a->keep_max);
        lua_setfield(L, -2, "keep");
    }
}

static void put_result(lua_State *L, const struct subject *x, const struct hook_call *h, enum hook_verdict v,
                       bool failed)
{
    static const char *const names[] = {
        [HOOK_PASS] = "pass", [HOOK_ACCEPT] = "accept", [HOOK_REJECT] = "reject", [HOOK_DROP] = "drop"};
    lua_newtable(L);
    put_text(L, "verdict", slice_str(names[v]));
    if (v == HOOK_REJECT) {
        put_text(L, "code", slice_str(code_name(h->code)));
        put_text(L, "message", slice_str(h->message));
        put_number(L, "retryAfter", h->retry_after_ms);
    }
    if (v == HOOK_ACCEPT && x->st->accepted_id_len) {
        put_text(L, "id", slice_of(x->st->accepted_id, x->st->accepted_id_len));
        put_text(L, "name", slice_of(x->st->accepted_name, x->st->accepted_name_len));
        if (x->st->accepted_claims)
            put_text(L, "claims_json", slice_str(x->st->accepted_claims));
    }
    if (h->event == HOOK_MESSAGE || h->event == HOOK_EDIT)
        put_text(L, "content", h->content);
    if (failed)
        put_text(L, "error", slice_str(x->st->error));
    put_advice(L, &h->advice);
}

static int find_event(lua_State *L, const char *name)
{
    for (int i = 0; i < HOOK_EVENTS; i++)
        if (strcmp(hook_event_name((enum hook_event)i), name) == 0)
            return i;
    return event_unknown(L, "", name);
}

int lua_fire(lua_State *L)
{
    struct subject *x = check_subject(L);
    struct state *st = x->st;
    struct hook_call h = {.event = (enum hook_event)find_event(L, luaL_checkstring(L, 2)), .conn = UINT32_MAX};
    luaL_checktype(L, 3, LUA_TTABLE);
    take_fields(L, 3, &h);
    enum hook_verdict v = HOOK_PASS;
    uint64_t errors = atomic_load(&x->stats.errors);
    bool done[HANDLERS_MAX] = {false};
    while (v == HOOK_PASS) {
        struct handler *next = NULL;
        for (uint32_t i = 0; i < st->handler_count; i++)
            if (!done[i] && st->handlers[i].event == h.event && (!next || st->handlers[i].priority > next->priority))
                next = &st->handlers[i];
        if (!next)
            break;
        done[next - st->handlers] = true;
        if (event_wanted(next, &h))
            v = event_run(st, next, &h);
    }
    put_result(L, x, &h, v, atomic_load(&x->stats.errors) != errors);
    return 1;
}

int lua_act(lua_State *L)
{
    struct subject *x = check_subject(L);
    struct state *outer = state_of(L);
    double number = luaL_checknumber(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    words_check_keys(L, 3, "act: unknown field", "user body seq");
    struct event e = {.action = (uint16_t)number, .seq = (uint16_t)number_field(L, 3, "seq")};
    user_field(L, 3, &e.user, &e.user_name, &e.claims);
    state_field(L, 3, "body");
    if (lua_isnil(L, -1))
        buf_lit(state_scratch(outer), "{}");
    else
        json_lua_encode(outer, L, lua_gettop(L));
    buf_byte(&outer->scratch, 0);
    struct custom_action *a = NULL;
    for (uint32_t i = 0; i < x->st->action_count; i++)
        if (x->st->actions[i].number == number)
            a = &x->st->actions[i];
    if (!a)
        return luaL_error(L, "the script has no action %d", (int)number);
    struct cJSON *body = buf_ok(&outer->scratch) ? cJSON_Parse(outer->scratch.p) : NULL;
    struct action_answer out;
    e.body = body;
    event_run_action(x->st, a, &e, &out);
    cJSON_Delete(body);
    lua_newtable(L);
    if (out.code != CODE_OK) {
        lua_newtable(L);
        put_text(L, "code", slice_str(code_name(out.code)));
        put_text(L, "message", slice_str(out.message));
        put_number(L, "retryAfter", out.retry_after_ms);
        lua_setfield(L, -2, "error");
        return 1;
    }
    /* As text; the module decodes it. */
    put_text(L, "json", out.body);
    return 1;
}
