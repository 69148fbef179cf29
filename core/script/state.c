#include "core/script/state.h"

#include "core/base/clock.h"
#include "core/script/api.h"
#include "core/script/sandbox.h"
#include "core/script/timer.h"
#include "core/script/watchdog.h"
#include "core/script/world.h"

#include <lauxlib.h>
#include <luajit.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Every so many entries the CPU time of one is measured: asking the clock costs as much as a hook. A prime, so that no
 * pattern of hooks is always missed. */
enum { SAMPLE = 101 };
/* C functions that call Lua that call C …; each level takes some of the thread's stack. */
enum { DEPTH_MAX = 60 };
/* Failures in a row that open the breaker, and for how long: doubled each time up to the last. */
enum { BREAKER_FAILURES = 10, BREAKER_MS = 5000, BREAKER_MAX_MS = 300000 };
/* Garbage is collected when the heap has grown to so many per cent; less far when it is large. */
enum { PAUSE_ROOMY = 1000, PAUSE_FRUGAL = 120, SPEED_ROOMY = 200, SPEED_FRUGAL = 500 };

/* --- Memory ------------------------------------------------------------------------------------------------------- */

/* The collector's pace follows the room that is left. Sets two numbers of the collector, nothing else: also from inside
 * the allocator. */
static void set_pace(struct state *st)
{
    bool frugal = (uint64_t)st->memory > st->troupe->memory_max / 16;
    if (frugal != st->frugal) {
        st->frugal = frugal;
        lua_gc(st->L, LUA_GCSETPAUSE, frugal ? PAUSE_FRUGAL : PAUSE_ROOMY);
        lua_gc(st->L, LUA_GCSETSTEPMUL, frugal ? SPEED_FRUGAL : SPEED_ROOMY);
    }
}

/* LuaJIT's own allocator below a cap. A single state may have three quarters of the shard's memory for scripts, so that
 * one that hoards leaves the others something. */
static void *capped_alloc(void *ctx, void *p, size_t old, size_t n)
{
    struct state *st = ctx;
    struct troupe *t = st->troupe;
    int64_t more = (int64_t)n - (int64_t)old;
    if (more > 0 && !st->tidying) {
        uint64_t all = t->memory + (uint64_t)more, own = (uint64_t)(st->memory + more);
        if (n > t->memory_max || all > t->memory_max || own > t->memory_max / 4 * 3) {
            st->starved = true;
            return NULL;
        }
    }
    void *q = st->alloc(st->alloc_ctx, p, old, n);
    if (q || n == 0) {
        st->memory += more;
        t->memory = (uint64_t)((int64_t)t->memory + more);
        if (more > 0)
            set_pace(st);
    }
    return q;
}

/* --- Entries ------------------------------------------------------------------------------------------------------ */

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* What asking the clock twice costs, so that it is not taken for the script's time. */
static uint64_t clock_cost_ns(void)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        uint64_t began = cpu_ns(), cost = cpu_ns() - began;
        least = cost < least ? cost : least;
    }
    return least;
}

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

int state_call(struct state *st, int args, int results, uint64_t budget_us, bool always_timed)
{
    lua_State *L = st->L;
    struct site *site = st->troupe->site;
    struct watched *w = site->watched;
    if (!SURELY(!site->inside)) {
        lua_pop(L, args + 1);
        snprintf(st->error, sizeof st->error, "%s: entered twice", st->name);
        return ERR_AGAIN;
    }
    bool timed = always_timed || --st->until_sample == 0;
    uint64_t began = timed ? cpu_ns() : 0;
    site->inside = true;
    st->depth = 0;
    st->starved = false;
    watched_enter(w, L, budget_us);
    int status = lua_pcall(L, args, results, 0);
    bool killed = w->killed;
    watched_leave(w);
    site->inside = false;
    if (timed) {
        uint64_t took = cpu_ns() - began;
        took = took > st->clock_cost ? took - st->clock_cost : 0;
        count(&st->stats->cpu_ns, took * (always_timed ? 1 : SAMPLE));
        if (!always_timed)
            st->until_sample = SAMPLE;
    }
    count(&st->stats->calls, 1);
    set_pace(st);
    atomic_store_explicit(&st->stats->memory, st->memory, memory_order_relaxed);
    if (status == 0)
        return 0;
    count(&st->stats->errors, 1);
    if (killed)
        count(&st->stats->kills, 1);
    take_error(st, status, killed);
    if (st->starved) {
        /* What the failed call held is given back at once: it costs that call and nobody else. */
        st->tidying = true;
        lua_cpcall(L, collect, NULL);
        st->tidying = false;
        atomic_store_explicit(&st->stats->memory, st->memory, memory_order_relaxed);
    }
    return ERR_INVALID;
}

void state_poll(struct state *st, lua_State *L)
{
    if (st->troupe->site->watched->killed)
        luaL_error(L, "over its CPU budget");
}

void state_call_inside(struct state *st, lua_State *L, int args, int results)
{
    if (st->depth >= DEPTH_MAX)
        luaL_error(L, "too many functions inside one another");
    st->depth++;
    /* Protected, so that the depth is right again after an error. */
    int status = lua_pcall(L, args, results, 0);
    st->depth--;
    if (status != 0)
        lua_error(L);
}

/* --- The breaker -------------------------------------------------------------------------------------------------- */

bool handler_ready(struct state *st, struct handler *h)
{
    if (h->failures < BREAKER_FAILURES)
        return true;
    struct world *w = st->troupe->site->world;
    return w->mono_ms(w) >= h->shut_until; /* then one is tried */
}

void handler_failed(struct state *st, struct handler *h, const char *what)
{
    struct world *w = st->troupe->site->world;
    const struct log_field fields[] = {
        LOG_STR("script", st->name), LOG_STR("in", what), LOG_STR("error", st->error), {.type = LOG_F_END}};
    w->log(w, LOG_ERROR, "script.error", fields);
    if (h->failures < UINT32_MAX)
        h->failures++;
    if (h->failures < BREAKER_FAILURES)
        return;
    uint32_t doublings = h->failures - BREAKER_FAILURES;
    uint64_t ms = doublings >= 6 ? BREAKER_MAX_MS : (uint64_t)BREAKER_MS << doublings;
    if (ms > BREAKER_MAX_MS)
        ms = BREAKER_MAX_MS;
    h->shut_until = w->mono_ms(w) + ms;
    const struct log_field told[] = {LOG_STR("script", st->name),
                                     LOG_STR("in", what),
                                     LOG_INT("failures", h->failures),
                                     LOG_INT("left_out_ms", ms),
                                     {.type = LOG_F_END}};
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

struct state *state_new(struct troupe *t, const char *name, struct script_stats *stats)
{
    struct state *st = calloc(1, sizeof *st);
    if (!st)
        return NULL;
    st->troupe = t;
    st->stats = stats;
    st->until_sample = 1;
    st->clock_cost = clock_cost_ns();
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
    lua_setallocf(st->L, st->alloc, st->alloc_ctx);
    lua_close(st->L);
    st->troupe->memory -= (uint64_t)st->memory;
    for (uint32_t i = 0; i < st->handler_count; i++)
        free(st->handlers[i].glob);
    for (uint32_t i = 0; i < st->command_count; i++) {
        free(st->commands[i].name);
        free(st->commands[i].help);
    }
    free(st->handlers);
    free(st->actions);
    free(st->commands);
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
