/*
 * The watchdog: a thread that stops scripts which run for too long.
 *
 * The wall clock only tells which entry into Lua to look at: one that is still the same after its budget. The CPU clock
 * of its thread decides, so that a shard that only waits for a processor is not stopped. Then the thread gets a signal,
 * whose handler arms a Lua hook that raises an error at the next instruction. The hook stays armed until the entry is
 * left, so that neither pcall nor a coroutine swallows the error. C code that loops asks `watched.killed`.
 *
 * While nobody enters Lua the watchdog sleeps.
 */
#ifndef MAGPIE_SCRIPT_WATCHDOG_H
#define MAGPIE_SCRIPT_WATCHDOG_H

#include "core/base/err.h"
#include "core/script/meter.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct lua_State;
struct watchdog;

/* A thread that runs Lua. Made by watchdog_watch(), lives as long as the watchdog. */
struct watched {
    struct watchdog *dog;
    struct watched *next;
    _Atomic uint64_t entry;     /* odd while Lua runs; every entry and every leaving adds one */
    _Atomic uint64_t overrun;   /* the value of `entry` that has had its time */
    _Atomic uint64_t budget_us; /* of the present entry */
    _Atomic int tid;            /* of the thread that entered last */
    _Atomic clockid_t clock;    /* its CPU clock */
    pthread_t thread;           /* the same, for the thread itself */
    bool known;                 /* `thread` is set, and the next two are its */
    char *stack_bottom;         /* stack.h */
    struct meter_thread meter;
    struct lua_State *lua;        /* that runs; read by the signal handler on the same thread */
    volatile sig_atomic_t killed; /* the present entry is to end */
    /* the watchdog's own */
    uint64_t seen;     /* `entry` when it looked last */
    uint64_t since_us; /* wall clock when it saw that first */
    uint64_t cpu_us;   /* CPU clock at that time */
    uint64_t told_us;  /* when it sent the signal last; 0: not yet */
};

/* NULL: no memory, or no thread. Installs the handler of its signal (SIGURG). Main thread. */
struct watchdog *watchdog_new(void);
/* Nobody may be inside Lua. */
void watchdog_free(struct watchdog *d);
/* Another place where Lua runs, one thread at a time, which lives as long: one made later may look like it. NULL: out
 * of memory. Main thread. */
struct watched *watchdog_watch(struct watchdog *d);

/* Before and after Lua runs. Not nested. */
void watched_enter(struct watched *w, struct lua_State *L, uint64_t budget_us);
void watched_leave(struct watched *w);

#endif
