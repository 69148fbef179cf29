/* Engines whose clock a test moves, and what stands in Redis for them. It is of one test program: its state is
 * static. */
#ifndef MAGPIE_TEST_REDIS_SWEEP_KIT_H
#define MAGPIE_TEST_REDIS_SWEEP_KIT_H

#include "redis_raw.h"
#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "storage/conv_key.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/sweep.h"

#include <stdatomic.h>
#include <unistd.h>

#define T0   UINT64_C(1700000000000)
#define HOUR UINT64_C(3600000)
#define DAY  (24 * HOUR)
#define S(x) slice_str(x)

/* A prefix of its own, and clocks that the test turns: the masters' (wall), and the nodes' own (boot). */
struct world {
    struct raw raw;
    _Atomic uint64_t wall, boot;
    struct store_options o;
    uint32_t names_max; /* hook */
    char why[256];
};

static inline uint64_t world_wall(void *ctx)
{
    return atomic_load(&((struct world *)ctx)->wall);
}

static inline uint64_t world_boot(void *ctx)
{
    return atomic_load(&((struct world *)ctx)->boot);
}

static inline void pass(struct world *w, uint64_t ms)
{
    atomic_fetch_add(&w->wall, ms);
    atomic_fetch_add(&w->boot, ms);
}

/* Real time, for what is done in the background. False after a minute. */
#define EVENTUALLY(condition)                                                                                          \
    do {                                                                                                               \
        uint64_t end_ = clock_mono_ms() + 60000;                                                                       \
        while (!(condition)) {                                                                                         \
            if (clock_mono_ms() > end_)                                                                                \
                fail_msg("not within a minute: %s", #condition);                                                       \
            usleep(20000);                                                                                             \
        }                                                                                                              \
    } while (0)

static inline int try_node(struct world *w, struct store **out, uint16_t number)
{
    static char first[64];
    static const char *addresses[1] = {first};
    const char *all = redis_kit_addresses();
    struct redis_hooks hooks = {
        .wall_ms = world_wall, .boot_ms = world_boot, .ctx = w, .names_max = w->names_max, .sweep_all = true};
    snprintf(first, sizeof first, "%.*s", (int)strcspn(all, ","), all);
    w->o.node = number;
    w->o.cluster.addresses = addresses;
    w->o.cluster.address_count = 1;
    redis_kit_user(&w->o.cluster);
    return redis_open_hooked(out, &w->o, &hooks, w->why, sizeof w->why);
}

static inline struct store *node(struct world *w, uint16_t number)
{
    struct store *s;
    if (try_node(w, &s, number))
        fail_msg("open: %s", w->why);
    return s;
}

static inline int setup(void **state)
{
    if (!redis_kit_addresses())
        return 0;
    struct world *w = test_calloc(1, sizeof *w);
    raw_init(&w->raw);
    w->wall = T0;
    w->boot = 5000;
    w->o = (struct store_options){
        .engine = "redis",
        .tiers = {{0, 0, DURABILITY_COMMIT}, {90 * DAY, 10000, DURABILITY_COMMIT}, {7 * DAY, 1000, DURABILITY_COMMIT}},
        .dedup_window_ms = 600000,
        .inbox_max = 100000,
        .cluster = {.copies = 2, .patience_ms = 8000, .isolated_ms = 15000}};
    w->o.cluster.prefix = w->raw.prefix;
    *state = w;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *w = *state;
    if (!w)
        return 0;
    /* Nothing of the engine may end by a Redis clock, but blocks of the archive. */
    unsigned ending;
    (void)raw_keys(&w->raw, 0, &ending);
    unsigned all = ending;
    (void)raw_keys(&w->raw, 'x', &ending);
    raw_fini(&w->raw);
    test_free(w);
    return all == ending ? 0 : -1;
}

static inline struct world *need(void **state)
{
    (void)redis_kit_need();
    return *state;
}

static inline void user_put(struct world *w, const char *id)
{
    struct slice key = raw_key(&w->raw, 'u', partition_of_user(S(id)), S(id));
    (void)RAW_NUMBER(&w->raw, S("HSET"), key, S("n"), S("Name"), S("v"), S("1"));
}

static inline void head_channel(char out[LAYOUT_HEAD_CHANNEL], uint64_t seq, uint32_t members, uint8_t flags)
{
    memset(out, 0, LAYOUT_HEAD_CHANNEL);
    out[0] = LAYOUT_CHANNEL;
    out[1] = (char)flags;
    out[2] = out[3] = TIER_SMALL;
    layout_put48(out + 4, seq);
    store_be32(out + 32, members);
    layout_put48(out + 36, 7);
}

/* A channel with messages that were born one millisecond after another. */
static inline void channel_put(struct world *w, const struct conv_key *conv, unsigned rows, uint32_t members,
                               uint8_t flags)
{
    char head[LAYOUT_HEAD_CHANNEL], row[LAYOUT_RECORD_FIXED] = {LAYOUT_RECORD, 0, TIER_SMALL}, seq[12];
    struct slice k = conv_key_slice(conv);
    unsigned part = partition_of(k);
    head_channel(head, rows, members, flags);
    (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'm', part, k), S("h"), slice_of(head, sizeof head));
    for (unsigned i = 1; i <= rows; i++) {
        snprintf(seq, sizeof seq, "%u", i);
        layout_put48(row + 17, T0 + i);
        (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'm', part, k), S(seq), slice_of(row, sizeof row));
    }
    snprintf(seq, sizeof seq, "%u", 0);
    (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'c', part, SLICE_NONE), S("n"), S("1"));
    (void)RAW_NUMBER(&w->raw, S("ZADD"), raw_key(&w->raw, 'e', part, SLICE_NONE), S("0"), k);
}

/* Fields of a channel's hash: its head and its rows. */
static inline long long channel_fields(struct world *w, const struct conv_key *conv)
{
    struct slice k = conv_key_slice(conv);
    return RAW_NUMBER(&w->raw, S("HLEN"), raw_key(&w->raw, 'm', partition_of(k), k));
}

static inline long long channel_look(struct world *w, const struct conv_key *conv)
{
    struct slice k = conv_key_slice(conv);
    return RAW_NUMBER(&w->raw, S("ZSCORE"), raw_key(&w->raw, 'e', partition_of(k), SLICE_NONE), k);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
