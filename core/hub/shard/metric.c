#include "core/hub/shard/metric.h"

#include "core/base/log.h"
#include "core/hub/shard/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct metric_table {
    struct metric list[METRICS]; /* name empty: a free place */
    unsigned count;              /* places ever used */
};

static bool name_good(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return n > 0 && name[n] == '\0' && (name[0] < '0' || name[0] > '9');
}

int metric_register(struct hub *hub, const struct metric *m)
{
    if (!hub->metrics && !(hub->metrics = calloc(1, sizeof *hub->metrics)))
        return ERR_NOMEM;
    struct metric_table *t = hub->metrics;
    if (!name_good(m->name) || (m->kind == METRIC_HISTOGRAM) != (m->histogram != NULL))
        return ERR_INVALID;
    int place = -1;
    for (unsigned i = 0; i < t->count; i++) {
        if (strcmp(t->list[i].name, m->name) == 0) {
            if (t->list[i].owner == m->owner)
                return (int)i;
            if (!t->list[i].yields || m->yields)
                return ERR_EXISTS;
            log_event(LOG_WARN, "metric.replaced", LOG_STR("name", m->name),
                      LOG_STR("because", "the server or a plugin has one of this name"));
            place = (int)i;
            break;
        }
        if (place < 0 && !t->list[i].name[0])
            place = (int)i;
    }
    if (place < 0) {
        if (t->count == METRICS)
            return ERR_FULL;
        place = (int)t->count++;
    }
    t->list[place] = *m;
    for (unsigned i = 0; i < hub->shard_count; i++)
        atomic_store_explicit(&hub->shards[i]->metrics[place], 0, memory_order_relaxed);
    return place;
}

void metrics_remove(struct hub *hub, const void *owner)
{
    for (unsigned i = 0; hub->metrics && owner && i < hub->metrics->count; i++)
        if (hub->metrics->list[i].name[0] && hub->metrics->list[i].owner == owner)
            hub->metrics->list[i] = (struct metric){.name = ""};
}

void metric_add(struct shard *s, int metric, int64_t n)
{
    if (metric >= 0 && metric < METRICS)
        atomic_fetch_add_explicit(&s->metrics[metric], n, memory_order_relaxed);
}

/* Whom metric_tell() tells, and of which metric. */
struct metric_told {
    metric_fn fn;
    void *ctx;
    const struct metric *metric;
};

void metric_tell(const struct metric_told *told, const char *label, const char *text, double value)
{
    char labels[METRIC_LABELS];
    size_t n = (size_t)snprintf(labels, sizeof labels, "%s=\"", label);
    for (; *text && n < sizeof labels - 4; text++) {
        if (*text == '"' || *text == '\\' || *text == '\n')
            labels[n++] = '\\';
        labels[n++] = *text == '\n' ? 'n' : *text;
    }
    snprintf(labels + n, sizeof labels - n, "\"");
    told->fn(told->ctx, told->metric, labels, value, NULL);
}

void metrics_each(struct hub *hub, metric_fn fn, void *ctx)
{
    for (unsigned i = 0; hub->metrics && i < hub->metrics->count; i++) {
        const struct metric *m = &hub->metrics->list[i];
        if (!m->name[0])
            continue;
        if (m->each) {
            m->each(hub, m->ctx, &(struct metric_told){fn, ctx, m});
            continue;
        }
        if (m->kind == METRIC_HISTOGRAM) {
            struct metric_histogram h = {.count = 0};
            m->histogram(hub, m->ctx, &h);
            fn(ctx, m, "", (double)h.count, &h);
            continue;
        }
        int64_t sum = 0;
        for (unsigned k = 0; !m->read && k < hub->shard_count; k++)
            sum += atomic_load_explicit(&hub->shards[k]->metrics[i], memory_order_relaxed);
        fn(ctx, m, "", m->read ? m->read(hub, m->ctx) : (double)sum, NULL);
    }
}
