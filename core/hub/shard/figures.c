#include "core/hub/shard/figures.h"

#include "core/base/clock.h"
#include "core/hub/shard/shard.h"
#include "core/net/net.h"
#include "core/net/net_shared.h"

#include <string.h>

void hub_get_stats(struct hub *hub, struct hub_stats *out)
{
    *out = (struct hub_stats){.connections = net_shared_connections(hub->shared)};
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct shard *s = hub->shards[i];
        out->users += atomic_load_explicit(&s->user_count, memory_order_relaxed);
        out->channels += atomic_load_explicit(&s->chan_count, memory_order_relaxed);
        out->requests += atomic_load_explicit(&s->requests, memory_order_relaxed);
        out->messages += atomic_load_explicit(&s->messages, memory_order_relaxed);
        out->deliveries += atomic_load_explicit(&s->deliveries, memory_order_relaxed);
        out->memory += atomic_load_explicit(&s->memory, memory_order_relaxed);
    }
}

/* So that each of them is one atomic word. */
enum { NET_WORDS = sizeof(struct net_counts) / sizeof(uint64_t) };
union net_words {
    struct net_counts counts;
    uint64_t words[NET_WORDS];
};

void figures_tick(struct shard *s)
{
    uint64_t in, out;
    net_traffic(s->net, &in, &out);
    atomic_store_explicit(&s->figures.bytes_in, in, memory_order_relaxed);
    atomic_store_explicit(&s->figures.bytes_out, out, memory_order_relaxed);
    struct net_packing packing;
    net_packing(s->net, &packing);
    atomic_store_explicit(&s->figures.deflate_in, packing.deflate_in, memory_order_relaxed);
    atomic_store_explicit(&s->figures.deflate_out, packing.deflate_out, memory_order_relaxed);
    atomic_store_explicit(&s->figures.inflate_in, packing.inflate_in, memory_order_relaxed);
    atomic_store_explicit(&s->figures.inflate_out, packing.inflate_out, memory_order_relaxed);
    atomic_store_explicit(&s->figures.cpu_us, clock_thread_cpu_us(), memory_order_relaxed);
    union net_words counts;
    net_get_counts(s->net, &counts.counts);
    for (unsigned i = 0; i < NET_WORDS; i++)
        atomic_store_explicit(&s->figures.net[i], counts.words[i], memory_order_relaxed);
}

/* What arrives waits for two turns at most, the one under way and its own: so the bounds that matter are about 5 ms,
 * and the longer ones tell how bad it is. */
const double figures_turn_bounds[TURN_BUCKETS - 1] = {.001, .002, .003, .005, .007, .01, .015, .02,
                                                      .03,  .05,  .07,  .1,   .2,   .5,  1.};

static unsigned turn_bucket(uint64_t us)
{
    unsigned i = 0;
    while (i < TURN_BUCKETS - 1 && (double)us > figures_turn_bounds[i] * 1e6)
        i++;
    return i;
}

void figures_turn(struct shard *s)
{
    struct figures *f = &s->figures;
    bool next = f->turn_sample++ % FIGURE_SAMPLE == 0;
    if (!f->turn_began_us && !next)
        return;
    uint64_t now = clock_thread_cpu_us();
    if (f->turn_began_us) {
        uint64_t us = now - f->turn_began_us;
        figure_add(&f->turn_us, us);
        figure_add(&f->turns[turn_bucket(us)], 1);
    }
    f->turn_began_us = next ? now : 0;
}

uint64_t figures_append_begin(struct shard *s)
{
    return s->figures.sample++ % FIGURE_SAMPLE == 0 ? clock_mono_us() : 0;
}

void figures_append_end(struct shard *s, uint64_t began_us)
{
    if (!began_us)
        return;
    uint64_t us = clock_mono_us() - began_us;
    latency_add(&s->figures.append, us);
    if (us > atomic_load_explicit(&s->figures.append_max_us, memory_order_relaxed))
        atomic_store_explicit(&s->figures.append_max_us, us > UINT32_MAX ? UINT32_MAX : (uint32_t)us,
                              memory_order_relaxed);
}

uint64_t figures_delivery_begin(struct shard *s)
{
    return s->figures.delivery_sample++ % FIGURE_SAMPLE == 0 ? clock_mono_us() : 0;
}

void figures_delivery_end(struct shard *s, uint64_t began_us)
{
    if (began_us)
        latency_add(&s->figures.delivery, clock_mono_us() - began_us);
}

static uint64_t get(const _Atomic uint64_t *figure)
{
    return atomic_load_explicit(figure, memory_order_relaxed);
}

void figures_get(struct hub *hub, struct figures_sum *out, int take_max)
{
    union net_words net = {.words = {0}};
    *out = (struct figures_sum){.bytes_in = 0};
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct figures *f = &hub->shards[i]->figures;
        out->bytes_in += get(&f->bytes_in);
        out->bytes_out += get(&f->bytes_out);
        out->deflate_in += get(&f->deflate_in);
        out->deflate_out += get(&f->deflate_out);
        out->inflate_in += get(&f->inflate_in);
        out->inflate_out += get(&f->inflate_out);
        out->opened += get(&f->opened);
        out->skipped += get(&f->skipped);
        out->sliced += get(&f->sliced);
        out->logins += get(&f->logins);
        latency_read(&f->append, &out->append);
        latency_read(&f->delivery, &out->delivery);
        for (unsigned k = 0; k < CODES_MAX; k++)
            out->refusals[k] += get(&f->refusals[k]);
        for (unsigned k = 0; k < NET_WORDS; k++)
            net.words[k] += get(&f->net[k]);
        out->cpu_us += get(&f->cpu_us);
        out->turn_us += get(&f->turn_us);
        for (unsigned k = 0; k < TURN_BUCKETS; k++)
            out->turns[k] += get(&f->turns[k]);
        uint32_t max = take_max ? atomic_exchange_explicit(&f->append_max_us, 0, memory_order_relaxed)
                                : atomic_load_explicit(&f->append_max_us, memory_order_relaxed);
        if (max > out->append_max_us)
            out->append_max_us = max;
    }
    out->net = net.counts;
}
