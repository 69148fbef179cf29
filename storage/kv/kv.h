/*
 * The database under the embedded engine (storage/local): ordered key-value families, atomic write batches, iterators.
 * Two of them: kv_rocksdb.c and kv_memory.c. Something remote stands behind storage/engine.h instead: here every call
 * waits.
 *
 * The engine's logic is written once above this; a database knows keys and values only, and the shared expiry rule
 * (expiry.h), by which it may drop rows for good. Writes and syncs are asked for by one thread each (and may overlap);
 * reads come from any thread.
 */
#ifndef MAGPIE_STORAGE_KV_H
#define MAGPIE_STORAGE_KV_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct expiry;

/* Column families. The numbers are not on disk, the names (kv_family_name) are. */
enum kv_family { KV_META, KV_DM, KV_SMALL, KV_LARGE, KV_INBOX, KV_USER, KV_CHANNEL, KV_DEDUP, KV_FAMILIES };

enum kv_kind { KV_PUT, KV_DELETE, KV_DELETE_RANGE };

/* One change of a batch. */
struct kv_change {
    uint8_t family; /* enum kv_family */
    uint8_t kind;   /* enum kv_kind */
    struct slice key;
    struct slice value; /* KV_PUT: the value; KV_DELETE_RANGE: the end, exclusive */
};

/* A value found by kv_get or kv_multi_get; valid until kv_found_free(). */
struct kv_found {
    int code;           /* 1: found, 0: absent, negative: enum err (ERR_INVALID: corrupt) */
    struct slice value; /* when found */
    void *pin;          /* the database's */
};

struct kv;
struct kv_iter;

/* What a family's counters say; for statistics. */
struct kv_usage {
    uint64_t memory; /* bytes of memtables, caches and table readers */
};

/* What the families' tables take on the disk, bytes. */
struct kv_disk {
    uint64_t bytes[KV_FAMILIES];
};

/* What a database can do: every function takes the instance first. */
struct kv_ops {
    const char *name;
    void (*close)(struct kv *kv);
    /* Looks n keys of one family up; `out` has n places. */
    void (*multi_get)(struct kv *kv, enum kv_family family, const struct slice *keys, size_t n, struct kv_found *out);
    void (*found_free)(struct kv_found *found);
    /* Applies all changes at once, in order, into the log, and does not sync it. 0, ERR_NOMEM (surely nothing done) or
     * ERR_IO. */
    int (*write)(struct kv *kv, const struct kv_change *changes, size_t n);
    /* Returns when everything written before the call is synced. 0 or ERR_IO. */
    int (*sync)(struct kv *kv);
    /* Writes what is in memory into tables, so that the next open has nothing to replay. Best effort. */
    void (*flush)(struct kv *kv);
    /* Rewrites a family's tables. 0 or ERR_IO. */
    int (*compact)(struct kv *kv, enum kv_family family);
    /* Makes compact() give up, now and from now on. Any thread. */
    void (*interrupt)(struct kv *kv);
    /* A copy of the database in a directory that does not exist yet. 0 or ERR_IO; ERR_INVALID: this kind has none.
     * `why` gets a sentence. */
    int (*checkpoint)(struct kv *kv, const char *path, char *why, size_t why_size);
    void (*usage)(struct kv *kv, struct kv_usage *out);
    void (*disk)(struct kv *kv, struct kv_disk *out); /* NULL: nothing is on a disk */
    /* A thread that will use databases of this kind much says so once. May be NULL. */
    void (*thread)(void);
    /* Another number whenever something was written that an iterator made before does not see. NULL: they see all that
     * is written. */
    uint64_t (*version)(struct kv *kv);
    /* Keys in [lower, upper); both are copied, an empty one is no bound. NULL: out of memory. Not positioned. */
    struct kv_iter *(*iter)(struct kv *kv, enum kv_family family, struct slice lower, struct slice upper);
    void (*iter_free)(struct kv_iter *it);
    void (*seek)(struct kv_iter *it, struct slice key);        /* to the first key >= key */
    void (*seek_before)(struct kv_iter *it, struct slice key); /* to the last key < key */
    void (*next)(struct kv_iter *it);
    void (*prev)(struct kv_iter *it);
    bool (*valid)(struct kv_iter *it);
    bool (*row)(struct kv_iter *it, struct slice *key, struct slice *value); /* valid, key and value in one */
    struct slice (*key)(struct kv_iter *it);                                 /* until the next move */
    struct slice (*value)(struct kv_iter *it);
    int (*iter_error)(struct kv_iter *it); /* 0 or an enum err; look when not valid */
};

/* An open instance: the database's own struct begins with this. */
struct kv {
    const struct kv_ops *ops;
};
struct kv_iter {
    const struct kv_ops *ops;
};

/* An empty store in memory. `expiry` is borrowed for the instance's life. NULL: out of memory. */
struct kv *kv_memory_open(const struct expiry *expiry);

struct kv_rocksdb_options {
    const char *path;            /* of the database's directory, which exists; borrowed for the call */
    uint64_t memory;             /* bytes for everything together */
    const struct expiry *expiry; /* borrowed for the instance's life */
    bool create;                 /* make an empty database when there is none */
    bool complete;               /* make families that are missing: an interrupted beginning */
    bool read_only;
    bool tolerate_torn_log; /* open up to the first unreadable log record instead of refusing */
};
/* ERR_IO, ERR_INVALID (corrupt), ERR_NOMEM; `why` gets a sentence. */
MUST_CHECK int kv_rocksdb_open(struct kv **out, const struct kv_rocksdb_options *options, char *why, size_t why_size);

const char *kv_family_name(enum kv_family family);

/* Called once by each thread that works on the store. */
void kv_thread(struct kv *kv);

/* Convenience over one key: code as in kv_found. */
struct kv_found kv_get(struct kv *kv, enum kv_family family, struct slice key);
static inline void kv_found_free(struct kv *kv, struct kv_found *f)
{
    if (f->pin)
        kv->ops->found_free(f);
    *f = (struct kv_found){0};
}
static inline void kv_close(struct kv *kv)
{
    if (kv)
        kv->ops->close(kv);
}
static inline void kv_multi_get(struct kv *kv, enum kv_family f, const struct slice *keys, size_t n,
                                struct kv_found *out)
{
    if (n)
        kv->ops->multi_get(kv, f, keys, n, out);
}
static inline uint64_t kv_version(struct kv *kv)
{
    return kv->ops->version ? kv->ops->version(kv) : 0;
}
static inline struct kv_iter *kv_iter_new(struct kv *kv, enum kv_family f, struct slice lower, struct slice upper)
{
    return kv->ops->iter(kv, f, lower, upper);
}
static inline void kv_iter_free(struct kv_iter *it)
{
    if (it)
        it->ops->iter_free(it);
}
static inline void kv_seek(struct kv_iter *it, struct slice key)
{
    it->ops->seek(it, key);
}
static inline void kv_seek_before(struct kv_iter *it, struct slice key)
{
    it->ops->seek_before(it, key);
}
static inline void kv_next(struct kv_iter *it)
{
    it->ops->next(it);
}
static inline void kv_prev(struct kv_iter *it)
{
    it->ops->prev(it);
}
static inline bool kv_valid(struct kv_iter *it)
{
    return it->ops->valid(it);
}
static inline bool kv_row(struct kv_iter *it, struct slice *key, struct slice *value)
{
    return it->ops->row(it, key, value);
}
static inline struct slice kv_key(struct kv_iter *it)
{
    return it->ops->key(it);
}
static inline struct slice kv_value(struct kv_iter *it)
{
    return it->ops->value(it);
}
static inline int kv_iter_error(struct kv_iter *it)
{
    return it->ops->iter_error(it);
}

#endif
