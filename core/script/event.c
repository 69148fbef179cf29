#include "core/script/event.h"

#include "core/script/api.h"
#include "core/script/event_fields.h"
#include "core/script/json_lua.h"
#include "core/script/state.h"
#include "core/script/verdict.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Verdicts that a hook may return at once. */
enum { RESULTS = 4 };

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

/* Inside the protected call: makes the event, calls the function. The only argument: its reference. */
static int run_handler(lua_State *L)
{
    struct state *st = state_of(L);
    int fn = (int)lua_tointeger(L, 1);
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, fn);
    event_push(st, L);
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

#define V(k) (1u << VERDICT_##k)
enum { ANSWERS = V(ACCEPT) | V(REJECT), ADVICE = V(PUSH) | V(TIER) | V(KEEP) };
/* Which verdicts each event takes; what has happened takes none. */
static const uint32_t verdicts_of[HOOK_EVENTS] = {
    [HOOK_CONNECT] = ANSWERS,           [HOOK_LOGIN] = ANSWERS,
    [HOOK_SUBSCRIBE] = ANSWERS,         [HOOK_CREATE] = ANSWERS,
    [HOOK_HISTORY] = ANSWERS,           [HOOK_PRESENCE] = ANSWERS,
    [HOOK_MESSAGE] = ANSWERS | V(DROP), [HOOK_CONVERSATION] = ANSWERS | V(DROP) | ADVICE,
    [HOOK_EDIT] = ANSWERS | V(DROP),    [HOOK_RECALL] = ANSWERS | V(DROP),
};

/* What has happened cannot be refused any more. */
static bool can_refuse(enum hook_event event)
{
    return verdicts_of[event] & V(REJECT);
}

/* The result that is none, or not of this event. */
static void wrong_result(struct state *st, const struct handler *handler, const char *what)
{
    static const struct {
        uint32_t kind;
        const char *name;
    } names[] = {{V(REJECT), "magpie.reject()"}, {V(ACCEPT), "magpie.accept()"}, {V(DROP), "magpie.drop()"},
                 {V(PUSH), "magpie.push{}"},     {V(TIER), "magpie.tier()"},     {V(KEEP), "magpie.keep{}"}};
    char known[120] = "nothing";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (verdicts_of[handler->event] & names[i].kind)
            snprintf(known + strlen(known), sizeof known - strlen(known), ", %s", names[i].name);
    snprintf(st->error, sizeof st->error, "%s: a hook of \"%s\" returned %s; it may return: %s", st->name,
             hook_event_name(handler->event), what, known);
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
    if (!(verdicts_of[h->event] & 1u << v->kind))
        return false;
    switch (v->kind) {
    case VERDICT_ACCEPT:
        if ((v->accept.id_len || v->accept.name_len || v->accept.has_claims) && h->event != HOOK_LOGIN)
            return false;
        st->accepted_id_len = v->accept.id_len;
        st->accepted_name_len = v->accept.name_len;
        memcpy(st->accepted_id, v->accept.id, v->accept.id_len);
        memcpy(st->accepted_name, v->accept.name, v->accept.name_len);
        if (v->accept.has_claims && !(st->accepted_claims = strdup(verdict_claims(v))))
            return false;
        *out = HOOK_ACCEPT;
        return true;
    case VERDICT_DROP:
        *out = HOOK_DROP;
        return true;
    case VERDICT_REJECT:
        h->code = v->reject.code;
        h->retry_after_ms = v->reject.retry_after_ms;
        /* The verdict may be garbage by the time it is read. */
        snprintf(st->message, sizeof st->message, "%s", v->reject.message);
        h->message = st->message;
        *out = HOOK_REJECT;
        return true;
    default:
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
    struct event e = {.h = h, .user = h->user, .user_name = h->user_name, .claims = h->claims};
    st->accepted_id_len = st->accepted_name_len = 0;
    free(st->accepted_claims);
    st->accepted_claims = NULL;
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
    if (good && event_content_open(handler->event) && (out == HOOK_PASS || out == HOOK_ACCEPT))
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
    event_fields_open(st, L);
    lua_pushcfunction(L, run_handler);
    st->runner = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, encode_answer);
    st->encoder = luaL_ref(L, LUA_REGISTRYINDEX);
}
