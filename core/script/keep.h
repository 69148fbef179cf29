/*
 * What scripts remember: magpie.kv (one a shard) and magpie.shared (one for all). Striped locks, a bound on the bytes,
 * a time to live for each value. Any thread. Outlives reloads, not the process.
 */
#ifndef MAGPIE_SCRIPT_KEEP_H
#define MAGPIE_SCRIPT_KEEP_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct keep;

enum keep_type { KEEP_NONE, KEEP_NUMBER, KEEP_BOOL, KEEP_TEXT };

struct keep_value {
    enum keep_type type;
    double number;     /* KEEP_NUMBER; KEEP_BOOL: 0 or 1 */
    struct slice text; /* KEEP_TEXT: what is put is borrowed; what is got is malloc'd, for the caller to free */
};

enum { KEEP_KEY_MAX = 256, KEEP_TEXT_MAX = 1 << 20 };

/* stripes: a power of two. NULL: out of memory. */
struct keep *keep_new(unsigned stripes, uint64_t bytes_max);
void keep_free(struct keep *k);
/* 0, or ERR_NOTFOUND, ERR_NOMEM. */
MUST_CHECK int keep_get(struct keep *k, struct slice key, uint64_t now_ms, struct keep_value *out);
/* ttl_ms 0: for ever. ERR_FULL, ERR_NOMEM: what was there is still there. */
MUST_CHECK int keep_set(struct keep *k, struct slice key, const struct keep_value *v, uint64_t ttl_ms, uint64_t now_ms);
/* Adds to a number, 0 when there is none; ttl_ms counts for a new one only. ERR_INVALID: it is no number; ERR_FULL,
 * ERR_NOMEM. */
MUST_CHECK int keep_incr(struct keep *k, struct slice key, double n, uint64_t ttl_ms, uint64_t now_ms, double *out);
/* Whether there was one. */
bool keep_del(struct keep *k, struct slice key, uint64_t now_ms);
uint64_t keep_bytes(const struct keep *k);

#endif
