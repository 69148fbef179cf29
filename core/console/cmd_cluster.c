/* cluster …: what this node knows of the cluster that its store stands on. */
#include "core/console/console_private.h"
#include "core/hub/hub.h"
#include "core/hub/shard/shards.h"
#include "storage/cluster.h"

#include <stdio.h>
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

/* --- Work --------------------------------------------------------------------------------------------------------- */

struct work {
    struct cluster_work op;
    struct command_call *call;
};

static void worked(void *owner, struct store_op *op)
{
    struct work *w = (struct work *)op; /* its first member */
    struct command_call *call = w->call;
    (void)owner;
    if (op->status == STORE_OK && w->op.kind == CLUSTER_BALANCE)
        buf_printf(&call->out, "{\"moved\":%u}", w->op.moved);
    if (op->status == STORE_OK)
        command_done(call);
    else
        command_fail(call,
                     op->status == STORE_NOTFOUND ? "not_found"
                     : op->status == STORE_DENIED ? "bad_request"
                                                  : "unavailable",
                     "%s", w->op.why[0] ? w->op.why : "Redis does not answer now");
    free(w);
}

static void begin(struct command_call *call, enum cluster_work_kind kind, uint16_t number)
{
    struct work *w = calloc(1, sizeof *w);
    if (!w) {
        command_fail(call, "internal", "out of memory");
        return;
    }
    w->call = call;
    w->op.kind = kind;
    w->op.number = number;
    w->op.op.home = hub_main(call->hub);
    w->op.op.done = worked;
    store_cluster_work(hub_store(call->hub), &w->op);
}

static void run_balance(struct command_call *call, void *ctx)
{
    (void)ctx;
    begin(call, CLUSTER_BALANCE, 0);
}

static void run_bury(struct command_call *call, void *ctx)
{
    char text[8], *end;
    struct slice arg = call->argv[0];
    (void)ctx;
    snprintf(text, sizeof text, "%.*s", (int)(arg.n < sizeof text ? arg.n : sizeof text - 1), arg.p);
    unsigned long number = text[0] >= '0' && text[0] <= '9' && arg.n < 5 ? strtoul(text, &end, 10) : 0;
    if (!number || *end || number > 1023)
        command_fail(call, "bad_request", "expected a node's number, from 1 to 1023, as cluster status has them");
    else
        begin(call, CLUSTER_BURY, (uint16_t)number);
}

int cmd_cluster_register(struct console *c)
{
    const struct command list[] = {{.name = "cluster status",
                                    .args = "",
                                    .help = "the cluster as this node knows it: nodes, Redis masters, copies",
                                    .run = run_status},
                                   {.name = "cluster balance",
                                    .args = "",
                                    .help = "moves Redis masters apart, so that few are on one machine; says how many. "
                                            "May take a minute",
                                    .changes = true,
                                    .run = run_balance},
                                   {.name = "cluster bury",
                                    .args = "NODE",
                                    .help = "a node is dead, whatever it seems: its sessions count for nothing. One "
                                            "that lives comes back as a new one",
                                    .min = 1,
                                    .max = 1,
                                    .changes = true,
                                    .shown = 1,
                                    .run = run_bury}};
    return commands_register(c->hub, list, sizeof list / sizeof list[0]);
}
