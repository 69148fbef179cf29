#include "storage/cluster.h"

#include "storage/engine.h"

#include <stdio.h>

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

void silent_add(struct silent_nodes *s, uint16_t number)
{
    uint32_t named = s->n < SILENT_NAMED ? s->n : SILENT_NAMED;
    for (uint32_t i = 0; i < named; i++)
        if (number && s->numbers[i] == number)
            return;
    if (s->n < SILENT_NAMED)
        s->numbers[s->n] = number;
    s->n++;
}

void store_cluster_work(struct store *s, struct cluster_work *w)
{
    w->op.mail = (struct mail){.run = store_op_run};
    w->moved = 0;
    w->why[0] = '\0';
    if (s->engine->cluster_work) {
        s->engine->cluster_work(s, w);
        return;
    }
    snprintf(w->why, sizeof w->why, "this server stands alone: its config has no cluster.redis");
    w->op.status = STORE_RETRY;
    store_answer(&w->op);
}
