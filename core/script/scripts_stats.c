/* Figures of scripts: what each has done, and the counters they keep themselves (magpie.metric). */
#include "core/hub/shard/metric.h"
#include "core/hub/shard/shards.h"
#include "core/script/scripts_private.h"
#include "core/script/timer.h"

#include <stdlib.h>
#include <string.h>

/* --- Of each script ----------------------------------------------------------------------------------------------- */

enum figure { CALLS, ERRORS, KILLS, CPU, MEMORY };
_Static_assert((int)MEMORY + 1 == (int)SCRIPT_FIGURES, "each has its metric");

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

/* What a metric of scripts is made of: struct scripts has one of each. */
static const struct {
    const char *name, *help;
    enum metric_kind kind;
    double unit; /* what one of the figure is in the metric's unit */
} figures[SCRIPT_FIGURES] = {
    [CALLS] = {"magpie_script_calls_total", "Times that the server has called the script.", METRIC_COUNTER, 1},
    [ERRORS] = {"magpie_script_errors_total", "Calls that failed.", METRIC_COUNTER, 1},
    [KILLS] = {"magpie_script_kills_total", "Calls that were stopped for going over the CPU budget.", METRIC_COUNTER,
               1},
    [CPU] = {"magpie_script_cpu_seconds_total", "CPU time of the script.", METRIC_COUNTER, 1e-9},
    [MEMORY] = {"magpie_script_memory_bytes", "Memory of the script on all shards.", METRIC_GAUGE, 1},
};

static void tell_figure(struct hub *hub, void *ctx, const struct metric_told *told)
{
    const struct figure_of *of = ctx;
    (void)hub;
    for (uint32_t i = 0; i < of->host->record_count; i++) {
        const struct script_record *r = &of->host->records[i];
        metric_tell(told, "script", r->name,
                    sum(r, of->host->shard_count, (enum figure)of->figure) * figures[of->figure].unit);
    }
}

static void tell_refused(const char *name, int rc)
{
    log_event(LOG_WARN, "script.metric", LOG_STR("name", name),
              LOG_STR("error", rc == ERR_EXISTS ? "the server has one of this name" : err_str(rc)));
}

static void register_figures(struct scripts *s)
{
    for (unsigned k = 0; k < SCRIPT_FIGURES; k++) {
        s->figures[k] = (struct figure_of){.host = s, .figure = k};
        struct metric m = {.kind = figures[k].kind, .each = tell_figure, .ctx = &s->figures[k], .owner = s->records};
        snprintf(m.help, sizeof m.help, "%s", figures[k].help);
        snprintf(m.name, sizeof m.name, "%s", figures[k].name);
        int rc = metric_register(s->hub, &m);
        if (rc < 0)
            tell_refused(m.name, rc);
    }
}

static void register_counter(struct scripts *s, struct counter *c);

void scripts_register_metrics(struct scripts *s)
{
    register_figures(s);
    /* Those that gave way to a plugin's, in case that is gone. */
    pthread_mutex_lock(&s->counter_lock);
    uint32_t counters = s->counter_count;
    pthread_mutex_unlock(&s->counter_lock);
    for (uint32_t i = 0; i < counters; i++)
        register_counter(s, &s->counters[i]);
}

/* --- Of their own ------------------------------------------------------------------------------------------------- */

static double read_counter(struct hub *hub, void *ctx)
{
    (void)hub;
    return atomic_load_explicit(&((struct counter *)ctx)->value, memory_order_relaxed);
}

struct announcement {
    struct mail mail;
    struct scripts *host;
    struct counter *counter;
};

/* On the main thread: the table of metrics is its. */
static void register_counter(struct scripts *s, struct counter *c)
{
    struct metric metric = {.kind = METRIC_COUNTER,
                            .read = read_counter,
                            .ctx = c,
                            .owner = s,
                            .yields = true,
                            .help = "Counted by a script"};
    snprintf(metric.name, sizeof metric.name, "%s", c->name);
    int rc = metric_register(s->hub, &metric);
    if (rc < 0)
        tell_refused(c->name, rc);
}

static void on_announcement(void *owner, struct mail *m)
{
    struct announcement *a = (struct announcement *)m;
    (void)owner;
    register_counter(a->host, a->counter);
    free(a);
}

int scripts_count(struct scripts *s, const char *name, double n)
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
    bool full = !c && s->counter_count == COUNTERS_MAX && !s->counters_full;
    s->counters_full |= full;
    pthread_mutex_unlock(&s->counter_lock);
    if (full)
        log_event(LOG_WARN, "script.metric", LOG_STR("name", name),
                  LOG_STR("error", "scripts count under too many names already"));
    if (a) {
        a->mail.run = on_announcement;
        a->host = s;
        a->counter = c;
        if (hub_main(s->hub))
            mailbox_post(hub_main(s->hub), &a->mail);
        else
            free(a);
    }
    if (!c)
        return ERR_FULL;
    double before = atomic_load_explicit(&c->value, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&c->value, &before, before + n, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
    return 0;
}
