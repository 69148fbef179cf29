/* magpie.fetch: HTTP to what scripts.fetch lists. */
#include "core/script/api.h"

#include "core/base/json.h"
#include "core/script/fetcher.h"
#include "core/script/state.h"
#include "core/script/waiting.h"
#include "core/script/words.h"
#include "core/script/world.h"

#include <cjson/cJSON.h>
#include <lauxlib.h>
#include <math.h>
#include <string.h>
#include <strings.h>

enum { HEADER_BYTES_MAX = 8 << 10 };

/* --- What may be reached ------------------------------------------------------------------------------------------ */

const char *fetch_prefix_wrong(const char *text)
{
    struct fetch_url u;
    const char *wrong = fetch_url_parse(slice_str(text), &u);
    return wrong || !u.query.n ? wrong : "it has a query";
}

/* Raises an error where no prefix of the config lets the URL through. */
static void check_listed(lua_State *L, const struct fetch_url *url)
{
    const cJSON *list = json_at(state_of(L)->shard_set->config, "scripts.fetch"), *item;
    struct fetch_url prefix;
    cJSON_ArrayForEach(item, list)
    {
        if (cJSON_IsString(item) && !fetch_url_parse(slice_str(item->valuestring), &prefix) &&
            fetch_url_below(url, &prefix))
            return;
    }
    luaL_error(L, "magpie.fetch: scripts.fetch lists no beginning of this URL (host %s, port %d)", url->host,
               (int)url->port);
}

/* --- The request -------------------------------------------------------------------------------------------------- */

/* A text field of the table at 1, or what is given for none. It stays on the stack. */
static struct slice text_field(lua_State *L, const char *field, struct slice none)
{
    size_t n;
    state_field(L, 1, field);
    if (lua_isnil(L, -1))
        return none;
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "magpie.fetch: %s is a text", field);
    const char *p = lua_tolstring(L, -1, &n);
    return slice_of(p, n);
}

static void take_method(lua_State *L, struct fetch_request *q)
{
    static const char known[] = "GET POST PUT PATCH DELETE HEAD";
    q->method = text_field(L, "method", q->body.n ? SLICE_LIT("POST") : SLICE_LIT("GET"));
    if (!words_have(known, q->method.p))
        luaL_error(L, "magpie.fetch: method is one of %s", known);
    if (q->body.n && (slice_eq(q->method, SLICE_LIT("GET")) || slice_eq(q->method, SLICE_LIT("HEAD"))))
        luaL_error(L, "magpie.fetch: %s has no body", q->method.p);
}

/* Those that belong to the connection, or say where the request goes. */
static bool header_reserved(struct slice name)
{
    static const char *const reserved[] = {
        "host", "content-length", "transfer-encoding", "connection", "expect", "upgrade",
        "te",   "trailer",        "keep-alive",        NULL};
    for (const char *const *r = reserved; *r; r++)
        if (strlen(*r) == name.n && strncasecmp(*r, name.p, name.n) == 0)
            return true;
    return name.n >= 6 && strncasecmp(name.p, "proxy-", 6) == 0;
}

static bool header_name_good(struct slice name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!#$%&'*+^`|~", name.p[i]) ||
            !name.p[i])
            return false;
    return name.n > 0;
}

static bool header_value_good(struct slice value)
{
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7f)
            return false;
    return true;
}

/* The table at the top: its texts stay in it, and it in the table at 1. */
static void take_headers(lua_State *L, struct fetch_request *q)
{
    size_t bytes = 0;
    state_field(L, 1, "headers");
    if (lua_isnil(L, -1))
        return;
    luaL_checktype(L, -1, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        struct fetch_header *h = &q->headers[q->header_count];
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "magpie.fetch: headers is a table of texts, {[\"content-type\"] = \"application/json\"}");
        if (q->header_count++ == FETCH_HEADERS_MAX)
            luaL_error(L, "magpie.fetch: %d headers at most", FETCH_HEADERS_MAX);
        h->name.p = lua_tolstring(L, -2, &h->name.n);
        h->value.p = lua_tolstring(L, -1, &h->value.n);
        if (!header_name_good(h->name))
            luaL_error(L, "magpie.fetch: \"%s\" is no name of a header", h->name.p);
        if (!header_value_good(h->value))
            luaL_error(L, "magpie.fetch: the header %s has a control character (a new line?)", h->name.p);
        if (header_reserved(h->name))
            luaL_error(L, "magpie.fetch: the header %s is the server's own", h->name.p);
        bytes += h->name.n + h->value.n;
        if (bytes > HEADER_BYTES_MAX)
            luaL_error(L, "magpie.fetch: the headers have 8 KiB at most");
    }
}

static void take_timeout(lua_State *L, struct fetch_request *q)
{
    state_field(L, 1, "timeout_ms");
    double ms = lua_isnil(L, -1) ? FETCH_TIMEOUT_MS : lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
    if (!(ms >= 1 && ms <= FETCH_TIMEOUT_MAX_MS))
        luaL_error(L, "magpie.fetch: timeout_ms is a number from 1 to %d", FETCH_TIMEOUT_MAX_MS);
    q->timeout_ms = (uint32_t)ceil(ms);
}

/* fetch({url =, method =, headers =, body =, timeout_ms =}, fn) */
static int lua_fetch(lua_State *L)
{
    struct fetch_request q = {.header_count = 0};
    state_check_options(L, 1, "fetch");
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    words_check_keys(L, 1, "magpie.fetch: unknown field", "url method headers body timeout_ms");
    if (!fetcher_built())
        return luaL_error(L, "magpie.fetch: this server was built without libcurl");
    struct slice url = text_field(L, "url", SLICE_NONE);
    if (!url.p)
        return luaL_error(L, "magpie.fetch: url is missing");
    const char *wrong = fetch_url_parse(url, &q.url);
    if (wrong)
        return luaL_error(L, "magpie.fetch: the URL cannot be taken: %s", wrong);
    check_listed(L, &q.url);
    q.body = text_field(L, "body", SLICE_NONE);
    if (q.body.n > FETCH_BODY_MAX)
        return luaL_error(L, "magpie.fetch: the body has 256 KiB at most");
    take_method(L, &q);
    take_headers(L, &q);
    take_timeout(L, &q);
    struct world *w = api_begin(L, "fetch");
    struct waiting *waiting = waiting_new(L, 2, "fetch");
    int rc = w->fetch(w, waiting, &q);
    if (rc == 0)
        return 0;
    waiting_undo(waiting);
    return luaL_error(L, "magpie.fetch: %s", rc == ERR_AGAIN ? "too many requests are under way" : err_str(rc));
}

void fetch_push(struct state *st, lua_State *L, void *ctx)
{
    struct fetch *x = ctx;
    (void)st;
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, (int)x->status);
    lua_setfield(L, -2, "status");
    lua_createtable(L, 0, 8);
    for (size_t i = 0; i < x->head.n;) {
        const char *name = x->head.p + i, *value = name + strlen(name) + 1;
        i += strlen(name) + strlen(value) + 2;
        lua_getfield(L, -1, name);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushstring(L, value);
        } else { /* there was one of that name: a list, as RFC 9110 joins them */
            lua_pushliteral(L, ", ");
            lua_pushstring(L, value);
            lua_concat(L, 3);
        }
        lua_setfield(L, -2, name);
    }
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, x->body.n ? x->body.p : "", x->body.n);
    lua_setfield(L, -2, "body");
}

void api_fetch_open(lua_State *L)
{
    lua_pushcfunction(L, lua_fetch);
    lua_setfield(L, -2, "fetch");
}
