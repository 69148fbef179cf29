/* What the machine gives and what it withholds. Main thread. */
#ifndef MAGPIE_CONFIG_MACHINE_H
#define MAGPIE_CONFIG_MACHINE_H

#include "core/base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Processors that this process may run on; 1 at least. */
unsigned machine_processors(void);

/* Bytes of memory that this process may have: the machine's, or less where its control group allows less. In whole MiB,
 * 64 MiB at least. */
uint64_t machine_memory(void);

/* Shards for so many processors where the config leaves it open: all but one, which the database's threads, the
 * kernel's network work and the operator's tools need. On two processors that is one: a second shard would send what
 * one sends in the same system calls in twice as many (docs/performance.md). */
unsigned machine_shards(unsigned processors);

/* Connections for which there can be descriptors: what the limit may be raised to, less what accepting leaves to others
 * (accept.c); 1,200,000 at most, for which other limits of a machine are as near. */
uint32_t machine_connections(void);

/*
 * Raises the limit of descriptors as far as `connections` (0: as far as it goes) need it. Returns how many connections
 * fit below it; when that is less than asked, `why` names the limit in the way and how to raise it, else it is empty.
 */
uint32_t machine_raise_descriptors(uint32_t connections, char *why, size_t why_size);

/* Makes stacks large enough where the limit (ulimit -s) is small: the main thread's, and those of threads to come.
 * Before any thread. */
void machine_widen_stacks(void);

/* What a server cannot do without. */
struct machine_need {
    unsigned descriptors, threads; /* beside the calling thread */
    uint64_t memory;               /* bytes that it will map in the end */
};
/* Whether the system's limits leave that much: tried out, so that limits of whatever kind count. ERR_FULL with a
 * sentence that names the limit in the way. Libraries below would end the process when they hit it later. */
MUST_CHECK int machine_check(const struct machine_need *need, char *why, size_t why_size);

#endif
