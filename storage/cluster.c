#include "storage/cluster.h"

#include "storage/engine.h"

bool store_is_shared(const struct store *s)
{
    return s->engine->cluster != NULL;
}

bool store_get_cluster(struct store *s, struct cluster_figures *out)
{
    if (!s->engine->cluster)
        return false;
    s->engine->cluster(s, out);
    return true;
}
