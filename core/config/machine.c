#include "core/config/machine.h"

#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RESERVED = 1024 }; /* descriptors for the database, listeners, loops and logs */

static const size_t stack_min = 512 * 1024, stack_good = 8 * 1024 * 1024; /* bytes; good: Linux's default */

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

/* The smallest limit of a control group and of those that it is in; UINT64_MAX: none. `path` is below `root` and is cut
 * from its end on. */
static uint64_t group_limit(const char *root, char *path, const char *file)
{
    uint64_t least = UINT64_MAX;
    char name[1400];
    for (;;) {
        snprintf(name, sizeof name, "%s%s/%s", root, path, file);
        unsigned long long v = read_number(name); /* 0 for "max", which is no number */
        if (v && v < least)
            least = v;
        char *slash = strrchr(path, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* What this process's control groups allow: version 2, or the memory controller of version 1. */
static uint64_t groups_limit(void)
{
    char line[1200];
    uint64_t least = UINT64_MAX;
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        uint64_t limit = UINT64_MAX;
        if (controllers[1] == '\0')
            limit = group_limit("/sys/fs/cgroup", path, "memory.max");
        else if (strstr(controllers + 1, "memory"))
            limit = group_limit("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes");
        least = limit < least ? limit : least;
    }
    if (f)
        fclose(f);
    return least;
}

uint64_t machine_memory(void)
{
    enum { LEAST_MIB = 64, UNKNOWN_MIB = 1024 };
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t all = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : (uint64_t)UNKNOWN_MIB << 20;
    uint64_t limit = groups_limit(), mib = (limit < all ? limit : all) >> 20;
    return (mib < LEAST_MIB ? LEAST_MIB : mib) << 20;
}

/* Whether this process may raise hard limits. */
static bool may_raise(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = {{.effective = 0}};
    return syscall(SYS_capget, &head, caps) == 0 && caps[0].effective & CAP_TO_MASK(CAP_SYS_RESOURCE);
}

uint32_t machine_connections(void)
{
    enum { MOST = 1200000, RESERVE_MIN = 4, RESERVE_MAX = 640 };
    struct rlimit have;
    if (getrlimit(RLIMIT_NOFILE, &have) != 0)
        return MOST;
    unsigned long long limit = have.rlim_max, nr_open = read_number("/proc/sys/fs/nr_open"),
                       file_max = read_number("/proc/sys/fs/file-max");
    if (nr_open && may_raise())
        limit = nr_open > limit ? nr_open : limit;
    if (file_max && file_max < limit)
        limit = file_max;
    unsigned long long reserve = limit / 16;
    reserve = reserve > RESERVE_MAX ? RESERVE_MAX : reserve < RESERVE_MIN ? RESERVE_MIN : reserve;
    limit = limit > reserve ? limit - reserve : 1;
    return limit > MOST ? MOST : (uint32_t)limit;
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
            if (!nr_open || nr_open >= need || setrlimit(RLIMIT_NOFILE, &(struct rlimit){nr_open, nr_open}) != 0)
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

void machine_widen_stacks(void)
{
    struct rlimit have;
    pthread_attr_t attr;
    size_t size;
    if (getrlimit(RLIMIT_STACK, &have) == 0 && have.rlim_cur < stack_min) {
        rlim_t want = have.rlim_max < stack_good ? have.rlim_max : stack_good;
        (void)!setrlimit(RLIMIT_STACK, &(struct rlimit){want, have.rlim_max});
    }
    /* What threads get was read from the limit when the process began. */
    if (pthread_getattr_default_np(&attr) != 0)
        return;
    if (pthread_attr_getstacksize(&attr, &size) == 0 && size < stack_min &&
        pthread_attr_setstacksize(&attr, stack_good) == 0)
        (void)!pthread_setattr_default_np(&attr);
    pthread_attr_destroy(&attr);
}

/* --- Whether there is enough -------------------------------------------------------------------------------------- */

/* So many threads at once, which do nothing but wait. */
struct crew {
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool go;
};

static void *crew_member(void *arg)
{
    struct crew *c = arg;
    pthread_mutex_lock(&c->lock);
    while (!c->go)
        pthread_cond_wait(&c->told, &c->lock);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* Returns how many of `n` threads could run; memory that they and `bytes` more need together must be there too:
 * *mapped. */
static unsigned try_threads(unsigned n, uint64_t bytes, bool *mapped)
{
    struct crew c = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    pthread_t *threads = calloc(n, sizeof *threads);
    unsigned made = 0;
    while (threads && made < n && pthread_create(&threads[made], NULL, crew_member, &c) == 0)
        made++;
    /* Never touched, so that it costs nothing; a limit of address space counts it all the same. */
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *mapped = p != MAP_FAILED;
    if (*mapped)
        munmap(p, bytes);
    pthread_mutex_lock(&c.lock);
    c.go = true;
    pthread_cond_broadcast(&c.told);
    pthread_mutex_unlock(&c.lock);
    for (unsigned i = 0; i < made; i++)
        pthread_join(threads[i], NULL);
    free(threads);
    return made;
}

int machine_check(const struct machine_need *need, char *why, size_t why_size)
{
    struct rlimit have;
    bool mapped;
    if (getrlimit(RLIMIT_NOFILE, &have) == 0 && have.rlim_cur < need->descriptors) {
        snprintf(why, why_size,
                 "the descriptor limit (ulimit -n, LimitNOFILE= in systemd) is %llu, and this server needs %u before "
                 "the first client",
                 (unsigned long long)have.rlim_cur, need->descriptors);
        return ERR_FULL;
    }
    bool limited = getrlimit(RLIMIT_AS, &have) == 0 && have.rlim_cur != RLIM_INFINITY;
    limited |= getrlimit(RLIMIT_DATA, &have) == 0 && have.rlim_cur != RLIM_INFINITY;
    unsigned threads = try_threads(need->threads, need->memory, &mapped);
    if (threads < need->threads && !limited) {
        snprintf(why, why_size,
                 "no more than %u threads can be started, and this server needs %u (ulimit -u, TasksMax= in systemd, "
                 "pids.max of the control group)",
                 threads, need->threads);
        return ERR_FULL;
    }
    if (threads < need->threads || !mapped) {
        snprintf(why, why_size,
                 "there is no room for %u threads and %llu MiB beside them: storage.memory and the limits of address "
                 "space (ulimit -v, ulimit -d, LimitAS= in systemd) do not fit each other",
                 need->threads, (unsigned long long)(need->memory >> 20));
        return ERR_FULL;
    }
    return 0;
}
