/*
 * The globals of a script: hand-picked functions of the base library, table, string, math, bit and coroutine. Nothing
 * there reaches files, other states, bytecode, the collector or metatables of strings. Functions of C code that
 * a script could keep busy for long are our own.
 */
#ifndef MAGPIE_SCRIPT_SANDBOX_H
#define MAGPIE_SCRIPT_SANDBOX_H

struct lua_State;

/* Makes the globals. Raises Lua errors (memory). */
void sandbox_open(struct lua_State *L);

#endif
