/*
 * What a message costs in the three shipped policies, beside the same hooks in C and none at all: CPU time of one
 * thread, in one run.
 *
 *     build/tests/script_bench [MESSAGES]
 *
 * The events are made as the hub makes them (core/hub/act/act_send.c): "message" on the sender's shard, then
 * "conversation". The store, the network and the fan-out are left out, since they cost the same with and without
 * scripts.
 */
#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/hub/registry/action.h"
#include "core/hub/hub.h"
#include "core/hub/shard/bucket.h"
#include "core/hub/registry/hook.h"
#include "core/hub/shard/options.h"
#include "core/hub/shard/shard.h"
#include "core/hub/registry/tables.h"
#include "core/hub/shard/shards.h"
#include "core/script/scripts.h"

#include <cjson/cJSON.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USERS = 1000, CHANNELS = 50, ROUNDS = 5 };

static const char config_text[] =
    "{\"rate\":{\"user\":1000000,\"channel\":1000000,\"policy\":\"drop\"},\"push\":{\"slice_ms\":"
    "200,\"max\":20},\"tiers\":{\"large\":{\"members\":500}}}";

struct bench {
    struct hub *hub;
    struct shard *shard;
    struct bucket user_buckets[USERS], channel_buckets[CHANNELS];
    char users[USERS][16], channels[CHANNELS][16];
    unsigned long messages;
    unsigned long pushed; /* so that nothing is optimised away */
};

static void send_one(struct bench *b, unsigned long i)
{
    unsigned user = (unsigned)(i * 7919 % USERS), channel = (unsigned)(i * 104729 % CHANNELS);
    struct slice content = SLICE_LIT("a message of a usual length, as people write them");
    struct hook_call h = {.shard = b->shard,
                          .conn = 0,
                          .user = slice_str(b->users[user]),
                          .user_name = slice_str(b->users[user]),
                          .channel = slice_str(b->channels[channel]),
                          .content = content,
                          .bucket = &b->user_buckets[user]};
    if (hooks_run(HOOK_MESSAGE, &h) != HOOK_PASS)
        abort();
    struct hook_call c = {.shard = b->shard,
                          .conn = NONE,
                          .user = slice_str(b->users[user]),
                          .user_name = slice_str(b->users[user]),
                          .channel = slice_str(b->channels[channel]),
                          .content = content,
                          .members = 20 + channel * 20,
                          .rate = 5,
                          .tier = channel * 20 + 20 >= 500 ? TIER_LARGE : TIER_SMALL,
                          .bucket = &b->channel_buckets[channel]};
    if (hooks_run(HOOK_CONVERSATION, &c) != HOOK_PASS)
        abort();
    b->pushed += c.advice.has_push;
}

/* CPU nanoseconds a message; the best of some rounds, which other work on the machine disturbs least. */
static double measure(struct bench *b)
{
    double best = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t began = clock_thread_cpu_us();
        for (unsigned long i = 0; i < b->messages; i++) {
            if ((i & 63) == 0)
                b->shard->now_ms = clock_mono_ms();
            send_one(b, i);
        }
        double ns = (double)(clock_thread_cpu_us() - began) * 1000 / (double)b->messages;
        if (ns < best)
            best = ns;
    }
    return best;
}

static void load(struct scripts *s, const char *const *names)
{
    struct cJSON *config = cJSON_Parse(config_text);
    struct buf errors = BUF_INIT;
    struct scripts_options o = {.store = 16 << 20,
                                .path = "scripts",
                                .load = names,
                                .budget_ms = 5,
                                .memory = 24 << 20,
                                .content_max = 16384,
                                .config = config};
    if (scripts_prepare(s, &o, &errors) != 0 || scripts_commit(s) != 0) {
        fprintf(stderr, "script_bench: %.*s", (int)errors.n, errors.p ? errors.p : "");
        exit(1);
    }
    cJSON_Delete(config);
    buf_free(&errors);
}

static void print_script(void *ctx, const struct script_info *i)
{
    (void)ctx;
    if (i->calls)
        printf("  %-14s %9.0f ns a call, %llu KiB\n", i->name, (double)i->cpu_us * 1000 / (double)i->calls,
               (unsigned long long)i->memory / 1024);
}

int main(int argc, char **argv)
{
    static const char *const none[] = {NULL}, *const shipped[] = {"ratelimit", "merge_push", "tiered_expiry", NULL};
    static struct bench b;
    struct hub_options options = {.slice_ms = 200,
                                  .slice_max = 20,
                                  .rate_user = 1000000,
                                  .rate_channel = 1000000,
                                  .large_members = 500,
                                  .net = {.frame = 65536, .connections = 100, .origins = (const char *const[]){NULL}}};
    struct store *store;
    char why[256];
    hash_init();
    b.messages = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    struct store_options so = {.engine = "memory"};
    if (b.messages == 0 || store_open(&store, &so, why, sizeof why) != 0)
        return 1;
    b.hub = hub_new(1, store, &options);
    struct scripts *scripts = b.hub ? scripts_new(b.hub) : NULL;
    if (!scripts)
        return 1;
    b.shard = hub_shard(b.hub, 0);
    for (unsigned i = 0; i < USERS; i++)
        snprintf(b.users[i], sizeof b.users[i], "user-%07u", i);
    for (unsigned i = 0; i < CHANNELS; i++)
        snprintf(b.channels[i], sizeof b.channels[i], "channel-%u", i);

    load(scripts, none);
    double in_c = measure(&b);
    load(scripts, shipped);
    double in_lua = measure(&b);
    printf("CPU of the hooks, a message:\n  in C           %9.0f ns\n  shipped scripts%9.0f ns\n  more           %9.0f "
           "ns\n",
           in_c, in_lua, in_lua - in_c);
    scripts_each(scripts, print_script, NULL);
    hub_stop(b.hub);
    scripts_free(scripts);
    hub_free(b.hub);
    store_close(store);
    return 0;
}
