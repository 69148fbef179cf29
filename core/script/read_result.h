/* What the store told, as Lua tables. Inside a protected call. */
#ifndef MAGPIE_SCRIPT_READ_RESULT_H
#define MAGPIE_SCRIPT_READ_RESULT_H

#include "storage/store.h"

#include <lua.h>

struct state;

/* People, and bytes of messages, that one answer holds. */
enum { READ_MEMBERS = 200, READ_PAGE_BYTES = 256 << 10 };

/* {members = {{id =, name =}, …}, cursor = of the next page, or nil} */
void read_push_members(struct state *st, lua_State *L, const struct store_members *m);
/* {messages = {{id =, seq =, createdAt =, content =, sender = {id =, name =}}, …}, first =, last =, more =} */
void read_push_history(struct state *st, lua_State *L, const struct store_range *r);
/* The id of a message as the protocol writes it. */
void read_push_id(lua_State *L, uint64_t id);

#endif
