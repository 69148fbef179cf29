/* Limits of now and before: see limits.h. */
#include "storage/local/limits.h"

#include "core/base/buf.h"
#include "storage/local/record.h"

/* --- Times to live ---------------------------------------------------------------------------------------------- */

/* A class gets another time to live at now_ms. What has ended by the one before stays ended. */
static void ttl_set(struct expiry *e, unsigned cls, uint64_t old, uint64_t ttl, uint64_t now_ms)
{
    if (old && (!ttl || ttl > old) && now_ms >= old) {
        uint64_t ended = now_ms - old + 1;
        if (ended > atomic_load(&e->ended_ms[cls]))
            atomic_store(&e->ended_ms[cls], ended);
    }
    atomic_store(&e->ttl_ms[cls], ttl); /* after that, so that nobody sees the one without the other */
}

static uint64_t ttl_of(const struct store_options *o, unsigned cls)
{
    return cls == EXPIRY_DEDUP ? o->dedup_window_ms : o->tiers[cls - 1].ttl_ms;
}

/* --- Counts ------------------------------------------------------------------------------------------------------- */

/* Of two counts the one that keeps less; 0 keeps all. */
static bool keeps_less(uint32_t a, uint32_t b)
{
    return a && (!b || a < b);
}

/* The lock is held. A raise is noted before it is in force, and what a lower count makes needless goes after that. */
static void max_set(struct limits *l, unsigned t, uint32_t old, uint32_t max)
{
    struct past_max *past = l->past[t];
    uint32_t n = atomic_load(&l->past_n[t]), gone = 0;
    bool same = n && past[0].until_id == UINT64_MAX && !keeps_less(old, past[0].max); /* nothing was said in between */
    if (keeps_less(old, max) && !same) {
        n = n < LIMITS_PAST ? n : LIMITS_PAST - 1; /* the oldest is forgotten */
        memmove(past + 1, past, n * sizeof *past);
        past[0] = (struct past_max){.until_id = UINT64_MAX, .max = old};
        atomic_store(&l->past_n[t], n + 1);
    }
    atomic_store(&l->max[t], max);
    n = atomic_load(&l->past_n[t]);
    while (gone < n && !keeps_less(past[gone].max, max))
        gone++;
    memmove(past, past + gone, (n - gone) * sizeof *past);
    atomic_store(&l->past_n[t], n - gone);
}

uint32_t limits_max(struct limits *l, unsigned tier, uint64_t last_id)
{
    uint32_t max, least;
    do { /* again, when it was changed meanwhile */
        least = max = atomic_load(&l->max[tier]);
        if (atomic_load(&l->past_n[tier])) {
            pthread_mutex_lock(&l->lock);
            uint32_t n = atomic_load(&l->past_n[tier]);
            for (uint32_t i = 0; i < n && l->past[tier][i].until_id >= last_id; i++)
                least = l->past[tier][i].max;
            pthread_mutex_unlock(&l->lock);
        }
    } while (max != atomic_load(&l->max[tier]));
    return least;
}

bool limits_differ(const struct limits *l)
{
    for (unsigned t = 0; t < TIER_COUNT; t++)
        if (atomic_load_explicit(&l->past_n[t], memory_order_relaxed))
            return true;
    return false;
}

/* --- All of them -------------------------------------------------------------------------------------------- */

void limits_init(struct limits *l, struct expiry *expiry, const struct store_options *o)
{
    memset(l, 0, sizeof *l);
    l->expiry = expiry;
    pthread_mutex_init(&l->lock, NULL);
    atomic_store(&l->version, 1);
    for (unsigned c = 1; c < EXPIRY_CLASSES; c++)
        atomic_store(&expiry->ttl_ms[c], ttl_of(o, c));
    for (unsigned t = 0; t < TIER_COUNT; t++)
        atomic_store(&l->max[t], o->tiers[t].max);
}

void limits_fini(struct limits *l)
{
    pthread_mutex_destroy(&l->lock);
}

void limits_change(struct limits *l, const struct store_options *o)
{
    pthread_mutex_lock(&l->lock);
    for (unsigned c = 1; c < EXPIRY_CLASSES; c++)
        ttl_set(l->expiry, c, atomic_load(&l->expiry->ttl_ms[c]), ttl_of(o, c), expiry_now(l->expiry));
    for (unsigned t = 0; t < TIER_COUNT; t++)
        max_set(l, t, atomic_load(&l->max[t]), o->tiers[t].max);
    atomic_fetch_add(&l->version, 1);
    pthread_mutex_unlock(&l->lock);
}

/* version u8, flags u8; for each class ttl u64, ended u64; for each tier max u32, n u8, n times until u64, max u32. */
size_t limits_encode(struct limits *l, uint64_t last_id, char *out)
{
    char *p = out;
    *p++ = RECORD_VERSION;
    *p++ = 0;
    pthread_mutex_lock(&l->lock);
    for (unsigned c = 1; c < EXPIRY_CLASSES; c++, p += 16) {
        store_be64(p, atomic_load(&l->expiry->ttl_ms[c]));
        store_be64(p + 8, atomic_load(&l->expiry->ended_ms[c]));
    }
    for (unsigned t = 0; t < TIER_COUNT; t++) {
        uint32_t n = atomic_load(&l->past_n[t]);
        store_be32(p, atomic_load(&l->max[t]));
        p[4] = (char)n;
        p += 5;
        for (uint32_t i = 0; i < n; i++, p += 12) {
            struct past_max *past = &l->past[t][i];
            past->until_id = past->until_id == UINT64_MAX ? last_id : past->until_id;
            store_be64(p, past->until_id);
            store_be32(p + 8, past->max);
        }
    }
    pthread_mutex_unlock(&l->lock);
    return (size_t)(p - out);
}

/* The counts of another run. The lock is held. */
static int past_restore(struct limits *l, const char *p, const char *end)
{
    for (unsigned t = 0; t < TIER_COUNT; t++) {
        uint32_t max = atomic_load(&l->max[t]), n = end - p >= 5 ? (uint8_t)p[4] : 0;
        if (end - p < 5 || n > LIMITS_PAST || end - p - 5 < 12 * (ptrdiff_t)n)
            return ERR_INVALID;
        uint32_t old = load_be32(p);
        p += 5;
        for (uint32_t i = 0; i < n; i++, p += 12)
            l->past[t][i] = (struct past_max){.until_id = load_be64(p), .max = load_be32(p + 8)};
        atomic_store(&l->past_n[t], n);
        max_set(l, t, old, max);
    }
    return p == end ? 0 : ERR_INVALID;
}

int limits_restore(struct limits *l, struct slice row, uint64_t then_ms)
{
    const char *p = row.p + 2;
    if (row.n < LIMITS_FIXED || row.p[0] != RECORD_VERSION || row.p[1] != 0)
        return ERR_INVALID;
    pthread_mutex_lock(&l->lock);
    for (unsigned c = 1; c < EXPIRY_CLASSES; c++, p += 16) {
        atomic_store(&l->expiry->ended_ms[c], load_be64(p + 8));
        ttl_set(l->expiry, c, load_be64(p), atomic_load(&l->expiry->ttl_ms[c]), then_ms);
    }
    int r = past_restore(l, p, row.p + row.n);
    pthread_mutex_unlock(&l->lock);
    return r;
}
