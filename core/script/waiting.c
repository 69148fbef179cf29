#include "core/script/waiting.h"

#include "core/script/event.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static void unlink_from(struct state *st, struct waiting *w)
{
    if (w->prev)
        w->prev->next = w->next;
    else
        st->waiting = w->next;
    if (w->next)
        w->next->prev = w->prev;
    st->waiting_count--;
}

/* Whoever made the script run. */
static void take_caller(const struct state *st, struct waiting *w)
{
    const struct event *e = st->event;
    struct slice who = e ? e->user : SLICE_NONE;
    if (e && !who.n && e->h)
        who = e->h->ip;
    w->has_who = e != NULL;
    w->who_len = (uint8_t)(who.n < sizeof w->who ? who.n : sizeof w->who);
    if (w->who_len)
        memcpy(w->who, who.p, w->who_len);
}

struct waiting *waiting_new(lua_State *L, int fn, const char *what)
{
    struct state *st = state_of(L);
    luaL_checktype(L, fn, LUA_TFUNCTION);
    if (st->waiting_count >= WAITING_MAX)
        luaL_error(L, "magpie.%s: %d calls of this script wait for their answers already", what, WAITING_MAX);
    /* What the function reads of the present event it reads when the event is over. */
    event_fill_present(st, L);
    lua_pushvalue(L, fn);
    int reference = luaL_ref(L, LUA_REGISTRYINDEX);
    struct waiting *w = calloc(1, sizeof *w);
    if (!w) {
        luaL_unref(L, LUA_REGISTRYINDEX, reference);
        luaL_error(L, "not enough memory");
        return NULL;
    }
    *w = (struct waiting){.next = st->waiting, .st = st, .fn = reference, .what = what};
    take_caller(st, w);
    if (w->next)
        w->next->prev = w;
    st->waiting = w;
    st->waiting_count++;
    return w;
}

void waiting_undo(struct waiting *w)
{
    luaL_unref(w->st->L, LUA_REGISTRYINDEX, w->fn);
    unlink_from(w->st, w);
    free(w);
}

void waiting_drop_all(struct state *st)
{
    while (st->waiting) {
        struct waiting *w = st->waiting;
        unlink_from(st, w);
        w->st = NULL;
        atomic_store_explicit(&w->dropped, true, memory_order_relaxed);
    }
}

/* --- The answer --------------------------------------------------------------------------------------------------- */

struct answer {
    int fn;
    const char *error;
    waiting_push_fn push;
    void *ctx;
};

/* Inside the protected call. The only argument: struct answer. */
static int run(lua_State *L)
{
    const struct answer *a = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, a->fn);
    if (a->error) {
        lua_pushstring(L, a->error);
        lua_call(L, 1, 0);
        return 0;
    }
    lua_pushnil(L);
    a->push(state_of(L), L, a->ctx);
    lua_call(L, 2, 0);
    return 0;
}

void waiting_answer(struct waiting *w, const char *error, waiting_push_fn push, void *ctx)
{
    struct state *st = w->st;
    if (!st) {
        free(w);
        return;
    }
    struct answer a = {.fn = w->fn, .error = error, .push = push, .ctx = ctx};
    struct slice caller = slice_of(w->who, w->who_len), *who = w->has_who ? &caller : NULL;
    unlink_from(st, w);
    if (handler_ask(st, &st->later, who) == BREAKER_ASK) {
        lua_settop(st->L, 0);
        lua_rawgeti(st->L, LUA_REGISTRYINDEX, st->later_runner);
        lua_pushlightuserdata(st->L, &a);
        if (state_call(st, 1, 0, st->shard_set->budget_us, true) == 0)
            breaker_worked(&st->later.breaker);
        else
            handler_failed(st, &st->later, w->what, who);
    }
    luaL_unref(st->L, LUA_REGISTRYINDEX, a.fn);
    free(w);
}

void waiting_open(struct state *st, lua_State *L)
{
    lua_pushcfunction(L, run);
    st->later_runner = luaL_ref(L, LUA_REGISTRYINDEX);
}
