#include "core/base/clock.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t read_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t clock_wall_ms(void)
{
    return read_ns(CLOCK_REALTIME) / 1000000;
}
uint64_t clock_wall_us(void)
{
    return read_ns(CLOCK_REALTIME) / 1000;
}
uint64_t clock_mono_ms(void)
{
    return read_ns(CLOCK_MONOTONIC) / 1000000;
}
uint64_t clock_mono_us(void)
{
    return read_ns(CLOCK_MONOTONIC) / 1000;
}
uint64_t clock_boot_ms(void)
{
    return read_ns(CLOCK_BOOTTIME) / 1000000;
}
uint64_t clock_thread_cpu_us(void)
{
    return read_ns(CLOCK_THREAD_CPUTIME_ID) / 1000;
}

/* "61ef1ef9-c2ac-4f89-b0dd-8c7f1e5c2813\n" */
bool clock_boot_id(uint8_t out[CLOCK_BOOT_ID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char text[64];
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : 0;
    unsigned found = 0;
    memset(out, 0, CLOCK_BOOT_ID_SIZE);
    if (fd >= 0)
        close(fd);
    for (ssize_t i = 0; i < n && found < 2 * CLOCK_BOOT_ID_SIZE; i++) {
        const char *d = text[i] ? strchr(digits, text[i]) : NULL;
        if (!d)
            continue;
        out[found / 2] = (uint8_t)(out[found / 2] << 4 | (unsigned)(d - digits));
        found++;
    }
    if (found == 2 * CLOCK_BOOT_ID_SIZE)
        return true;
    memset(out, 0, CLOCK_BOOT_ID_SIZE);
    return false;
}
