/*
 * A token bucket of 8 bytes: `rate` tokens a second, a second's worth at most unless the caller says more. Time is a
 * 32-bit millisecond clock that may wrap (a bucket untouched for 49 days is full either way, or a little less).
 */
#ifndef MAGPIE_HUB_BUCKET_H
#define MAGPIE_HUB_BUCKET_H

#include "core/base/tokens.h"

#include <stdbool.h>
#include <stdint.h>

struct bucket {
    float spent; /* tokens taken and not yet refilled; 0: full */
    uint32_t at; /* ms, when `spent` was true */
};

/* Takes one token of a bucket that holds `size`. Returns 0, or the milliseconds until one is there. rate 0: no
 * limit. */
static inline uint32_t bucket_take_of(struct bucket *b, uint32_t rate, uint32_t size, uint32_t now_ms)
{
    if (rate == 0)
        return 0;
    b->spent = tokens_spent(b->spent, (uint32_t)(now_ms - b->at), rate);
    b->at = now_ms;
    double wait = tokens_wait(b->spent, 1, size, rate);
    if (wait == 0)
        b->spent += 1.0f;
    return wait < UINT32_MAX ? (uint32_t)wait : UINT32_MAX;
}
/* The same of a bucket that holds a second's worth. */
static inline uint32_t bucket_take(struct bucket *b, uint32_t rate, uint32_t now_ms)
{
    return bucket_take_of(b, rate, rate, now_ms);
}

/* What another server of a cluster has taken, although less may have been there: a second's worth is owed at most. */
static inline void bucket_charge(struct bucket *b, uint32_t rate, uint32_t now_ms)
{
    if (rate == 0)
        return;
    b->spent = tokens_spent(b->spent, (uint32_t)(now_ms - b->at), rate) + 1.0f;
    if (b->spent > 2.0f * (float)rate)
        b->spent = 2.0f * (float)rate;
    b->at = now_ms;
}

/* Gives one back: what it was taken for did not count after all. */
static inline void bucket_return(struct bucket *b)
{
    b->spent = b->spent > 1.0f ? b->spent - 1.0f : 0;
}

#endif
