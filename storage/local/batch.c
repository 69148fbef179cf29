/* A group's pending changes: see batch.h. */
#include "storage/local/batch.h"

#include "core/base/hash.h"

#include <stdlib.h>

enum { CHUNK_SIZE = 256 * 1024 };

struct batch_chunk {
    struct batch_chunk *next;
    size_t used, size; /* bytes of data */
    char data[];
};

static void chunks_free(struct batch_chunk *c)
{
    while (c) {
        struct batch_chunk *next = c->next;
        free(c);
        c = next;
    }
}

void batch_fini(struct batch *b)
{
    chunks_free(b->chunks);
    free(b->entries);
    free(b->changes);
    free(b->slots);
    *b = (struct batch){0};
}

void batch_reset(struct batch *b)
{
    if (b->chunks) {
        chunks_free(b->chunks->next);
        b->chunks->next = NULL;
        b->chunks->used = 0;
        if (b->chunks->size > 4 * CHUNK_SIZE) {
            chunks_free(b->chunks);
            b->chunks = NULL;
        }
    }
    if (b->cap > 65536) {
        free(b->entries);
        free(b->changes);
        free(b->slots);
        b->entries = NULL;
        b->changes = NULL;
        b->slots = NULL;
        b->cap = b->slot_count = 0;
    } else if (b->count) {
        memset(b->slots, 0, b->slot_count * sizeof(b->slots[0]));
    }
    b->count = b->ranges = 0;
    b->bytes = 0;
}

static uint64_t key_hash(enum kv_family family, struct slice key)
{
    return hash_bytes(key) + family * UINT64_C(0x9e3779b97f4a7c15);
}

static void slot_fill(struct batch *b, uint32_t entry)
{
    uint32_t at = (uint32_t)b->entries[entry].hash & (b->slot_count - 1);
    while (b->slots[at])
        at = (at + 1) & (b->slot_count - 1);
    b->slots[at] = entry + 1;
}

static int entries_grow(struct batch *b, size_t need)
{
    size_t cap = b->cap ? b->cap : 1024;
    while (cap < need)
        cap *= 2;
    if (cap > UINT32_MAX / 4)
        return ERR_NOMEM;
    struct batch_entry *entries = malloc(cap * sizeof(*entries));
    struct kv_change *changes = malloc(cap * sizeof(*changes));
    uint32_t *slots = calloc(cap * 2, sizeof(*slots));
    if (!entries || !changes || !slots) {
        free(entries);
        free(changes);
        free(slots);
        return ERR_NOMEM;
    }
    if (b->count)
        memcpy(entries, b->entries, b->count * sizeof(*entries));
    free(b->entries);
    free(b->changes);
    free(b->slots);
    b->entries = entries;
    b->changes = changes;
    b->slots = slots;
    b->cap = (uint32_t)cap;
    b->slot_count = (uint32_t)cap * 2;
    for (uint32_t i = 0; i < b->count; i++)
        if (b->entries[i].change.kind != KV_DELETE_RANGE)
            slot_fill(b, i);
    return 0;
}

int batch_reserve(struct batch *b, size_t puts, size_t bytes)
{
    if (b->count + puts > b->cap && entries_grow(b, b->count + puts))
        return ERR_NOMEM;
    if (!b->chunks || b->chunks->size - b->chunks->used < bytes) {
        size_t size = bytes > CHUNK_SIZE ? bytes : CHUNK_SIZE;
        struct batch_chunk *c = malloc(sizeof(*c) + size);
        if (!c)
            return ERR_NOMEM;
        *c = (struct batch_chunk){.next = b->chunks, .size = size};
        b->chunks = c;
    }
    return 0;
}

static char *arena_take(struct batch *b, size_t n)
{
    ASSERT(b->chunks && b->chunks->size - b->chunks->used >= n);
    char *p = b->chunks->data + b->chunks->used;
    b->chunks->used += n;
    b->bytes += n;
    return p;
}

static struct slice arena_copy(struct batch *b, struct slice s)
{
    char *p = arena_take(b, s.n);
    if (s.n)
        memcpy(p, s.p, s.n);
    return slice_of(p, s.n);
}

static struct batch_entry *entry_find(const struct batch *b, uint64_t hash, enum kv_family family, struct slice key)
{
    if (!b->slot_count)
        return NULL;
    for (uint32_t at = (uint32_t)hash & (b->slot_count - 1); b->slots[at]; at = (at + 1) & (b->slot_count - 1)) {
        struct batch_entry *e = &b->entries[b->slots[at] - 1];
        if (e->hash == hash && e->change.family == family && slice_eq(e->change.key, key))
            return e;
    }
    return NULL;
}

static struct kv_change *change_of(struct batch *b, enum kv_family family, struct slice key)
{
    uint64_t hash = key_hash(family, key);
    struct batch_entry *e = entry_find(b, hash, family, key);
    if (!e) {
        ASSERT(b->count < b->cap);
        e = &b->entries[b->count];
        *e = (struct batch_entry){.hash = hash, .change = {.family = (uint8_t)family, .key = arena_copy(b, key)}};
        slot_fill(b, b->count++);
    }
    return &e->change;
}

char *batch_put(struct batch *b, enum kv_family family, struct slice key, size_t value_n)
{
    struct kv_change *c = change_of(b, family, key);
    if (!c->value.p || c->value.n != value_n) /* heads and marks are put often: their place is used again */
        c->value = slice_of(arena_take(b, value_n), value_n);
    c->kind = KV_PUT;
    return (char *)c->value.p;
}

void batch_delete(struct batch *b, enum kv_family family, struct slice key)
{
    struct kv_change *c = change_of(b, family, key);
    c->kind = KV_DELETE;
    c->value = SLICE_NONE;
}

void batch_delete_range(struct batch *b, enum kv_family family, struct slice from, struct slice to)
{
    ASSERT(b->count < b->cap);
    b->entries[b->count++] = (struct batch_entry){.change = {.family = (uint8_t)family,
                                                             .kind = KV_DELETE_RANGE,
                                                             .key = arena_copy(b, from),
                                                             .value = arena_copy(b, to)}};
    b->ranges++;
}

int batch_get(const struct batch *b, enum kv_family family, struct slice key, struct slice *value)
{
    const struct batch_entry *e = entry_find(b, key_hash(family, key), family, key);
    if (!e)
        return ERR_NOTFOUND;
    *value = e->change.value;
    return e->change.kind == KV_PUT;
}

/* Range deletes come first. */
enum { KIND_BITS = 5, KINDS = 1 + (KV_FAMILIES << KIND_BITS) };

static unsigned kind_of(const struct kv_change *c)
{
    unsigned first = c->key.n ? (unsigned char)c->key.p[0] & ((1u << KIND_BITS) - 1) : 0;
    return c->kind == KV_DELETE_RANGE ? 0 : 1 + ((unsigned)c->family << KIND_BITS) + first;
}

static int change_cmp(const void *a, const void *b)
{
    return slice_cmp(((const struct kv_change *)a)->key, ((const struct kv_change *)b)->key);
}

/* Sorts changes by key. Mostly they are in order already. */
static void changes_sort(struct kv_change *c, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        if (change_cmp(&c[i - 1], &c[i]) > 0) {
            qsort(c, n, sizeof(*c), change_cmp);
            return;
        }
    }
}

/*
 * Changes of a kind stand together, and in the order of their keys. A memtable puts a row that comes right after the
 * one before it without a search: a group of new users, whose ids ascend (core/hub/shard/user_ids.h), pays for one
 * search a kind and not for one a row.
 */
int batch_write(struct batch *b, struct kv *kv)
{
    uint32_t at[KINDS + 1] = {0};
    for (uint32_t i = 0; i < b->count; i++)
        at[kind_of(&b->entries[i].change) + 1]++;
    for (unsigned k = 1; k <= KINDS; k++)
        at[k] += at[k - 1];
    for (uint32_t i = 0; i < b->count; i++)
        b->changes[at[kind_of(&b->entries[i].change)]++] = b->entries[i].change;
    for (unsigned k = 1; k < KINDS; k++) /* at[k] is where the kind ends now; the ranges, kind 0, stay as they are */
        changes_sort(b->changes + at[k - 1], at[k] - at[k - 1]);
    return kv->ops->write(kv, b->changes, b->count);
}
