/*
 * Preloaded into redis-server: its wall clock is CLOCK_SHIFT seconds from the machine's. libfaketime and the allocator
 * of Redis call each other for ever; this allocates nothing.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t shift(void)
{
    static time_t by;
    static int known;
    if (!known) {
        const char *text = getenv("CLOCK_SHIFT");
        by = text ? atoll(text) : 0;
        known = 1;
    }
    return by;
}

int clock_gettime(clockid_t which, struct timespec *t)
{
    long r = syscall(SYS_clock_gettime, which, t);
    if (r == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
        t->tv_sec += shift();
    return (int)r;
}

int gettimeofday(struct timeval *t, void *zone)
{
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now))
        return -1;
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *t)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now))
        return -1;
    if (t)
        *t = now.tv_sec;
    return now.tv_sec;
}
