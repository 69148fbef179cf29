#include "core/script/values.h"

#include "core/base/hash.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BUCKETS = 8, LOOK = 2 /* buckets that each change looks through for what has expired */ };

struct entry {
    struct entry *next;
    uint64_t hash;
    uint64_t until_ms; /* 0: for ever */
    double number;
    uint32_t key_len, text_len;
    uint8_t type; /* enum value_type */
    char data[];  /* key, then text */
};

struct stripe {
    pthread_mutex_t lock;
    struct entry **buckets; /* bucket_count lists; owned; NULL: none yet */
    uint32_t bucket_count;  /* a power of two */
    uint32_t count;
    uint32_t cursor; /* the bucket that is looked through next */
};

struct values {
    _Atomic uint64_t bytes_max;
    _Atomic uint64_t bytes;   /* of entries */
    values_change_fn changed; /* NULL: nobody listens */
    void *ctx;                /* of changed */
    unsigned stripe_count;
    struct stripe stripes[];
};

struct values *values_new(unsigned stripes, uint64_t bytes_max)
{
    struct values *k = calloc(1, sizeof *k + stripes * sizeof k->stripes[0]);
    if (!k)
        return NULL;
    k->bytes_max = bytes_max;
    k->stripe_count = stripes;
    for (unsigned i = 0; i < stripes; i++)
        pthread_mutex_init(&k->stripes[i].lock, NULL);
    return k;
}

void values_free(struct values *k)
{
    for (unsigned i = 0; k && i < k->stripe_count; i++) {
        struct stripe *s = &k->stripes[i];
        for (uint32_t b = 0; b < s->bucket_count; b++)
            while (s->buckets[b]) {
                struct entry *e = s->buckets[b];
                s->buckets[b] = e->next;
                free(e);
            }
        free(s->buckets);
        pthread_mutex_destroy(&s->lock);
    }
    free(k);
}

static uint64_t size_of(const struct entry *e)
{
    return sizeof *e + e->key_len + e->text_len + 16; /* what malloc adds */
}

static bool expired(const struct entry *e, uint64_t now_ms)
{
    return e->until_ms && e->until_ms <= now_ms;
}

/* --- Inside a stripe, its lock held ------------------------------------------------------------------------------- */

static void unlink_at(struct values *k, struct stripe *s, struct entry **at)
{
    struct entry *e = *at;
    *at = e->next;
    s->count--;
    atomic_fetch_sub_explicit(&k->bytes, size_of(e), memory_order_relaxed);
    free(e);
}

static bool tell(const struct values *k, const struct values_change *c)
{
    return !k->changed || k->changed(k->ctx, c);
}

/* It is past its time. */
static void expire(struct values *k, struct stripe *s, struct entry **at)
{
    (void)tell(k, &(struct values_change){
                      .key = slice_of((*at)->data, (*at)->key_len), .until_ms = (*at)->until_ms, .expired = true});
    unlink_at(k, s, at);
}

static struct script_value value_of(const struct entry *e)
{
    return (struct script_value){
        .type = (enum value_type)e->type, .number = e->number, .text = slice_of(e->data + e->key_len, e->text_len)};
}

static void drop_expired(struct values *k, struct stripe *s, uint32_t buckets, uint64_t now_ms)
{
    for (uint32_t i = 0; i < buckets && i < s->bucket_count; i++) {
        struct entry **at = &s->buckets[s->cursor++ & (s->bucket_count - 1)];
        while (*at)
            if (expired(*at, now_ms))
                expire(k, s, at);
            else
                at = &(*at)->next;
    }
}

/* Where the key's entry is linked, or NULL. One that has expired is gone. */
static struct entry **find(struct values *k, struct stripe *s, uint64_t hash, struct slice key, uint64_t now_ms)
{
    if (!s->buckets)
        return NULL;
    for (struct entry **at = &s->buckets[hash & (s->bucket_count - 1)]; *at; at = &(*at)->next) {
        if ((*at)->hash != hash || !slice_eq(slice_of((*at)->data, (*at)->key_len), key))
            continue;
        if (!expired(*at, now_ms))
            return at;
        expire(k, s, at);
        return NULL;
    }
    return NULL;
}

static bool grow(struct stripe *s)
{
    if (s->buckets && s->count < s->bucket_count)
        return true;
    uint32_t n = s->buckets ? s->bucket_count * 2 : FIRST_BUCKETS;
    struct entry **fresh = calloc(n, sizeof *fresh);
    if (!fresh)
        return s->buckets != NULL;
    for (uint32_t b = 0; b < s->bucket_count; b++) {
        while (s->buckets[b]) {
            struct entry *e = s->buckets[b];
            s->buckets[b] = e->next;
            e->next = fresh[e->hash & (n - 1)];
            fresh[e->hash & (n - 1)] = e;
        }
    }
    free(s->buckets);
    s->buckets = fresh;
    s->bucket_count = n;
    return true;
}

static struct stripe *lock_stripe(struct values *k, struct slice key, uint64_t *hash)
{
    *hash = hash_bytes(key);
    struct stripe *s = &k->stripes[(*hash >> 48) & (k->stripe_count - 1)];
    pthread_mutex_lock(&s->lock);
    return s;
}

/* The entry of a key, in place of the one that is there. NULL: out of memory. */
static struct entry *entry_new(struct stripe *s, uint64_t hash, struct slice key, const struct script_value *v,
                               uint64_t until_ms)
{
    size_t text = v->type == VALUE_TEXT ? v->text.n : 0;
    struct entry *e = malloc(sizeof *e + key.n + text);
    if (!e || !grow(s)) {
        free(e);
        return NULL;
    }
    *e = (struct entry){.hash = hash,
                        .until_ms = until_ms,
                        .number = v->number,
                        .key_len = (uint32_t)key.n,
                        .text_len = (uint32_t)text,
                        .type = (uint8_t)v->type};
    memcpy(e->data, key.p, key.n);
    if (text)
        memcpy(e->data + key.n, v->text.p, text);
    return e;
}

static void entry_link(struct values *k, struct stripe *s, struct entry *e)
{
    struct entry **bucket = &s->buckets[e->hash & (s->bucket_count - 1)];
    e->next = *bucket;
    *bucket = e;
    s->count++;
    atomic_fetch_add_explicit(&k->bytes, size_of(e), memory_order_relaxed);
}

/* c->v is the value. */
static int put(struct values *k, struct stripe *s, uint64_t hash, const struct values_change *c, uint64_t now_ms)
{
    drop_expired(k, s, LOOK, now_ms);
    struct entry **old = find(k, s, hash, c->key, now_ms);
    size_t text = c->v->type == VALUE_TEXT ? c->v->text.n : 0;
    uint64_t size = sizeof(struct entry) + c->key.n + text + 16, freed = old ? size_of(*old) : 0;
    if (atomic_load_explicit(&k->bytes, memory_order_relaxed) + size > k->bytes_max + freed) {
        drop_expired(k, s, s->bucket_count, now_ms);
        if (atomic_load_explicit(&k->bytes, memory_order_relaxed) + size > k->bytes_max + freed)
            return ERR_FULL;
    }
    struct entry *e = entry_new(s, hash, c->key, c->v, c->until_ms);
    if (!e || !tell(k, c)) {
        free(e);
        return ERR_NOMEM;
    }
    /* Growing has moved the lists. */
    if ((old = find(k, s, hash, c->key, now_ms)) != NULL)
        unlink_at(k, s, old);
    entry_link(k, s, e);
    return 0;
}

/* --- From outside ------------------------------------------------------------------------------------------------- */

int values_get(struct values *k, struct slice key, uint64_t now_ms, struct script_value *out)
{
    uint64_t hash;
    int rc = 0;
    *out = (struct script_value){.type = VALUE_NONE};
    struct stripe *s = lock_stripe(k, key, &hash);
    struct entry **at = find(k, s, hash, key, now_ms);
    if (!at) {
        rc = ERR_NOTFOUND;
    } else {
        const struct entry *e = *at;
        *out = (struct script_value){.type = (enum value_type)e->type, .number = e->number};
        if (e->type == VALUE_TEXT) {
            char *copy = malloc(e->text_len + 1);
            if (copy)
                memcpy(copy, e->data + e->key_len, e->text_len);
            else
                rc = ERR_NOMEM;
            out->text = slice_of(copy, e->text_len);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int values_set(struct values *k, struct slice key, const struct script_value *v, uint64_t ttl_ms, uint64_t now_ms)
{
    uint64_t hash;
    struct stripe *s = lock_stripe(k, key, &hash);
    struct values_change c = {.key = key, .v = v, .until_ms = ttl_ms ? now_ms + ttl_ms : 0};
    int rc = put(k, s, hash, &c, now_ms);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int values_incr(struct values *k, struct slice key, double n, uint64_t ttl_ms, uint64_t now_ms, double *out)
{
    uint64_t hash;
    struct stripe *s = lock_stripe(k, key, &hash);
    struct entry **at = find(k, s, hash, key, now_ms);
    int rc = 0;
    struct script_value sum = {.type = VALUE_NUMBER, .number = n};
    struct values_change c = {.key = key, .v = &sum, .until_ms = ttl_ms ? now_ms + ttl_ms : 0, .added = true, .by = n};
    if (!at) {
        rc = put(k, s, hash, &c, now_ms);
        *out = n;
    } else if ((*at)->type != VALUE_NUMBER) {
        rc = ERR_INVALID;
    } else {
        sum.number += (*at)->number;
        c.until_ms = (*at)->until_ms;
        if (tell(k, &c))
            *out = (*at)->number = sum.number;
        else
            rc = ERR_NOMEM;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

bool values_del(struct values *k, struct slice key, uint64_t now_ms)
{
    uint64_t hash;
    struct stripe *s = lock_stripe(k, key, &hash);
    struct entry **at = find(k, s, hash, key, now_ms);
    if (at) {
        (void)tell(k, &(struct values_change){.key = key});
        unlink_at(k, s, at);
    }
    pthread_mutex_unlock(&s->lock);
    return at != NULL;
}

uint64_t values_bytes(const struct values *k)
{
    return atomic_load_explicit(&k->bytes, memory_order_relaxed);
}

void values_limit(struct values *k, uint64_t bytes_max)
{
    atomic_store_explicit(&k->bytes_max, bytes_max, memory_order_relaxed);
}

void values_watch(struct values *k, values_change_fn fn, void *ctx)
{
    k->changed = fn;
    k->ctx = ctx;
}

bool values_tell(struct values *k, struct slice key, uint64_t now_ms)
{
    uint64_t hash;
    struct stripe *s = lock_stripe(k, key, &hash);
    struct entry **at = find(k, s, hash, key, now_ms);
    struct script_value v = at ? value_of(*at) : (struct script_value){.type = VALUE_NONE};
    bool told = tell(k, &(struct values_change){.key = key, .v = at ? &v : NULL, .until_ms = at ? (*at)->until_ms : 0});
    pthread_mutex_unlock(&s->lock);
    return told;
}

int values_rewrite(struct values *k, struct slice key, values_rewrite_fn fn, void *ctx)
{
    uint64_t hash, until_ms = 0;
    struct script_value v = {.type = VALUE_NONE};
    struct entry *e = NULL;
    struct stripe *s = lock_stripe(k, key, &hash);
    fn(ctx, &v, &until_ms);
    if (v.type != VALUE_NONE)
        e = entry_new(s, hash, key, &v, until_ms);
    bool good = e || v.type == VALUE_NONE;
    struct entry **old = good ? find(k, s, hash, key, 0) : NULL; /* at time 0 nothing has expired */
    if (old)
        unlink_at(k, s, old);
    if (e)
        entry_link(k, s, e);
    pthread_mutex_unlock(&s->lock);
    if (v.type == VALUE_TEXT)
        free((void *)(uintptr_t)v.text.p);
    return good ? 0 : ERR_NOMEM;
}

void values_keep(struct values *k, bool (*keep)(void *ctx, struct slice key), void *ctx)
{
    for (unsigned i = 0; i < k->stripe_count; i++) {
        struct stripe *s = &k->stripes[i];
        pthread_mutex_lock(&s->lock);
        for (uint32_t b = 0; b < s->bucket_count; b++) {
            struct entry **at = &s->buckets[b];
            while (*at)
                if (keep(ctx, slice_of((*at)->data, (*at)->key_len)))
                    at = &(*at)->next;
                else
                    unlink_at(k, s, at);
        }
        pthread_mutex_unlock(&s->lock);
    }
}
