/* /proc and friends: see bench_proc.h. */
#include "core/tools/bench_proc.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { STATE_LISTEN = 0x0a }; /* TCP_LISTEN in /proc/net/tcp */

/* The inode of the socket that listens on the port; `table` is /proc/net/tcp or tcp6. `address` (network order) is what
 * it must be bound to, if not to all; 0: any will do. 0: none. */
static unsigned long tcp_inode(const char *table, in_port_t port, uint32_t address)
{
    char line[512];
    unsigned long found = 0;
    FILE *f = fopen(table, "re");

    if (!f)
        return 0;
    while (!found && fgets(line, sizeof(line), f)) {
        char local[33];
        unsigned local_port, state;
        unsigned long inode;
        if (sscanf(line, " %*d: %32[0-9A-F]:%x %*[0-9A-F]:%*x %x %*x:%*x %*x:%*x %*x %*u %*d %lu", local, &local_port,
                   &state, &inode) != 4)
            continue;
        uint32_t bound = strlen(local) == 8 ? (uint32_t)strtoul(local, NULL, 16) : 0;
        if (state == STATE_LISTEN && local_port == port && (bound == 0 || address == 0 || bound == address))
            found = inode;
    }
    fclose(f);
    return found;
}

static unsigned long unix_inode(const char *path)
{
    char line[512];
    unsigned long found = 0;
    FILE *f = fopen("/proc/net/unix", "re");

    if (!f)
        return 0;
    while (!found && fgets(line, sizeof(line), f)) {
        unsigned flags;
        unsigned long inode;
        char name[256];
        /* 0x10000: it accepts connections. */
        if (sscanf(line, "%*s %*s %*s %x %*s %*s %lu %255s", &flags, &inode, name) == 3 && (flags & 0x10000) &&
            strcmp(name, path) == 0)
            found = inode;
    }
    fclose(f);
    return found;
}

/* The process has a descriptor of the socket. */
static bool process_has(const char *pid, const char *socket_name)
{
    char path[64], link[64];
    bool has = false;

    snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
    DIR *dir = opendir(path);
    if (!dir)
        return false;
    for (struct dirent *entry; !has && (entry = readdir(dir));) {
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
        if (n > 0) {
            link[n] = '\0';
            has = strcmp(link, socket_name) == 0;
        }
    }
    closedir(dir);
    return has;
}

pid_t bench_proc_listener(const struct sockaddr *address)
{
    char name[64];
    unsigned long inode = 0;
    pid_t found = 0;

    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        inode = tcp_inode("/proc/net/tcp", ntohs(in->sin_port), in->sin_addr.s_addr);
        inode = inode ? inode : tcp_inode("/proc/net/tcp6", ntohs(in->sin_port), 0);
    } else if (address->sa_family == AF_INET6) {
        inode = tcp_inode("/proc/net/tcp6", ntohs(((const struct sockaddr_in6 *)address)->sin6_port), 0);
    } else if (address->sa_family == AF_UNIX) {
        inode = unix_inode(((const struct sockaddr_un *)address)->sun_path);
    }
    if (!inode)
        return 0;
    snprintf(name, sizeof(name), "socket:[%lu]", inode);
    DIR *proc = opendir("/proc");
    if (!proc)
        return 0;
    for (struct dirent *entry; !found && (entry = readdir(proc));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && process_has(entry->d_name, name))
            found = (pid_t)atoi(entry->d_name);
    closedir(proc);
    return found;
}

/* Reads a file of /proc as text; the bytes read. */
static size_t proc_read(pid_t pid, const char *name, char *out, size_t cap)
{
    char path[64];
    size_t n = 0;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    FILE *f = fopen(path, "re");
    if (f) {
        n = fread(out, 1, cap - 1, f);
        fclose(f);
    }
    out[n] = '\0';
    return n;
}

static int usage_stat(pid_t pid, struct bench_usage *out)
{
    char text[1024];
    unsigned long user, kernel;

    if (!proc_read(pid, "stat", text, sizeof(text)))
        return ERR_NOTFOUND;
    /* The command's name, in parentheses, may hold anything. */
    const char *behind = strrchr(text, ')');
    if (!behind || sscanf(behind + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) != 2)
        return ERR_NOTFOUND;
    double ticks = (double)sysconf(_SC_CLK_TCK);
    out->user_s = (double)user / ticks;
    out->system_s = (double)kernel / ticks;
    return 0;
}

static uint64_t line_kib(const char *text, const char *name)
{
    const char *line = strstr(text, name);
    return line ? strtoull(line + strlen(name), NULL, 10) * 1024 : 0;
}

static void usage_memory(pid_t pid, struct bench_usage *out)
{
    char text[4096];
    unsigned long pages = 0;

    /* smaps_rollup walks the page tables: exact, unlike statm, whose counters lag behind. */
    if (proc_read(pid, "smaps_rollup", text, sizeof(text)) && strstr(text, "\nRss:")) {
        out->rss = line_kib(text, "\nRss:");
        out->anonymous = line_kib(text, "\nAnonymous:");
    } else if (proc_read(pid, "statm", text, sizeof(text)) && sscanf(text, "%*u %lu", &pages) == 1) {
        out->rss = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
        out->anonymous = 0;
    }
}

int bench_proc_usage(pid_t pid, struct bench_usage *out, bool memory)
{
    clockid_t clock;
    struct timespec used;

    *out = (struct bench_usage){0};
    int status = usage_stat(pid, out);
    if (status < 0)
        return status;
    out->cpu_s = out->user_s + out->system_s;
    if (clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &used) == 0)
        out->cpu_s = (double)used.tv_sec + (double)used.tv_nsec / 1e9;
    if (memory)
        usage_memory(pid, out);
    return 0;
}

double bench_proc_own_cpu(void)
{
    struct timespec used;
    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0 ? (double)used.tv_sec + (double)used.tv_nsec / 1e9 : 0;
}

uint64_t bench_proc_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    return limit.rlim_cur;
}
