/*
 * The C library's heap, told to behave like that of a server which lives long and whose size breathes with the number
 * of its connections.
 */
#ifndef MAGPIE_BASE_HEAP_H
#define MAGPIE_BASE_HEAP_H

#include <stdint.h>

/* Allocations of at least so many bytes are mappings of their own, and go back to the system when they are freed. */
enum { HEAP_MAPPED_BYTES = 128 * 1024 };

/* Before threads start. */
void heap_setup(void);

/* Remembers how large the process was, to know when giving memory back is worth the walk through what is free in the
 * heap: when many connections are gone, and when the process has grown. It grows because what the database's cache
 * throws away leaves holes that its next block does not fit. Some time after each of these it is done again, until that
 * finds nothing: what was in use then, such as the buffers of a compaction, may be free now without notice. */
struct heap_watch {
    uint32_t peak;     /* most connections since the last time */
    uint32_t later;    /* calls until the next time without another reason; 0: none */
    uint64_t resident; /* least size of the process since, bytes; 0: not known yet */
    uint64_t size;     /* of the process before the last time, if that had no other reason; else 0 */
};
/* To be called every few seconds, with the resident size of the process in bytes. Returns 1 when memory was given back,
 * else 0. Any thread but a shard's, because the walk takes its time. */
int heap_breathe(struct heap_watch *w, uint32_t connections, uint64_t resident);

#endif
