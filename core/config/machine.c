#include "core/config/machine.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { RESERVED = 1024 }; /* descriptors for the database, listeners, loops and logs */

unsigned machine_processors(void)
{
    int n = 0;
    /* The set must have room for every processor of the kernel: it grows until it has. */
    for (int room = 1024; room <= 1 << 20 && n == 0; room *= 2) {
        cpu_set_t *set = CPU_ALLOC(room);
        size_t size = CPU_ALLOC_SIZE(room);
        if (!set)
            break;
        if (sched_getaffinity(0, size, set) == 0)
            n = CPU_COUNT_S(size, set);
        CPU_FREE(set);
    }
    if (n <= 0)
        n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

unsigned machine_shards(unsigned processors)
{
    return processors > 2 ? processors - 1 : 1;
}

/* A number from /proc; 0 when it cannot be read. */
static unsigned long long read_number(const char *path)
{
    unsigned long long v = 0;
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    if (fscanf(f, "%llu", &v) != 1)
        v = 0;
    fclose(f);
    return v;
}

static void explain(const struct rlimit *have, unsigned long long need, char *why, size_t why_size)
{
    unsigned long long nr_open = read_number("/proc/sys/fs/nr_open"), file_max = read_number("/proc/sys/fs/file-max");
    if (nr_open && nr_open < need && have->rlim_max >= nr_open)
        snprintf(why, why_size, "sysctl fs.nr_open is %llu, and %llu are needed", nr_open, need);
    else if (have->rlim_max < need)
        snprintf(why, why_size,
                 "the descriptor limit (ulimit -Hn, LimitNOFILE= in systemd) is %llu, and %llu are needed",
                 (unsigned long long)have->rlim_max, need);
    else if (file_max && file_max < need)
        snprintf(why, why_size, "sysctl fs.file-max is %llu, and %llu are needed", file_max, need);
}

uint32_t machine_raise_descriptors(uint32_t connections, char *why, size_t why_size)
{
    unsigned long long need = connections ? connections + (unsigned long long)RESERVED : RLIM_INFINITY;
    struct rlimit have;
    why[0] = '\0';
    if (getrlimit(RLIMIT_NOFILE, &have) != 0)
        return connections;
    if (have.rlim_cur < need) {
        /* As root the hard limit can be raised too, up to fs.nr_open; otherwise the soft one up to the hard one. */
        struct rlimit want = {need, have.rlim_max > need ? have.rlim_max : need};
        if (!connections || setrlimit(RLIMIT_NOFILE, &want) != 0) {
            rlim_t most = have.rlim_max < need ? have.rlim_max : need;
            unsigned long long nr_open = read_number("/proc/sys/fs/nr_open");
            if (nr_open && nr_open < need && setrlimit(RLIMIT_NOFILE, &(struct rlimit){nr_open, nr_open}) == 0)
                most = nr_open;
            else
                (void)!setrlimit(RLIMIT_NOFILE, &(struct rlimit){most, have.rlim_max});
        }
        if (getrlimit(RLIMIT_NOFILE, &have) != 0)
            return connections;
    }
    unsigned long long file_max = read_number("/proc/sys/fs/file-max");
    unsigned long long room = have.rlim_cur;
    if (file_max && file_max < room)
        room = file_max;
    if (connections && room < need)
        explain(&have, need, why, why_size);
    room = room > RESERVED ? room - RESERVED : 1;
    return room > UINT32_MAX ? UINT32_MAX : (uint32_t)room;
}
