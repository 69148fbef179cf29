/* top: rates of the last second, load of the shards, slow receivers, hottest channels. magpiectl's live view asks for
 * it once a second. */
#include "core/console/cmd_top.h"

#include "core/base/clock.h"
#include "core/console/console_private.h"
#include "core/console/survey.h"
#include "core/hub/host/snapshot.h"
#include "core/hub/shard/figures.h"
#include "core/hub/shard/metric.h"
#include "core/hub/shard/process.h"
#include "core/hub/shard/shards.h"

#include <stdlib.h>

enum { TOP = 10 }; /* slow receivers and hot channels that are named */

struct hot {
    char channel[65];
    uint32_t members;
    bool loaded;
    float rate;
};

struct slow {
    char handle[40], user[65];
    uint32_t queued;
    bool skipping;
};

struct top {
    struct command_call *call;
    unsigned shard;
    uint32_t at;
    bool channels; /* the second walk: over channels */
    uint32_t hot_count, slow_count, slow_all;
    struct hot hot[TOP];   /* hottest first */
    struct slow slow[TOP]; /* fullest first */
};

/* --- Samples ------------------------------------------------------------------------------------------------------ */

static uint64_t shard_cpu(const struct shard *s)
{
    return atomic_load_explicit(&s->figures.cpu_us, memory_order_relaxed);
}

void top_sample(struct console *c)
{
    struct top_sample *now = &c->samples[1];
    c->samples[0] = c->samples[1];
    hub_get_stats(c->hub, &now->hub);
    figures_get(c->hub, &now->figures, 1);
    store_get_stats(hub_store(c->hub), &now->store);
    now->at_us = clock_mono_us();
    for (unsigned i = 0; i < c->hub->shard_count && i < TOP_SHARDS; i++)
        now->cpu_us[i] = shard_cpu(c->hub->shards[i]);
}

/* A second of what a counter counts. */
static double rate(const struct console *c, uint64_t before, uint64_t now)
{
    double seconds = (double)(c->samples[1].at_us - c->samples[0].at_us) / 1e6;
    return c->samples[0].at_us && seconds > 0 && now > before ? (double)(now - before) / seconds : 0;
}

#define RATE(member) rate(c, c->samples[0].member, c->samples[1].member)

/* --- The answer --------------------------------------------------------------------------------------------------- */

static void put_rates(struct buf *b, const struct console *c)
{
    buf_printf(b,
               ",\"rates\":{\"connects\":%.0f,\"requests\":%.0f,\"messages\":%.0f,\"deliveries\":%.0f,\"skipped\":%.0f,"
               "\"bytes_"
               "in\":%.0f,\"bytes_out\":%.0f}",
               RATE(figures.opened), RATE(hub.requests), RATE(hub.messages), RATE(hub.deliveries),
               RATE(figures.skipped), RATE(figures.bytes_in), RATE(figures.bytes_out));
}

static void put_shards(struct buf *b, const struct console *c)
{
    buf_lit(b, ",\"shards\":[");
    for (unsigned i = 0; i < c->hub->shard_count && i < TOP_SHARDS; i++) {
        const struct shard *s = c->hub->shards[i];
        buf_printf(b, "%s{\"shard\":%u,\"load\":%.1f,\"users\":%u,\"channels\":%u}", i ? "," : "", i,
                   RATE(cpu_us[i]) / 1e4, atomic_load_explicit(&s->user_count, memory_order_relaxed),
                   atomic_load_explicit(&s->chan_count, memory_order_relaxed));
    }
    buf_byte(b, ']');
}

static void put_storage(struct buf *b, const struct console *c)
{
    const struct store_stats *s = &c->samples[1].store;
    double timed = RATE(figures.append.count), us = RATE(figures.append.us);
    buf_printf(b,
               ",\"storage\":{\"state\":\"%s\",\"queue\":%llu,\"appends\":%.0f,\"groups\":%.0f,\"syncs\":%.0f,"
               "\"latency_us\":%."
               "0f,\"latency_max_us\":%u}",
               s->failing ? "failing" : "good", (unsigned long long)s->queue, RATE(store.appended), RATE(store.groups),
               RATE(store.syncs), timed > 0 ? us / timed : 0, c->samples[1].figures.append_max_us);
}

/* What scripts cost: their own metrics say. */
struct script_figures {
    struct buf *out;
    const struct metric *open; /* whose object is being written; NULL: none yet */
};

/* {"magpie_script_calls_total":{"ratelimit":5, …}, …}: the values of one metric come one after the other. */
static void script_metric(void *ctx, const struct metric *m, const char *labels, double value,
                          const struct metric_histogram *h)
{
    static const char prefix[] = "magpie_script_", label[] = "script=";
    struct script_figures *f = ctx;
    (void)h;
    if (strncmp(m->name, prefix, sizeof prefix - 1) != 0 || strncmp(labels, label, sizeof label - 1) != 0)
        return;
    if (m != f->open)
        buf_printf(f->out, "%s\"%s\":{", f->open ? "}," : "", m->name);
    buf_printf(f->out, "%s%s:%.15g", m != f->open ? "" : ",", labels + sizeof label - 1, value);
    f->open = m;
}

static void put_lists(struct buf *b, const struct top *t)
{
    buf_printf(b, ",\"slow_receivers\":%u,\"slow\":[", t->slow_all);
    for (uint32_t i = 0; i < t->slow_count; i++) {
        buf_printf(b, "%s{\"connection\":\"%s\",\"user\":", i ? "," : "", t->slow[i].handle);
        buf_json_string(b, slice_str(t->slow[i].user));
        buf_printf(b, ",\"queued\":%u,\"skipping\":%s}", t->slow[i].queued, t->slow[i].skipping ? "true" : "false");
    }
    buf_lit(b, "],\"hottest\":[");
    for (uint32_t i = 0; i < t->hot_count; i++) {
        buf_str(b, i ? ",{\"channel\":" : "{\"channel\":");
        buf_json_string(b, slice_str(t->hot[i].channel));
        buf_printf(b, ",\"rate\":%.1f,\"members\":%u}", (double)t->hot[i].rate, t->hot[i].members);
    }
    buf_byte(b, ']');
}

static void answer(struct top *t, struct console *c)
{
    struct buf *b = &t->call->out;
    const struct top_sample *now = &c->samples[1];
    buf_printf(b, "{\"uptime\":%llu,\"state\":\"%s\",\"connections\":%u,\"users\":%u,\"channels\":%u",
               (unsigned long long)((clock_mono_ms() - c->began_ms) / 1000), c->state, now->hub.connections,
               now->hub.users, now->hub.channels);
    buf_printf(b, ",\"memory\":{\"rss\":%llu,\"storage\":%llu}", (unsigned long long)process_resident(),
               (unsigned long long)now->store.memory);
    put_rates(b, c);
    put_shards(b, c);
    put_storage(b, c);
    buf_lit(b, ",\"scripts\":{");
    struct script_figures scripts = {.out = b};
    metrics_each(c->hub, script_metric, &scripts);
    buf_str(b, scripts.open ? "}}" : "}");
    put_lists(b, t);
    buf_byte(b, '}');
    struct command_call *call = t->call;
    free(t);
    command_done(call);
}

/* --- The walks ---------------------------------------------------------------------------------------------------- */

static void copy_text(char out[65], struct slice s)
{
    size_t n = s.n < 64 ? s.n : 64;
    if (n)
        memcpy(out, s.p, n);
    out[n] = '\0';
}

static bool add_hot(void *ctx, const struct snapshot_channel *k)
{
    struct top *t = ctx;
    if (k->rate < 0.05f)
        return true;
    uint32_t i = t->hot_count;
    while (i > 0 && t->hot[i - 1].rate < k->rate)
        i--;
    if (i == TOP)
        return true;
    t->hot_count += t->hot_count < TOP;
    memmove(&t->hot[i + 1], &t->hot[i], (t->hot_count - i - 1) * sizeof t->hot[0]);
    t->hot[i] = (struct hot){.members = k->members, .loaded = k->loaded, .rate = k->rate};
    copy_text(t->hot[i].channel, k->channel);
    return true;
}

static void add_slow(void *ctx, const struct snapshot_conn *k)
{
    struct top *t = ctx;
    t->slow_all++;
    uint32_t i = t->slow_count;
    while (i > 0 && t->slow[i - 1].queued < k->queued)
        i--;
    if (i == TOP)
        return;
    t->slow_count += t->slow_count < TOP;
    memmove(&t->slow[i + 1], &t->slow[i], (t->slow_count - i - 1) * sizeof t->slow[0]);
    t->slow[i] = (struct slow){.queued = k->queued, .skipping = k->slow};
    snapshot_handle(t->slow[i].handle, k->shard, k->conn, k->generation);
    copy_text(t->slow[i].user, k->user);
}

static void top_there(struct shard *s, struct command_call *c)
{
    struct top *t = c->state;
    t->at = t->channels ? snapshot_channels(s, t->at, add_hot, t) : snapshot_slow(s, t->at, add_slow, t);
}

static void top_next(struct command_call *c)
{
    struct top *t = c->state;
    if (t->at == NONE) {
        t->at = 0;
        t->shard++;
    }
    if (t->shard == c->hub->shard_count && !t->channels) {
        t->channels = true;
        t->shard = 0;
    }
    if (c->gone || t->shard == c->hub->shard_count)
        answer(t, c->command.ctx);
    else
        errand_start(c, c->hub->shards[t->shard], top_there, top_next);
}

static void run_top(struct command_call *c, void *ctx)
{
    (void)ctx;
    struct top *t = calloc(1, sizeof *t);
    if (!t) {
        command_fail(c, "internal", "out of memory");
        return;
    }
    t->call = c;
    c->state = t;
    top_next(c);
}

int cmd_top_register(struct console *c)
{
    const struct command list[] = {
        {.name = "top",
         .args = "",
         .help = "rates of the last second, load, slow receivers, hottest channels; live in magpiectl",
         .run = run_top,
         .ctx = c}};
    return commands_register(c->hub, list, sizeof list / sizeof list[0]);
}
