/*
 * The windows of ten minutes in which it stands who has sent what under which clientId. A repeat is looked for in all
 * that touch the time since `limits.dedup_window`, and ten seconds more on both sides. So far may two servers' clocks
 * be apart, and clients come to another server with their repeats. How old a repeat may be, its record's time tells.
 * Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_WINDOWS_H
#define MAGPIE_STORAGE_REDIS_WINDOWS_H

#include "storage/redis/redis_private.h"

enum { WINDOW_MS = 600000, WINDOW_SLACK = 10000 };

static inline void windows_key(struct redis *r, struct call *c, uint64_t window)
{
    struct buf digits = BUF_INIT;
    buf_dec(&digits, window);
    call_key(r, c, 'd', buf_slice(&digits));
    buf_free(&digits);
}

/* Adds the keys of the windows that a message sent now is to be looked for in; first that of now, where it is noted. */
static inline void windows_keys(struct redis *r, struct call *c, uint64_t now_ms)
{
    uint64_t back = r->options.dedup_window_ms + WINDOW_SLACK, present = now_ms / WINDOW_MS;
    windows_key(r, c, present);
    for (uint64_t w = (now_ms > back ? now_ms - back : 0) / WINDOW_MS; w <= (now_ms + WINDOW_SLACK) / WINDOW_MS; w++)
        if (w != present)
            windows_key(r, c, w);
}

#endif
