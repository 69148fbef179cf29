/* magpie.after() and magpie.every(). Those set while a script loads wait until it is in force, and then run on shard 0
 * only, unless each_shard. */
#ifndef MAGPIE_SCRIPT_TIMER_H
#define MAGPIE_SCRIPT_TIMER_H

#include "core/script/state.h"

#include <stdbool.h>
#include <stdint.h>

struct timer {
    struct timer *next, *prev; /* of the state */
    struct state *st;
    uint64_t id;               /* ascending, never 0 */
    double after_ms, every_ms; /* every_ms 0: once */
    struct handler h;          /* fn, breaker */
    bool each_shard;
    bool of_one;  /* of several nodes one runs it: the one that leads when it is due */
    bool started; /* the world knows it */
    void *world;  /* the world's own; it frees it in timer_stop() */
};

/* after, every, cancel into the table at the top. */
void timers_open(lua_State *L);
/* The script is in force on this shard now: starts what it set while it loaded, and forgets what is for another
 * shard. */
void timers_begin(struct state *st, bool first_shard);
/* The world: it is due. A timer that runs once is gone afterwards. */
void timer_fire(struct timer *t);
/* Stops and forgets all of them. */
void timers_drop(struct state *st);

#endif
