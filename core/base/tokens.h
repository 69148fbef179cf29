/* The arithmetic of token buckets: what is spent refills at a rate, and a bucket holds so many. Any thread. */
#ifndef MAGPIE_BASE_TOKENS_H
#define MAGPIE_BASE_TOKENS_H

#include <math.h>

/* What is still spent after so many milliseconds. rate: tokens a second. */
static inline float tokens_spent(float spent, double elapsed_ms, double rate)
{
    float refill = (float)(elapsed_ms * rate / 1000.0);
    return spent > refill ? spent - refill : 0.0f;
}

/* Milliseconds until n tokens are there, in a bucket that holds `size`; 0: they are. Else whole, and 1 at least. */
static inline double tokens_wait(float spent, double n, double size, double rate)
{
    double lack = (double)spent + n - size;
    if (lack <= 0.001)
        return 0;
    double wait = ceil(lack * 1000.0 / rate - 0.001);
    return wait < 1 ? 1 : wait;
}

#endif
