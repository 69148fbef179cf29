/*
 * The syncer: makes what is written durable, and answers those who wait for that, in order.
 *
 * An operation that is handed over was written before; so the first sync that begins after that covers it, and while
 * one sync runs the next ones gather: group commit without a timer. What nobody waits for is synced sync_every_ms after
 * it was written.
 */
#ifndef MAGPIE_STORAGE_SYNCER_H
#define MAGPIE_STORAGE_SYNCER_H

#include "storage/local/local_private.h"

MUST_CHECK int syncer_start(struct local *s);
/* Syncs what is left, answers, ends the thread. */
void syncer_stop(struct local *s);
/* Writer's thread: all groups up to `group` are written; `ops` (emptied) wait for their sync; soon: sync though nobody
 * waits. */
void syncer_give(struct local *s, uint64_t group, struct op_list *ops, bool soon);
/* Writer's thread: waits until nobody waits for a sync any more. */
void syncer_drain(struct local *s);
/* Writer's thread: a write failed. Nothing is synced from now on, because an assertion in RocksDB would end the process
 * when a log that could not be written is synced. Operations that wait are answered STORE_UNKNOWN. */
void syncer_fail(struct local *s);
/* Writer's thread, failing: what is dirty does not concern the syncer any more. */
void syncer_forget(struct local *s);
/* Writer's thread, recovered: everything up to `group` is synced. */
void syncer_reset(struct local *s, uint64_t group);

#endif
