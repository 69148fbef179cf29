/*
 * How many channels there are, for limits.channels: the sum of what each partition counts (`n` of c{t}).
 *
 * Whatever makes a channel, or lets one go, replies with its partition's count. What other nodes do is read now and
 * then, once the limit is near. So it is exact on one node, and some seconds old on several. Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_CHANNELS_H
#define MAGPIE_STORAGE_REDIS_CHANNELS_H

#include "core/base/err.h"
#include "storage/store.h"

struct redis;
struct task;

/* ERR_NOMEM. */
MUST_CHECK int channels_init(struct redis *r);
void channels_fini(struct redis *r);

/* Whoever waits to know; lives in a task's own memory. */
struct channels_wait {
    struct channels_wait *next;
    struct task *task;
    void (*ready)(struct redis *r, struct task *t, enum store_status status);
};

/* Whether one more may be made. 1, 0; or -1: nothing is known yet. Then `w` is kept, and its `ready` called later. */
int channels_room(struct redis *r, uint32_t max, struct channels_wait *w);
/* A partition has so many now. */
void channels_counted(struct redis *r, uint16_t part, uint32_t n);

#endif
