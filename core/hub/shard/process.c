#include "core/hub/shard/process.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void memory(unsigned long long *size, unsigned long long *resident)
{
    *size = *resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return;
    if (fscanf(f, "%llu %llu", size, resident) != 2)
        *size = *resident = 0;
    fclose(f);
    unsigned long long page = (unsigned long long)sysconf(_SC_PAGESIZE);
    *size *= page;
    *resident *= page;
}

uint64_t process_resident(void)
{
    unsigned long long size, resident;
    memory(&size, &resident);
    return resident;
}

uint64_t process_virtual(void)
{
    unsigned long long size, resident;
    memory(&size, &resident);
    return size;
}

double process_open_fds(void)
{
    struct stat st;
    /* Since Linux 6.2 the size of the directory is the count, which spares reading a million entries. */
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return (double)st.st_size;
    DIR *d = opendir("/proc/self/fd");
    if (!d)
        return 0;
    unsigned n = 0;
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n - 1; /* the directory's own */
}

double process_max_fds(void)
{
    struct rlimit r;
    return getrlimit(RLIMIT_NOFILE, &r) != 0 ? 0 : r.rlim_cur == RLIM_INFINITY ? INFINITY : (double)r.rlim_cur;
}

/* Seconds since 1970 at which the machine was started. */
static double boot_time(void)
{
    char line[256];
    unsigned long long seconds = 0;
    FILE *f = fopen("/proc/stat", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "btime %llu", &seconds) == 1)
            break;
    if (f)
        fclose(f);
    return (double)seconds;
}

double process_start_time(void)
{
    char text[1024];
    FILE *f = fopen("/proc/self/stat", "re");
    if (!f)
        return 0;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    /* The name in parentheses may hold anything; of what follows it the 20th is when it began, in ticks since boot. */
    char *at = strrchr(text, ')');
    for (int i = 0; at && i < 20; i++)
        at = strchr(at + 1, ' ');
    unsigned long long ticks = 0;
    double boot = boot_time();
    return at && boot > 0 && sscanf(at, " %llu", &ticks) == 1 ? boot + (double)ticks / (double)sysconf(_SC_CLK_TCK) : 0;
}

double process_cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
