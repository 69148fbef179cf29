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
enum { SCRIPT_FIGURES = 5 /* that each script has */ };
enum { KV_BYTES = 16 << 20, SHARED_BYTES = 64 << 20 };

/* A hook, an action or a command of a set of scripts, as the hub's tables know it. */
struct registration {
    struct script_set *set;
    uint32_t script; /* index among the scripts of the set */
    uint32_t item;   /* index of the script's handlers, actions or commands */
};

/* The scripts of one load, on every shard. */
struct script_set {
    struct scripts *host;
    uint32_t count; /* scripts */
    unsigned shard_count;
    char names[SCRIPTS_MAX][SCRIPT_NAME_MAX];
    struct cJSON *config;                            /* owned */
    struct script_env *loading;                      /* a env a shard, on the main thread; owned */
    struct shard_set *shard_sets;                    /* one a shard; owned */
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

/* One of the figures that each script has. */
struct figure_of {
    struct scripts *host;
    unsigned figure; /* enum figure of scripts_stats.c */
};

struct scripts {
    struct hub *hub;      /* NULL: a dry run */
    struct watchdog *dog; /* owned */
    struct watched *main_watched;
    struct world main_world; /* of scripts that load */
    unsigned shard_count;
    struct script_env *envs;                       /* one a shard; owned */
    struct hub_world *worlds;                      /* one a shard; owned */
    struct values *shared;                         /* owned */
    struct script_store *store;                    /* owned */
    struct fetcher *fetcher;                       /* NULL: no config has listed anything yet; owned */
    struct script_record records[SCRIPTS_MAX * 4]; /* by first load */
    uint32_t record_count;
    struct figure_of figures[SCRIPT_FIGURES]; /* of the metrics that tell them */
    struct script_set *now;                   /* in force; owned */
    struct script_set *next;                  /* prepared; owned */
    struct script_set *before;                /* just replaced, until no shard uses it; owned */
    struct script_set *queued; /* committed while the hub's tables were changing: its turn comes after that; owned */
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
MUST_CHECK int scripts_register(struct scripts *s, struct script_set *g, struct buf *errors);
/* Commands and figures, once the set is in force. */
void scripts_tell(struct scripts *s, struct script_set *g);
/* On the shard: the shard_set, in force from the first call on. */
struct shard_set *shard_set_on(struct script_set *g, struct shard *s);

/* --- scripts_stats.c --- */
void scripts_register_metrics(struct scripts *s);
/* Any thread. */
int scripts_count(struct scripts *s, const char *name, double n);

struct lua_State;
/* Makes the C function that runs console commands. */
void command_runner_open(struct state *st, struct lua_State *L);

#endif
