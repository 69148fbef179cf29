#include "core/base/random.h"

#include "core/base/err.h"

#include <errno.h>
#include <sys/random.h>

void random_bytes(void *out, size_t n)
{
    char *p = out;
    while (n) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0) {
            ASSERT(errno == EINTR);
            continue;
        }
        p += got;
        n -= (size_t)got;
    }
}

uint32_t random_below(uint32_t bound)
{
    /* xorshift64*, seeded once a thread: good enough for jitter. */
    static _Thread_local uint64_t state;
    if (!state)
        random_bytes(&state, sizeof state);
    state |= state == 0;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    uint64_t r = (state * 0x2545F4914F6CDD1Dull) >> 32;
    return (uint32_t)(r * bound >> 32);
}
