/*
 * The writer: the one thread that changes the database. What the files with W operations (append.c, inbox.c …) see of
 * it.
 *
 * It takes all queued operations at once and works them off in groups of at most WRITER_GROUP: reads what the group
 * needs with a few multi-gets, applies each operation to the group's batch in order, writes the batch, answers.
 * Operations that must be synced before their answer go on to the syncer, while the writer goes on with the next group.
 */
#ifndef MAGPIE_STORAGE_WRITER_H
#define MAGPIE_STORAGE_WRITER_H

#include "storage/local/batch.h"
#include "storage/local/heads.h"
#include "storage/local/idgen.h"
#include "storage/local/local_private.h"
#include "storage/local/vacant.h"
#include "storage/local/meta.h"

enum {
    WRITER_GROUP = 256,
    WRITER_GROUP_BYTES = 1024 * 1024 /* a group ends when its batch is larger */
};

/* An operation of the present group. */
struct slot {
    struct store_op *op;
    struct head *head; /* of its conversation; NULL: it has none */
    bool dup_found;    /* append: the database knows its client id */
    int dup_bad;       /* append: … or could not say (enum err) */
    struct dedup_record dup;
    bool must_sync;     /* to be synced before the answer, whatever the tier says */
    uint8_t durability; /* enum store_durability; commit unless the operation sets another */
};

struct writer {
    struct local *store;
    pthread_t thread;
    pthread_mutex_t lock; /* of queue, closing, sync_failed */
    pthread_cond_t wake;  /* monotonic clock */
    struct op_list queue;
    /* the queue holds lazy operations alone and nobody has woken this thread for them; written under the lock */
    _Atomic bool owed;
    bool closing;
    bool sync_failed; /* the syncer could not sync */

    /* Below: the writer's thread alone. */
    struct op_list backlog; /* taken from the queue, not yet applied */
    struct slot slots[WRITER_GROUP];
    struct heads heads;
    struct batch batch;
    uint32_t batch_base; /* entries that each group has, changes or not */
    struct idgen ids;
    uint64_t group;  /* number of the present group */
    uint64_t now_ms; /* guarded clock at the group's beginning */
    uint64_t wall_ms;
    uint64_t expiry_ms; /* expiry clock at the group's beginning */
    uint64_t id_limit;  /* ms since ID_EPOCH_MS that ids do not pass, as written by id_limit_group */
    uint64_t id_limit_group;
    uint64_t id_limit_durable; /* the same, surely synced */
    uint64_t clock_ms;         /* guarded time as last persisted */
    uint64_t losses;           /* how often messages may have been lost in this store (meta.h) */
    uint32_t limits_version;   /* of store.limits, at the group's beginning */
    uint32_t limits_written;   /* of store.limits, as on the disk; 0: none */
    uint64_t channels;         /* that exist, this group's included */
    struct vacant vacant;      /* channels without members */
    uint64_t told; /* failing: last group that any answer told of; a database that ends before it has lost something */
    uint64_t retry_at_ms; /* failing: when to try to recover, monotonic */
};

enum apply { APPLY_DONE, APPLY_CUT /* end the group before this operation: it must see the rows of those before */ };

/* apply_append() and so on, one function a row of STORE_OPS and LOCAL_OPS, in the file of its noun. Each reads and
 * checks, reserves, then puts; sets op->status, and NOTE_CHANGED in op->note. */
#define APPLY_FUNCTION(NAME, name, ...) enum apply apply_##name(struct writer *w, struct slot *slot);
#define APPLY_NONE(NAME, name, ...)
STORE_OPS(APPLY_FUNCTION, APPLY_NONE)
LOCAL_OPS(APPLY_FUNCTION)
#undef APPLY_FUNCTION
#undef APPLY_NONE

/* --- For those functions --- */
static inline enum apply apply_end(struct slot *slot, enum store_status status)
{
    slot->op->status = status;
    return APPLY_DONE;
}
static inline enum apply apply_changed(struct slot *slot)
{
    slot->op->status = STORE_OK;
    slot->op->note |= NOTE_CHANGED;
    return APPLY_DONE;
}
/* Whether the present group has changed anything yet. */
static inline bool group_dirty(const struct writer *w)
{
    return w->batch.count > w->batch_base;
}
/* A row as this group sees it; code as in kv_found. Free with kv_found_free(w->store->kv, …). */
struct kv_found writer_get(struct writer *w, enum kv_family family, struct slice key);
/* The store's clocks, as guard_encode() gives them: 1 entry, GUARD_SIZE bytes at most. */
void writer_put_clock(struct writer *w);
void writer_put_u64(struct writer *w, struct slice meta_key, uint64_t v);

/* What the database said of itself when it was opened. */
struct writer_begin {
    uint64_t group;      /* last one written, and synced */
    uint64_t last_id_ms; /* ids go on after this */
    uint64_t id_limit;   /* ms since ID_EPOCH_MS that ids may use, synced */
    uint64_t losses;     /* how often messages may have been lost in this store (meta.h) */
    uint64_t clock_ms;   /* guarded time as persisted */
};
MUST_CHECK int writer_start(struct local *s, const struct writer_begin *begin);
/* Hands an operation over that changes something. Any thread. */
void writer_post(struct local *s, struct store_op *op);
/* Wakes the writer for lazy operations, as store_kick(). Any thread. */
void writer_kick(struct local *s);
/* Works off what is queued, then ends the thread. */
void writer_stop(struct local *s);
void writer_free(struct local *s);
/* Syncer's thread: a sync failed. */
void writer_sync_failed(struct local *s);

#endif
