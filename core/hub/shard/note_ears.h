/*
 * Notes that change while the server runs, as one of several or on another one of them: who hears of which, by the
 * beginning of their keys; and changes that nobody waits for. A server alone hears of none: what it changes it knows.
 */
#ifndef MAGPIE_HUB_NOTE_EARS_H
#define MAGPIE_HUB_NOTE_EARS_H

#include "core/base/err.h"
#include "core/base/slice.h"
#include "storage/store.h"

#include <stdbool.h>
#include <stdint.h>

struct bus_noted;
struct hub;
struct silent_nodes;

/* A change, in the order in which all nodes hear of them. The next one comes only after note_applied(). */
struct note_change {
    struct slice key, value; /* as it is now; borrowed until note_applied() */
    bool removed;
    bool passing;    /* nothing is kept: it is told, and that is all */
    bool all;        /* instead: all notes are to be read anew, for more was missed than can be told */
    uint64_t number; /* note_order.number, where this process made the change; else 0 */
};

struct note_ear {
    const char *prefix; /* of keys; static */
    /* On the bus's thread, which may not wait. */
    void (*changed)(void *ctx, const struct note_change *n);
    void *ctx;
};
/* From now on, and before hub_start(); before what stands is read, lest a change be missed in between. Main thread.
 * ERR_FULL. */
MUST_CHECK int note_ear_add(struct hub *hub, const struct note_ear *e);
/* No more; that of this ctx. After hub_stop(). */
void note_ear_remove(struct hub *hub, const void *ctx);
/* What the ear was told is in force here. Any thread; inside of `changed`, too. */
void note_applied(struct hub *hub);
/* The bus tells: bus_ears.noted. */
void notes_noted(void *hub, struct bus_noted *n);

/* Of a change that this process makes: the next one. All take theirs here, for the log knows a change by it. Any
 * thread. */
uint64_t note_number(struct hub *hub);

/* A change that is written, and told to the other nodes, behind: see struct bus_note of storage/bus.h for `add` and
 * `number`. With `spread` it is waited for on all nodes. */
struct note_order {
    struct slice key, value; /* copied */
    bool remove, add;
    bool passing; /* as in struct note_change */
    uint64_t number;
    struct mailbox *home;
    void (*done)(void *ctx, enum store_status status); /* on home's thread */
    /* Instead, where it is not NULL: it is in force on all nodes but the silent ones. */
    void (*spread)(void *ctx, enum store_status status, const struct silent_nodes *silent);
    void *ctx;
};
/* ERR_CLOSED: the server is alone; ERR_NOMEM. Any thread. */
MUST_CHECK int note_order(struct hub *hub, const struct note_order *o);

/* Reads all notes whose keys begin so, on the main thread, in pieces, with what else there is to do in between. `each`
 * gets them in the order of keys, and at the end NULL, with 0 or ERR_IO: not all could be read. */
MUST_CHECK int notes_read(struct hub *hub, const char *prefix,
                          void (*each)(void *ctx, const struct store_note *n, int rc), void *ctx);

#endif
