#include "storage/redis/report.h"

#include "core/base/container.h"
#include "core/base/log.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/cold/cold.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/nodes/node_cut.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/sweep.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    TOLD_MS = 1000, /* between two snapshots */
    ASK_MS = 2000,  /* between two questions to the masters */
    FULL = 80,      /* percent of maxmemory, of which is warned */
    FULL_NOT = 75   /* below which it may be warned of again */
};

/* What a master has said of itself. */
struct told {
    char id[41]; /* empty: nothing yet */
    uint32_t in_step;
    uint64_t lag, memory, memory_max; /* as in struct cluster_master */
    bool full;                        /* it was warned of */
};

/* A question under way. */
struct question {
    struct call call;
    bool busy;
};

struct report {
    uint64_t told_at, asked_at; /* by redis.turn_ms */
    uint64_t unserved_since;    /* some partition has no master; 0: each has one */
    struct question questions[CLUSTER_MASTERS];
    struct told told[CLUSTER_MASTERS];
    pthread_mutex_t lock;
    struct cluster_figures now; /* under lock */
};

int report_init(struct redis *r)
{
    r->report = calloc(1, sizeof *r->report);
    if (!r->report)
        return ERR_NOMEM;
    pthread_mutex_init(&r->report->lock, NULL);
    r->report->now.copies = r->options.cluster.copies;
    return 0;
}

void report_fini(struct redis *r)
{
    if (r->report)
        pthread_mutex_destroy(&r->report->lock);
    free(r->report);
    r->report = NULL;
}

/* --- What the masters say ----------------------------------------------------------------------------------------- */

/* The number behind "name:" at a line's beginning; 0: there is none. */
static uint64_t number_at(const char *info, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = info; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) == 0 && line[n] == ':')
            return strtoull(line + n + 1, NULL, 10);
    }
    return 0;
}

static void tell_full(struct told *t, const struct master *m)
{
    uint64_t percent = t->memory_max ? t->memory * 100 / t->memory_max : 0;
    if (percent >= FULL && !t->full)
        log_event(LOG_WARN, "cluster.nearly_full", LOG_STR("host", m->host), LOG_INT("port", m->port),
                  LOG_INT("percent", percent), LOG_INT("maxmemory", t->memory_max));
    t->full = percent >= FULL || (t->full && percent >= FULL_NOT);
}

static struct told *told_of(struct report *f, const char *id)
{
    struct told *unused = NULL;
    for (unsigned i = 0; i < CLUSTER_MASTERS; i++) {
        if (strcmp(f->told[i].id, id) == 0)
            return &f->told[i];
        if (!f->told[i].id[0] && !unused)
            unused = &f->told[i];
    }
    if (!unused) /* many were masters once */
        unused = &f->told[0];
    *unused = (struct told){.in_step = 0};
    memcpy(unused->id, id, sizeof unused->id);
    return unused;
}

static void info_told(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct question *q = CONTAINER_OF(c, struct question, call);
    const struct master *m = r->parts[c->part].master;
    q->busy = false;
    if (status != STORE_OK || reply->type != REPLY_STRING || !m || !m->id[0])
        return;
    char *info = strndup(reply->text.p, reply->text.n);
    if (!info)
        return;
    struct told *t = told_of(r->report, m->id);
    struct copies_info copies;
    t->memory = number_at(info, "used_memory");
    t->memory_max = number_at(info, "maxmemory");
    copies_read(reply->text, &copies);
    t->in_step = copies.online;
    t->lag = copies.lag;
    tell_full(t, m);
    free(info);
}

static void ask(struct redis *r)
{
    static const struct slice words[] = {{"INFO", 4}, {"memory", 6}, {"replication", 11}};
    for (unsigned i = 0; i < CLUSTER_MASTERS; i++) {
        struct question *q = &r->report->questions[i];
        int part = slots_part(r, i);
        if (part < 0)
            return;
        if (q->busy)
            continue;
        q->busy = true;
        call_raw(r, &q->call, (unsigned)part, false, words, sizeof words / sizeof *words);
        q->call.done = info_told;
        call_post(r, &q->call);
    }
}

/* --- The snapshot ------------------------------------------------------------------------------------------------- */

static void tell_master(struct redis *r, const struct master *m, struct cluster_figures *out)
{
    bool reachable = m->lanes[LANE_WRITE].link.state == LINK_READY || m->lanes[LANE_READ].link.state == LINK_READY;
    uint64_t away = reachable ? 0 : r->turn_ms - m->ready_at;
    uint32_t wanted = out->copies > 1 ? out->copies - 1 : 0;
    const struct told *t = told_of(r->report, m->id);
    out->missing += m->replicas < wanted ? wanted - m->replicas : 0;
    if (away > out->away_ms)
        out->away_ms = away;
    if (t->lag > out->lag)
        out->lag = t->lag;
    if (out->master_count == CLUSTER_MASTERS)
        return;
    struct cluster_master *at = &out->masters[out->master_count++];
    bool six = strchr(m->host, ':');
    snprintf(at->address, sizeof at->address, "%s%s%s:%u", six ? "[" : "", m->host, six ? "]" : "", m->port);
    at->partitions = m->parts;
    at->replicas = m->replicas;
    at->in_step = t->in_step;
    at->reachable = reachable;
    at->few_copies = m->copies.few.since != 0;
    at->lag = t->lag;
    at->memory = t->memory;
    at->memory_max = t->memory_max;
    at->waiting = m->bytes;
}

static void tell_nodes(const struct redis *r, struct cluster_figures *out)
{
    const struct nodes *ns = node_others(r);
    for (unsigned i = 0; i < ns->n && out->node_count < CLUSTER_NODES; i++) {
        struct cluster_node *at = &out->nodes[out->node_count++];
        const struct node *n = &ns->list[i];
        at->number = n->number;
        at->incarnation = n->inc;
        at->self = n->inc == ns->inc;
        at->state = (enum cluster_node_state)n->about.state;
        snprintf(at->host, sizeof at->host, "%.*s", (int)n->about.host_n, n->about.host);
    }
    for (unsigned part = 0; part < PARTITIONS; part++)
        out->swept += nodes_sweeps(ns, (uint16_t)part);
}
_Static_assert((int)NODE_JOINING == CLUSTER_NODE_JOINING && (int)NODE_UP == CLUSTER_NODE_UP &&
                   (int)NODE_DRAINING == CLUSTER_NODE_DRAINING,
               "they are the same");

static void tell(struct redis *r)
{
    struct report *f = r->report;
    struct cluster_figures *out = calloc(1, sizeof *out);
    if (!out)
        return; /* the last ones stay */
    out->asked_ms = r->turn_ms - f->asked_at;
    out->copies = r->options.cluster.copies;
    for (const struct master *m = r->slots.masters; m; m = m->next)
        if (m->parts)
            tell_master(r, m, out);
    out->unserved = r->slots.nobody.parts;
    if (!out->unserved)
        f->unserved_since = 0;
    else if (!f->unserved_since)
        f->unserved_since = r->turn_ms;
    if (f->unserved_since && r->turn_ms - f->unserved_since > out->away_ms)
        out->away_ms = r->turn_ms - f->unserved_since;
    out->isolated = out->away_ms >= r->options.cluster.isolated_ms || node_is_cut(r);
    out->buried = node_count_dead(r);
    out->lost = atomic_load(&r->stats.lost);
    tell_nodes(r, out);
    cold_tell(r, &out->archive);
    pthread_mutex_lock(&f->lock);
    f->now = *out;
    pthread_mutex_unlock(&f->lock);
    free(out);
}

void report_tick(struct redis *r)
{
    struct report *f = r->report;
    if (!f->asked_at || r->turn_ms - f->asked_at >= ASK_MS) {
        f->asked_at = r->turn_ms;
        ask(r);
    }
    if (r->turn_ms - f->told_at < TOLD_MS)
        return;
    f->told_at = r->turn_ms;
    node_cut_tick(r);
    tell(r);
}

void report_read(struct redis *r, struct cluster_figures *out)
{
    struct report *f = r->report;
    pthread_mutex_lock(&f->lock);
    *out = f->now;
    pthread_mutex_unlock(&f->lock);
    out->repeats = atomic_load(&r->stats.repeats);
    out->unknown = atomic_load(&r->stats.unknown);
    out->news_in = atomic_load(&r->stats.news_in);
    out->ear_resets = atomic_load(&r->stats.ear_resets);
    struct tell_stats told;
    tell_get_stats(r, &told);
    out->news_out = told.out;
    struct sweep_stats swept;
    sweep_get_stats(r, &swept);
    out->intents = swept.behind;
    latency_read(&r->group_latency, &out->group);
    latency_read(&r->wait_latency, &out->wait);
}

bool report_isolated(struct redis *r)
{
    pthread_mutex_lock(&r->report->lock);
    bool isolated = r->report->now.isolated;
    pthread_mutex_unlock(&r->report->lock);
    return isolated;
}
