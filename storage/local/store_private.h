/*
 * The inside of the store: what its files share. Nobody else includes this, but its tests.
 *
 * Threads: one writer (writer.c) takes all W operations and alone changes the database; one syncer (syncer.c) makes
 * what was written durable and answers those who wait for that; readers (reader.c) answer R operations. README.md tells
 * the whole story.
 */
#ifndef MAGPIE_STORAGE_STORE_PRIVATE_H
#define MAGPIE_STORAGE_STORE_PRIVATE_H

#include "storage/local/expiry.h"
#include "storage/local/guard.h"
#include "storage/local/kept.h"
#include "storage/kv/kv.h"
#include "storage/local/record.h"
#include "storage/store.h"

#include <pthread.h>
#include <stdatomic.h>

enum { STORE_READERS = 2 };

struct recent;
struct writer;
struct syncer;
struct durable;

/* What tests may put in place of the world. */
struct store_hooks {
    struct guard_source clock;       /* wall_ms NULL: the system's */
    int (*before_write)(void *ctx);  /* writer: not 0 fails the group's write with that error */
    int (*before_sync)(void *ctx);   /* syncer: likewise */
    int (*before_reopen)(void *ctx); /* writer: not 0 fails the recovery */
    void *ctx;
};

enum op_kind {
    OP_APPEND,
    OP_INBOX_ACK,
    OP_USER_SAVE,
    OP_USER_FORGET,
    OP_CHANNEL_SAVE,
    OP_MEMBER_PUT,
    OP_MEMBER_DEL,
    OP_MARK_READ,
    OP_RECALL,
    OP_BLOCK,
    OP_NOTE_PUT,
    OP_FLOOR,
    OP_INBOX_CLEAN,
    OP_UNGUEST,
    OP_TICK,   /* the store's own: see hint.h */
    OP_WRITES, /* those before change something */
    OP_RANGE = OP_WRITES,
    OP_INBOX_PEEK,
    OP_USER_LOAD,
    OP_GUESTS_DUE,
    OP_CONV_LOAD,
    OP_MEMBERS,
    OP_CONVERSATIONS,
    OP_PAIRS,
    OP_NOTES,
    OP_WORK,
    OP_KINDS
};

/* A list of operations, linked by their mails, in order. */
struct op_list {
    struct mail *head, **tail;
    uint64_t count;
};
static inline void op_list_init(struct op_list *l)
{
    *l = (struct op_list){.tail = &l->head};
}
static inline void op_list_push(struct op_list *l, struct store_op *op)
{
    op->mail.next = NULL;
    *l->tail = &op->mail;
    l->tail = &op->mail.next;
    l->count++;
}
/* Moves all of `from` to the end of `to`. */
static inline void op_list_splice(struct op_list *to, struct op_list *from)
{
    if (from->head) {
        *to->tail = from->head;
        to->tail = from->tail;
        to->count += from->count;
        op_list_init(from);
    }
}
static inline struct store_op *op_list_pop(struct op_list *l)
{
    struct mail *m = l->head;
    if (m) {
        l->head = m->next;
        if (!l->head)
            l->tail = &l->head;
        l->count--;
        m->next = NULL;
    }
    return (struct store_op *)m;
}
/* Posts each operation to its home: grouped, so that each home wakes once. Empties the list. */
void op_list_answer(struct op_list *l);

/* Bits of store_op.note. */
enum { NOTE_CHANGED = 1 }; /* the operation changed something: its fate is unknown when its write or sync fails */

/* A reader and its queue. */
struct reader {
    struct store *store;
    pthread_t thread;
    pthread_mutex_t lock; /* of queue, closing */
    pthread_cond_t wake;
    struct op_list queue;
    bool closing;
    struct kept kept; /* its thread's own; empty unless it holds store.swap */
};

/* Reloadable options, read by any thread. */
struct live_options {
    _Atomic uint32_t max[TIER_COUNT];
    _Atomic uint32_t durability[TIER_COUNT];
    _Atomic uint32_t inbox_max;
    _Atomic uint32_t version; /* counts changes that make cached expiry answers stale */
};

struct store {
    struct store_hooks hooks;
    struct expiry expiry;
    struct guard guard;
    struct live_options live;
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
    _Atomic uint64_t memory; /* as the engine said last */
    _Atomic bool failing;
};

MUST_CHECK int store_open_hooked(struct store **out, const struct store_options *options,
                                 const struct store_hooks *hooks, char *why, size_t why_size);

/* Meta keys. */
#define META_VERSION  SLICE_LIT("version")  /* u64: format of the database */
#define META_INSTANCE SLICE_LIT("instance") /* u64: drawn when it was made */
#define META_GROUP    SLICE_LIT("group")    /* u64: last written group */
#define META_LOSS     SLICE_LIT("loss")     /* u64: loss generation */
#define META_CLOCK    SLICE_LIT("clock")    /* u64: guarded time, about now */
#define META_IDS      SLICE_LIT("ids")      /* u64: ms since ID_EPOCH_MS that no id given out passes */
#define META_CHANNELS SLICE_LIT("channels") /* u64: channels that exist */
enum { STORE_FORMAT = 1 };
/* 1: read, 0: absent (out is 0), negative: error. */
int meta_get_u64(struct kv *kv, struct slice key, uint64_t *out);

/* The conversation, or the user, that an operation is about: what orders it. */
struct slice op_conv(const struct store_op *op);
struct slice op_user(const struct store_op *op);
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

/* Hands over. */
void writer_post(struct store *s, struct store_op *op);
void writer_kick(struct store *s);
void reader_post(struct store *s, struct store_op *op);
MUST_CHECK int readers_start(struct store *s);
void readers_stop(struct store *s);

/* One function per kind of read: fills in the operation's results, on a reader's thread. */
enum store_status read_range(struct reader *by, struct store_op *op);
enum store_status read_inbox(struct reader *by, struct store_op *op);
enum store_status read_user(struct reader *by, struct store_op *op);
enum store_status read_guests(struct reader *by, struct store_op *op);
enum store_status read_conv(struct reader *by, struct store_op *op);
enum store_status read_members(struct reader *by, struct store_op *op);
enum store_status read_conversations(struct reader *by, struct store_op *op);
enum store_status read_pairs(struct reader *by, struct store_op *op);
enum store_status read_notes(struct reader *by, struct store_op *op);
/* Waits for work on the database (work.c) that is under way, which gives up early. */
void store_work_end(struct store *s);

#endif
