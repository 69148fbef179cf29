/* JSON text decoded straight into Lua tables: its memory and time are the script's own. */
#ifndef MAGPIE_SCRIPT_JSON_DECODE_H
#define MAGPIE_SCRIPT_JSON_DECODE_H

struct lua_State;

/* magpie.json.decode */
int json_lua_decode(struct lua_State *L);

#endif
