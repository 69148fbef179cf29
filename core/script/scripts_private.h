/* What the files of the host share. Private to core/script. */
#ifndef MAGPIE_SCRIPT_SCRIPTS_PRIVATE_H
#define MAGPIE_SCRIPT_SCRIPTS_PRIVATE_H

#include "core/base/mailbox.h"
#include "core/hub/shard/shard.h"
#include "core/script/scripts.h"
#include "core/script/state.h"
#include "core/script/world_hub.h"

#include <pthread.h>

enum { SCRIPTS_MAX = 32, SHARED_STRIPES = 64, KV_STRIPES = 4, COUNTERS_MAX = 200 };
/* Figures of scripts in the table of metrics: so that they and the counters leave room for plugins. */
enum { FIGURES_MAX = 200 };
enum { KV_BYTES = 16 << 20, SHARED_BYTES = 64 << 20 };

/* A hook, an action or a command of a generation, as the hub's tables know it. */
struct registration {
    struct generation *generation;
    uint32_t script; /* index of the generation's scripts */
    uint32_t item;   /* index of the script's handlers, actions or commands */
};

/* The scripts of one load, on every shard. */
struct generation {
    struct scripts *host;
    uint32_t count; /* scripts */
    unsigned shard_count;
    char names[SCRIPTS_MAX][SCRIPT_NAME_MAX];
    struct cJSON *config;                            /* owned */
    struct site *loading;                            /* a site a shard, on the main thread; owned */
    struct troupe *troupes;                          /* one a shard; owned */
    struct state **states;                           /* shard * count + script; owned */
    struct registration *hooks, *actions, *commands; /* owned */
    uint32_t hook_count, action_count, command_count;
    uint32_t timers[SCRIPTS_MAX]; /* that the scripts set on shard 0 while they loaded */
    bool drafted;                 /* its hooks are in the hub's draft */
};

/* A script's figures, by its name; kept when it is unloaded. */
struct script_record {
    char name[SCRIPT_NAME_MAX];
    bool loaded, disabled;
    struct script_stats *stats; /* one a shard; owned */
};

/* A counter of magpie.metric(). */
struct counter {
    char name[64];
    _Atomic double value;
};

struct scripts {
    struct hub *hub;      /* NULL: a dry run */
    struct watchdog *dog; /* owned */
    struct watched *main_watched;
    struct world main_world; /* of scripts that load */
    unsigned shard_count;
    struct site *sites;                            /* one a shard; owned */
    struct hub_world *worlds;                      /* one a shard; owned */
    struct keep *shared;                           /* owned */
    struct script_record records[SCRIPTS_MAX * 4]; /* by first load */
    uint32_t record_count;
    struct generation *now;    /* in force; owned */
    struct generation *next;   /* prepared; owned */
    struct generation *before; /* just replaced, until no shard uses it; owned */
    struct generation *queued; /* committed while the hub's tables were changing: its turn comes after that; owned */
    bool committing;           /* `now` is not in force on every shard yet */
    bool waiting;              /* for a change of the tables by somebody else to end */
    struct settled *settled;   /* calls that wait until nothing is under way; owned */
    struct scripts_options opt,
        /* of the newest committed, and of the prepared one (path NULL: the same); what they point to is owned */
        next_opt;
    pthread_mutex_t counter_lock;
    struct counter counters[COUNTERS_MAX]; /* under counter_lock as far as count and names go */
    uint32_t counter_count;
    bool counters_full; /* and that was told */
};

/* --- generation.c --- */
/* Loads the scripts on the main thread, once for every shard; nothing of the host changes but its records of new names.
 * Else not 0, with every error as a line in `errors`. */
MUST_CHECK int generation_build(struct scripts *s, const struct scripts_options *o, struct buf *errors,
                                struct generation **out);
/* No shard runs it. NULL is allowed. */
void generation_free(struct generation *g);

/* --- scripts.c --- */
/* Made when there is none yet. NULL: out of memory or room. */
struct script_record *scripts_record(struct scripts *s, const char *name);
/* As scripts_prepare() and scripts_commit() with the options in force, for the console. */
MUST_CHECK int scripts_prepare_again(struct scripts *s, struct buf *errors);

/* Whether they would load; nothing is kept. */
MUST_CHECK int scripts_try(struct scripts *s, struct buf *errors);
/* Calls `fn` on the main thread when all that was committed is in force, perhaps inside this call. ERR_NOMEM. */
MUST_CHECK int scripts_when_settled(struct scripts *s, void (*fn)(void *ctx), void *ctx);

/* --- scripts_hub.c: into the hub's tables --- */
/* Into the draft, with an error for people where one is. */
MUST_CHECK int scripts_register(struct scripts *s, struct generation *g, struct buf *errors);
/* Commands and figures, once the generation is in force. */
void scripts_tell(struct scripts *s, struct generation *g);
/* On the shard: the troupe, in force from the first call on. */
struct troupe *troupe_on(struct generation *g, struct shard *s);

/* --- scripts_stats.c --- */
/* The name as it stands in names of metrics: "a-b/C" is "a_b_c". */
void scripts_fold_name(const char *name, char out[SCRIPT_NAME_MAX]);
void scripts_register_metrics(struct scripts *s);
/* Any thread. */
int scripts_count(struct scripts *s, const char *name, double n);

#endif
