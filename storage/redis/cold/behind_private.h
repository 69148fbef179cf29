/* What behind.c (into the archive) and behind_leave.c (out of Redis) share: the jobs, one for a conversation. */
#ifndef MAGPIE_STORAGE_REDIS_BEHIND_PRIVATE_H
#define MAGPIE_STORAGE_REDIS_BEHIND_PRIVATE_H

#include "core/base/table.h"
#include "storage/archive.h"
#include "storage/conv_key.h"
#include "storage/redis/client/call.h"
#include "storage/redis/client/partition.h"
#include "storage/redis/cold/behind.h"
#include "storage/redis/layout.h"

#include <ev.h>
#include <stdatomic.h>

enum {
    JOB_ROWS = 64,               /* rows of a conversation that are dealt with at once */
    JOB_TRIES = 4,               /* readings of rows that were changed each time; then the next sweep goes on */
    BATCH_BYTES = 2 << 20,       /* rows of a batch; a batch that is larger goes */
    BATCH_MS = 20,               /* how long a batch waits for more rows */
    BYTES_MAX = 32 << 20,        /* rows in memory; no conversation is begun beyond */
    HELD_MAX = 256,              /* conversations of which the database refused a row … */
    HELD_MS = 300000,            /* … and that are not tried again for so long */
    ARCHIVE_PATIENCE_MS = 30000, /* of what nobody waits for */
    WARN_MS = 60000              /* the archive is this far behind: that is told */
};

struct job {
    uint32_t index; /* in behind.jobs */
    bool leave;     /* rows leave Redis (behind_leave.c); false: they go to the archive */
    uint8_t tries;
    uint8_t pages; /* leave: rounds that it has done */
    uint16_t part;
    struct conv_key key;
    struct behind *b;
    struct layout_head head; /* as its rows were read */
    uint64_t to;             /* the rows up to here were read */
    uint64_t gone;           /* below it the archive has nothing that shows: what `first` becomes */
    uint64_t warm_ms;        /* leave: rows born since then stay in Redis */
    uint64_t look_ms;        /* when the archive's oldest row ends; 0: never, or it has none */
    uint32_t from, n;        /* its rows in the batch */
    struct job *next;        /* in the batch */
    struct call call;
    struct buf bytes;         /* leave: its rows */
    struct archive_row *rows; /* leave: JOB_ROWS of them, borrowing from bytes */
    union {
        struct archive_put put; /* leave: rows that the archive lacks */
        struct archive_range range;
        struct archive_oldest oldest;
        struct archive_drop drop;
    } ask;
};

/* Rows of several conversations on their way. */
struct batch {
    struct archive_put put;
    struct archive_row rows[ARCHIVE_ROWS_MAX]; /* until it is sent: seq, and where their records are in bytes */
    struct behind *b;
    struct job *jobs; /* whose rows they are */
    struct buf bytes; /* what the rows borrow; offsets until it is sent */
};

struct held {
    uint64_t hash;     /* of the conversation's key; 0: free */
    uint64_t until_ms; /* by redis.turn_ms */
};

struct behind {
    struct redis *r;
    struct job *jobs[BEHIND_MAX];
    uint32_t free[BEHIND_MAX]; /* indexes without a job */
    uint32_t free_n;
    struct table table; /* of jobs, by key */
    unsigned reading;   /* jobs whose rows are being read for the batch */
    struct batch *open; /* what is gathered; NULL: nothing */
    size_t bytes;       /* of all batches */
    struct ev_timer flush;
    struct held held[HELD_MAX];
    uint64_t oldest[PARTITIONS]; /* births of the oldest waiting rows, of partitions swept here; 0: none */
    _Atomic uint64_t oldest_all; /* the least of them; 0: none */
    bool warned;                 /* it was told that the archive is behind */
};

/* Ends a job. */
void behind_end(struct job *j);
/* Begins to read rows: from `archived` or, leave, from `low` on. The call's reply goes to `done`. */
void behind_read(struct job *j, void (*done)(struct redis *, struct call *, enum store_status, const struct reply *));
/* Takes what every such reply begins with: the head, and from where its rows are. An enum err; ERR_NOTFOUND: there is
 * no such pair. */
MUST_CHECK int behind_head(struct job *j, const struct reply *reply, uint64_t *from);
/* Tells the head. checked: `archived` is new, and holds only for the head's edits. */
void behind_tell(struct job *j, bool checked, uint64_t archived,
                 void (*done)(struct redis *, struct call *, enum store_status, const struct reply *));
/* Rows of it leave Redis, or not: a new job's beginning. */
void behind_leave(struct job *j);

#endif
