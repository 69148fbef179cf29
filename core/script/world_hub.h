/* The world of scripts in the server: a shard of the hub. */
#ifndef MAGPIE_SCRIPT_WORLD_HUB_H
#define MAGPIE_SCRIPT_WORLD_HUB_H

#include "core/script/world.h"

struct scripts;
struct shard;

/* Sends, kicks and the like of one shard's scripts that may be under way. Beyond that the store is behind, and they are
 * refused. */
enum { SENDS_MAX = 10000 };

struct hub_world {
    struct world world;
    struct scripts *host;
    struct shard *shard;
    uint32_t sends;     /* operations under way; SENDS_MAX at most */
    unsigned busy_turn; /* the loop's iteration in which a timer took long; 0: none yet */
};

void hub_world_init(struct hub_world *w, struct scripts *host, struct shard *shard, uint32_t content_max);
/* The world of a script that loads on the main thread: it has clocks and a log, and nothing can be done in it. */
void main_world_init(struct world *w, uint32_t content_max);

/* --- world_hub_order.c --- */
int hub_world_order(struct world *world, struct state *st, const struct script_order *o);
int hub_world_token(struct world *world, struct waiting *w, struct slice user);

/* --- world_hub_read.c --- */
int hub_world_push_from(struct world *world, struct slice user, uint16_t action, struct slice body, struct slice from);
int hub_world_members(struct world *world, struct waiting *w, struct slice channel, struct slice cursor);
int hub_world_history(struct world *world, struct waiting *w, const struct history_query *h);

/* --- world_hub_fetch.c --- */
int hub_world_fetch(struct world *world, struct waiting *w, const struct fetch_request *q);

#endif
