/* magpie.json.decode: from the text straight into tables, so that all of it is the script's own memory and time. */
#include "core/script/json_decode.h"

#include "core/base/json.h"
#include "core/script/json_lua.h"
#include "core/script/state.h"

#include <lauxlib.h>

enum { TOKENS_A_POLL = 128 };
/* Places on Lua's stack. */
enum { AT_TEXT = 1, AT_ROOM = 2 };

struct decoder {
    struct state *st;
    lua_State *L;
    char *room;               /* for texts with escapes, at AT_ROOM; NULL: none needed yet */
    size_t room_size;         /* that of the whole text: enough for each */
    unsigned until_poll;      /* tokens */
    unsigned depth;           /* open tables */
    bool object[JSON_DEPTH];  /* what each is … */
    int elements[JSON_DEPTH]; /* … and how many an array has */
};

static void tick(struct decoder *d)
{
    if (--d->until_poll)
        return;
    d->until_poll = TOKENS_A_POLL;
    state_poll(d->st, d->L);
}

/* The value at the top goes where it belongs. */
static void store(struct decoder *d)
{
    if (!d->depth)
        return;
    if (d->object[d->depth - 1])
        lua_rawset(d->L, -3);
    else
        lua_rawseti(d->L, -2, ++d->elements[d->depth - 1]);
}

static void push_text(struct decoder *d, struct slice raw)
{
    if (!memchr(raw.p, '\\', raw.n)) {
        lua_pushlstring(d->L, raw.p, raw.n);
        return;
    }
    if (!d->room) {
        d->room = lua_newuserdata(d->L, d->room_size);
        lua_replace(d->L, AT_ROOM);
    }
    lua_pushlstring(d->L, d->room, json_unescape(raw, d->room));
}

static const char *on_open(void *ctx, bool object)
{
    struct decoder *d = ctx;
    tick(d);
    luaL_checkstack(d->L, 4, "JSON is too deep");
    lua_newtable(d->L);
    d->object[d->depth] = object;
    d->elements[d->depth++] = 0;
    return NULL;
}

static const char *on_close(void *ctx, bool object)
{
    struct decoder *d = ctx;
    if (!object)
        json_lua_mark_array(d->st, d->L);
    d->depth--;
    store(d);
    return NULL;
}

static const char *on_key(void *ctx, struct slice raw)
{
    struct decoder *d = ctx;
    tick(d);
    push_text(d, raw);
    lua_pushvalue(d->L, -1);
    lua_rawget(d->L, -3);
    bool there = !lua_isnil(d->L, -1);
    lua_pop(d->L, 1);
    return there ? "duplicate key" : NULL;
}

static const char *on_string(void *ctx, struct slice raw)
{
    struct decoder *d = ctx;
    tick(d);
    push_text(d, raw);
    store(d);
    return NULL;
}

static const char *on_number(void *ctx, double value)
{
    struct decoder *d = ctx;
    tick(d);
    lua_pushnumber(d->L, value);
    store(d);
    return NULL;
}

static const char *on_word(void *ctx, char first)
{
    struct decoder *d = ctx;
    tick(d);
    if (first == 'n')
        lua_pushlightuserdata(d->L, NULL);
    else
        lua_pushboolean(d->L, first == 't');
    store(d);
    return NULL;
}

int json_lua_decode(lua_State *L)
{
    static const struct json_sink sink = {
        .open = on_open, .close = on_close, .key = on_key, .string = on_string, .number = on_number, .word = on_word};
    size_t n;
    const char *p = luaL_checklstring(L, AT_TEXT, &n);
    if (n > JSON_LUA_MAX)
        return luaL_error(L, "magpie.json.decode: more than %d bytes", JSON_LUA_MAX);
    lua_settop(L, AT_ROOM);
    struct decoder d = {.st = state_of(L), .L = L, .room_size = n, .until_poll = TOKENS_A_POLL};
    const char *why = json_read(slice_of(p, n), &sink, &d);
    if (!why)
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}
