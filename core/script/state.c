#include "core/script/state.h"

#include "core/base/hash.h"
#include "core/base/running.h"
#include "core/script/api.h"
#include "core/script/sandbox.h"
#include "core/script/stack.h"
#include "core/script/timer.h"
#include "core/script/waiting.h"
#include "core/script/watchdog.h"
#include "core/script/world.h"

#include <lauxlib.h>
#include <luajit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Garbage is collected when the heap has grown to so many per cent; less far when it is large. */
enum { PAUSE_ROOMY = 1000, PAUSE_FRUGAL = 120, SPEED_ROOMY = 200, SPEED_FRUGAL = 500 };
/* Bytes of the scratch buffer that are kept for the next use. */
enum { SCRATCH_KEPT = 64 << 10 };

/* --- Memory ------------------------------------------------------------------------------------------------------- */

/* The collector's pace follows the room that is left. Sets two numbers of the collector, nothing else: also from inside
 * the allocator. */
static void set_pace(struct state *st)
{
    bool frugal = (uint64_t)st->memory > st->shard_set->memory_max / 16;
    if (frugal != st->frugal) {
        st->frugal = frugal;
        lua_gc(st->L, LUA_GCSETPAUSE, frugal ? PAUSE_FRUGAL : PAUSE_ROOMY);
        lua_gc(st->L, LUA_GCSETSTEPMUL, frugal ? SPEED_FRUGAL : SPEED_ROOMY);
    }
}

/* Whether the script may have so many bytes more. A single state may have three quarters of the shard's memory for
 * scripts, so that one that hoards leaves the others something. */
static bool may_have(struct state *st, int64_t more)
{
    const struct shard_set *t = st->shard_set;
    if (more <= 0 || st->tidying)
        return true;
    uint64_t n = (uint64_t)more;
    if (n <= t->memory_max && t->memory + n <= t->memory_max && (uint64_t)st->memory + n <= t->memory_max / 4 * 3)
        return true;
    st->starved = true;
    return false;
}

static void count_memory(struct state *st, int64_t more)
{
    st->memory += more;
    st->shard_set->memory = (uint64_t)((int64_t)st->shard_set->memory + more);
    if (more > 0)
        set_pace(st);
}

/* LuaJIT's own allocator below a cap. */
static void *capped_alloc(void *ctx, void *p, size_t old, size_t n)
{
    struct state *st = ctx;
    int64_t more = (int64_t)n - (int64_t)old;
    if (!may_have(st, more))
        return NULL;
    void *q = st->alloc(st->alloc_ctx, p, old, n);
    if (q || n == 0)
        count_memory(st, more);
    return q;
}

struct buf *state_scratch(struct state *st)
{
    if (st->scratch.cap > SCRATCH_KEPT) {
        buf_free(&st->scratch);
        count_memory(st, -(int64_t)st->scratch_counted);
        st->scratch_counted = 0;
    }
    buf_reset(&st->scratch);
    return &st->scratch;
}

void state_scratch_count(struct state *st, lua_State *L)
{
    int64_t more = (int64_t)st->scratch.cap - (int64_t)st->scratch_counted;
    if (more <= 0 && buf_ok(&st->scratch))
        return;
    if (buf_ok(&st->scratch) && may_have(st, more)) {
        count_memory(st, more);
        st->scratch_counted = st->scratch.cap;
        return;
    }
    buf_free(&st->scratch);
    count_memory(st, -(int64_t)st->scratch_counted);
    st->scratch_counted = 0;
    luaL_error(L, "not enough memory");
}

/* --- Entries ------------------------------------------------------------------------------------------------------ */

/* One writer: no locked instruction is needed. */
static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* Copies what is at the top of the stack as the error, pops it. */
static void take_error(struct state *st, int status, bool killed)
{
    lua_State *L = st->L;
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    if (killed)
        snprintf(st->error, sizeof st->error, "%s", text && strstr(text, "CPU budget") ? text : "over its CPU budget");
    else if (status == LUA_ERRMEM || (st->starved && (!text || strstr(text, "not enough memory"))))
        snprintf(st->error, sizeof st->error, "%s: out of the memory that scripts may have", st->name);
    else if (text)
        snprintf(st->error, sizeof st->error, "%s", text);
    else
        snprintf(st->error, sizeof st->error, "%s: an error that is no text (%s)", st->name, luaL_typename(L, -1));
    for (char *p = st->error; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    lua_pop(L, 1);
}

static int collect(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

/* What the failed call held is given back at once: it costs that call and nobody else. */
static void tidy(struct state *st)
{
    st->tidying = true;
    lua_cpcall(st->L, collect, NULL);
    st->tidying = false;
    atomic_store_explicit(&st->stats->memory, st->memory, memory_order_relaxed);
}

/* The call does not happen: what it would have run is taken off the stack. */
static int refuse(struct state *st, int args, const char *why)
{
    lua_pop(st->L, args + 1);
    st->costly = false;
    snprintf(st->error, sizeof st->error, "%s: %s", st->name, why);
    return ERR_AGAIN;
}

int state_call(struct state *st, int args, int results, uint64_t budget_us, bool always_timed)
{
    lua_State *L = st->L;
    struct script_env *env = st->shard_set->env;
    struct watched *w = env->watched;
    if (!SURELY(!env->inside))
        return refuse(st, args, "entered twice");
    watched_enter(w, L, budget_us);
    st->stack_floor = stack_floor(__builtin_frame_address(0), w->stack_bottom);
    if (!st->stack_floor) {
        watched_leave(w);
        return refuse(st, args, "this thread has too little stack for scripts; see ulimit -s");
    }
    struct meter_call measured = meter_begin(&st->meter, &w->meter, always_timed);
    env->inside = true;
    st->starved = false;
    struct running before = running_set((struct running){.kind = "script", .name = st->name});
    int status = lua_pcall(L, args, results, 0);
    running_set(before);
    bool killed = w->killed;
    watched_leave(w);
    env->inside = false;
    uint64_t took = meter_end(&st->meter, &w->meter, &measured, killed);
    count(&st->stats->cpu_ns, took);
    count(&st->stats->calls, 1);
    set_pace(st);
    atomic_store_explicit(&st->stats->memory, st->memory, memory_order_relaxed);
    st->costly = status != 0 && (killed || st->starved || took / 1000 > budget_us);
    if (status == 0)
        return 0;
    count(&st->stats->errors, 1);
    if (killed)
        count(&st->stats->kills, 1);
    take_error(st, status, killed);
    if (st->starved)
        tidy(st);
    return ERR_INVALID;
}

void state_poll(struct state *st, lua_State *L)
{
    if (st->shard_set->env->watched->killed)
        luaL_error(L, "over its CPU budget");
}

void state_check_options(lua_State *L, int index, const char *function)
{
    luaL_checktype(L, index, LUA_TTABLE);
    if (!lua_getmetatable(L, index))
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, state_of(L)->user_meta);
    if (lua_rawequal(L, -1, -2)) {
        lua_pop(L, 2); /* e.user: magpie.accept(e.user) */
        return;
    }
    lua_pop(L, 1);
    state_field(L, lua_gettop(L), "__index");
    if (!lua_isnil(L, -1))
        luaL_error(L, "magpie.%s: a table with a metatable that has __index is not taken; its fields must be its own",
                   function);
    lua_pop(L, 2);
}

void state_field(lua_State *L, int index, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, index);
}

/* --- The breaker -------------------------------------------------------------------------------------------------- */

static uint64_t number_of(const struct slice *who)
{
    return who ? hash_bytes(*who) | 1 : BREAKER_NOBODY;
}

enum breaker_says handler_ask(struct state *st, struct handler *h, const struct slice *who)
{
    struct world *w = st->shard_set->env->world;
    return breaker_quiet(&h->breaker) ? BREAKER_ASK : breaker_ask(&h->breaker, number_of(who), w->mono_ms(w));
}

void handler_failed(struct state *st, struct handler *h, const char *what, const struct slice *who)
{
    struct world *w = st->shard_set->env->world;
    const struct log_field fields[] = {
        LOG_STR("script", st->name), LOG_STR("in", what), LOG_STR("error", st->error), {.type = LOG_F_END}};
    w->log(w, LOG_ERROR, "script.error", fields);
    struct breaker_news news = breaker_failed(&h->breaker, number_of(who), st->costly, w->mono_ms(w));
    if (!news.failures)
        return;
    struct log_field told[] = {LOG_STR("script", st->name),
                               LOG_STR("in", what),
                               LOG_STR("for", news.for_all ? "all" : "caller"),
                               LOG_INT("failures", news.failures),
                               LOG_INT("left_out_ms", news.ms),
                               LOG_SLICE("caller", who ? *who : SLICE_NONE),
                               {.type = LOG_F_END}};
    if (!who || !who->n)
        told[5].type = LOG_F_END;
    w->log(w, LOG_WARN, "script.breaker", told);
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

static int open_sandbox(lua_State *L)
{
    struct state *st = state_of(L);
    sandbox_open(L);
    api_open(st, L);
    return 0;
}

struct state *state_new(struct shard_set *t, const char *name, struct script_stats *stats)
{
    struct state *st = calloc(1, sizeof *st);
    if (!st)
        return NULL;
    st->shard_set = t;
    st->stats = stats;
    meter_init(&st->meter);
    st->event_meta = LUA_NOREF;
    snprintf(st->name, sizeof st->name, "%s", name);
    st->L = luaL_newstate();
    if (!st->L) {
        free(st);
        return NULL;
    }
    st->alloc = lua_getallocf(st->L, &st->alloc_ctx);
    st->memory = (int64_t)lua_gc(st->L, LUA_GCCOUNT, 0) * 1024;
    t->memory += (uint64_t)st->memory;
    lua_setallocf(st->L, capped_alloc, st);
    /* Compiled code would check no hook. */
    luaJIT_setmode(st->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    lua_gc(st->L, LUA_GCSETPAUSE, PAUSE_ROOMY);
    if (lua_cpcall(st->L, open_sandbox, NULL) != 0) {
        state_free(st);
        return NULL;
    }
    return st;
}

void state_free(struct state *st)
{
    if (!st)
        return;
    timers_drop(st);
    waiting_drop_all(st);
    lua_setallocf(st->L, st->alloc, st->alloc_ctx);
    lua_close(st->L);
    st->shard_set->memory -= (uint64_t)st->memory;
    for (uint32_t i = 0; i < st->handler_count; i++) {
        free(st->handlers[i].glob);
        breaker_fini(&st->handlers[i].breaker);
    }
    for (uint32_t i = 0; i < st->action_count; i++)
        breaker_fini(&st->actions[i].h.breaker);
    breaker_fini(&st->once.breaker);
    breaker_fini(&st->later.breaker);
    for (uint32_t i = 0; i < st->command_count; i++) {
        free(st->commands[i].name);
        free(st->commands[i].help);
    }
    free(st->handlers);
    free(st->actions);
    free(st->commands);
    free(st->accepted_claims);
    buf_free(&st->scratch);
    free(st);
}

int state_load(struct state *st, const char *file, struct slice text)
{
    return state_load_within(st, file, text, LOAD_BUDGET_US);
}

int state_load_within(struct state *st, const char *file, struct slice text, uint64_t budget_us)
{
    lua_State *L = st->L;
    char chunk[300];
    if (!stack_floor(__builtin_frame_address(0), stack_bottom())) {
        snprintf(st->error, sizeof st->error, "%s: this thread has too little stack for scripts; see ulimit -s", file);
        return ERR_INVALID;
    }
    snprintf(chunk, sizeof chunk, "@%s", file);
    if (text.n && text.p[0] == LUA_SIGNATURE[0]) {
        snprintf(st->error, sizeof st->error, "%s: this is compiled Lua; a script must be text", file);
        return ERR_INVALID;
    }
    st->starved = false;
    int status = luaL_loadbufferx(L, text.n ? text.p : "", text.n, chunk, "t");
    if (status != 0) {
        take_error(st, status, false);
        return ERR_INVALID;
    }
    return state_call(st, 0, 0, budget_us, true);
}
