#include "core/hub/registry/tables.h"

#include "core/hub/shard/shard.h"
#include "core/hub/shard/shards.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tables_drop(struct tables *t)
{
    if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    for (unsigned i = 0; i < HOOK_EVENTS; i++)
        free(t->hooks[i]);
    free(t);
}

static struct tables *tables_copy(const struct tables *from)
{
    struct tables *t = malloc(sizeof *t);
    if (!t)
        return NULL;
    if (!from) {
        memset(t, 0, sizeof *t);
        atomic_store(&t->refs, 1);
        return t;
    }
    memcpy((char *)t + sizeof t->refs, (const char *)from + sizeof t->refs, sizeof *t - sizeof t->refs);
    atomic_store(&t->refs, 1);
    memset(t->hooks, 0, sizeof t->hooks);
    for (unsigned i = 0; i < HOOK_EVENTS; i++) {
        size_t n = t->hook_count[i] * sizeof *t->hooks[i];
        if (n && !(t->hooks[i] = malloc(n))) {
            tables_drop(t);
            return NULL;
        }
        if (n)
            memcpy(t->hooks[i], from->hooks[i], n);
    }
    return t;
}

int tables_begin(struct hub *hub)
{
    if (hub->draft || hub->committing)
        return ERR_AGAIN;
    hub->draft = tables_copy(hub->tables);
    return hub->draft ? 0 : ERR_NOMEM;
}

void tables_abandon(struct hub *hub)
{
    tables_drop(hub->draft);
    hub->draft = NULL;
}

void tables_remove(struct hub *hub, const void *owner)
{
    struct tables *t = hub->draft;
    if (!t || !owner)
        return;
    for (unsigned i = 0; i < ACTIONS; i++)
        if (t->actions[i].owner == owner)
            t->actions[i] = (struct action){.handle = NULL};
    for (unsigned e = 0; e < HOOK_EVENTS; e++) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < t->hook_count[e]; i++)
            if (t->hooks[e][i].owner != owner)
                t->hooks[e][kept++] = t->hooks[e][i];
        t->hook_count[e] = kept;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->auth_count; i++)
        if (t->auth[i].owner != owner)
            t->auth[kept++] = t->auth[i];
    t->auth_count = kept;
    kept = 0;
    for (uint32_t i = 0; i < t->route_count; i++)
        if (t->routes[i].owner != owner)
            t->routes[kept++] = t->routes[i];
    t->route_count = kept;
    kept = 0;
    for (uint32_t i = 0; i < t->upgrade_count; i++)
        if (t->upgrades[i].owner != owner)
            t->upgrades[kept++] = t->upgrades[i];
    t->upgrade_count = kept;
}

/* --- Names of owners ---------------------------------------------------------------------------------------------- */

struct owner_name {
    struct owner_name *next;
    const void *owner;
    char name[80];
};

int hub_owner_set(struct hub *hub, const void *owner, const char *name)
{
    struct owner_name **at = &hub->owners;
    while (*at && (*at)->owner != owner)
        at = &(*at)->next;
    if (!name) {
        struct owner_name *gone = *at;
        if (gone)
            *at = gone->next;
        free(gone);
        return 0;
    }
    if (!*at && !(*at = calloc(1, sizeof **at)))
        return ERR_NOMEM;
    (*at)->owner = owner;
    snprintf((*at)->name, sizeof(*at)->name, "%s", name);
    return 0;
}

const char *hub_owner_name(const struct hub *hub, const void *owner)
{
    for (const struct owner_name *o = hub->owners; o; o = o->next)
        if (o->owner == owner)
            return o->name;
    return "?";
}

void hub_owners_free(struct hub *hub)
{
    while (hub->owners) {
        struct owner_name *next = hub->owners->next;
        free(hub->owners);
        hub->owners = next;
    }
}

/* --- Into force --------------------------------------------------------------------------------------------------- */

struct commit {
    struct tables *tables; /* a reference each shard, and one of its own */
    struct hub *hub;
    void (*done)(void *ctx);
    void *ctx;
};

static void take(struct shard *s, void *ctx)
{
    struct commit *c = ctx;
    struct tables *before = s->tables;
    s->tables = c->tables;
    tables_drop(before);
}

static void taken(void *ctx)
{
    struct commit c = *(struct commit *)ctx;
    free(ctx);
    c.hub->committing = false;
    tables_drop(c.tables);
    if (c.done)
        c.done(c.ctx);
}

int tables_commit(struct hub *hub, void (*done)(void *ctx), void *ctx)
{
    if (!SURELY(hub->draft))
        return ERR_INVALID;
    struct commit *c = malloc(sizeof *c);
    if (!c)
        return ERR_NOMEM;
    struct tables *before = hub->tables;
    *c = (struct commit){.tables = hub->draft, .hub = hub, .done = done, .ctx = ctx};
    atomic_fetch_add(&hub->draft->refs, hub->shard_count + 1);
    hub->committing = true;
    hub->tables = hub->draft;
    hub->draft = NULL;
    if (hub_each(hub, take, taken, c) != 0) {
        hub->draft = hub->tables;
        hub->tables = before;
        hub->committing = false;
        atomic_fetch_sub(&hub->draft->refs, hub->shard_count + 1);
        free(c);
        return ERR_NOMEM;
    }
    tables_drop(before);
    return 0;
}
