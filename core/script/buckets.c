#include "core/script/buckets.h"

#include "core/base/tokens.h"

#include <math.h>
#include <stdlib.h>

enum { PLACES = 1 << 15, WAYS = 8, RECORDS = 1 << 10, TAKES = 4 };

struct place {
    uint64_t name;  /* of the bucket, odd; 0: free */
    uint64_t at_ms; /* when `spent` was true */
    float spent;    /* tokens taken and not yet refilled */
    float rate;     /* a second, at the last take: to tell how full it is */
    float burst;    /* at the last take */
};

struct buckets {
    struct place places[PLACES];
};

struct buckets *buckets_new(void)
{
    return calloc(1, sizeof(struct buckets)); /* pages that are not used cost nothing */
}

void buckets_free(struct buckets *b)
{
    free(b);
}

static float spent_now(const struct place *p, uint64_t now_ms)
{
    return tokens_spent(p->spent, now_ms > p->at_ms ? (double)(now_ms - p->at_ms) : 0, (double)p->rate);
}

static struct place *place_of(struct buckets *b, uint64_t name, uint64_t now_ms)
{
    struct place *set = &b->places[(name >> 8 & (PLACES / WAYS - 1)) * WAYS], *best = set;
    float least = INFINITY;
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].name == name)
            return &set[i];
        float spent = set[i].name ? spent_now(&set[i], now_ms) : -1.0f;
        if (spent < least) {
            least = spent;
            best = &set[i];
        }
    }
    *best = (struct place){.name = name, .at_ms = now_ms};
    return best;
}

uint32_t buckets_take(struct buckets *b, uint64_t name, double rate, double burst, double n, uint64_t now_ms,
                      uint64_t *taken)
{
    name |= 1; /* 0 is a free place */
    struct place *p = place_of(b, name, now_ms);
    *taken = name;
    p->rate = (float)rate;
    p->burst = (float)burst;
    p->spent = spent_now(p, now_ms);
    p->at_ms = now_ms;
    double wait = tokens_wait(p->spent, n, burst, rate);
    if (wait == 0)
        p->spent += (float)n;
    else if (n > burst || !(wait < (double)UINT32_MAX))
        return UINT32_MAX;
    return (uint32_t)wait;
}

void buckets_charge(struct buckets *b, uint64_t name, double n, uint64_t now_ms)
{
    name |= 1;
    struct place *set = &b->places[(name >> 8 & (PLACES / WAYS - 1)) * WAYS];
    for (unsigned i = 0; i < WAYS; i++) {
        struct place *p = &set[i];
        if (p->name != name)
            continue;
        float spent = spent_now(p, now_ms) + (float)n, most = 2 * p->burst;
        p->spent = spent < most ? spent : most;
        p->at_ms = now_ms;
    }
}

void buckets_return(struct buckets *b, uint64_t taken, double n)
{
    struct place *set = &b->places[(taken >> 8 & (PLACES / WAYS - 1)) * WAYS];
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].name == taken)
            set[i].spent = set[i].spent > (float)n ? set[i].spent - (float)n : 0.0f;
}

/* --- Refunds ------------------------------------------------------------------------------------------------------ */

struct record {
    uint64_t number; /* which send; an older one of the same place is forgotten */
    refund_fn before;
    uint64_t before_what;
    uint32_t count;
    struct {
        uint64_t taken;
        double n;
    } takes[TAKES];
};

struct refunds {
    struct buckets *buckets; /* borrowed */
    uint64_t last;
    struct record records[RECORDS];
};

struct refunds *refunds_new(struct buckets *b)
{
    struct refunds *r = calloc(1, sizeof *r);
    if (r)
        r->buckets = b;
    return r;
}

void refunds_free(struct refunds *r)
{
    free(r);
}

uint64_t refunds_begin(struct refunds *r, refund_fn before, uint64_t before_what)
{
    uint64_t number = ++r->last;
    struct record *x = &r->records[number % RECORDS];
    x->number = number;
    x->before = before;
    x->before_what = before_what;
    x->count = 0;
    return number;
}

void refunds_add(struct refunds *r, uint64_t number, uint64_t taken, double n)
{
    struct record *x = &r->records[number % RECORDS];
    if (x->number != number || x->count == TAKES)
        return;
    x->takes[x->count].taken = taken;
    x->takes[x->count++].n = n;
}

void refunds_give(struct refunds *r, struct shard *s, uint64_t number)
{
    struct record *x = &r->records[number % RECORDS];
    if (x->number != number)
        return;
    x->number = 0;
    for (uint32_t i = 0; i < x->count; i++)
        buckets_return(r->buckets, x->takes[i].taken, x->takes[i].n);
    if (x->before)
        x->before(s, x->before_what);
}
