/*
 * Notes of a cluster that are past their time, such as bans that have ended: one of the nodes, the leader, takes them
 * away, some seconds later or within ten minutes. A server alone has whoever owns them do that, or its next start.
 */
#ifndef MAGPIE_HUB_NOTE_SWEEP_H
#define MAGPIE_HUB_NOTE_SWEEP_H

#include "core/base/err.h"
#include "storage/store.h"

#include <stdbool.h>
#include <stdint.h>

struct hub;
struct shard;

struct note_sweeper {
    const char *prefix; /* of keys; static */
    /* Whether the note is past its time. It goes only where it is still this one. Main thread. */
    bool (*is_over)(void *ctx, const struct store_note *n);
    void *ctx;
};
/* Before hub_start(). ERR_FULL. */
MUST_CHECK int note_sweeper_add(struct hub *hub, const struct note_sweeper *s);
/* No more; those of this ctx. After hub_stop(). */
void note_sweeper_remove(struct hub *hub, const void *ctx);
/* Some have ended: they go soon. Any thread. */
void note_sweep_soon(struct hub *hub);
/* Housekeeping, every tick of the first shard. */
void note_sweep_tick(struct shard *s);

#endif
