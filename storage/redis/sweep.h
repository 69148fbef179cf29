/* What is done in the background: intents, expiry, and what else is due. Engine's thread. */
#ifndef MAGPIE_STORAGE_REDIS_SWEEP_H
#define MAGPIE_STORAGE_REDIS_SWEEP_H

struct redis;

void sweep_start(struct redis *r);
/* Nothing may be posted any more. */
void sweep_stop(struct redis *r);
/* The nodes' table is another: who sweeps which partition. */
void sweep_nodes(struct redis *r);

#endif
