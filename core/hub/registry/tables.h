/*
 * The tables of actions, hooks, authentication providers and routes: immutable once in force, so that shards read them
 * without locks.
 *
 * A change is made on the main thread: tables_begin() copies the newest ones into a draft. Registrations and
 * tables_remove() work on the draft. tables_commit() brings it into force on each shard between two turns of its loop.
 * Before hub_start() that is at once.
 */
#ifndef MAGPIE_HUB_TABLES_H
#define MAGPIE_HUB_TABLES_H

#include "core/base/err.h"
#include "core/hub/registry/action.h"
#include "core/hub/registry/auth.h"
#include "core/hub/registry/hook.h"
#include "core/hub/registry/route.h"

#include <stdatomic.h>

enum { ACTIONS = 2000, AUTH_PROVIDERS = 16 };

struct tables {
    _Atomic unsigned refs;           /* the hub, and each shard that has them in force */
    struct action actions[ACTIONS];  /* by number; handle NULL: none */
    struct hook *hooks[HOOK_EVENTS]; /* by priority; owned */
    uint32_t hook_count[HOOK_EVENTS];
    struct auth_provider auth[AUTH_PROVIDERS];
    uint32_t auth_count;
    struct route routes[ROUTES];
    uint32_t route_count;
    struct upgrade upgrades[UPGRADES];
    uint32_t upgrade_count;
};

/* ERR_NOMEM; ERR_AGAIN: a commit is under way. */
MUST_CHECK int tables_begin(struct hub *hub);
/* Drops the draft. */
void tables_abandon(struct hub *hub);
/* Takes out of the draft all that the owner (not NULL) registered. */
void tables_remove(struct hub *hub, const void *owner);
/* `done` (may be NULL): on the main thread, when no shard uses the old tables any more; before hub_start() inside this
 * call. ERR_NOMEM: the draft is still there. */
MUST_CHECK int tables_commit(struct hub *hub, void (*done)(void *ctx), void *ctx);
void tables_drop(struct tables *t);

/* Who is behind an owner's pointer, for people: "script ratelimit", "plugin echo". Main thread. The name is copied;
 * NULL takes it away. */
MUST_CHECK int hub_owner_set(struct hub *hub, const void *owner, const char *name);
/* "?" where nobody has said. */
const char *hub_owner_name(const struct hub *hub, const void *owner);
void hub_owners_free(struct hub *hub);

#endif
