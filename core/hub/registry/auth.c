#include "core/hub/registry/auth.h"

#include "core/hub/registry/tables.h"
#include "core/hub/shard/shard.h"

int auth_register(struct hub *hub, const struct auth_provider *p)
{
    struct tables *t = hub->draft;
    if (!t)
        return ERR_INVALID;
    for (uint32_t i = 0; i < t->auth_count; i++)
        if (strcmp(t->auth[i].name, p->name) == 0)
            return ERR_EXISTS;
    if (t->auth_count == AUTH_PROVIDERS)
        return ERR_FULL;
    t->auth[t->auth_count++] = *p;
    return 0;
}
