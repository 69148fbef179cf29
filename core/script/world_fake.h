/* A world without a server: a clock that is moved by hand, and a list of what scripts did. For tests of scripts, and of
 * the host itself. */
#ifndef MAGPIE_SCRIPT_WORLD_FAKE_H
#define MAGPIE_SCRIPT_WORLD_FAKE_H

#include "core/base/buf.h"
#include "core/script/world.h"

#include <stdio.h>

struct fake_timer;
struct fake_wait;

enum deed_kind {
    DEED_SEND_USER,
    DEED_SEND_CHANNEL,
    DEED_PUSH,
    DEED_KICK,
    DEED_ANNOUNCE,
    DEED_METRIC,
    DEED_LOG,
    DEED_MEMBERS,
    DEED_HISTORY,
    DEED_FETCH,
    DEED_TOKEN,
    DEED_ORDER /* and enum order_kind */
};

/* Something that a script did. */
struct deed {
    struct deed *next;
    unsigned kind;       /* enum deed_kind */
    double n;            /* action of a push, number of a metric, level of a log line, number of a call that waits */
    char *target, *text; /* NUL-terminated; owned */
};

struct fake_world {
    struct world world;
    uint64_t now_ms, wall_ms;
    FILE *out;                  /* where print() shows; NULL: nowhere; borrowed */
    struct fake_timer *timers;  /* owned */
    struct deed *first, **last; /* oldest first; owned */
    struct fake_wait *waits;    /* calls that wait for fake_world_answer(); owned */
    unsigned wait_last;         /* number given last */
    bool follows;               /* another server of several does what one of all does */
};

void fake_world_init(struct fake_world *w);
/* The timers must have been stopped. */
void fake_world_fini(struct fake_world *w);
/* Moves the clocks and runs the timers that come due on the way, in their order. */
void fake_world_advance(struct fake_world *w, uint64_t ms);
/* Answers the call of that number: with an error, or with a result that is JSON. False: nobody waits for it. */
bool fake_world_answer(struct fake_world *w, unsigned number, const char *error, struct slice json);
/* Forgets the oldest deed. */
void fake_world_shift(struct fake_world *w);

#endif
