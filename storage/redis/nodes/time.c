/* Time, as the engine asks for it: see time.h. */
#include "storage/redis/nodes/time.h"

#include "core/base/log.h"
#include "storage/redis/layout.h"
#include "storage/redis/redis_private.h"

#include <stdlib.h>

int time_init(struct redis *r)
{
    struct cluster_time *t = calloc(1, sizeof *t);
    if (!t)
        return ERR_NOMEM;
    r->time = t;
    cluster_clock_init(&t->clock, &(struct clock_source){r->hooks.boot_ms, r->hooks.ctx}, &t->expiry);
    for (unsigned c = 1; c < EXPIRY_CLASSES; c++)
        atomic_store(&t->expiry.ttl_ms[c],
                     c == EXPIRY_DEDUP ? r->options.dedup_window_ms : r->options.tiers[c - 1].ttl_ms);
    return 0;
}

void time_fini(struct redis *r)
{
    if (r->time)
        cluster_clock_fini(&r->time->clock);
    free(r->time);
    r->time = NULL;
}

uint64_t time_now(struct redis *r)
{
    return cluster_clock_now(&r->time->clock);
}

uint64_t time_steady(struct redis *r)
{
    return cluster_clock_steady(&r->time->clock);
}

uint64_t time_age(struct redis *r, uint64_t stamp_ms)
{
    return cluster_clock_age(&r->time->clock, stamp_ms);
}

uint64_t time_date(struct redis *r)
{
    return cluster_clock_date(&r->time->clock);
}

bool time_paused(struct redis *r)
{
    return cluster_clock_paused(&r->time->clock);
}

/* --- What is past its time ---------------------------------------------------------------------------------------- */

const struct expiry *time_expiry(struct redis *r)
{
    (void)cluster_clock_now(&r->time->clock); /* drives it */
    return &r->time->expiry;
}

bool time_limit(struct redis *r, uint64_t since_ms)
{
    struct expiry *e = &r->time->expiry;
    uint64_t ttl_ms[EXPIRY_CLASSES - 1];
    for (unsigned c = 1; c < EXPIRY_CLASSES; c++)
        ttl_ms[c - 1] = c == EXPIRY_DEDUP ? r->options.dedup_window_ms : r->options.tiers[c - 1].ttl_ms;
    struct clock_record record = cluster_clock_record_get(&r->time->clock);
    uint64_t now_end = layout_place(layout_id_end(time_now(r)));
    uint64_t until = now_end > r->last_place ? now_end : r->last_place;
    uint32_t max[TIER_COUNT];
    bool raised;
    for (unsigned t = 0; t < TIER_COUNT; t++)
        max[t] = r->options.tiers[t].max;
    bool changed = clock_record_limit(&record, ttl_ms, since_ms);
    changed |= clock_record_count(&record, max, until, &raised);
    if (raised)
        r->last_place = until; /* what is stored from now on is not of the time before */
    if (changed)
        cluster_clock_record_set(&r->time->clock, &record, 0); /* what has ended, before what is longer now */
    for (unsigned c = 1; c < EXPIRY_CLASSES; c++)
        atomic_store(&e->ttl_ms[c], ttl_ms[c - 1]);
    return changed;
}

/* --- The masters' clocks ------------------------------------------------------------------------------------------ */

uint64_t time_told(const struct redis *r, uint64_t ms)
{
    return r->hooks.wall_ms ? r->hooks.wall_ms(r->hooks.ctx) : ms;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void ask_end(struct redis *r)
{
    struct cluster_time *t = r->time;
    void (*asked)(struct redis *, const int64_t *) = t->asked;
    int64_t median = 0;
    t->asked = NULL;
    if (t->n) {
        qsort(t->by_ms, t->n, sizeof *t->by_ms, by_value);
        int64_t low = t->by_ms[(t->n - 1) / 2], high = t->by_ms[t->n / 2];
        median = low + (high - low) / 2;
    }
    asked(r, t->n ? &median : NULL);
}

/* Seconds and microseconds, two strings of digits. */
static bool read_time(const struct reply *reply, uint64_t *ms)
{
    uint64_t v[2] = {0};
    if (reply->type != REPLY_LIST || reply->n != 2)
        return false;
    for (unsigned i = 0; i < 2; i++) {
        struct slice s = reply->list[i].text;
        if (reply->list[i].type != REPLY_STRING || s.n == 0 || s.n > 12)
            return false;
        for (size_t k = 0; k < s.n; k++) {
            if (s.p[k] < '0' || s.p[k] > '9')
                return false;
            v[i] = v[i] * 10 + (uint64_t)(s.p[k] - '0');
        }
    }
    *ms = v[0] * 1000 + v[1] / 1000;
    return true;
}

static void asked_one(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct cluster_time *t = r->time;
    uint64_t ms;
    (void)c;
    if (status == STORE_OK && read_time(reply, &ms)) {
        uint64_t now = time_now(r), meant = t->asked_ms + (now - t->asked_ms) / 2;
        t->by_ms[t->n++] = (int64_t)(time_told(r, ms) - (r->hooks.wall_ms ? now : meant));
    }
    if (--t->waits == 0)
        ask_end(r);
}

bool time_ask(struct redis *r, void (*done)(struct redis *r, const int64_t *by_ms))
{
    struct cluster_time *t = r->time;
    int part;
    if (t->asked)
        return false;
    t->asked = done;
    t->asked_ms = time_now(r);
    t->n = 0;
    t->waits = 1; /* this function */
    for (unsigned i = 0; i < TIME_MASTERS && (part = slots_part(r, i)) >= 0; i++) {
        struct call *c = &t->asks[i];
        call_raw(r, c, (unsigned)part, false, &SLICE_LIT("TIME"), 1);
        c->relaxed = true;
        c->done = asked_one;
        t->waits++;
        call_post(r, c);
    }
    if (--t->waits == 0) {
        t->asked = NULL;
        return false;
    }
    return true;
}
