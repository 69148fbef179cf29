/* String functions on a pattern matcher of our own. */
#ifndef MAGPIE_SCRIPT_STRINGS_H
#define MAGPIE_SCRIPT_STRINGS_H

struct lua_State;

/* find, match, gmatch, gsub, rep into the table at the top. */
void strings_open(struct lua_State *L);

#endif
