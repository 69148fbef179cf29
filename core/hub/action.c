#include "core/hub/action.h"

#include "core/hub/shard.h"

#include <stdlib.h>

enum { ACTIONS = 2000 };

struct action_table {
    struct action by_number[ACTIONS]; /* handle NULL: none */
};

int action_register(struct hub *hub, const struct action *a)
{
    if (!hub->actions && !(hub->actions = calloc(1, sizeof *hub->actions)))
        return ERR_NOMEM;
    if (a->number >= ACTIONS)
        return ERR_INVALID;
    struct action *slot = &hub->actions->by_number[a->number];
    if (slot->handle)
        return ERR_EXISTS;
    *slot = *a;
    return 0;
}

int actions_register(struct hub *hub, const struct action *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int rc = action_register(hub, &list[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}

const struct action *action_find(const struct hub *hub, uint16_t number)
{
    const struct action *a = number < ACTIONS ? &hub->actions->by_number[number] : NULL;
    return a && a->handle ? a : NULL;
}

void actions_free(struct action_table *t)
{
    free(t);
}

/* --- Hooks ---------------------------------------------------------------------------------------------------------- */

struct hook {
    int priority;
    hook_fn fn;
    void *ctx;
};

struct hook_table {
    struct hook *list[HOOK_EVENTS]; /* by priority, higher first; owned */
    unsigned count[HOOK_EVENTS];
};

int hook_register(struct hub *hub, enum hook_event event, int priority, hook_fn fn, void *ctx)
{
    if (!hub->hooks && !(hub->hooks = calloc(1, sizeof *hub->hooks)))
        return ERR_NOMEM;
    struct hook_table *t = hub->hooks;
    struct hook *p = realloc(t->list[event], (t->count[event] + 1) * sizeof *p);
    if (!p)
        return ERR_NOMEM;
    unsigned i = t->count[event]++;
    for (; i > 0 && p[i - 1].priority < priority; i--)
        p[i] = p[i - 1];
    p[i] = (struct hook){.priority = priority, .fn = fn, .ctx = ctx};
    t->list[event] = p;
    return 0;
}

enum hook_verdict hooks_run(const struct hub *hub, enum hook_event event, struct hook_call *h)
{
    const struct hook_table *t = hub->hooks;
    for (unsigned i = 0; t && i < t->count[event]; i++) {
        enum hook_verdict v = t->list[event][i].fn(h, t->list[event][i].ctx);
        if (v != HOOK_PASS)
            return v;
    }
    return HOOK_PASS;
}

void hooks_free(struct hook_table *t)
{
    for (unsigned i = 0; t && i < HOOK_EVENTS; i++)
        free(t->list[i]);
    free(t);
}
