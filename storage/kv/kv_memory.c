/*
 * The database in memory: one skip list a family under one lock, for tests and for servers that keep nothing.
 *
 * (W. Pugh, "Skip Lists: A Probabilistic Alternative to Balanced Trees", 1990.) An iterator holds no lock between
 * calls: it copies its row and finds its place anew with each step. Rows past their time are dropped a few at a time by
 * writes, as compactions would.
 */
#include "storage/kv/kv.h"
#include "storage/kv/row.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    LEVELS = 20,
    SWEEP_STEPS = 4 /* rows looked at for each change written */
};

struct node {
    uint32_t key_n, value_n; /* bytes */
    uint8_t levels;          /* of next */
    char *value;             /* malloc'd, so that it can be replaced */
    struct node *next[];     /* `levels` links, then the key's bytes */
};

struct list {
    struct node *first[LEVELS]; /* the head's links */
    uint64_t count, bytes;      /* rows; their memory */
    struct buf sweep;           /* key where the sweep for expired rows goes on */
};

struct kv_memory {
    struct kv base;
    pthread_rwlock_t lock; /* of all below */
    struct list lists[KV_FAMILIES];
    const struct expiry *expiry; /* borrowed */
    uint64_t random;             /* xorshift state for levels */
};

struct mem_iter {
    struct kv_iter base;
    struct kv_memory *kv;
    enum kv_family family;
    struct buf lower, upper; /* bounds; upper is exclusive, and none when empty */
    struct buf key, value;   /* the row, copied */
    bool valid;
    int error;
};

static struct slice node_key(const struct node *n)
{
    return slice_of((const char *)&n->next[n->levels], n->key_n);
}

/* The links whose target is the first node >= key; returns that node. */
static struct node *list_find(struct list *l, struct slice key, struct node ***links)
{
    struct node **next = l->first;
    for (int i = LEVELS - 1; i >= 0; i--) {
        while (next[i] && slice_cmp(node_key(next[i]), key) < 0)
            next = next[i]->next;
        if (links)
            links[i] = &next[i];
    }
    return next[0];
}

/* The last node < key. */
static struct node *list_before(struct list *l, struct slice key)
{
    struct node *at = NULL, **next = l->first;
    for (int i = LEVELS - 1; i >= 0; i--) {
        while (next[i] && slice_cmp(node_key(next[i]), key) < 0) {
            at = next[i];
            next = at->next;
        }
    }
    return at;
}

static uint8_t random_levels(struct kv_memory *m)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    uint8_t n = 1;
    for (uint64_t r = m->random; n < LEVELS && (r & 3) == 0; r >>= 2)
        n++;
    return n;
}

static void list_unlink(struct list *l, struct node *n, struct node ***links)
{
    for (int i = 0; i < n->levels; i++)
        *links[i] = n->next[i];
    l->count--;
    l->bytes -= sizeof(*n) + n->levels * sizeof(n->next[0]) + n->key_n + n->value_n;
    free(n->value);
    free(n);
}

static void list_delete(struct list *l, struct slice key)
{
    struct node **links[LEVELS];
    struct node *n = list_find(l, key, links);
    if (n && slice_eq(node_key(n), key))
        list_unlink(l, n, links);
}

static void list_delete_range(struct list *l, struct slice from, struct slice to)
{
    struct node **links[LEVELS];
    for (struct node *n = list_find(l, from, links); n && slice_cmp(node_key(n), to) < 0; n = *links[0])
        list_unlink(l, n, links);
}

/* A new node for a change, made before anything is applied. */
static struct node *node_new(struct kv_memory *m, const struct kv_change *c)
{
    uint8_t levels = random_levels(m);
    struct node *n = malloc(sizeof(*n) + levels * sizeof(n->next[0]) + c->key.n);
    if (!n)
        return NULL;
    n->value = malloc(c->value.n ? c->value.n : 1);
    if (!n->value) {
        free(n);
        return NULL;
    }
    n->levels = levels;
    n->key_n = (uint32_t)c->key.n;
    n->value_n = (uint32_t)c->value.n;
    memcpy(&n->next[levels], c->key.p, c->key.n);
    if (c->value.n)
        memcpy(n->value, c->value.p, c->value.n);
    return n;
}

/* Takes the node. */
static void list_put(struct list *l, struct node *n)
{
    struct node **links[LEVELS];
    struct node *old = list_find(l, node_key(n), links);
    if (old && slice_eq(node_key(old), node_key(n))) {
        l->bytes += n->value_n;
        l->bytes -= old->value_n;
        free(old->value);
        old->value = n->value;
        old->value_n = n->value_n;
        free(n);
        return;
    }
    for (int i = 0; i < n->levels; i++) {
        n->next[i] = *links[i];
        *links[i] = n;
    }
    l->count++;
    l->bytes += sizeof(*n) + n->levels * sizeof(n->next[0]) + n->key_n + n->value_n;
}

/* Drops expired rows, a few from where the last sweep stopped. */
static void list_sweep(struct kv_memory *m, struct list *l)
{
    uint64_t now = expiry_now(m->expiry);
    struct node **links[LEVELS];
    struct node *n = list_find(l, buf_slice(&l->sweep), links);
    for (int i = 0; i < SWEEP_STEPS && n; i++) {
        struct row_header h;
        bool gone = row_decode(slice_of(n->value, n->value_n), &h) == 0 && row_expired(&h, m->expiry, now);
        buf_reset(&l->sweep);
        buf_slice_put(&l->sweep, node_key(n));
        buf_byte(&l->sweep, 0);
        if (!buf_ok(&l->sweep))
            return;
        if (gone)
            list_unlink(l, n, links);
        n = list_find(l, buf_slice(&l->sweep), links);
    }
    if (!n)
        buf_reset(&l->sweep);
}

static int mem_write(struct kv *kv, const struct kv_change *changes, size_t n)
{
    struct kv_memory *m = (struct kv_memory *)kv;
    struct node **nodes = calloc(n ? n : 1, sizeof(*nodes));
    if (!nodes)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        if (changes[i].kind == KV_PUT && !(nodes[i] = node_new(m, &changes[i]))) {
            for (size_t k = 0; k < i; k++) {
                if (nodes[k]) {
                    free(nodes[k]->value);
                    free(nodes[k]);
                }
            }
            free(nodes);
            return ERR_NOMEM;
        }
    }
    pthread_rwlock_wrlock(&m->lock);
    for (size_t i = 0; i < n; i++) {
        struct list *l = &m->lists[changes[i].family];
        switch (changes[i].kind) {
        case KV_PUT:
            list_put(l, nodes[i]);
            break;
        case KV_DELETE:
            list_delete(l, changes[i].key);
            break;
        case KV_DELETE_RANGE:
            list_delete_range(l, changes[i].key, changes[i].value);
            break;
        }
        uint8_t f = changes[i].family;
        if (f == KV_DM || f == KV_SMALL || f == KV_LARGE || f == KV_INBOX || f == KV_DEDUP)
            list_sweep(m, l);
    }
    pthread_rwlock_unlock(&m->lock);
    free(nodes);
    return 0;
}

static int mem_sync(struct kv *kv)
{
    (void)kv;
    return 0;
}

static void mem_flush(struct kv *kv)
{
    (void)kv;
}

static int mem_compact(struct kv *kv, enum kv_family family)
{
    (void)kv, (void)family;
    return 0;
}

static void mem_interrupt(struct kv *kv)
{
    (void)kv;
}

static int mem_checkpoint(struct kv *kv, const char *path, char *why, size_t why_size)
{
    (void)kv, (void)path;
    snprintf(why, why_size, "the memory engine keeps nothing that could be copied");
    return ERR_INVALID;
}

static void mem_usage(struct kv *kv, struct kv_usage *out)
{
    struct kv_memory *m = (struct kv_memory *)kv;
    out->memory = 0;
    pthread_rwlock_rdlock(&m->lock);
    for (int i = 0; i < KV_FAMILIES; i++)
        out->memory += m->lists[i].bytes;
    pthread_rwlock_unlock(&m->lock);
}

static void mem_multi_get(struct kv *kv, enum kv_family family, const struct slice *keys, size_t n,
                          struct kv_found *out)
{
    struct kv_memory *m = (struct kv_memory *)kv;
    pthread_rwlock_rdlock(&m->lock);
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct kv_found){0};
        struct node *at = list_find(&m->lists[family], keys[i], NULL);
        if (!at || !slice_eq(node_key(at), keys[i]))
            continue;
        out[i].pin = malloc(at->value_n ? at->value_n : 1);
        if (!out[i].pin) {
            out[i].code = ERR_NOMEM;
            continue;
        }
        memcpy(out[i].pin, at->value, at->value_n);
        out[i].value = slice_of(out[i].pin, at->value_n);
        out[i].code = 1;
    }
    pthread_rwlock_unlock(&m->lock);
}

static void mem_found_free(struct kv_found *found)
{
    free(found->pin);
}

/* Copies a node as the iterator's row, if it is within bounds. The lock is held. */
static void iter_take(struct mem_iter *it, struct node *n)
{
    it->valid = n && slice_cmp(node_key(n), buf_slice(&it->lower)) >= 0 &&
                (!it->upper.n || slice_cmp(node_key(n), buf_slice(&it->upper)) < 0);
    if (!it->valid)
        return;
    buf_reset(&it->key);
    buf_reset(&it->value);
    buf_slice_put(&it->key, node_key(n));
    buf_put(&it->value, n->value, n->value_n);
    if (!buf_ok(&it->key) || !buf_ok(&it->value)) {
        it->valid = false;
        it->error = ERR_NOMEM;
    }
}

static void iter_move(struct mem_iter *it, struct slice key, bool before, bool skip_equal)
{
    struct list *l = &it->kv->lists[it->family];
    pthread_rwlock_rdlock(&it->kv->lock);
    struct node *n = before ? list_before(l, key) : list_find(l, key, NULL);
    if (!before && skip_equal && n && slice_eq(node_key(n), key))
        n = n->next[0];
    iter_take(it, n);
    pthread_rwlock_unlock(&it->kv->lock);
}

static void mem_seek(struct kv_iter *iter, struct slice key)
{
    struct mem_iter *it = (struct mem_iter *)iter;
    struct slice lower = buf_slice(&it->lower);
    iter_move(it, slice_cmp(key, lower) < 0 ? lower : key, false, false);
}

static void mem_seek_before(struct kv_iter *iter, struct slice key)
{
    struct mem_iter *it = (struct mem_iter *)iter;
    struct slice upper = buf_slice(&it->upper);
    iter_move(it, upper.n && slice_cmp(key, upper) > 0 ? upper : key, true, false);
}

static void mem_next(struct kv_iter *iter)
{
    struct mem_iter *it = (struct mem_iter *)iter;
    iter_move(it, buf_slice(&it->key), false, true);
}

static void mem_prev(struct kv_iter *iter)
{
    struct mem_iter *it = (struct mem_iter *)iter;
    iter_move(it, buf_slice(&it->key), true, false);
}

static bool mem_valid(struct kv_iter *iter)
{
    return ((struct mem_iter *)iter)->valid;
}
static struct slice mem_key(struct kv_iter *iter)
{
    return buf_slice(&((struct mem_iter *)iter)->key);
}
static struct slice mem_value(struct kv_iter *iter)
{
    return buf_slice(&((struct mem_iter *)iter)->value);
}
static bool mem_row(struct kv_iter *iter, struct slice *key, struct slice *value)
{
    struct mem_iter *it = (struct mem_iter *)iter;
    *key = buf_slice(&it->key);
    *value = buf_slice(&it->value);
    return it->valid;
}
static int mem_iter_error(struct kv_iter *iter)
{
    return ((struct mem_iter *)iter)->error;
}

static void mem_iter_free(struct kv_iter *iter)
{
    struct mem_iter *it = (struct mem_iter *)iter;
    buf_free(&it->lower);
    buf_free(&it->upper);
    buf_free(&it->key);
    buf_free(&it->value);
    free(it);
}

static const struct kv_ops memory_ops;

static struct kv_iter *mem_iter_new(struct kv *kv, enum kv_family family, struct slice lower, struct slice upper)
{
    struct mem_iter *it = calloc(1, sizeof(*it));
    if (!it)
        return NULL;
    it->base.ops = &memory_ops;
    it->kv = (struct kv_memory *)kv;
    it->family = family;
    buf_slice_put(&it->lower, lower);
    buf_slice_put(&it->upper, upper);
    if (!buf_ok(&it->lower) || !buf_ok(&it->upper)) {
        mem_iter_free(&it->base);
        return NULL;
    }
    return &it->base;
}

static void mem_close(struct kv *kv)
{
    struct kv_memory *m = (struct kv_memory *)kv;
    for (int i = 0; i < KV_FAMILIES; i++) {
        for (struct node *n = m->lists[i].first[0], *next; n; n = next) {
            next = n->next[0];
            free(n->value);
            free(n);
        }
        buf_free(&m->lists[i].sweep);
    }
    pthread_rwlock_destroy(&m->lock);
    free(m);
}

static const struct kv_ops memory_ops = {
    .name = "memory",
    .close = mem_close,
    .multi_get = mem_multi_get,
    .found_free = mem_found_free,
    .write = mem_write,
    .sync = mem_sync,
    .flush = mem_flush,
    .compact = mem_compact,
    .interrupt = mem_interrupt,
    .checkpoint = mem_checkpoint,
    .usage = mem_usage,
    .iter = mem_iter_new,
    .iter_free = mem_iter_free,
    .seek = mem_seek,
    .seek_before = mem_seek_before,
    .next = mem_next,
    .prev = mem_prev,
    .valid = mem_valid,
    .row = mem_row,
    .key = mem_key,
    .value = mem_value,
    .iter_error = mem_iter_error,
};

struct kv *kv_memory_open(const struct expiry *expiry)
{
    struct kv_memory *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    m->base.ops = &memory_ops;
    m->expiry = expiry;
    m->random = 0x9e3779b97f4a7c15u;
    pthread_rwlock_init(&m->lock, NULL);
    return &m->base;
}
