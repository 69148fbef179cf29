/* Cluster time: see cluster_clock.h. */
#include "storage/redis/nodes/cluster_clock.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/err.h"

#include <string.h>

enum { RECORD_FORMAT = 1, RECORD_PAUSED = 1 /* in flags */, SLEW_OVER_MS = 1000 };

static uint64_t system_boot(void *ctx)
{
    (void)ctx;
    return clock_boot_ms();
}

/* --- The record --------------------------------------------------------------------------------------------------- */

/* Its format u8 · version u32 · flags u8 · era u32 · n u8 · expiry, from, steady by, sure by, date by, u64 each; for
 * each class ttl u64, ended u64; for each tier max u32, CLOCK_COUNTS times until u64, max u32; n times from u64, by
 * u64. */
size_t clock_record_encode(const struct clock_record *r, char out[CLOCK_RECORD_SIZE])
{
    const uint64_t fixed[] = {r->expiry_ms, r->from_ms, (uint64_t)r->steady_by_ms, (uint64_t)r->sure_by_ms,
                              (uint64_t)r->date_by_ms};
    char *p = out;
    *p = RECORD_FORMAT;
    store_be32(p + 1, r->version);
    p[5] = r->paused ? RECORD_PAUSED : 0;
    store_be32(p + 6, r->era);
    p[10] = (char)r->moves.n;
    p += 11;
    for (unsigned i = 0; i < sizeof fixed / sizeof *fixed; i++, p += 8)
        store_be64(p, fixed[i]);
    for (unsigned c = 0; c < EXPIRY_CLASSES - 1; c++, p += 16) {
        store_be64(p, r->limits[c].ttl_ms);
        store_be64(p + 8, r->limits[c].ended_ms);
    }
    for (unsigned t = 0; t < EXPIRY_CLASSES - 2; t++, p += CLOCK_COUNT_SIZE) {
        store_be32(p, r->counts[t].max);
        for (unsigned i = 0; i < CLOCK_COUNTS; i++) {
            store_be64(p + 4 + 12 * i, r->counts[t].past[i].until);
            store_be32(p + 12 + 12 * i, r->counts[t].past[i].max);
        }
    }
    p += clock_moves_encode(&r->moves, p);
    return (size_t)(p - out);
}

int clock_record_decode(struct slice v, struct clock_record *r)
{
    const char *p = v.p;
    *r = (struct clock_record){.version = 0};
    if (!v.n)
        return 0;
    if (v.n < CLOCK_RECORD_FIXED || p[0] != RECORD_FORMAT || (p[5] & ~RECORD_PAUSED) || (uint8_t)p[10] > CLOCK_MOVES ||
        v.n != CLOCK_RECORD_FIXED + (uint8_t)p[10] * (size_t)CLOCK_MOVE_SIZE)
        return ERR_INVALID;
    r->version = load_be32(p + 1);
    r->paused = p[5] != 0;
    r->era = load_be32(p + 6);
    p += 11;
    r->expiry_ms = load_be64(p);
    r->from_ms = load_be64(p + 8);
    r->steady_by_ms = (int64_t)load_be64(p + 16);
    r->sure_by_ms = (int64_t)load_be64(p + 24);
    r->date_by_ms = (int64_t)load_be64(p + 32);
    p += 40;
    for (unsigned c = 0; c < EXPIRY_CLASSES - 1; c++, p += 16) {
        r->limits[c].ttl_ms = load_be64(p);
        r->limits[c].ended_ms = load_be64(p + 8);
    }
    for (unsigned t = 0; t < EXPIRY_CLASSES - 2; t++, p += CLOCK_COUNT_SIZE) {
        r->counts[t].max = load_be32(p);
        for (unsigned i = 0; i < CLOCK_COUNTS; i++)
            r->counts[t].past[i] = (struct clock_count){load_be64(p + 4 + 12 * i), load_be32(p + 12 + 12 * i)};
    }
    clock_moves_decode(&r->moves, slice_of(p, (size_t)(v.p + v.n - p)));
    return 0;
}

bool clock_record_limit(struct clock_record *r, const uint64_t ttl_ms[EXPIRY_CLASSES - 1], uint64_t now_ms)
{
    bool changed = false;
    for (unsigned c = 0; c < EXPIRY_CLASSES - 1; c++) {
        uint64_t old = r->limits[c].ttl_ms, ttl = ttl_ms[c];
        if (old && (!ttl || ttl > old) && now_ms >= old && now_ms - old + 1 > r->limits[c].ended_ms)
            r->limits[c].ended_ms = now_ms - old + 1;
        changed = changed || ttl != old;
        r->limits[c].ttl_ms = ttl;
    }
    return changed;
}

/* Of two counts the one that keeps less; 0 keeps all. */
static bool keeps_less(uint32_t a, uint32_t b)
{
    return a && (!b || a < b);
}

/* A count is in force, and so those of before that do not keep less are needless. */
static void count_set(struct clock_record *r, unsigned t, uint32_t max)
{
    struct clock_count *past = r->counts[t].past;
    unsigned n = 0;
    r->counts[t].max = max;
    for (unsigned i = 0; i < CLOCK_COUNTS; i++)
        if (keeps_less(past[i].max, n ? past[n - 1].max : max))
            past[n++] = past[i];
    while (n < CLOCK_COUNTS)
        past[n++] = (struct clock_count){.max = 0};
}

bool clock_record_count(struct clock_record *r, const uint32_t max[EXPIRY_CLASSES - 2], uint64_t until, bool *raised)
{
    bool changed = false;
    *raised = false;
    for (unsigned t = 0; t < EXPIRY_CLASSES - 2; t++) {
        struct clock_count *past = r->counts[t].past, was = {until, r->counts[t].max};
        bool said = past[0].until != until || keeps_less(was.max, past[0].max); /* something may have been, under it */
        *raised |= keeps_less(was.max, max[t]);
        if (keeps_less(was.max, max[t]) && said) {
            memmove(past + 1, past, (CLOCK_COUNTS - 1) * sizeof *past); /* the oldest is forgotten */
            past[0] = was;
        }
        changed = changed || max[t] != was.max;
        count_set(r, t, max[t]);
    }
    return changed;
}

/* What either remembers of a tier, the newest first. */
static void counts_join(struct clock_record *theirs, const struct clock_record *mine, unsigned t)
{
    const struct clock_count *a = theirs->counts[t].past, *b = mine->counts[t].past;
    struct clock_count all[CLOCK_COUNTS];
    for (unsigned i = 0, j = 0, k = 0; k < CLOCK_COUNTS; k++)
        all[k] = j < CLOCK_COUNTS && (i == CLOCK_COUNTS || b[j].until >= a[i].until) ? b[j++] : a[i++];
    memcpy(theirs->counts[t].past, all, sizeof all);
    count_set(theirs, t, mine->counts[t].max);
}

void clock_record_join(struct clock_record *theirs, const struct clock_record *mine)
{
    for (unsigned t = 0; t < EXPIRY_CLASSES - 2; t++)
        counts_join(theirs, mine, t);
    for (unsigned c = 0; c < EXPIRY_CLASSES - 1; c++) {
        theirs->limits[c].ttl_ms = mine->limits[c].ttl_ms;
        if (mine->limits[c].ended_ms > theirs->limits[c].ended_ms)
            theirs->limits[c].ended_ms = mine->limits[c].ended_ms;
    }
}

/* --- Running ------------------------------------------------------------------------------------------------------ */

void cluster_clock_init(struct cluster_clock *t, const struct clock_source *source, struct expiry *expiry)
{
    *t = (struct cluster_clock){.source = {.boot_ms = system_boot}, .expiry = expiry};
    if (source && source->boot_ms)
        t->source = *source;
    pthread_mutex_init(&t->lock, NULL);
    t->boot0_ms = t->last_boot_ms = t->source.boot_ms(t->source.ctx);
}

void cluster_clock_fini(struct cluster_clock *t)
{
    pthread_mutex_destroy(&t->lock);
}

/* Under the lock. */
static uint64_t look(struct cluster_clock *t)
{
    uint64_t boot = t->source.boot_ms(t->source.ctx);
    if (clock_leaps(t->last_boot_ms, boot)) /* which moves no time */
        t->boot0_ms += boot - t->last_boot_ms;
    t->last_boot_ms = boot;
    uint64_t passed = boot - t->boot0_ms;
    int64_t slewed = passed < SLEW_OVER_MS ? t->slew_ms * (int64_t)passed / SLEW_OVER_MS : t->slew_ms;
    uint64_t now = t->base_ms + passed + (uint64_t)slewed;
    atomic_store_explicit(&t->expiry->now_ms, t->record.paused ? t->record.expiry_ms : now, memory_order_relaxed);
    return now;
}

/* Under the lock. */
static void set(struct cluster_clock *t, uint64_t now_ms)
{
    t->base_ms = now_ms;
    t->boot0_ms = t->last_boot_ms;
    t->slew_ms = 0;
    (void)look(t);
}

/* Under the lock. */
static uint64_t steady(struct cluster_clock *t)
{
    uint64_t now = look(t) + (uint64_t)t->record.steady_by_ms;
    t->steady_ms = now > t->steady_ms ? now : t->steady_ms;
    return t->steady_ms;
}

uint64_t cluster_clock_now(struct cluster_clock *t)
{
    pthread_mutex_lock(&t->lock);
    uint64_t now = look(t);
    pthread_mutex_unlock(&t->lock);
    return now;
}

uint64_t cluster_clock_steady(struct cluster_clock *t)
{
    pthread_mutex_lock(&t->lock);
    uint64_t now = steady(t);
    pthread_mutex_unlock(&t->lock);
    return now;
}

uint64_t cluster_clock_age(struct cluster_clock *t, uint64_t stamp_ms)
{
    pthread_mutex_lock(&t->lock);
    uint64_t age = clock_moves_age(&t->record.moves, steady(t), stamp_ms);
    pthread_mutex_unlock(&t->lock);
    return age;
}

uint64_t cluster_clock_date(struct cluster_clock *t)
{
    pthread_mutex_lock(&t->lock);
    uint64_t now = look(t) + (uint64_t)(t->record.paused ? t->record.date_by_ms : 0);
    pthread_mutex_unlock(&t->lock);
    return now;
}

bool cluster_clock_paused(struct cluster_clock *t)
{
    pthread_mutex_lock(&t->lock);
    bool paused = t->record.paused;
    pthread_mutex_unlock(&t->lock);
    return paused;
}

uint64_t cluster_clock_boot(struct cluster_clock *t)
{
    return t->source.boot_ms(t->source.ctx);
}

void cluster_clock_set(struct cluster_clock *t, uint64_t now_ms)
{
    pthread_mutex_lock(&t->lock);
    (void)look(t);
    set(t, now_ms);
    pthread_mutex_unlock(&t->lock);
}

void cluster_clock_follow(struct cluster_clock *t, int64_t by_ms, uint32_t most_ms)
{
    pthread_mutex_lock(&t->lock);
    int64_t most = most_ms;
    set(t, look(t));
    t->slew_ms = by_ms > most ? most : by_ms < -most ? -most : by_ms;
    pthread_mutex_unlock(&t->lock);
}

bool cluster_clock_lead(struct cluster_clock *t, int64_t by_ms)
{
    bool near = by_ms <= (int64_t)CLOCK_BACK_MS && by_ms >= -(int64_t)CLOCK_BACK_MS;
    cluster_clock_follow(t, near ? by_ms : 0, CLOCK_FOLLOW_LEAD);
    return near;
}

/* Under the lock. */
static void record_set(struct cluster_clock *t, const struct clock_record *record)
{
    t->record = *record;
    for (unsigned c = 0; c < EXPIRY_CLASSES - 1; c++)
        if (record->limits[c].ended_ms > atomic_load(&t->expiry->ended_ms[c + 1]))
            atomic_store(&t->expiry->ended_ms[c + 1], record->limits[c].ended_ms);
}

void cluster_clock_record_set(struct cluster_clock *t, const struct clock_record *record, uint64_t now_ms)
{
    pthread_mutex_lock(&t->lock);
    uint64_t now = look(t);
    record_set(t, record);
    set(t, now_ms ? now_ms : now);
    pthread_mutex_unlock(&t->lock);
}

struct clock_record cluster_clock_record_get(struct cluster_clock *t)
{
    pthread_mutex_lock(&t->lock);
    struct clock_record record = t->record;
    pthread_mutex_unlock(&t->lock);
    return record;
}

/* --- Beginning, and accepting ------------------------------------------------------------------------------------- */

bool cluster_clock_first(struct cluster_clock *t, uint64_t median_ms, uint64_t told_ms)
{
    pthread_mutex_lock(&t->lock);
    struct clock_record *r = &t->record;
    uint64_t now = median_ms > told_ms ? median_ms : told_ms;
    bool doubt = told_ms && (told_ms > median_ms + CLOCK_BACK_MS || median_ms > told_ms + CLOCK_AHEAD_MS);
    if (doubt) {
        uint64_t stamp = told_ms + (uint64_t)r->steady_by_ms;
        if (!r->paused) {
            r->paused = true;
            r->expiry_ms = told_ms;
            r->from_ms = stamp;
            r->sure_by_ms = r->steady_by_ms;
        }
        r->steady_by_ms = (int64_t)(stamp - now); /* it stands where it was; an accepted clock ages what is due */
    }
    r->date_by_ms = (int64_t)(median_ms - now);
    (void)look(t);
    set(t, now);
    pthread_mutex_unlock(&t->lock);
    return doubt;
}

bool cluster_clock_accept(struct cluster_clock *t, uint64_t median_ms)
{
    pthread_mutex_lock(&t->lock);
    struct clock_record *r = &t->record;
    uint64_t now = look(t), stamp = steady(t);
    bool apart = now > median_ms + CLOCK_BACK_MS || median_ms > now + CLOCK_BACK_MS, done = r->paused || apart;
    if (done) {
        uint64_t sure = stamp - (uint64_t)(r->paused ? r->sure_by_ms : r->steady_by_ms);
        if (median_ms > sure)
            clock_moves_add(&r->moves, r->paused ? r->from_ms : stamp, median_ms - sure);
        r->paused = false;
        r->steady_by_ms = r->sure_by_ms = (int64_t)(stamp - median_ms);
        r->date_by_ms = 0;
        r->era++;
        set(t, median_ms);
    }
    pthread_mutex_unlock(&t->lock);
    return done;
}
