/* What notes_log.c (following) and notes_log_tell.c (telling the layers above, and who waits for other nodes) share. */
#ifndef MAGPIE_STORAGE_REDIS_NOTES_LOG_PRIVATE_H
#define MAGPIE_STORAGE_REDIS_NOTES_LOG_PRIVATE_H

#include "storage/redis/client/call.h"
#include "storage/redis/nodes/notes.h"
#include "storage/redis/nodes/notes_log.h"

#include <ev.h>
#include <pthread.h>

enum { NOTES_LOG_BEAT_MS = 10, NOTES_LOG_BEAT_MAX_MS = 500 /* of notes_log_gap_ms() */ };

struct notes_log {
    struct redis *r;
    uint64_t told;            /* the newest place that the copy has */
    uint64_t seen;            /* the newest place that was heard of */
    uint64_t least;           /* the newest place that this node has ever had */
    uint64_t applied;         /* the newest place that is in force in the layers above */
    uint64_t numbers;         /* that were given out */
    uint64_t born;            /* the first incarnation of this process: names its changes */
    enum store_status status; /* of the last reading that failed; STORE_OK: none has since all were read */
    bool anew;                /* the layers above are to read all anew, once they have been read here */
    /* Reading: one call at a time. */
    bool asking;
    struct call call;
    uint64_t from;        /* the place before the first that is being read; of all: that they are of, at least */
    uint64_t epoch;       /* of all: of the claim by which the master has partition 0 that is being read */
    struct notes loading; /* what has come so far; owned */
    struct notes_reader *readers;
    struct notes_writer *writers;
    struct notes_writer *here, **here_last; /* that wait for this node alone, oldest first */
    /* Telling: in the order of the log. */
    struct bus_noted *first, *last; /* linked by their mails; owned */
    uint32_t count;                 /* of them */
    uint32_t out;                   /* that the layers above have */
    bool deaf;                      /* they hear no more: what comes is in force at once */
    uint64_t moved;                 /* notes_log_place() when it was looked at last */
    struct ev_timer timer;          /* while somebody waits for a beat */
    bool due;                       /* something has moved since it was started */
    struct ev_async wake;
    _Atomic bool listens, deaf_wanted;
    pthread_mutex_t lock;
    struct bus_noted *back; /* under lock: that are in force; linked by their mails; owned */
};

/* Between two beats that are sent at once, ms. A change of a note makes each node beat, and each beat returns the table
 * of all nodes: so many nodes wait longer, and all of them together take some tenth of that master's time. */
static inline uint32_t notes_log_gap_ms(unsigned nodes)
{
    uint64_t ms = (uint64_t)nodes * (nodes + 30) / 40;
    return ms < NOTES_LOG_BEAT_MS       ? NOTES_LOG_BEAT_MS
           : ms > NOTES_LOG_BEAT_MAX_MS ? NOTES_LOG_BEAT_MAX_MS
                                        : (uint32_t)ms;
}
/* For the layers above; NULL: all. */
void notes_log_tell(struct redis *r, const struct note_change *c);
/* What is in force here may have moved: the others are to see it. */
void notes_log_moved(struct redis *r);
/* A beat was answered that was sent when this node had come to `told`. */
void notes_log_spread_look(struct redis *r, uint64_t told);

#endif
