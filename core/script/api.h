/* The module `magpie` (design: docs/scripting.md). The functions are in api_*.c, verdict.c, timer.c and json_lua.c. */
#ifndef MAGPIE_SCRIPT_API_H
#define MAGPIE_SCRIPT_API_H

#include "core/base/slice.h"
#include "storage/conv_key.h"

#include <stdbool.h>

struct lua_State;
struct state;
struct world;

/* Makes the module and `require`. Raises Lua errors. */
void api_open(struct state *st, struct lua_State *L);

/* Functions into the table at the top. */
void api_text_open(struct lua_State *L);   /* magpie.text, a table of its own that is left at the top */
void api_keep_open(struct lua_State *L);   /* kv, shared, store, bucket */
void api_send_open(struct lua_State *L);   /* send_user, send_channel, announce, push, kick */
void api_order_open(struct lua_State *L);  /* join, leave, mute … user_token */
void api_secret_open(struct lua_State *L); /* hmac, random */
void api_read_open(struct lua_State *L);   /* members, history */
void api_fetch_open(struct lua_State *L);  /* fetch */

/* Raises the error that there is no such event, and which one was meant. where: "magpie.on: ". */
int event_unknown(struct lua_State *L, const char *where, const char *name);
/* For a function that does something: the world, or an error, while the script loads and beyond 1000 a second. */
struct world *api_begin(struct lua_State *L, const char *function);
/* "tea", or as e.pair two ids with a tab between. False: no conversation can be called so. */
bool conversation_parse(struct slice text, struct conv_key *out);
/* What is wrong with a prefix of scripts.fetch, for people; NULL: nothing. */
const char *fetch_prefix_wrong(const char *text);
/* A waiting_push_fn: {status =, headers =, body =} of a struct fetch. */
void fetch_push(struct state *st, struct lua_State *L, void *fetch);
/* Whether it may be sent as a message. */
bool content_good(const struct state *st, struct slice content);

#endif
