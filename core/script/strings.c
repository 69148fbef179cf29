/* string.find, match, gmatch, gsub and rep for scripts: as Lua 5.1's, but for the matcher, which can be interrupted
 * (pattern.h). */
#include "core/script/strings.h"

#include "core/script/pattern.h"
#include "core/script/sandbox.h"
#include "core/script/state.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* Patterns up to this length are compiled on the C stack. */
enum { SHORT = 48 };
enum { SHORT_BYTES = (SHORT + 1) * sizeof(struct pattern_node) + (SHORT / 2 + 1) * sizeof(struct pattern_set) };

static void poll(void *ctx)
{
    lua_State *L = ctx;
    state_poll(state_of(L), L);
}

static struct slice check_slice(lua_State *L, int arg)
{
    size_t n;
    const char *p = luaL_checklstring(L, arg, &n);
    return slice_of(p, n);
}

/* Long patterns get memory from Lua, left on the stack. */
static void compile(lua_State *L, struct pattern *p, struct slice text, bool anchors, void *small)
{
    void *memory = small;
    if (text.n > SHORT && text.n <= PATTERN_MAX)
        memory = lua_newuserdata(L, pattern_memory(text.n));
    const char *why = pattern_compile(p, text, anchors, memory);
    if (why)
        luaL_error(L, "%s", why);
}

static void match_init(struct pattern_match *m, lua_State *L, struct slice s)
{
    m->subject = s.p;
    m->end = s.p + s.n;
    m->level = 0;
    m->steps = 0;
    m->poll = poll;
    m->ctx = L;
    m->why = NULL;
}

static const char *match_at(lua_State *L, struct pattern_match *m, const struct pattern *p, const char *at)
{
    const char *e = pattern_match_at(m, p, at);
    if (m->why)
        luaL_error(L, "%s", m->why);
    return e;
}

/* Capture i (from 0); the whole match where there is none. */
static void push_capture(lua_State *L, const struct pattern_match *m, int i, const char *s, const char *e)
{
    if (i >= m->level) {
        if (i != 0)
            luaL_error(L, "invalid capture index");
        lua_pushlstring(L, s, (size_t)(e - s));
    } else if (m->capture[i].n == CAPTURE_POSITION) {
        lua_pushinteger(L, m->capture[i].p - m->subject + 1);
    } else {
        lua_pushlstring(L, m->capture[i].p, (size_t)m->capture[i].n);
    }
}

static int push_captures(lua_State *L, const struct pattern_match *m, const char *s, const char *e)
{
    int n = m->level == 0 && s ? 1 : m->level;
    luaL_checkstack(L, n, "too many captures");
    for (int i = 0; i < n; i++)
        push_capture(L, m, i, s, e);
    return n;
}

/* Where to begin, from 0: an optional argument that may count from the end. */
static size_t start_of(lua_State *L, int arg, size_t n)
{
    double init = luaL_optnumber(L, arg, 1);
    if (init < 0)
        init += (double)n + 1;
    if (!(init >= 1))
        return 0;
    return init > (double)n + 1 ? n : (size_t)init - 1;
}

static int find(lua_State *L, bool want_place)
{
    struct slice s = check_slice(L, 1), text = check_slice(L, 2);
    size_t init = start_of(L, 3, s.n);
    bool plain = true;
    for (size_t i = 0; i < text.n && plain; i++)
        plain = !text.p[i] || !strchr("^$*+?.([%-", text.p[i]);
    if (want_place && (plain || lua_toboolean(L, 4))) {
        const char *at = text.n ? memmem(s.p + init, s.n - init, text.p, text.n) : s.p + init;
        if (!at) {
            lua_pushnil(L);
            return 1;
        }
        lua_pushinteger(L, at - s.p + 1);
        lua_pushinteger(L, at - s.p + (ptrdiff_t)text.n);
        return 2;
    }
    _Alignas(8) char small[SHORT_BYTES];
    struct pattern p;
    struct pattern_match m;
    compile(L, &p, text, true, small);
    match_init(&m, L, s);
    for (const char *at = s.p + init; at <= m.end; at++) {
        const char *e = match_at(L, &m, &p, at);
        if (e && want_place) {
            lua_pushinteger(L, at - s.p + 1);
            lua_pushinteger(L, e - s.p);
            return push_captures(L, &m, NULL, NULL) + 2;
        }
        if (e)
            return push_captures(L, &m, at, e);
        if (p.anchored)
            break;
    }
    lua_pushnil(L);
    return 1;
}

static int lua_find(lua_State *L)
{
    return find(L, true);
}

static int lua_match(lua_State *L)
{
    return find(L, false);
}

/* upvalues: subject, compiled pattern, where to go on */
static int gmatch_next(lua_State *L)
{
    size_t n;
    const char *subject = lua_tolstring(L, lua_upvalueindex(1), &n);
    const struct pattern *p = lua_touserdata(L, lua_upvalueindex(2));
    struct pattern_match m;
    match_init(&m, L, slice_of(subject, n));
    for (const char *at = subject + lua_tointeger(L, lua_upvalueindex(3)); at <= m.end; at++) {
        const char *e = match_at(L, &m, p, at);
        if (!e)
            continue;
        lua_pushinteger(L, e - subject + (e == at));
        lua_replace(L, lua_upvalueindex(3));
        return push_captures(L, &m, at, e);
    }
    return 0;
}

static int lua_gmatch(lua_State *L)
{
    struct slice text;
    check_slice(L, 1);
    text = check_slice(L, 2);
    lua_settop(L, 2);
    lua_pushvalue(L, 1);
    if (text.n > PATTERN_MAX)
        return luaL_error(L, "pattern too long");
    struct pattern *p = lua_newuserdata(L, sizeof *p + pattern_memory(text.n));
    const char *why = pattern_compile(p, text, false, p + 1);
    if (why)
        return luaL_error(L, "%s", why);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, gmatch_next, 3);
    return 1;
}

/* --- gsub --------------------------------------------------------------------------------------------------------- */

enum { RESULT_SMALL = 512, RESULT_AT = 4 };

/* What gsub makes. On the C stack while it is small, then in Lua's memory, at RESULT_AT of its stack: LuaJIT's own
 * buffer would take 8 KiB of the C stack at each level of a replacement that calls gsub. */
struct result {
    lua_State *L;
    char *p;
    size_t n, cap;
    char small[RESULT_SMALL];
};

static void result_put(struct result *r, const char *p, size_t n)
{
    if (n > r->cap - r->n) {
        size_t cap = r->cap;
        while (cap - r->n < n)
            cap *= 2;
        char *larger = lua_newuserdata(r->L, cap);
        memcpy(larger, r->p, r->n);
        lua_replace(r->L, RESULT_AT);
        r->p = larger;
        r->cap = cap;
    }
    memcpy(r->p + r->n, p, n);
    r->n += n;
}

/* Takes the text at the top off the stack. */
static void result_take(struct result *r)
{
    size_t n;
    const char *p = lua_tolstring(r->L, -1, &n);
    result_put(r, p, n);
    lua_pop(r->L, 1);
}

/* %0 to %9 in a replacement. */
static void add_text(struct result *r, const struct pattern_match *m, struct slice with, const char *s, const char *e)
{
    for (size_t i = 0; i < with.n; i++) {
        if (with.p[i] != '%') {
            result_put(r, with.p + i, 1);
            continue;
        }
        char c = ++i < with.n ? with.p[i] : '\0';
        if (c < '0' || c > '9') {
            result_put(r, &c, 1);
        } else if (c == '0') {
            result_put(r, s, (size_t)(e - s));
        } else {
            push_capture(r->L, m, c - '1', s, e);
            result_take(r);
        }
    }
}

/* The replacement of one match at the top of the stack: false or nil keeps it. */
static void push_replacement(lua_State *L, const struct pattern_match *m, int type, const char *s, const char *e)
{
    if (type == LUA_TTABLE) {
        push_capture(L, m, 0, s, e);
        lua_gettable(L, 3);
    } else {
        lua_pushvalue(L, 3);
        int n = push_captures(L, m, s, e);
        lua_call(L, n, 1);
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        lua_pushlstring(L, s, (size_t)(e - s));
    } else if (!lua_isstring(L, -1)) {
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    }
}

static int lua_gsub(lua_State *L)
{
    struct slice s = check_slice(L, 1), text = check_slice(L, 2), with = SLICE_NONE;
    int type = lua_type(L, 3);
    if (type == LUA_TSTRING || type == LUA_TNUMBER)
        with = check_slice(L, 3);
    else if (type != LUA_TTABLE && type != LUA_TFUNCTION)
        return luaL_argerror(L, 3, "string, function or table expected");
    double max = luaL_optnumber(L, 4, (double)s.n + 1), n = 0;
    lua_settop(L, RESULT_AT);
    _Alignas(8) char small[SHORT_BYTES];
    struct pattern p;
    struct pattern_match m;
    compile(L, &p, text, true, small);
    match_init(&m, L, s);
    struct result r = {.L = L, .n = 0, .cap = RESULT_SMALL};
    r.p = r.small;
    const char *at = s.p;
    while (n < max) {
        const char *e = match_at(L, &m, &p, at);
        if (e) {
            n++;
            if (type == LUA_TTABLE || type == LUA_TFUNCTION) {
                push_replacement(L, &m, type, at, e);
                result_take(&r);
            } else {
                add_text(&r, &m, with, at, e);
            }
        }
        if (e && e > at)
            at = e;
        else if (at < m.end)
            result_put(&r, at++, 1);
        else
            break;
        if (p.anchored)
            break;
    }
    result_put(&r, at, (size_t)(m.end - at));
    lua_pushlstring(L, r.p, r.n);
    lua_pushnumber(L, n);
    return 2;
}

/* --- rep ---------------------------------------------------------------------------------------------------------- */

static int lua_rep(lua_State *L)
{
    struct slice s = check_slice(L, 1), sep = SLICE_NONE;
    double n = luaL_checknumber(L, 2);
    if (!lua_isnoneornil(L, 3))
        sep = check_slice(L, 3);
    if (!(n >= 1) || s.n + sep.n == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    double size = n * (double)(s.n + sep.n);
    if (!(size <= (double)state_of(L)->shard_set->memory_max))
        return luaL_error(L, "not enough memory");
    size_t count = (size_t)n, bytes = count * (s.n + sep.n) - sep.n;
    char *p = lua_newuserdata(L, bytes), *at = p;
    for (size_t i = 0; i < count; i++) {
        memcpy(at, s.p, s.n);
        at += s.n;
        if (sep.n && i + 1 < count) {
            memcpy(at, sep.p, sep.n);
            at += sep.n;
        }
        if ((i & 4095) == 4095)
            state_poll(state_of(L), L);
    }
    lua_pushlstring(L, p, bytes);
    return 1;
}

void strings_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"find", lua_find}, {"match", lua_match}, {"gmatch", lua_gmatch},
                                         {"gsub", lua_gsub}, {"rep", lua_rep},     {NULL, NULL}};
    luaL_register(L, NULL, functions);
}
