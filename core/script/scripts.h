/*
 * The Lua host: loads the scripts that the config names, one state for each script on each shard. It registers their
 * hooks, actions and commands in the hub's tables. Main thread, but where a function says otherwise.
 *
 * A change is all or nothing: scripts_prepare() builds new states beside the old ones, and everything that can fail
 * fails there; scripts_commit() brings them into force on each shard between two turns of its loop.
 */
#ifndef MAGPIE_SCRIPT_SCRIPTS_H
#define MAGPIE_SCRIPT_SCRIPTS_H

#include "core/base/buf.h"
#include "core/base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct cJSON;
struct hub;
struct scripts;

struct scripts_options {
    const char *path;           /* folder of the scripts */
    const char *const *load;    /* names, without .lua; NULL-terminated */
    double budget_ms;           /* CPU time of one call */
    uint64_t memory;            /* bytes, of the scripts of one shard */
    uint64_t store;             /* bytes that magpie.store may hold */
    uint32_t content_max;       /* limits.content */
    bool login_needed;          /* auth.mode is "script": one must have a "login" hook */
    const struct cJSON *config; /* what magpie.config() reads: the whole config without secrets */
};

/* Nothing is loaded yet but what magpie.store keeps. The hub is borrowed, with its main mailbox set. NULL: out of
 * memory or threads, or the store cannot be read. */
struct scripts *scripts_new(struct hub *hub);
/* Ends what scripts wait for outside of the server. The shards still run. NULL is allowed. */
void scripts_stop(struct scripts *s);
/* After hub_stop(), and after the store has answered everything. NULL is allowed. */
void scripts_free(struct scripts *s);

/* Builds what scripts_commit() brings into force. On failure every error is appended to `errors`, one a line
 * ("scripts/x.lua:3: …"), and nothing has changed. The options are copied. */
MUST_CHECK int scripts_prepare(struct scripts *s, const struct scripts_options *o, struct buf *errors);
/* Drops what was prepared. */
void scripts_abandon(struct scripts *s);
/* It takes effect a little later: on each shard between two turns, and after a change of the tables that is under way.
 * ERR_NOMEM: nothing has changed, and what was prepared is dropped. */
MUST_CHECK int scripts_commit(struct scripts *s);

/* The console's `script list|check|reload|enable|disable`. ERR_NOMEM. */
MUST_CHECK int scripts_commands(struct scripts *s);

/* Loads the scripts once and forgets them, without a server: `magpied -t`. 0, or ERR_INVALID with the errors. */
MUST_CHECK int scripts_check(const struct scripts_options *o, struct buf *errors);

/* One script's figures since the server began. */
struct script_info {
    const char *name;
    bool loaded, disabled;
    uint32_t hooks, actions, commands, timers;
    uint64_t calls, errors, kills; /* over all shards, as the next two */
    uint64_t cpu_us;
    int64_t memory;
};
void scripts_each(struct scripts *s, void (*fn)(void *ctx, const struct script_info *info), void *ctx);

#endif
