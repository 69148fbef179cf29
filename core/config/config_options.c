#include "core/config/config_options.h"

#include "core/config/config.h"
#include "core/hub/shard/options.h"
#include "storage/store.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static uint64_t ms_of(double seconds)
{
    return (uint64_t)ceil(seconds * 1000);
}
static uint32_t u32_of(uint64_t v)
{
    return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}
/* Whole seconds, rounded up, so that a fraction does not become "none". */
static uint32_t s_of(double seconds)
{
    return u32_of((uint64_t)ceil(seconds));
}

static struct store_tier_options tier_of(const struct config_tier *t)
{
    return (struct store_tier_options){
        .ttl_ms = ms_of(t->ttl), .max = t->max, .durability = (enum store_durability)t->durability};
}

const char *config_engine_name(const struct config *c)
{
    if (c->cluster.redis.n)
        return "redis";
    return c->storage.engine == ENGINE_MEMORY ? "memory" : "rocksdb";
}

void config_store_options(const struct config *c, struct store_options *out)
{
    *out = (struct store_options){
        .engine = config_engine_name(c),
        .path = c->data,
        .node = (uint16_t)c->node,
        .memory = c->storage.memory,
        .sync_every_ms = u32_of(ms_of(c->storage.sync_every)),
        .tiers = {[TIER_DM] = tier_of(&c->tiers.dm),
                  [TIER_SMALL] = tier_of(&c->tiers.small),
                  [TIER_LARGE] = tier_of(&c->tiers.large)},
        .dedup_window_ms = ms_of(c->limits.dedup_window),
        .inbox_max = c->limits.inbox,
        .keep_vacant = c->channels.create == (int)CREATE_NONE, /* nobody could bring them back */
        .cluster = {.addresses = (const char *const *)c->cluster.redis.v,
                    .address_count = c->cluster.redis.n,
                    .username = c->cluster.username,
                    .password = c->cluster.password,
                    .prefix = c->cluster.prefix,
                    .copies = c->cluster.copies,
                    .patience_ms = u32_of(ms_of(c->cluster.patience)),
                    .isolated_ms = u32_of(ms_of(c->cluster.isolated)),
                    .balance = c->cluster.balance,
                    .archive = {.url = c->cluster.archive.url,
                                .hot = c->cluster.archive.hot,
                                .hot_age_ms = ms_of(c->cluster.archive.hot_age),
                                .cache_ms = ms_of(c->cluster.archive.cache)}},
    };
}

static struct net_limits net_limits_of(const struct config *c)
{
    return (struct net_limits){
        .frame = u32_of(c->limits.frame),
        .output_queue = u32_of(c->limits.output_queue),
        .output_total = c->limits.output_total,
        .output_per_ip = c->limits.output_per_ip,
        .connections = c->limits.connections,
        .connections_per_ip = c->limits.connections_per_ip,
        .early_total = c->limits.before_login,
        .early_per_ip = c->limits.before_login_per_ip,
        .http = {.head = u32_of(c->limits.http_head), .fields = c->limits.http_fields},
        .login_timeout = s_of(c->timeouts.login),
        .ping_timeout = s_of(c->timeouts.ping),
        .idle_timeout = s_of(c->timeouts.idle),
        .compress_threshold = u32_of(c->compression.threshold),
        .compress_level = (int)c->compression.level,
        .origins = (const char *const *)c->origins.v,
        .protocols = (const char *const *)c->listen.protocols.v,
        .proxies = (const char *const *)c->listen.proxy.v,
    };
}

void config_hub_options(const struct config *c, const uint8_t *key, struct hub_options *out)
{
    *out = (struct hub_options){
        .net = net_limits_of(c),
        .output_per_user = u32_of(c->limits.output_per_user),
        .content_max = u32_of(c->limits.content),
        .page_max = u32_of(c->limits.page),
        .subscriptions_max = c->limits.subscriptions,
        .channels_max = c->limits.channels,
        .guest_ms = ms_of(c->limits.guest),
        .recall_ms = ms_of(c->limits.recall),
        .edit_ms = ms_of(c->limits.edit),
        .create = (enum channels_create)c->channels.create,
        .send = (enum channels_send)c->channels.send,
        .large_members = c->tiers.large.members,
        .slice_ms = (uint32_t)ceil(c->push.slice_ms),
        .slice_max = c->push.max,
        .rate_user = c->rate.user,
        .rate_channel = c->rate.channel,
        .rate_policy = (enum rate_policy)c->rate.policy,
    };
    snprintf(out->auth_mode, sizeof out->auth_mode, "%s", c->auth.mode);
    memcpy(out->secret, key, sizeof out->secret);
}
