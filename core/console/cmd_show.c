/* show …: one thing, closely. */
#include "core/base/utf8.h"
#include "core/console/console_private.h"
#include "core/console/survey.h"
#include "core/hub/host/snapshot.h"
#include "core/hub/shard/figures.h"
#include "core/hub/shard/process.h"
#include "core/hub/shard/metric.h"
#include "core/hub/shard/shards.h"

#include <malloc.h>
#include <stdlib.h>

/* --- A connection ------------------------------------------------------------------------------------------------- */

struct handle {
    unsigned shard;
    uint32_t conn, generation;
    bool found;
};

static void put_text(struct buf *b, struct slice s)
{
    if (s.n)
        buf_json_string(b, s);
    else
        buf_lit(b, "null");
}

static void put_conn(void *ctx, const struct snapshot_conn *c)
{
    struct buf *b = ctx;
    char handle[40];
    snapshot_handle(handle, c->shard, c->conn, c->generation);
    buf_printf(b, "{\"connection\":\"%s\",\"user\":", handle);
    put_text(b, c->user);
    buf_lit(b, ",\"name\":");
    put_text(b, c->name);
    buf_printf(b, ",\"ip\":\"%s\",\"transport\":\"%s\",\"form\":\"%s\",\"compression\":\"%s\",\"device\":", c->ip,
               c->transport, c->form, c->compression);
    put_text(b, slice_str(c->device ? c->device : ""));
    buf_printf(b, ",\"silent\":%u,\"queued\":%u,\"skipping\":%s,\"requests\":%u,\"merge\":%s,\"closing\":%s}",
               c->silent, c->queued, c->slow ? "true" : "false", c->inflight, c->merge ? "true" : "false",
               c->closing ? "true" : "false");
}

static void conn_there(struct shard *s, struct command_call *c)
{
    struct handle *h = c->state;
    h->found = snapshot_conn(s, h->conn, h->generation, put_conn, &c->out);
}

static void conn_back(struct command_call *c)
{
    bool found = ((struct handle *)c->state)->found;
    free(c->state);
    if (found)
        command_done(c);
    else
        command_fail(c, "not_found", "there is no such connection (any more)");
}

static void run_connection(struct command_call *c, void *ctx)
{
    struct handle h = {.found = false}, *copy;
    (void)ctx;
    if (!snapshot_handle_parse(c->argv[0], &h.shard, &h.conn, &h.generation))
        command_fail(c, "bad_request", "expected a connection as `list connections` names it, like 0.12.34");
    else if (h.shard >= c->hub->shard_count)
        command_fail(c, "not_found", "there is no such connection");
    else if (!(copy = malloc(sizeof *copy)))
        command_fail(c, "internal", "out of memory");
    else {
        *copy = h;
        c->state = copy;
        errand_start(c, c->hub->shards[h.shard], conn_there, conn_back);
    }
}

/* --- A user ------------------------------------------------------------------------------------------------------- */

struct show_user {
    struct store_user_load op;
    struct command_call *call;
    struct buf conns; /* elements; owned */
};

static const char *const push_names[] = {
    [MODE_DEFAULT] = "default", [MODE_ALL] = "all", [MODE_MERGED] = "merged", [MODE_NONE] = "none"};

static void user_conn(void *ctx, const struct snapshot_conn *c)
{
    struct buf *b = &((struct show_user *)ctx)->conns;
    if (b->n)
        buf_byte(b, ',');
    put_conn(b, c);
}

static void user_there(struct shard *s, struct command_call *c)
{
    snapshot_user_conns(s, c->argv[0], user_conn, c->state);
}

static void user_back(struct command_call *c)
{
    struct show_user *u = c->state;
    struct buf *b = &c->out;
    buf_lit(b, "{\"user\":");
    buf_json_string(b, c->argv[0]);
    buf_lit(b, ",\"name\":");
    buf_json_string(b, u->op.name);
    buf_printf(b, ",\"online\":%s,\"guest\":%s,\"inbox\":%u,\"epoch\":%u", u->conns.n ? "true" : "false",
               u->op.user.guest ? "true" : "false", u->op.inbox, u->op.user.epoch);
    buf_lit(b, ",\"connections\":[");
    buf_slice_put(b, buf_slice(&u->conns));
    buf_lit(b, "],\"channels\":[");
    for (uint32_t i = 0; i < u->op.subscription_count; i++) {
        buf_str(b, i ? ",{\"channel\":" : "{\"channel\":");
        buf_json_string(b, u->op.subscriptions[i].channel);
        buf_printf(b, ",\"push\":\"%s\"}", push_names[u->op.subscriptions[i].push]);
    }
    buf_lit(b, "]}");
    b->oom = b->oom || u->conns.oom;
    store_user_load_free(&u->op);
    buf_free(&u->conns);
    free(u);
    command_done(c);
}

static void user_loaded(void *owner, struct store_op *op)
{
    struct show_user *u = (struct show_user *)op;
    struct command_call *c = u->call;
    (void)owner;
    if (op->status == STORE_OK) {
        errand_start(c, shard_of(c->hub, c->argv[0]), user_there, user_back);
        return;
    }
    enum store_status status = op->status;
    store_user_load_free(&u->op);
    free(u);
    if (status == STORE_NOTFOUND)
        command_fail(c, "not_found", "there is no such user");
    else
        command_fail(c, "unavailable", "the store cannot be read now");
}

static void run_user(struct command_call *c, void *ctx)
{
    (void)ctx;
    if (!value_user_id(c->argv[0])) {
        command_fail(c, "bad_request", "expected a user id: 1 to 64 of A-Z a-z 0-9 _ . : -");
        return;
    }
    struct show_user *u = calloc(1, sizeof *u);
    if (!u) {
        command_fail(c, "internal", "out of memory");
        return;
    }
    c->state = u;
    u->call = c;
    u->op.id = c->argv[0];
    u->op.op.home = hub_main(c->hub);
    u->op.op.done = user_loaded;
    store_user_load(hub_store(c->hub), &u->op);
}

/* --- A channel ---------------------------------------------------------------------------------------------------- */

struct show_channel {
    struct store_conv_load op;
    struct command_call *call;
    struct conv_key key;
    struct snapshot_channel live; /* what the owner has in memory; channel.n == 0: nothing */
    uint32_t online;              /* members with a connection, all shards' */
    unsigned shard;               /* the next one to ask */
};

static void channel_there(struct shard *s, struct command_call *c)
{
    struct show_channel *q = c->state;
    if (shard_of(s->hub, conv_key_slice(&q->key)) == s)
        snapshot_channel(s, c->argv[0], &q->live);
    q->online += snapshot_channel_online(s, c->argv[0]);
}

static void channel_answer(struct command_call *c)
{
    struct show_channel *q = c->state;
    struct buf *b = &c->out;
    buf_lit(b, "{\"channel\":");
    buf_json_string(b, c->argv[0]);
    buf_printf(
        b,
        ",\"members\":%u,\"online\":%u,\"tier\":\"%s\",\"push\":\"%s\",\"first\":%llu,\"last\":%llu,\"rate\":%.1f,"
        "\"owner\":%u}",
        q->live.loaded ? q->live.members : q->op.members, q->online,
        q->live.loaded             ? q->live.tier
        : q->op.tier == TIER_LARGE ? "large"
                                   : "small",
        q->live.loaded             ? q->live.push
        : q->op.tier == TIER_LARGE ? "merged"
                                   : "all",
        (unsigned long long)q->op.first, (unsigned long long)q->op.seq, (double)(int)(q->live.rate * 10 + 0.5f) / 10,
        shard_of(c->hub, conv_key_slice(&q->key))->index);
    free(q);
    command_done(c);
}

static void channel_next(struct command_call *c)
{
    struct show_channel *q = c->state;
    if (q->shard == c->hub->shard_count)
        channel_answer(c);
    else
        errand_start(c, c->hub->shards[q->shard++], channel_there, channel_next);
}

static void channel_loaded(void *owner, struct store_op *op)
{
    struct show_channel *q = (struct show_channel *)op;
    struct command_call *c = q->call;
    (void)owner;
    bool read = op->status == STORE_OK;
    if (read && q->op.exists) {
        channel_next(c);
        return;
    }
    free(q);
    if (read)
        command_fail(c, "not_found", "there is no such channel");
    else
        command_fail(c, "unavailable", "the store cannot be read now");
}

static void run_channel(struct command_call *c, void *ctx)
{
    (void)ctx;
    if (!value_channel(c->argv[0])) {
        command_fail(c, "bad_request", "expected a channel's name: 1 to 64 bytes without leading or trailing blanks");
        return;
    }
    struct show_channel *q = calloc(1, sizeof *q);
    if (!q) {
        command_fail(c, "internal", "out of memory");
        return;
    }
    c->state = q;
    q->call = c;
    q->key = conv_key_channel(c->argv[0]);
    q->op.conv = conv_key_slice(&q->key);
    q->op.op.home = hub_main(c->hub);
    q->op.op.done = channel_loaded;
    store_conv_load(hub_store(c->hub), &q->op);
}

/* --- Figures ------------------------------------------------------------------------------------------------------ */

static void run_memory(struct command_call *c, void *ctx)
{
    struct hub_stats h;
    struct store_stats s;
    (void)ctx;
    hub_get_stats(c->hub, &h);
    store_get_stats(hub_store(c->hub), &s);
    struct mallinfo2 heap = mallinfo2();
    buf_printf(&c->out,
               "{\"rss\":%llu,\"storage\":%llu,\"hub\":%llu,\"heap\":{\"used\":%llu,\"free\":%llu,\"mapped\":%llu}",
               (unsigned long long)process_resident(), (unsigned long long)s.memory, (unsigned long long)h.memory,
               (unsigned long long)heap.uordblks, (unsigned long long)heap.fordblks, (unsigned long long)heap.hblkhd);
    buf_printf(&c->out, ",\"connections\":%u,\"users\":%u,\"channels\":%u}", h.connections, h.users, h.channels);
    command_done(c);
}

static void run_storage(struct command_call *c, void *ctx)
{
    struct store_stats s;
    (void)ctx;
    store_get_stats(hub_store(c->hub), &s);
    buf_printf(
        &c->out,
        "{\"state\":\"%s\",\"clock\":\"%s\",\"queue\":%llu,\"appended\":%llu,\"duplicates\":%llu,\"groups\":%llu,"
        "\"syncs\":%llu,"
        "\"errors\":%llu,\"reopens\":%llu,\"memory\":%llu}",
        s.failing ? "failing" : "good", s.clock_paused ? "paused" : "good", (unsigned long long)s.queue,
        (unsigned long long)s.appended, (unsigned long long)s.duplicates, (unsigned long long)s.groups,
        (unsigned long long)s.syncs, (unsigned long long)s.errors, (unsigned long long)s.reopens,
        (unsigned long long)s.memory);
    command_done(c);
}

static void put_buckets(struct buf *b, const struct metric_histogram *h)
{
    buf_printf(b, ",\"sum\":%.15g,\"buckets\":[", h->sum);
    for (unsigned i = 0; i < h->buckets; i++)
        buf_printf(b, "%s{\"le\":%.15g,\"count\":%llu}", i ? "," : "", h->bounds[i], (unsigned long long)h->at_most[i]);
    buf_byte(b, ']');
}

static void metric_row(void *ctx, const struct metric *m, const char *labels, double value,
                       const struct metric_histogram *h)
{
    static const char *const kinds[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
    struct buf *b = ctx;
    buf_str(b, b->n ? ",{\"name\":" : "{\"name\":");
    buf_json_string(b, slice_str(m->name));
    buf_lit(b, ",\"labels\":");
    buf_json_string(b, slice_str(labels));
    buf_printf(b, ",\"value\":%.15g,\"kind\":\"%s\",\"help\":", value, kinds[m->kind]);
    buf_json_string(b, slice_str(m->help));
    if (h)
        put_buckets(b, h);
    buf_byte(b, '}');
}

static void run_metrics(struct command_call *c, void *ctx)
{
    (void)ctx;
    c->rows = true;
    metrics_each(c->hub, metric_row, &c->out);
    command_done(c);
}

int cmd_show_register(struct console *c)
{
    const struct command list[] = {
        {.name = "show connection",
         .args = "CONNECTION",
         .help = "a connection, named as `list connections` does",
         .min = 1,
         .max = 1,
         .run = run_connection},
        {.name = "show user", .args = "ID", .help = "a user, online or not", .min = 1, .max = 1, .run = run_user},
        {.name = "show channel", .args = "NAME", .help = "a channel", .min = 1, .max = 1, .run = run_channel},
        {.name = "show memory", .args = "", .help = "where the memory is, bytes", .run = run_memory},
        {.name = "show storage", .args = "", .help = "the database at a glance", .run = run_storage},
        {.name = "show metrics", .args = "", .help = "every metric with its value", .run = run_metrics},
    };
    return commands_register(c->hub, list, sizeof list / sizeof list[0]);
}
