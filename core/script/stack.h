/*
 * The C stack that scripts may use. Lua that calls C that calls Lua takes some of the thread's stack at each level, and
 * each coroutine begins counting anew in LuaJIT: without a limit a script of five lines ends the server.
 *
 * LuaJIT calls every C function by way of stack_guard(), which looks where the stack really is. So it does not matter
 * which function recurses, through which metamethod, inside how many coroutines.
 */
#ifndef MAGPIE_SCRIPT_STACK_H
#define MAGPIE_SCRIPT_STACK_H

#include "core/base/err.h"

#include <lua.h>

/* The lowest address of the calling thread's stack that may be used; NULL: not known. Costs a system call or more. */
char *stack_bottom(void);
/* Where the stack of scripts ends that are entered at `here` on a thread with that bottom. NULL: the thread has too
 * little left for any. */
char *stack_floor(char *here, const char *bottom);

/* Makes the state call C functions by way of the guard: those pushed by lua_pushcclosure(), before or after. Functions
 * of LuaJIT's own libraries are not among them: sandbox.c pushes anew those that scripts get. Raises a Lua error where
 * LuaJIT cannot. */
void stack_guard_install(lua_State *L);

#endif
