#include "core/hub/registry/action.h"

#include "core/hub/registry/tables.h"
#include "core/hub/shard/shard.h"

int action_register(struct hub *hub, const struct action *a)
{
    if (!hub->draft)
        return ERR_INVALID;
    if (a->number >= ACTIONS)
        return ERR_INVALID;
    struct action *slot = &hub->draft->actions[a->number];
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

const struct action *action_find(const struct tables *t, uint16_t number)
{
    const struct action *a = number < ACTIONS ? &t->actions[number] : NULL;
    return a && a->handle ? a : NULL;
}
