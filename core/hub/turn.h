/*
 * A turn of a shard's loop: mails, then the store's kick and the walks before it sleeps, and housekeeping at ticks.
 * Private to core/hub.
 */
#ifndef MAGPIE_HUB_TURN_H
#define MAGPIE_HUB_TURN_H

struct shard;

/* Starts the shard's watchers on its loop. Before its thread runs. */
void turn_start(struct shard *s);
/* Wakes the loop of a shard (`ctx`) for its mailbox. Any thread. */
void turn_wake(void *ctx);

#endif
