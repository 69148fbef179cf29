#include "core/script/stack.h"

#include "core/script/state.h"

#include <lauxlib.h>
#include <luajit.h>
#include <pthread.h>
#include <stdint.h>

/* Sanitizers make frames larger. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { FRAMES_LARGER = 4 };
#elif defined __has_feature
enum { FRAMES_LARGER = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ? 4 : 1 };
#else
enum { FRAMES_LARGER = 1 };
#endif

/*
 * STACK_SCRIPT: what one entry may use. An error that passes through n C functions costs LuaJIT n² steps, so that much
 * more would hold a shard for long while it unwinds; this is some 500 functions inside one another, or 60 large ones
 * (gsub). STACK_RESERVE: what one more C function needs at most, with a signal's frame.
 */
enum { STACK_SCRIPT = (128 << 10) * FRAMES_LARGER, STACK_RESERVE = (256 << 10) * FRAMES_LARGER };

char *stack_bottom(void)
{
    pthread_attr_t attr;
    void *low = NULL;
    size_t size = 0, guard = 0;
    if (pthread_getattr_np(pthread_self(), &attr) != 0)
        return NULL;
    if (pthread_attr_getstack(&attr, &low, &size) != 0 || pthread_attr_getguardsize(&attr, &guard) != 0)
        low = NULL;
    pthread_attr_destroy(&attr);
    return low ? (char *)low + guard : NULL;
}

char *stack_floor(char *here, const char *bottom)
{
    uintptr_t floor = (uintptr_t)here - STACK_SCRIPT;
    return (uintptr_t)bottom + STACK_RESERVE <= floor ? here - STACK_SCRIPT : NULL;
}

/* Not for ThreadSanitizer, which takes a function that an error leaves for one that still runs. */
__attribute__((no_sanitize("thread"))) static int stack_guard(lua_State *L, lua_CFunction f)
{
    const struct state *st = state_of(L);
    if ((char *)__builtin_frame_address(0) < st->stack_floor)
        return luaL_error(L, "too many functions inside one another");
    return f(L);
}

void stack_guard_install(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)stack_guard);
    if (!luaJIT_setmode(L, -1, LUAJIT_MODE_WRAPCFUNC | LUAJIT_MODE_ON))
        luaL_error(L, "this LuaJIT cannot guard its C functions");
    lua_pop(L, 1);
}
