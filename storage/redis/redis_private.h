/*
 * The inside of the Redis engine: what its files share. Nobody else includes this, but its tests.
 *
 * Threads: any thread hands over; one, the engine's, does everything else (io.c). README.md tells the whole story.
 */
#ifndef MAGPIE_STORAGE_REDIS_PRIVATE_H
#define MAGPIE_STORAGE_REDIS_PRIVATE_H

#include "storage/engine.h"
#include "storage/redis/client/call.h"
#include "storage/redis/client/library.h"
#include "storage/redis/client/link.h"
#include "storage/redis/client/partition.h"
#include "storage/redis/client/queue.h"
#include "storage/redis/client/slots.h"

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    SPARE_BODIES = 1024, /* memory of so many calls is kept */
    SPARE_SIZE = 4096,   /* but not of larger ones */
    TICK_BUSY = 20,      /* ms between two looks while something is under way */
    TICK_IDLE = 200
};

/* What tests may put in place of the world. */
struct redis_hooks {
    uint64_t (*wall_ms)(void *ctx); /* NULL, here and below: the system's */
    uint64_t (*boot_ms)(void *ctx);
    uint64_t (*turn_ms)(void *ctx); /* what patience and silence go by */
    void *ctx;
    const struct node_ears *node_ears; /* instead of the bus's; NULL: none */
    uint32_t names_max;                /* names of gone channels that a partition keeps; 0: as sweep.c says */
    bool sweep_all;                    /* it sweeps all partitions, other nodes or not */
};

/* What a link says to a process of the cluster. Owned; NULL: nothing. */
struct redis_login {
    char *username, *password;
};

/* Counters of the metrics. Any thread reads. */
struct redis_stats {
    _Atomic uint64_t appended, duplicates; /* of store_get_stats() */
    _Atomic uint64_t groups;               /* that ended well */
    _Atomic uint64_t repeats;              /* that went back as a whole: what became of them was not known */
    _Atomic uint64_t unknown;              /* operations answered STORE_UNKNOWN */
    _Atomic uint64_t lost;                 /* losses that were told of: lost.h */
    _Atomic uint64_t queue;                /* operations under way */
    _Atomic uint64_t news_in;              /* of other nodes */
    _Atomic uint64_t ear_resets;           /* how often news may have been missed, by partition */
    _Atomic uint64_t bytes;                /* of calls that wait */
    _Atomic uint32_t masters;              /* known */
    _Atomic uint32_t masters_lost;         /* of them out of reach */
    _Atomic uint32_t masters_short;        /* of them short of copies */
};

struct tasks; /* task.c's: the operations under way */
struct known;
struct untold;
struct gone;
struct ghosts;
struct settles;
struct marks;
struct channels;
struct notes;
struct sweeper;
struct cold;
struct cluster_time;
struct node_self;
struct node_ears;
struct notes_log;
struct report;
struct balance;
struct redis_bus;
struct telling;

struct redis {
    struct store base; /* first: what the doors know of it */

    /* Engine's thread alone. */
    struct store_options options; /* in force; its strings and lists belong to the engine */
    struct ev_loop *loop;
    uint64_t turn_ms; /* CLOCK_BOOTTIME when this turn of the loop began: for patience, silence, timers */
    uint64_t since;   /* when the operation that is being begun was handed over, likewise; 0: none is */
    struct partition_tags tags;
    struct library library;
    struct redis_login login;
    struct part parts[PARTITIONS];
    struct slots slots;
    struct queue failed;            /* calls to be answered at the turn's end */
    uint64_t expired_at;            /* when old calls were looked for last */
    struct buf spare[SPARE_BODIES]; /* memory for bodies of calls */
    uint32_t spare_count;
    bool stopped; /* nothing is sent any more */
    uint64_t broken_record_ms,
        broken_reply_ms; /* when the log was told of such last (broken.h), by turn_ms; 0: never */
    char refusal[160];   /* what Redis said of the last call, or library, that it will not have; "": of none yet */
    struct ev_async wake;
    struct ev_prepare turn_end;
    struct ev_check turn_begin;
    struct ev_timer tick;
    uint32_t tick_ms;           /* how often it comes now */
    char input[LINK_READ_SIZE]; /* where links read into */
    uint64_t last_place;        /* the largest of this engine's messages (layout_place) */
    uint32_t background;        /* calls that no operation waits for, but the engine's end does */
    bool resting;               /* what was to be done at the end has been begun */
    struct tasks *tasks;        /* task.c */
    struct known *known;        /* known.c */
    struct untold *untold;      /* untold.c */
    struct gone *gone;          /* gone.c */
    struct ghosts *ghosts;      /* sessions.c */
    struct settles *settles;    /* settle.c */
    struct marks *marks;        /* marks.c */
    struct channels *channels;  /* channels.c */
    struct notes *notes;        /* notes.c */
    uint32_t saves;             /* users saved: op_user.c */
    struct sweeper *sweeper;    /* sweep.c */
    struct cold *cold;          /* cold.c; NULL: there is no archive */
    struct cluster_time *time;  /* time.c */
    struct node_self *node;     /* node.c */
    const struct node_ears *node_ears;
    struct notes_log *notes_log; /* notes_log.c */
    struct report *report;       /* report.c */
    struct balance *balance;     /* balance.c */
    struct redis_bus *bus;       /* bus.c */
    struct telling *telling;     /* tell.c */

    int lock_fd; /* of the data directory; -1: none */
    struct redis_hooks hooks;
    pthread_t thread;
    bool started; /* the thread runs */

    /* What other threads hand over. */
    pthread_mutex_t lock;
    struct mail *first, **last;   /* under lock: operations in the order handed over */
    struct mail *run, **run_last; /* under lock: what is to be run, likewise */
    bool woken;                   /* under lock: the thread has been told of them */
    bool closing;                 /* under lock; the thread's own copy is `ending` */
    bool changed;                 /* under lock: `asked` is to be taken into force */
    pthread_cond_t taken;         /* it was */
    struct store_options asked;   /* under lock: only what is reloadable */
    bool ending;                  /* it ends once all operations are answered */

    struct redis_stats stats;
    struct latency group_latency; /* from sending a group to the WAIT that answers it */
    struct latency wait_latency;  /* of that: from the last reply of its calls */
};

/* redis_open() with hooks; NULL: none. */
MUST_CHECK int redis_open_hooked(struct store **out, const struct store_options *options,
                                 const struct redis_hooks *hooks, char *why, size_t why_size);

/* Everything of it but the thread: for those who run the loop themselves, after which come redis_io_end() and
 * redis_free(). */
MUST_CHECK int redis_new(struct redis **out, const struct store_options *options, const struct redis_hooks *hooks,
                         char *why, size_t why_size);
void redis_free(struct redis *r);

static inline struct redis *redis_of(struct store *s)
{
    return (struct redis *)s; /* its first member */
}

#endif
