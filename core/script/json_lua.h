/*
 * JSON and Lua values. An object is a table with text keys; an array is a table with keys 1..n, and one that came from
 * JSON (or from magpie.json.array) stays an array when it is empty. null is magpie.json.null.
 */
#ifndef MAGPIE_SCRIPT_JSON_LUA_H
#define MAGPIE_SCRIPT_JSON_LUA_H

#include "core/base/slice.h"

#include <lua.h>

struct cJSON;
struct state;

enum { JSON_LUA_MAX = 1 << 20 };         /* bytes of a text that is read or written */
enum { JSON_LUA_FRAME_MAX = 256 << 10 }; /* bytes of an answer or a push that a script makes */
enum json_lua_null { JSON_LUA_KEEP_NULL, JSON_LUA_DROP_NULL /* members of objects: null counts as absent */ };

/* All raise Lua errors. */
void json_lua_push(struct state *st, lua_State *L, const struct cJSON *value, enum json_lua_null null);
/* The value at `index` as JSON, JSON_LUA_MAX bytes at most: in the state's scratch buffer, until that is used again. */
struct slice json_lua_encode(struct state *st, lua_State *L, int index);
/* The table at the top is an array, also while it is empty. */
void json_lua_mark_array(struct state *st, lua_State *L);
/* Leaves the table magpie.json at the top. */
void json_lua_open(struct state *st, lua_State *L);

#endif
