/* What the machine says of the server's process, and of ours: processor time, memory, descriptors. Linux. One
 * thread. */
#ifndef MAGPIE_TOOLS_BENCH_PROC_H
#define MAGPIE_TOOLS_BENCH_PROC_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

struct bench_usage {
    double user_s;      /* processor time in user mode, s (of a clock that ticks) */
    double system_s;    /* the same in the kernel */
    double cpu_s;       /* both together, exact where the kernel lets us read the process's clock */
    uint64_t rss;       /* resident memory, bytes */
    uint64_t anonymous; /* of it, what is no file; 0 when unknown */
};

/* The process that listens at the address (a port on this machine, or a Unix socket). 0: none found, or not ours to
 * see. */
pid_t bench_proc_listener(const struct sockaddr *address);
/* ERR_NOTFOUND: there is no such process (any more). Memory is read only if asked for, else 0. */
MUST_CHECK int bench_proc_usage(pid_t pid, struct bench_usage *out, bool memory);
/* Processor time of this process, s. */
double bench_proc_own_cpu(void);
/* Raises our limit of descriptors to the hard limit and returns it. */
uint64_t bench_proc_descriptors(void);

#endif
