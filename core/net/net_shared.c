#include "core/net/net_shared.h"

#include "core/base/hash.h"
#include "core/net/net_private.h"
#include "core/net/net_shared_private.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { IP_BYTES = ADDRESS_BYTES, IP_V6 = 8, BUCKETS_MIN = 64 };
#define SLOT_NAMED 0x80000000u /* bit of a slot that is one of `named` */

/* An address with connections. */
struct ip {
    uint8_t address[IP_BYTES]; /* IPv4 as ::ffff:a.b.c.d; IPv6 cut to its /64 */
    uint32_t count;            /* connections that hold the slot; 0: it is free */
    uint32_t next;             /* of the bucket, or of the free slots; IP_SLOT_NONE: the end */
    uint64_t held[HOLDERS];    /* bytes that its connections hold without a login */
    uint64_t unsent;           /* bytes that those of them hold whose socket is full */
    uint32_t blocked;          /* those connections */
};

/* A connection that a proxy speaks for. */
struct named {
    struct address address; /* the one that the proxy has named */
    uint32_t ip;            /* its account; of a free one: the next */
    bool by_header;         /* by the PROXY protocol */
};

struct net_shared {
    _Alignas(64) _Atomic uint32_t connections;
    _Alignas(64) _Atomic int64_t queued; /* bytes; nets publish differences */
    _Atomic int32_t blocked;             /* connections; likewise */
    _Alignas(64) pthread_mutex_t lock;   /* of what follows */
    uint64_t held[HOLDERS];              /* bytes that all connections hold without a login */
    struct ip *ips;                      /* slots; owned */
    uint32_t ip_count, ip_cap, ip_live;  /* ever used, allocated, in use */
    uint32_t ip_free;                    /* first free slot */
    uint32_t *buckets;                   /* first slot of each; owned */
    uint32_t bucket_count;               /* a power of two, 0 at first */
    struct named *named;                 /* owned */
    uint32_t named_count, named_cap;     /* ever used, allocated */
    uint32_t named_free;                 /* first free one; IP_SLOT_NONE: none */
};

struct net_shared *net_shared_new(void)
{
    struct net_shared *s = aligned_alloc(64, sizeof *s);
    if (!s)
        return NULL;
    memset(s, 0, sizeof *s);
    s->ip_free = s->named_free = IP_SLOT_NONE;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void net_shared_free(struct net_shared *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s->ips);
    free(s->buckets);
    free(s->named);
    free(s);
}

uint32_t net_shared_connections(const struct net_shared *s)
{
    return atomic_load_explicit(&s->connections, memory_order_relaxed);
}

uint64_t net_shared_queued(const struct net_shared *s)
{
    int64_t n = atomic_load_explicit(&s->queued, memory_order_relaxed);
    return n > 0 ? (uint64_t)n : 0;
}

void shared_queued_add(struct net_shared *s, int64_t bytes, int32_t blocked)
{
    atomic_fetch_add_explicit(&s->queued, bytes, memory_order_relaxed);
    if (blocked)
        atomic_fetch_add_explicit(&s->blocked, blocked, memory_order_relaxed);
}

uint32_t shared_blocked(const struct net_shared *s)
{
    int32_t n = atomic_load_explicit(&s->blocked, memory_order_relaxed);
    return n > 0 ? (uint32_t)n : 0;
}

bool shared_connection_add(struct net_shared *s, uint32_t limit)
{
    uint32_t before = atomic_fetch_add_explicit(&s->connections, 1, memory_order_relaxed);
    if (limit && before >= limit) {
        shared_connection_remove(s);
        return false;
    }
    return true;
}

void shared_connection_remove(struct net_shared *s)
{
    atomic_fetch_sub_explicit(&s->connections, 1, memory_order_relaxed);
}

/* --- Addresses --------------------------------------------------------------------------------------------------- */

/* A host has a /64 of IPv6 of its own as a rule: a cap by single addresses would be none. */
static void ip_key(const struct address *a, uint8_t key[IP_BYTES])
{
    memset(key, 0, IP_BYTES);
    memcpy(key, a->b, address_is_v4(a) ? IP_BYTES : IP_V6);
}

static uint32_t *bucket_of(const struct net_shared *s, const uint8_t key[IP_BYTES])
{
    return &s->buckets[hash_bytes(slice_of(key, IP_BYTES)) & (s->bucket_count - 1)];
}

static void buckets_grow(struct net_shared *s)
{
    uint32_t count = s->bucket_count ? s->bucket_count * 2 : BUCKETS_MIN;
    uint32_t *p = malloc(count * sizeof *p);
    if (!p)
        return;
    free(s->buckets);
    s->buckets = p;
    s->bucket_count = count;
    memset(p, 0xff, count * sizeof *p);
    for (uint32_t i = 0; i < s->ip_count; i++) {
        if (s->ips[i].count) {
            uint32_t *b = bucket_of(s, s->ips[i].address);
            s->ips[i].next = *b;
            *b = i;
        }
    }
}

static uint32_t ip_new(struct net_shared *s, const uint8_t key[IP_BYTES])
{
    if (s->ip_live >= s->bucket_count)
        buckets_grow(s);
    if (!s->bucket_count)
        return IP_SLOT_NONE;
    uint32_t i = s->ip_free;
    if (i != IP_SLOT_NONE) {
        s->ip_free = s->ips[i].next;
    } else {
        if (s->ip_count == s->ip_cap) {
            uint32_t cap = s->ip_cap ? s->ip_cap * 2 : BUCKETS_MIN;
            struct ip *p = realloc(s->ips, cap * sizeof *p);
            if (!p)
                return IP_SLOT_NONE;
            s->ips = p;
            s->ip_cap = cap;
        }
        i = s->ip_count++;
    }
    uint32_t *b = bucket_of(s, key);
    memcpy(s->ips[i].address, key, IP_BYTES);
    s->ips[i].count = 1;
    memset(s->ips[i].held, 0, sizeof s->ips[i].held);
    s->ips[i].unsent = s->ips[i].blocked = 0;
    s->ips[i].next = *b;
    *b = i;
    s->ip_live++;
    return i;
}

/* Under the lock: the account of the address, with one more connection. ERR_FULL: it has `limit`; ERR_NOMEM. */
static int ip_take(struct net_shared *s, const struct address *a, uint32_t limit, uint32_t *slot)
{
    uint8_t key[IP_BYTES];
    ip_key(a, key);
    uint32_t i = s->bucket_count ? *bucket_of(s, key) : IP_SLOT_NONE;
    while (i != IP_SLOT_NONE && memcmp(s->ips[i].address, key, IP_BYTES) != 0)
        i = s->ips[i].next;
    if (i == IP_SLOT_NONE) {
        *slot = ip_new(s, key);
        return *slot == IP_SLOT_NONE ? ERR_NOMEM : 0;
    }
    if (s->ips[i].count >= limit)
        return ERR_FULL;
    s->ips[i].count++;
    *slot = i;
    return 0;
}

static void ip_drop(struct net_shared *s, uint32_t slot)
{
    if (--s->ips[slot].count)
        return;
    uint32_t *at = bucket_of(s, s->ips[slot].address);
    while (*at != slot)
        at = &s->ips[*at].next;
    *at = s->ips[slot].next;
    s->ips[slot].next = s->ip_free;
    s->ip_free = slot;
    s->ip_live--;
}

bool shared_ip_add(struct net_shared *s, const struct sockaddr *a, uint32_t limit, uint32_t *slot)
{
    struct address address;
    *slot = IP_SLOT_NONE;
    if (!address_of(a, &address))
        return true;
    pthread_mutex_lock(&s->lock);
    int rc = ip_take(s, &address, limit, slot);
    pthread_mutex_unlock(&s->lock);
    return rc != ERR_FULL;
}

/* --- Named by proxies --------------------------------------------------------------------------------------------- */

/* Under the lock. IP_SLOT_NONE: out of memory. */
static uint32_t named_new(struct net_shared *s)
{
    uint32_t i = s->named_free;
    if (i != IP_SLOT_NONE) {
        s->named_free = s->named[i].ip;
        return i;
    }
    if (s->named_count == s->named_cap) {
        uint32_t cap = s->named_cap ? s->named_cap * 2 : BUCKETS_MIN;
        struct named *p = realloc(s->named, cap * sizeof *p);
        if (!p)
            return IP_SLOT_NONE;
        s->named = p;
        s->named_cap = cap;
    }
    return s->named_count++;
}

static void named_drop(struct net_shared *s, uint32_t i)
{
    s->named[i].ip = s->named_free;
    s->named_free = i;
}

int shared_named_add(struct net_shared *s, const struct address *a, bool by_header, uint32_t limit, uint32_t *slot)
{
    pthread_mutex_lock(&s->lock);
    uint32_t i = named_new(s), ip = IP_SLOT_NONE;
    int rc = i == IP_SLOT_NONE ? ERR_NOMEM : ip_take(s, a, limit, &ip);
    if (rc == 0) {
        s->named[i] = (struct named){.address = *a, .ip = ip, .by_header = by_header};
        *slot = SLOT_NAMED | i;
    } else if (i != IP_SLOT_NONE) {
        named_drop(s, i);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static bool is_named(uint32_t slot)
{
    return slot != IP_SLOT_NONE && slot & SLOT_NAMED;
}

bool shared_named(struct net_shared *s, uint32_t slot, struct address *out, bool *by_header)
{
    if (!is_named(slot))
        return false;
    pthread_mutex_lock(&s->lock);
    const struct named *n = &s->named[slot & ~SLOT_NAMED];
    *out = n->address;
    if (by_header)
        *by_header = n->by_header;
    pthread_mutex_unlock(&s->lock);
    return true;
}

/* Under the lock: the account that a slot stands for; NULL: of none. */
static struct ip *account(struct net_shared *s, uint32_t slot)
{
    if (slot == IP_SLOT_NONE)
        return NULL;
    return &s->ips[is_named(slot) ? s->named[slot & ~SLOT_NAMED].ip : slot];
}

bool shared_same_ip(struct net_shared *s, uint32_t a, uint32_t b)
{
    if (a == IP_SLOT_NONE || b == IP_SLOT_NONE || a == b)
        return a == b && a != IP_SLOT_NONE;
    pthread_mutex_lock(&s->lock);
    bool same = account(s, a) == account(s, b);
    pthread_mutex_unlock(&s->lock);
    return same;
}

void shared_ip_remove(struct net_shared *s, uint32_t slot)
{
    if (slot == IP_SLOT_NONE)
        return;
    pthread_mutex_lock(&s->lock);
    ip_drop(s, (uint32_t)(account(s, slot) - s->ips));
    if (is_named(slot))
        named_drop(s, slot & ~SLOT_NAMED);
    pthread_mutex_unlock(&s->lock);
}

/* --- Memory without a login --------------------------------------------------------------------------------------- */

bool shared_held_add(struct net_shared *s, enum holder who, uint32_t slot, uint32_t bytes, uint64_t total,
                     uint64_t per_ip)
{
    pthread_mutex_lock(&s->lock);
    struct ip *ip = account(s, slot);
    bool ok = !(total && s->held[who] + bytes > total) && !(ip && per_ip && ip->held[who] + bytes > per_ip);
    if (ok) {
        s->held[who] += bytes;
        if (ip)
            ip->held[who] += bytes;
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}

void shared_held_remove(struct net_shared *s, enum holder who, uint32_t slot, uint32_t bytes)
{
    pthread_mutex_lock(&s->lock);
    struct ip *ip = account(s, slot);
    s->held[who] -= bytes;
    if (ip)
        ip->held[who] -= bytes;
    pthread_mutex_unlock(&s->lock);
}

static uint64_t held(struct net_shared *s, enum holder who)
{
    pthread_mutex_lock(&s->lock);
    uint64_t n = s->held[who];
    pthread_mutex_unlock(&s->lock);
    return n;
}

uint64_t net_shared_early(struct net_shared *s)
{
    return held(s, HOLDER_EARLY);
}

uint64_t net_shared_claimed(struct net_shared *s)
{
    return held(s, HOLDER_CLAIMED);
}

/* --- Output ------------------------------------------------------------------------------------------------------- */

uint32_t shared_unsent_change(struct net_shared *s, uint32_t slot, int64_t bytes, int blocked, uint64_t limit)
{
    uint64_t share = UINT32_MAX;
    if (slot == IP_SLOT_NONE)
        return UINT32_MAX;
    pthread_mutex_lock(&s->lock);
    struct ip *ip = account(s, slot);
    ip->unsent += (uint64_t)bytes;
    ip->blocked += (uint32_t)blocked;
    if (limit && ip->unsent > limit)
        share = limit / (ip->blocked ? ip->blocked : 1);
    pthread_mutex_unlock(&s->lock);
    return share < UINT32_MAX ? (uint32_t)share : UINT32_MAX;
}
