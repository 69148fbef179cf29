/*
 * The inside of the embedded engine: what its files share. Nobody else includes this, but its tests.
 *
 * Threads: one writer (writer.c) takes all W operations and alone changes the database; one syncer (syncer.c) makes
 * what was written durable and answers those who wait for that; readers (reader.c) answer R operations. README.md tells
 * the whole story.
 */
#ifndef MAGPIE_STORAGE_LOCAL_PRIVATE_H
#define MAGPIE_STORAGE_LOCAL_PRIVATE_H

#include "storage/engine.h"
#include "storage/expiry.h"
#include "storage/kv/kv.h"
#include "storage/local/guard.h"
#include "storage/local/limits.h"
#include "storage/local/reader.h"
#include "storage/local/record.h"

#include <pthread.h>
#include <stdatomic.h>

struct identity;
struct local;
struct recent;
struct writer;
struct syncer;
struct durable;

/* What tests may put in place of the world. */
struct local_hooks {
    struct guard_source clock;       /* wall_ms NULL: the system's */
    int (*before_write)(void *ctx);  /* writer: not 0 fails the group's write with that error */
    int (*before_sync)(void *ctx);   /* syncer: likewise */
    int (*before_reopen)(void *ctx); /* writer: not 0 fails the recovery */
    /* before the engine begins: fills the database that is open by then, or fails; NULL: nothing to be done */
    int (*fill)(void *ctx, struct local *s, char *why, size_t why_size);
    uint32_t names_max; /* names kept of channels that are gone; 0: as many as vacant.h says */
    void *ctx;
};

/* The engine's own changes, beside those of STORE_OPS: see hint.h. */
/* clang-format off */
#define LOCAL_OPS(W)            \
    W(FLOOR, floor)             \
    W(VACANT, vacant)           \
    W(INBOX_CLEAN, inbox_clean) \
    W(UNGUEST, unguest)         \
    W(TICK, tick)
/* clang-format on */
#define LOCAL_OP_KIND(NAME, name) OP_##NAME,
enum local_op_kind { LOCAL_OPS_FOLLOW = OP_KINDS - 1, LOCAL_OPS(LOCAL_OP_KIND) LOCAL_OP_KINDS };
#undef LOCAL_OP_KIND

/* Bits of store_op.note. */
enum { NOTE_CHANGED = 1 }; /* the operation changed something: its fate is unknown when its write or sync fails */

enum { DELETED_WORDS = 1 << 14 }; /* of 64 bits, in local.deleted */

/* Reloadable options, read by any thread. */
struct live_options {
    _Atomic uint32_t durability[TIER_COUNT];
    _Atomic uint32_t inbox_max;
    _Atomic bool keep_vacant;
    _Atomic uint32_t version; /* counts changes that make cached expiry answers stale */
};

struct local {
    struct store base; /* what the doors know of it */
    struct local_hooks hooks;
    struct expiry expiry;
    struct guard guard;
    struct live_options live;
    struct limits limits; /* times to live and counts, of now and before */
    uint16_t node;
    uint32_t sync_every_ms;

    pthread_rwlock_t swap; /* readers and syncer hold it to use kv; the writer takes it alone to replace kv */
    struct kv *kv;         /* owned */
    struct kv_rocksdb_options reopen; /* rocksdb: how to open again; path is owned */
    struct durable *durable;          /* rocksdb: files beside the database; NULL for memory; owned */

    struct recent *recent; /* what readers know of conversations that were read lately; owned */
    struct writer *writer;
    struct syncer *syncer;
    struct reader readers[STORE_READERS];
    uint32_t reader_count; /* threads that run */

    /* Group numbers: written <= given. Reads begun after an early (async) answer wait until that group is written. */
    _Atomic uint64_t given_group, written_group, synced_group;
    pthread_mutex_t written_lock;
    pthread_cond_t written_cond;

    pthread_mutex_t work_lock;
    pthread_cond_t work_cond; /* working has become 0 */
    unsigned working;         /* under work_lock: threads of work.c */
    bool work_closed;         /* under work_lock: no new ones */

    /* Counters of store_get_stats. */
    _Atomic uint64_t appended, groups, syncs, duplicates, queue, errors, reopens;
    struct latency sync_latency;
    _Atomic uint64_t memory; /* as the database said last */
    _Atomic bool failing;
    /* bits by hash of the users that may have a row of deleted.h; pages of it that are all 0 take no memory */
    _Atomic uint64_t deleted[DELETED_WORDS];
};

/* local_open() with hooks; NULL: none. */
MUST_CHECK int local_open_hooked(struct store **out, const struct store_options *options,
                                 const struct local_hooks *hooks, char *why, size_t why_size);

/* Opens a database on a disk without serving from it, and without changing it: its clocks run, its options are in
 * force, and there are no threads. `id` gets what it says of itself; lost: what was not synced may be missing.
 * ERR_NOTFOUND: there is none. Else as local_open(). End it with local_close_still(). */
MUST_CHECK int local_open_still(struct local **out, struct identity *id, bool *lost,
                                const struct store_options *options, const struct local_hooks *hooks, char *why,
                                size_t why_size);
void local_close_still(struct local *s);

/* Opens an empty database in a directory that has none (or what an import left that was cut short), without threads and
 * clocks. ERR_EXISTS: there is one. Else as local_open(). */
MUST_CHECK int local_open_empty(struct local **out, const struct store_options *options,
                                const struct local_hooks *hooks, char *why, size_t why_size);
/* Ends it well: all is synced, and the directory is one that a server may start from. The database says the two numbers
 * of itself. ERR_IO: it is closed all the same. */
MUST_CHECK int local_close_filled(struct local *s, uint64_t instance, uint64_t group);
/* Ends it without having filled it: the database's files go. */
void local_close_cleared(struct local *s);

static inline struct local *local_of(struct store *s)
{
    return (struct local *)s; /* its first member */
}
/* The tier class of a row. */
static inline uint8_t tier_class(enum store_tier t)
{
    return (uint8_t)(t + 1);
}
static inline enum kv_family tier_family(unsigned t)
{
    return (enum kv_family)(KV_DM + t);
}
/* The status for an error of the layers below. */
enum store_status status_of(int code);
/* Logs a record that cannot be read; returns STORE_FATAL. */
enum store_status record_bad(const char *what, struct slice key);

#endif
