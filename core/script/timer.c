#include "core/script/timer.h"

#include "core/script/event.h"
#include "core/script/words.h"
#include "core/script/world.h"

#include <lauxlib.h>
#include <stdlib.h>

static const double longest_ms = 1e12; /* some 30 years */
enum { EVERY_LEAST_MS = 10 };

static struct world *world_of(const struct state *st)
{
    return st->shard_set->env->world;
}

static void drop(struct timer *t)
{
    struct state *st = t->st;
    if (t->started)
        world_of(st)->timer_stop(world_of(st), t);
    if (t->prev)
        t->prev->next = t->next;
    else
        st->timers = t->next;
    if (t->next)
        t->next->prev = t->prev;
    st->timer_count--;
    luaL_unref(st->L, LUA_REGISTRYINDEX, t->h.fn);
    breaker_fini(&t->h.breaker);
    free(t);
}

static int set_timer(lua_State *L, double ms, double every_ms, bool each_shard)
{
    struct state *st = state_of(L);
    if (st->timer_count >= TIMERS_MAX)
        return luaL_error(L, "a script has %d timers at most", TIMERS_MAX);
    /* What the function reads of the present event it reads when the event is over. */
    event_fill_present(st, L);
    lua_pushvalue(L, 2);
    int fn = luaL_ref(L, LUA_REGISTRYINDEX);
    struct timer *t = calloc(1, sizeof *t);
    if (!t) {
        luaL_unref(L, LUA_REGISTRYINDEX, fn);
        return luaL_error(L, "not enough memory");
    }
    *t = (struct timer){.next = st->timers,
                        .st = st,
                        .id = ++st->timer_last,
                        .after_ms = ms,
                        .every_ms = every_ms,
                        .each_shard = each_shard,
                        .h.fn = fn};
    if (t->next)
        t->next->prev = t;
    st->timers = t;
    st->timer_count++;
    if (!st->shard_set->loading) {
        if (world_of(st)->timer_start(world_of(st), t, ms, every_ms) != 0) {
            drop(t);
            return luaL_error(L, "not enough memory");
        }
        t->started = true;
    }
    lua_pushnumber(L, (double)t->id);
    return 1;
}

static double check_ms(lua_State *L, double least)
{
    double ms = luaL_checknumber(L, 1);
    if (!(ms >= least && ms <= longest_ms))
        luaL_error(L, "a timer's time is in milliseconds, from %d on", (int)least);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    return ms;
}

static bool each_shard_option(lua_State *L, const char *function)
{
    char what[40];
    if (lua_isnoneornil(L, 3))
        return false;
    state_check_options(L, 3, function);
    snprintf(what, sizeof what, "magpie.%s: unknown option", function);
    words_check_keys(L, 3, what, "each_shard");
    state_field(L, 3, "each_shard");
    bool yes = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return yes;
}

static int lua_after(lua_State *L)
{
    double ms = check_ms(L, 0);
    return set_timer(L, ms, 0, each_shard_option(L, "after"));
}

static int lua_every(lua_State *L)
{
    double ms = check_ms(L, EVERY_LEAST_MS);
    return set_timer(L, ms, ms, each_shard_option(L, "every"));
}

static int lua_cancel(lua_State *L)
{
    struct state *st = state_of(L);
    double id = luaL_checknumber(L, 1);
    struct timer *t = st->timers;
    while (t && (double)t->id != id)
        t = t->next;
    if (t)
        drop(t);
    lua_pushboolean(L, t != NULL);
    return 1;
}

void timers_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"after", lua_after}, {"every", lua_every}, {"cancel", lua_cancel}, {NULL, NULL}};
    luaL_register(L, NULL, functions);
}

void timers_begin(struct state *st, bool first_shard)
{
    struct timer *next;
    for (struct timer *t = st->timers; t; t = next) {
        next = t->next;
        t->of_one = !t->started && !t->each_shard;
        if (!t->started && (first_shard || t->each_shard) &&
            world_of(st)->timer_start(world_of(st), t, t->after_ms, t->every_ms) == 0)
            t->started = true;
        else if (!t->started)
            drop(t);
    }
}

static struct timer *find(struct state *st, uint64_t id)
{
    struct timer *t = st->timers;
    while (t && t->id != id)
        t = t->next;
    return t;
}

void timer_fire(struct timer *t)
{
    struct state *st = t->st;
    uint64_t id = t->id;
    /* Each call of magpie.after() makes a new timer, so those that fire once share one breaker. */
    bool once = t->every_ms == 0;
    struct handler *h = once ? &st->once : &t->h;
    bool others = t->of_one && !world_of(st)->leads(world_of(st));
    if (!others && handler_ask(st, h, NULL) == BREAKER_ASK) {
        lua_settop(st->L, 0);
        lua_rawgeti(st->L, LUA_REGISTRYINDEX, t->h.fn);
        int rc = state_call(st, 0, 0, st->shard_set->budget_us, true);
        t = find(st, id); /* it may have cancelled itself */
        if (rc == 0 && (t || once))
            breaker_worked(once ? &st->once.breaker : &t->h.breaker);
        else if (t || once)
            handler_failed(st, once ? &st->once : &t->h, "timer", NULL);
    }
    if (t && once)
        drop(t);
}

void timers_drop(struct state *st)
{
    while (st->timers)
        drop(st->timers);
}
