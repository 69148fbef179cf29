/*
 * Preloaded into redis-server: what it appends takes SLOW_DISK_MS to reach the disk, as on one that others keep busy.
 * The files of other kinds, and the kernel's copy, are as fast as ever.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int fdatasync(int fd)
{
    char link[32], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = 0;
    const char *text = getenv("SLOW_DISK_MS");
    if (text && strstr(path, "appendonlydir")) {
        long ms = atol(text);
        struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
        nanosleep(&t, NULL);
    }
    return (int)syscall(SYS_fdatasync, fd);
}
