/* For tests of users whom other nodes change too: what those do in the store, and what is heard of it here. */
#ifndef MAGPIE_TESTS_ROAM_KIT_H
#define MAGPIE_TESTS_ROAM_KIT_H

#include "news_kit.h"

#include "core/hub/act/resync.h"
#include "core/hub/people/copy.h"
#include "core/hub/people/watch.h"

/* The user is of this version, with so many arrivals, wherever it is asked for. */
static inline void of_version(uint64_t version, uint64_t arrivals)
{
    kit_gate.version = kit_bus.version = version;
    kit_gate.arrivals = kit_bus.arrivals = arrivals;
}

static inline void begin(struct kit *k, unsigned shards)
{
    open_cluster(k, shards);
    of_version(5, 0);
}

/* Logs in, so that what is known here of the user is its newest version, whatever the bus hears meanwhile. */
static inline struct peer *comes(struct kit *k, const char *id)
{
    struct peer *p = peer_login(k, id, 0);
    kit_settle(k);
    told_times("");
    return p;
}

static inline struct user_copy *copy_of(const struct kit *k, const char *id)
{
    return user_copy(shard_of(k->hub, S(id)), kit_user(k, id));
}

/* As when so much time has passed, for what a node does by itself. */
static inline void pass(struct kit *k, uint64_t ms)
{
    for (unsigned i = 0; i < k->shards; i++) {
        struct shard *s = kit_shard(k, i);
        s->now_ms += ms;
        resync_tick(s);
        watch_tick(s);
    }
    kit_settle(k);
}

/* --- Other nodes' work in the store ------------------------------------------------------------------------------- */

static inline void other_joins(const char *id, const char *channel)
{
    struct conv_key key = conv_key_channel(S(channel));
    struct store_member_put q = {.conv = conv_key_slice(&key), .user = S(id), .may_create = true};
    OTHER(store_member_put, &q);
    assert_int_equal(q.op.status, STORE_OK);
}

static inline bool is_member(const char *id, const char *channel)
{
    struct store_user_load q = {.id = S(id)};
    bool found = false;
    OTHER(store_user_load, &q);
    for (uint32_t i = 0; i < q.subscription_count; i++)
        found |= slice_eq(q.subscriptions[i].channel, S(channel));
    store_user_load_free(&q);
    return found;
}

static inline void hear_membership(const char *id, uint64_t version, const char *channel, bool gone, int change)
{
    struct conv_key key = conv_key_channel(S(channel));
    struct bus_news n = {.kind = NEWS_MEMBER,
                         .gone = gone,
                         .change = (uint8_t)(change + 1),
                         .push = MODE_ALL,
                         .members = 7,
                         .version = version,
                         .conv = conv_key_slice(&key),
                         .user = S(id)};
    test_bus_hear(&kit_bus, &n);
}

static inline void hear_private(struct said *x, uint64_t arrival)
{
    x->n.arrival = arrival;
    hear(x);
}

static inline void hear_presence(const char *id, uint64_t changes, bool online)
{
    test_bus_hear(&kit_bus,
                  &(struct bus_news){.kind = NEWS_PRESENCE, .user = S(id), .version = changes, .online = online});
}

#endif
