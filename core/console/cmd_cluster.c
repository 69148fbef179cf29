/* cluster …: what this node knows of the cluster that its store stands on. */
#include "core/console/console_private.h"
#include "core/hub/shard/shards.h"
#include "storage/cluster.h"

#include <stdlib.h>

static const char *yes(bool v)
{
    return v ? "true" : "false";
}

static void put_nodes(struct buf *b, const struct cluster_figures *c)
{
    static const char *const states[] = {
        [CLUSTER_NODE_JOINING] = "joining", [CLUSTER_NODE_UP] = "up", [CLUSTER_NODE_DRAINING] = "draining"};
    buf_lit(b, ",\"nodes\":[");
    for (unsigned i = 0; i < c->node_count; i++) {
        const struct cluster_node *n = &c->nodes[i];
        buf_printf(b, "%s{\"node\":%u,\"incarnation\":%llu,\"state\":\"%s\",\"this\":%s,\"host\":", i ? "," : "",
                   n->number, (unsigned long long)n->incarnation, states[n->state], yes(n->self));
        buf_json_string(b, slice_str(n->host));
        buf_byte(b, '}');
    }
    buf_byte(b, ']');
}

static void put_masters(struct buf *b, const struct cluster_figures *c)
{
    buf_lit(b, ",\"masters\":[");
    for (unsigned i = 0; i < c->master_count; i++) {
        const struct cluster_master *m = &c->masters[i];
        buf_printf(b,
                   "%s{\"address\":\"%s\",\"partitions\":%u,\"reachable\":%s,\"replicas\":%u,\"inStep\":%u,"
                   "\"fewCopies\":%s,\"lag\":%llu,\"memory\":%llu,\"maxmemory\":%llu,\"waiting\":%llu}",
                   i ? "," : "", m->address, m->partitions, yes(m->reachable), m->replicas, m->in_step,
                   yes(m->few_copies), (unsigned long long)m->lag, (unsigned long long)m->memory,
                   (unsigned long long)m->memory_max, (unsigned long long)m->waiting);
    }
    buf_byte(b, ']');
}

static void put_archive(struct buf *b, const struct cluster_archive *a)
{
    if (!a->used)
        return;
    buf_printf(
        b, ",\"archive\":{\"connected\":%s,\"behind\":%.3f,\"written\":%llu,\"read\":%llu,\"why\":", yes(a->connected),
        (double)a->behind_ms / 1000, (unsigned long long)a->written, (unsigned long long)a->read);
    buf_json_string(b, slice_str(a->why));
    buf_byte(b, '}');
}

static void run_status(struct command_call *call, void *ctx)
{
    (void)ctx;
    if (!store_is_shared(hub_store(call->hub))) {
        command_fail(call, "unavailable", "this server stands alone: its config has no cluster.redis");
        return;
    }
    struct cluster_figures *c = malloc(sizeof *c);
    if (!c || !store_get_cluster(hub_store(call->hub), c)) {
        free(c);
        command_fail(call, "internal", "out of memory");
        return;
    }
    buf_printf(&call->out,
               "{\"state\":\"%s\",\"copies\":%u,\"missing\":%u,\"lag\":%llu,\"away\":%.3f,\"unserved\":%u,\"swept\":%u,"
               "\"repeats\":%llu,\"unknown\":%llu",
               c->isolated  ? "isolated"
               : c->away_ms ? "master lost"
               : c->missing ? "short of copies"
                            : "good",
               c->copies, c->missing, (unsigned long long)c->lag, (double)c->away_ms / 1000, c->unserved, c->swept,
               (unsigned long long)c->repeats, (unsigned long long)c->unknown);
    put_nodes(&call->out, c);
    put_masters(&call->out, c);
    put_archive(&call->out, &c->archive);
    buf_byte(&call->out, '}');
    free(c);
    command_done(call);
}

int cmd_cluster_register(struct console *c)
{
    const struct command list[] = {{.name = "cluster status",
                                    .args = "",
                                    .help = "the cluster as this node knows it: nodes, Redis masters, copies",
                                    .run = run_status}};
    return commands_register(c->hub, list, sizeof list / sizeof list[0]);
}
