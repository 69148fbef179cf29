/* Figures of scripts: what each has done, and the counters they keep themselves (magpie.metric). */
#include "core/hub/shard/metric.h"
#include "core/hub/shard/shards.h"
#include "core/script/scripts_internal.h"
#include "core/script/timer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* --- Of each script ----------------------------------------------------------------------------------------------- */

enum figure { CALLS, ERRORS, KILLS, CPU, MEMORY };

static double sum(const struct script_record *r, unsigned shards, enum figure f)
{
    double all = 0;
    for (unsigned k = 0; k < shards; k++) {
        const struct script_stats *t = &r->stats[k];
        switch (f) {
        case CALLS:
            all += (double)atomic_load_explicit(&t->calls, memory_order_relaxed);
            break;
        case ERRORS:
            all += (double)atomic_load_explicit(&t->errors, memory_order_relaxed);
            break;
        case KILLS:
            all += (double)atomic_load_explicit(&t->kills, memory_order_relaxed);
            break;
        case CPU:
            all += (double)atomic_load_explicit(&t->cpu_ns, memory_order_relaxed);
            break;
        case MEMORY:
            all += (double)atomic_load_explicit(&t->memory, memory_order_relaxed);
            break;
        }
    }
    return all;
}

void scripts_each(struct scripts *s, void (*fn)(void *ctx, const struct script_info *info), void *ctx)
{
    for (uint32_t i = 0; i < s->record_count; i++) {
        const struct script_record *r = &s->records[i];
        struct script_info info = {.name = r->name,
                                   .loaded = r->loaded,
                                   .disabled = r->disabled,
                                   .calls = (uint64_t)sum(r, s->shard_count, CALLS),
                                   .errors = (uint64_t)sum(r, s->shard_count, ERRORS),
                                   .kills = (uint64_t)sum(r, s->shard_count, KILLS),
                                   .cpu_us = (uint64_t)(sum(r, s->shard_count, CPU) / 1000),
                                   .memory = (int64_t)sum(r, s->shard_count, MEMORY)};
        for (uint32_t k = 0; s->now && k < s->now->count; k++) {
            if (strcmp(s->now->names[k], r->name) != 0)
                continue;
            /* What does not change while it is in force. */
            const struct state *st = s->now->states[k];
            info.hooks = st->handler_count;
            info.actions = st->action_count;
            info.commands = st->command_count;
            info.timers = s->now->timers[k];
        }
        fn(ctx, &info);
    }
}

static double read_figure(const struct hub *hub, void *ctx, enum figure f)
{
    return sum(ctx, hub_shard_count(hub), f);
}
static double read_calls(struct hub *hub, void *ctx)
{
    return read_figure(hub, ctx, CALLS);
}
static double read_errors(struct hub *hub, void *ctx)
{
    return read_figure(hub, ctx, ERRORS);
}
static double read_kills(struct hub *hub, void *ctx)
{
    return read_figure(hub, ctx, KILLS);
}
static double read_cpu(struct hub *hub, void *ctx)
{
    return read_figure(hub, ctx, CPU) / 1e9;
}
static double read_memory(struct hub *hub, void *ctx)
{
    return read_figure(hub, ctx, MEMORY);
}

void scripts_register_metrics(struct scripts *s)
{
    static const struct {
        const char *name, *help;
        enum metric_kind kind;
        double (*read)(struct hub *hub, void *ctx);
    } figures[] = {
        {"calls_total", "Times that the server has called the script", METRIC_COUNTER, read_calls},
        {"errors_total", "Calls that failed", METRIC_COUNTER, read_errors},
        {"kills_total", "Calls that were stopped for going over the CPU budget", METRIC_COUNTER, read_kills},
        {"cpu_seconds_total", "CPU time of the script", METRIC_COUNTER, read_cpu},
        {"memory_bytes", "Memory of the script on all shards", METRIC_GAUGE, read_memory},
    };
    for (uint32_t i = 0; i < s->record_count; i++) {
        for (size_t k = 0; k < sizeof figures / sizeof figures[0]; k++) {
            struct metric m = {.kind = figures[k].kind, .read = figures[k].read, .ctx = &s->records[i], .owner = s};
            snprintf(m.help, sizeof m.help, "%s", figures[k].help);
            int n = snprintf(m.name, sizeof m.name, "magpie_script_%s_%s", s->records[i].name, figures[k].name);
            for (char *p = m.name; *p; p++)
                *p = *p == '-' || *p == '/' ? '_' : (char)tolower((unsigned char)*p);
            if (n > 0 && (size_t)n < sizeof m.name)
                (void)!metric_register(s->hub,
                                       &m); /* a table that is full has no room for figures; nothing else suffers */
        }
    }
}

/* --- Of their own ------------------------------------------------------------------------------------------------- */

static double read_counter(struct hub *hub, void *ctx)
{
    (void)hub;
    return (double)atomic_load_explicit(&((struct counter *)ctx)->value, memory_order_relaxed);
}

struct announcement {
    struct mail mail;
    struct scripts *host;
    struct counter *counter;
};

/* On the main thread: the table of metrics is its. */
static void register_counter(void *owner, struct mail *m)
{
    struct announcement *a = (struct announcement *)m;
    (void)owner;
    struct metric metric = {.kind = METRIC_COUNTER,
                            .read = read_counter,
                            .ctx = a->counter,
                            .owner = a->host,
                            .help = "Counted by a script"};
    snprintf(metric.name, sizeof metric.name, "%s", a->counter->name);
    int rc = metric_register(a->host->hub, &metric);
    if (rc < 0)
        log_event(LOG_WARN, "script.metric", LOG_STR("name", a->counter->name),
                  LOG_STR("error", rc == ERR_EXISTS ? "the server has one of this name" : err_str(rc)));
    free(a);
}

int scripts_count(struct scripts *s, const char *name, int64_t n)
{
    struct counter *c = NULL;
    struct announcement *a = NULL;
    pthread_mutex_lock(&s->counter_lock);
    for (uint32_t i = 0; i < s->counter_count && !c; i++)
        if (strcmp(s->counters[i].name, name) == 0)
            c = &s->counters[i];
    if (!c && s->counter_count < COUNTERS_MAX && (a = calloc(1, sizeof *a)) != NULL) {
        c = &s->counters[s->counter_count++];
        snprintf(c->name, sizeof c->name, "%s", name);
    }
    pthread_mutex_unlock(&s->counter_lock);
    if (a) {
        a->mail.run = register_counter;
        a->host = s;
        a->counter = c;
        if (hub_main(s->hub))
            mailbox_post(hub_main(s->hub), &a->mail);
        else
            free(a);
    }
    if (!c)
        return ERR_FULL;
    atomic_fetch_add_explicit(&c->value, n, memory_order_relaxed);
    return 0;
}
