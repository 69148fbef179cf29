/*
 * Calls whose answer comes later: magpie.members(), history(), fetch(). The world keeps a struct waiting until it has
 * the answer; then the script's function runs like any hook, within the budget, the memory and the breaker. A reload
 * ends what its old states waited for: the answer is thrown away.
 *
 * On the thread of the state, where nothing else is said.
 */
#ifndef MAGPIE_SCRIPT_WAITING_H
#define MAGPIE_SCRIPT_WAITING_H

#include "core/script/state.h"

/* Of one script on one shard. */
enum { WAITING_MAX = 100 };

struct waiting {
    struct waiting *next, *prev; /* of the state */
    struct state *st;            /* NULL: dropped */
    int fn;                      /* Lua reference */
    const char *what;            /* "members": for the log; static */
    _Atomic bool dropped;        /* nobody wants the answer any more; any thread may look */
    bool has_who;                /* a hook or action of this user has called; who is blamed if the function costs */
    uint8_t who_len;
    char who[64];
};

/* For a call of the running script whose function is the argument `fn`. Raises an error when too many wait. */
struct waiting *waiting_new(lua_State *L, int fn, const char *what);
/* It could not be begun. */
void waiting_undo(struct waiting *w);

/* Pushes the result, one value, inside a protected call. */
typedef void (*waiting_push_fn)(struct state *st, lua_State *L, void *ctx);
/* The answer: calls fn(error, result), with an error, or a result that push makes. Frees it. Lua must not be
 * running. */
void waiting_answer(struct waiting *w, const char *error, waiting_push_fn push, void *ctx);
/* The state is going: drops all that it waits for. */
void waiting_drop_all(struct state *st);
/* Makes the C function that calls. */
void waiting_open(struct state *st, lua_State *L);

#endif
