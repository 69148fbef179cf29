/*
 * What a group of operations is about to write: changes by key, the last one of each key counting, readable before they
 * are written.
 *
 * An operation first reads and checks, then reserves room for all it will put, then puts, which cannot fail. Memory is
 * kept from group to group; what batch_put() and batch_get() return stays where it is until batch_reset(). One thread.
 */
#ifndef MAGPIE_STORAGE_BATCH_H
#define MAGPIE_STORAGE_BATCH_H

#include "storage/kv/kv.h"

struct batch_chunk;

struct batch_entry {
    uint64_t hash;
    struct kv_change change; /* its key and value lie in the arena */
};

struct batch {
    struct batch_entry *entries; /* malloc'd */
    struct kv_change *changes;   /* malloc'd scratch of batch_write, as long as entries */
    uint32_t *slots;             /* hash table of entry numbers + 1; 0: empty */
    uint32_t count, cap;         /* entries */
    uint32_t slot_count;         /* power of two, at least twice cap */
    uint32_t ranges;             /* entries that are range deletes; they are written before the others */
    size_t bytes;                /* of keys and values put */
    struct batch_chunk *chunks;  /* newest first */
};

void batch_fini(struct batch *b);
void batch_reset(struct batch *b);
/* Makes room for `puts` more changes of `bytes` bytes of keys and values. ERR_NOMEM. */
MUST_CHECK int batch_reserve(struct batch *b, size_t puts, size_t bytes);
/* A put; returns where its value_n bytes go. */
char *batch_put(struct batch *b, enum kv_family family, struct slice key, size_t value_n);
void batch_delete(struct batch *b, enum kv_family family, struct slice key);
/* Deletes keys in [from, to) that earlier groups wrote; none of them may have been put in this group. */
void batch_delete_range(struct batch *b, enum kv_family family, struct slice from, struct slice to);
/* 1: put in this group, 0: deleted in this group, ERR_NOTFOUND: not touched. */
int batch_get(const struct batch *b, enum kv_family family, struct slice key, struct slice *value);
/* Writes it all to the database. */
MUST_CHECK int batch_write(struct batch *b, struct kv *kv);

#endif
