/*
 * The log of the notes: each change has a place in it, and every node takes them in that order.
 *
 * The node that makes a change tells the others of it (NEWS_LOG). Whoever missed it finds out with its next beat, which
 * shows the newest place. Then the changes in between are read; where there are too many, all notes. What the layers
 * above have of the notes is told in the same order, one change at a time. The place that they have come to stands in
 * the node's beat: so others know what is in force here. Engine's thread, where nothing else is said.
 */
#ifndef MAGPIE_STORAGE_REDIS_NOTES_LOG_H
#define MAGPIE_STORAGE_REDIS_NOTES_LOG_H

#include "core/base/buf.h"
#include "storage/bus.h"

struct redis;
struct task;
struct notes_log;

enum {
    NOTE_KEY_MAX = 200,
    NOTE_VALUE_MAX = 4096,
    NOTE_PASSING_MAX = 65536, /* bytes of a value that is not kept */
    NOTES_LOG_GAP = 200       /* changes that are read, and told, one by one */
};

/* ERR_NOMEM. */
MUST_CHECK int notes_log_init(struct redis *r);
void notes_log_fini(struct redis *r);

/* --- For the node: node_beat.c --- */

/* Whether all notes have been read. */
bool notes_log_known(const struct redis *r);
/* Reads them, unless that is under way or done; the node beats when it is. */
void notes_log_load(struct redis *r);
/* What the last reading came to that failed; STORE_OK: none has. */
enum store_status notes_log_status(const struct redis *r);
/* The node was taken for dead: they are read anew. */
void notes_log_anew(struct redis *r);
/* For its beat: the newest place that is in force here, + 1; 0: none is. */
uint64_t notes_log_place(const struct redis *r);
/* The newest place that this node has taken. */
uint64_t notes_log_told(const struct redis *r);
/* A beat was answered: the newest place then; told: notes_log_told() when it was sent. */
void notes_log_beaten(struct redis *r, uint64_t newest, uint64_t told);

/* --- For operations: op_note.c --- */

/* A change is at that place, as it stands in the log. */
void notes_log_heard(struct redis *r, uint64_t place, struct slice body);
/* There is a change at that place, at least. */
void notes_log_seen(struct redis *r, uint64_t place);
/* done is called once this node has all changes up to a place: now or later, with STORE_OK or as calls. */
struct notes_reader {
    struct notes_reader *next;
    uint64_t place;
    void (*done)(struct redis *r, struct notes_reader *n, enum store_status status);
};
void notes_log_await(struct redis *r, struct notes_reader *n);
/* done is called once the place is in force on all nodes that live, or after 2 s: then those have not said so. */
struct notes_writer {
    struct notes_writer *next;
    uint64_t place;
    uint64_t until_ms; /* by redis.turn_ms */
    void (*done)(struct redis *r, struct notes_writer *n, const struct silent_nodes *silent);
};
void notes_log_spread(struct redis *r, struct notes_writer *n);
/* The same of this node alone: in the order in which they began to wait, where places ascend. */
void notes_log_here(struct redis *r, struct notes_writer *n);
/* Housekeeping: whoever has waited for long enough. */
void notes_log_tick(struct redis *r);
/* The first incarnation of this process, and a number: together they name a change that it makes. */
uint64_t notes_log_born(const struct redis *r);
uint64_t notes_log_number(struct redis *r);
/* Above which place a change is to stand, whatever Redis says. */
uint64_t notes_log_least(const struct redis *r);

/* --- For the bus. Any thread --- */

/* As bus_applied(). */
void notes_log_applied(struct redis *r, struct bus_noted *n);
/* From now on node_ears.noted is told; false: not any more, and what is told is in force. */
void notes_log_listen(struct redis *r, bool on);

/* --- A change, as it stands in the log: version u8, flags u8, incarnation u48, number u48, bytes of the key u16, key,
 * value --- */

enum { NOTE_CHANGE_REMOVE = 1, NOTE_CHANGE_PASSING = 2, NOTE_CHANGE_ADD = 4 };

struct note_change {
    uint8_t flags;
    uint64_t inc, number;
    struct slice key, value;
};
void note_change_put(struct buf *b, const struct note_change *c);
/* ERR_INVALID. It borrows from `body`. */
MUST_CHECK int note_change_read(struct slice body, struct note_change *out);

#endif
