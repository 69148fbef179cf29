/* Cluster time. */
#ifndef MAGPIE_STORAGE_REDIS_TIME_H
#define MAGPIE_STORAGE_REDIS_TIME_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct redis;

MUST_CHECK int time_init(struct redis *r);
void time_fini(struct redis *r);
/* ms since 1970, as all nodes have it: births, createdAt, what functions are given. Engine's thread. */
uint64_t time_now(struct redis *r);
/* What the doors of store.h ask. Any thread. */
uint64_t time_steady(struct redis *r);
uint64_t time_age(struct redis *r, uint64_t stamp_ms);
uint64_t time_date(struct redis *r);
void time_accept(struct redis *r);
bool time_paused(struct redis *r);

#endif
