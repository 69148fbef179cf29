/*
 * The writer: the one thread that changes the database. What the files with W operations (append.c, inbox.c …) see of
 * it.
 *
 * It takes all queued operations at once and works them off in groups of at most WRITER_GROUP: reads what the group
 * needs with a few multi-gets, applies each operation to the group's batch in order, writes the batch, answers.
 * Operations that must be on the platter before their answer go on to the syncer, while the writer goes on with the
 * next group.
 */
#ifndef MAGPIE_STORAGE_WRITER_H
#define MAGPIE_STORAGE_WRITER_H

#include "storage/local/batch.h"
#include "storage/local/heads.h"
#include "storage/local/idgen.h"
#include "storage/local/store_private.h"

enum {
    WRITER_GROUP = 256,
    WRITER_GROUP_BYTES = 1024 * 1024, /* a group ends when its batch is larger */
    ID_AHEAD_MS = 10000               /* how far the persisted limit of ids lies ahead */
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
    struct store *store;
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
    uint64_t id_limit_durable; /* the same, surely on the platter */
    uint64_t clock_ms;         /* guarded time as last persisted */
    uint64_t generation;       /* loss generation */
    uint64_t channels;         /* that exist, this group's included */
    uint64_t told; /* failing: last group that any answer told of; a database that ends before it has lost something */
    uint64_t retry_at_ms; /* failing: when to try to recover, monotonic */
};

enum apply { APPLY_DONE, APPLY_CUT /* end the group before this operation: it must see the rows of those before */ };

/* One function per kind of change. Each reads and checks, reserves, then puts; sets op->status, and NOTE_CHANGED in
 * op->note. */
enum apply apply_append(struct writer *w, struct slot *slot);
enum apply apply_inbox_ack(struct writer *w, struct slot *slot);
enum apply apply_inbox_clean(struct writer *w, struct slot *slot);
enum apply apply_user_save(struct writer *w, struct slot *slot);
enum apply apply_user_forget(struct writer *w, struct slot *slot);
enum apply apply_unguest(struct writer *w, struct slot *slot);
enum apply apply_channel_save(struct writer *w, struct slot *slot);
enum apply apply_member_put(struct writer *w, struct slot *slot);
enum apply apply_member_del(struct writer *w, struct slot *slot);
enum apply apply_mark_read(struct writer *w, struct slot *slot);
enum apply apply_recall(struct writer *w, struct slot *slot);
enum apply apply_block(struct writer *w, struct slot *slot);
enum apply apply_note_put(struct writer *w, struct slot *slot);
enum apply apply_floor(struct writer *w, struct slot *slot);

/* For appends: looks the client ids of slots[0, n) up in the database. */
void append_prefetch(struct writer *w, struct slot *slots, uint32_t n);

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
/* The head changes in this group. */
void head_touch(struct writer *w, struct head *h);
/* The head goes into the batch: reserve 1 put, HEAD_ROOM bytes. */
enum { HEAD_ROOM = CONV_KEY_MAX + 1 + HEAD_SIZE };
void writer_put_head(struct writer *w, struct head *h);
/* The smallest visible seq of a conversation as this group sees it: newest + 1 when none is, 0 when there never was
 * one. ERR_*. */
MUST_CHECK int writer_first(struct writer *w, struct head *h, uint64_t *first);
/* A user's inbox count, counted if need be. 0, an enum err, or 1: cut the group. */
MUST_CHECK int writer_inbox(struct writer *w, struct slice user, struct inbox **out);
void writer_put_u64(struct writer *w, struct slice meta_key, uint64_t v);

/* What the database said of itself when it was opened. */
struct writer_begin {
    uint64_t group;      /* last one written, and synced */
    uint64_t last_id_ms; /* ids go on after this */
    uint64_t id_limit;   /* ms since ID_EPOCH_MS that ids may use, on the platter */
    uint64_t generation; /* loss generation */
    uint64_t clock_ms;   /* guarded time as persisted */
};
MUST_CHECK int writer_start(struct store *s, const struct writer_begin *begin);
/* Works off what is queued, then ends the thread. */
void writer_stop(struct store *s);
void writer_free(struct store *s);
/* Syncer's thread: a sync failed. */
void writer_sync_failed(struct store *s);

/* recover.c: the writer's thread. The database cannot be written (or synced): all that is queued is refused from now
 * on. */
void store_fail(struct writer *w, const char *what);
/* Tries to get the database back; true when writes work again. */
bool store_recover(struct writer *w);

#endif
