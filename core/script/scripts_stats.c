/* Figures of scripts: what each has done, and the counters they keep themselves (magpie.metric). */
#include "core/hub/shard/metric.h"
#include "core/hub/shard/shards.h"
#include "core/script/scripts_private.h"
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
enum { FIGURES = sizeof figures / sizeof figures[0] };

/* "magpie_script_", the longest name, the longest figure. */
_Static_assert(METRIC_NAME >= 14 + SCRIPT_NAME_MAX + 18, "no script's figures are left out for its name");

void scripts_fold_name(const char *name, char out[SCRIPT_NAME_MAX])
{
    size_t i = 0;
    for (; name[i]; i++)
        out[i] = name[i] == '-' || name[i] == '/' ? '_' : (char)tolower((unsigned char)name[i]);
    out[i] = '\0';
}

static void tell_refused(const char *name, int rc)
{
    log_event(LOG_WARN, "script.metric", LOG_STR("name", name),
              LOG_STR("error", rc == ERR_EXISTS ? "the server has one of this name" : err_str(rc)));
}

static void register_figures(struct scripts *s, struct script_record *r)
{
    char name[SCRIPT_NAME_MAX];
    scripts_fold_name(r->name, name);
    for (size_t k = 0; k < FIGURES; k++) {
        struct metric m = {.kind = figures[k].kind, .read = figures[k].read, .ctx = r, .owner = s->records};
        snprintf(m.help, sizeof m.help, "%s", figures[k].help);
        snprintf(m.name, sizeof m.name, "magpie_script_%s_%s", name, figures[k].name);
        int rc = metric_register(s->hub, &m);
        if (rc < 0 && r->loaded)
            tell_refused(m.name, rc);
    }
}

static void register_counter(struct scripts *s, struct counter *c);

/* Loaded scripts first, since an unloaded one's name may be a loaded one's by now; of the others as many as there is
 * room for. */
void scripts_register_metrics(struct scripts *s)
{
    uint32_t count = 0;
    metrics_remove(s->hub, s->records);
    for (int loaded = 1; loaded >= 0; loaded--)
        for (uint32_t i = 0; i < s->record_count && count + FIGURES <= FIGURES_MAX; i++)
            if (s->records[i].loaded == (bool)loaded) {
                register_figures(s, &s->records[i]);
                count += FIGURES;
            }
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
