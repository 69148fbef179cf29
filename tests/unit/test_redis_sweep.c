/* What the sweeper does with what stands in Redis (sweep.c), and how nodes join (node.c), against a real cluster. */
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

static uint64_t world_wall(void *ctx)
{
    return atomic_load(&((struct world *)ctx)->wall);
}

static uint64_t world_boot(void *ctx)
{
    return atomic_load(&((struct world *)ctx)->boot);
}

static void pass(struct world *w, uint64_t ms)
{
    atomic_fetch_add(&w->wall, ms);
    atomic_fetch_add(&w->boot, ms);
}

/* The same of a long time, which a node believes only by and by. */
static void pass_days(struct world *w, struct store *s, uint64_t days)
{
    for (uint64_t i = 0; i < days; i++) {
        pass(w, DAY);
        (void)store_time_ms(s);
    }
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

static int try_node(struct world *w, struct store **out, uint16_t number)
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

static struct store *node(struct world *w, uint16_t number)
{
    struct store *s;
    if (try_node(w, &s, number))
        fail_msg("open: %s", w->why);
    return s;
}

static int setup(void **state)
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

static int teardown(void **state)
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

static struct world *need(void **state)
{
    (void)redis_kit_need();
    return *state;
}

/* --- What stands there -------------------------------------------------------------------------------------------- */

static void user_put(struct world *w, const char *id)
{
    struct slice key = raw_key(&w->raw, 'u', partition_of_user(S(id)), S(id));
    (void)RAW_NUMBER(&w->raw, S("HSET"), key, S("n"), S("Name"), S("v"), S("1"));
}

static long long inbox_count(struct world *w, const char *id)
{
    struct slice key = raw_key(&w->raw, 'I', partition_of_user(S(id)), S(id));
    return RAW_NUMBER(&w->raw, S("HLEN"), key);
}

static long long intents(struct world *w, unsigned part)
{
    return RAW_NUMBER(&w->raw, S("HLEN"), raw_key(&w->raw, 'o', part, SLICE_NONE));
}

/* The intent of a private message from the pair's lower id: as `append` leaves it. */
static void intent_put(struct world *w, const struct conv_key *conv, uint64_t seq, uint64_t birth_ms)
{
    char field[9] = {'p'}, value[25 + CONV_KEY_MAX];
    struct slice k = conv_key_slice(conv);
    store_be64(field + 1, layout_id_end(birth_ms) - 100000 + seq);
    layout_put48(value, birth_ms);
    layout_put48(value + 6, seq);
    layout_put48(value + 12, seq); /* k */
    layout_put48(value + 18, 0);
    value[24] = 0;
    memcpy(value + 25, k.p, k.n);
    (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'o', partition_of(k), SLICE_NONE),
                     slice_of(field, sizeof field), slice_of(value, 25 + k.n));
}

static void head_channel(char out[LAYOUT_HEAD_CHANNEL], uint64_t seq, uint32_t members, uint8_t flags)
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
static void channel_put(struct world *w, const struct conv_key *conv, unsigned rows, uint32_t members, uint8_t flags)
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
static long long channel_fields(struct world *w, const struct conv_key *conv)
{
    struct slice k = conv_key_slice(conv);
    return RAW_NUMBER(&w->raw, S("HLEN"), raw_key(&w->raw, 'm', partition_of(k), k));
}

static long long channel_look(struct world *w, const struct conv_key *conv)
{
    struct slice k = conv_key_slice(conv);
    return RAW_NUMBER(&w->raw, S("ZSCORE"), raw_key(&w->raw, 'e', partition_of(k), SLICE_NONE), k);
}

/* --- Intents ------------------------------------------------------------------------------------------------------ */

/* Halves that are missing are done once they are old, by one node or by two at once: one entry, ever. */
static void private_messages(void **state)
{
    struct world *w = need(state);
    struct conv_key conv = conv_key_pair(S("ann"), S("bob"));
    unsigned part = partition_of(conv_key_slice(&conv));
    user_put(w, "ann");
    user_put(w, "bob");
    for (uint64_t seq = 1; seq <= 300; seq++)
        intent_put(w, &conv, seq, seq <= 290 ? T0 : T0 + 5000);
    pass(w, 3000);
    struct store *a = node(w, 0), *b = node(w, 0);
    EVENTUALLY(intents(w, part) == 10);
    assert_int_equal(inbox_count(w, "bob"), 290);
    assert_int_equal(inbox_count(w, "ann"), 0);
    pass(w, 4999);
    usleep(300000); /* too young still; there is nothing to wait for */
    assert_int_equal(intents(w, part), 10);
    pass(w, 1);
    EVENTUALLY(intents(w, part) == 0);
    assert_int_equal(inbox_count(w, "bob"), 300);
    /* Acknowledged, and an intent that somebody had not settled comes again. */
    (void)RAW_NUMBER(&w->raw, S("DEL"), raw_key(&w->raw, 'I', partition_of_user(S("bob")), S("bob")));
    (void)RAW_NUMBER(&w->raw, S("DEL"), raw_key(&w->raw, 'i', partition_of_user(S("bob")), S("bob")));
    intent_put(w, &conv, 17, T0);
    EVENTUALLY(intents(w, part) == 0);
    assert_int_equal(inbox_count(w, "bob"), 0);
    struct sweep_stats stats;
    sweep_get_stats(redis_of(a), &stats);
    assert_true(stats.intents >= 1);
    store_close(a);
    store_close(b);
}

/* Until no more than so many are left. It may take long, on a machine that others keep busy; but some must go each
 * minute. */
static void fewer_intents(struct world *w, const unsigned parts[2], long long most)
{
    long long left = intents(w, parts[0]) + intents(w, parts[1]);
    while (left > most) {
        long long before = left;
        EVENTUALLY((left = intents(w, parts[0]) + intents(w, parts[1])) < before);
    }
}

/* 20,000 of them after an outage, page by page, while connections break: each in the inbox once. */
static void a_backlog(void **state)
{
    struct world *w = need(state);
    enum { PAIRS = 20, EACH = 1000 };
    static struct conv_key convs[PAIRS];
    struct slice argv[1 + 1 + 2 * EACH];
    const char *p[2 + 2 * EACH];
    size_t sizes[2 + 2 * EACH];
    static char fields[EACH][9], values[EACH][25 + CONV_KEY_MAX];
    user_put(w, "ann");
    for (unsigned i = 0, tried = 0; i < PAIRS; tried++) { /* all of one partition */
        char other[16];
        snprintf(other, sizeof other, "u%u", tried);
        convs[i] = conv_key_pair(S("ann"), S(other));
        if (partition_of(conv_key_slice(&convs[i])) % 512 != 7)
            continue;
        user_put(w, other);
        struct slice k = conv_key_slice(&convs[i]);
        argv[0] = S("HSET");
        argv[1] = raw_key(&w->raw, 'o', partition_of(k), SLICE_NONE);
        for (unsigned seq = 1; seq <= EACH; seq++) {
            char *f = fields[seq - 1], *v = values[seq - 1];
            f[0] = 'p';
            store_be64(f + 1, layout_id_end(T0) - (uint64_t)PAIRS * EACH + i * EACH + seq);
            layout_put48(v, T0);
            layout_put48(v + 6, seq);
            layout_put48(v + 12, seq);
            layout_put48(v + 18, 0);
            v[24] = 1; /* from the higher id: into ann's inbox */
            memcpy(v + 25, k.p, k.n);
            argv[2 * seq] = slice_of(f, 9);
            argv[2 * seq + 1] = slice_of(v, 25 + k.n);
        }
        for (unsigned n = 0; n < 2 + 2 * EACH; n++) {
            p[n] = argv[n].p;
            sizes[n] = argv[n].n;
        }
        freeReplyObject(redisCommandArgv(raw_master(&w->raw, argv[1]), 2 + 2 * EACH, p, sizes));
        i++;
    }
    const unsigned parts[2] = {7, 519};
    assert_int_equal(intents(w, parts[0]) + intents(w, parts[1]), PAIRS * EACH);
    pass(w, 4000);
    struct store *s = node(w, 0);
    for (long long most = PAIRS * EACH * 9 / 10; most >= PAIRS * EACH / 2; most -= PAIRS * EACH / 10) {
        fewer_intents(w, parts, most);
        raw_end_links(&w->raw);
    }
    fewer_intents(w, parts, 0);
    assert_int_equal(inbox_count(w, "ann"), PAIRS * EACH);
    store_close(s);
}

static void membership_put(struct world *w, const struct conv_key *conv, const char *user, bool put, uint64_t version)
{
    char field[300], value[LAYOUT_HALF] = {0};
    struct slice k = conv_key_slice(conv);
    int n = snprintf(field, sizeof field, "j%.*s%c%s", (int)k.n, k.p, 0, user);
    layout_put48(value, T0);
    layout_put48(value + 6, version);
    value[12] = put;
    (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'o', partition_of(k), SLICE_NONE), slice_of(field, (size_t)n),
                     slice_of(value, sizeof value));
    if (put)
        (void)RAW_NUMBER(&w->raw, S("ZADD"), raw_key(&w->raw, 'M', partition_of(k), k), S("0"), S(user));
}

static bool subscribed(struct world *w, const struct conv_key *conv, const char *user)
{
    struct slice key = raw_key(&w->raw, 'u', partition_of_user(S(user)), S(user));
    redisReply *v = RAW(&w->raw, S("HGET"), key, conv_key_slice(conv));
    bool member = v->type == REDIS_REPLY_STRING && v->str[0] == 1;
    freeReplyObject(v);
    return member;
}

/* Halves of memberships; who was deleted meanwhile is no member. */
static void memberships(void **state)
{
    struct world *w = need(state);
    struct conv_key conv = conv_key_channel(S("room"));
    struct slice k = conv_key_slice(&conv), gone;
    unsigned part = partition_of(k);
    char x[LAYOUT_GONE] = {0};
    user_put(w, "ann");
    user_put(w, "bob");
    channel_put(w, &conv, 0, 3, LAYOUT_MADE);
    membership_put(w, &conv, "ann", true, 5);
    membership_put(w, &conv, "deleted", true, 6);
    membership_put(w, &conv, "bob", true, 7);
    x[8] = 1;
    gone = raw_key(&w->raw, 'u', partition_of_user(S("deleted")), S("deleted"));
    (void)RAW_NUMBER(&w->raw, S("HSET"), gone, S("x"), slice_of(x, sizeof x));
    pass(w, 3000);
    struct store *s = node(w, 0);
    EVENTUALLY(intents(w, part) == 0);
    assert_true(subscribed(w, &conv, "ann") && subscribed(w, &conv, "bob"));
    assert_false(subscribed(w, &conv, "deleted"));
    assert_int_equal(RAW_NUMBER(&w->raw, S("ZCARD"), raw_key(&w->raw, 'M', part, k)), 2);
    membership_put(w, &conv, "ann", false, 8);
    membership_put(w, &conv, "bob", false, 6); /* older than what stands there */
    EVENTUALLY(intents(w, part) == 0);
    assert_false(subscribed(w, &conv, "ann"));
    assert_true(subscribed(w, &conv, "bob"));
    store_close(s);
}

/* --- What is past its time ---------------------------------------------------------------------------------------- */

static void rows_end(void **state)
{
    struct world *w = need(state);
    struct conv_key conv = conv_key_channel(S("room"));
    channel_put(w, &conv, 200, 1, LAYOUT_MADE);
    w->o.tiers[TIER_SMALL].ttl_ms = 3 * DAY;
    struct store *s = node(w, 0);
    EVENTUALLY(channel_look(w, &conv) == (long long)(T0 + DAY));
    assert_int_equal(channel_fields(w, &conv), 201);
    for (unsigned i = 0; i < 3; i++) { /* it is looked at each day, since options change */
        pass(w, DAY);
        EVENTUALLY(channel_look(w, &conv) > (long long)atomic_load(&w->wall));
    }
    assert_int_equal(channel_look(w, &conv), T0 + 3 * DAY + 1);
    assert_int_equal(channel_fields(w, &conv), 201);
    pass(w, 70);
    EVENTUALLY(channel_fields(w, &conv) == 201 - 70);
    /* Shorter from now on: that is seen at the next look. */
    w->o.tiers[TIER_SMALL].ttl_ms = DAY;
    store_configure(s, &w->o);
    pass(w, 1);
    EVENTUALLY(channel_fields(w, &conv) == 1);
    assert_int_equal(channel_look(w, &conv), 0);
    store_close(s);
}

/* Who has neither members nor messages goes, unless it shall stay; and nothing does while the clock is in doubt. */
static void channels_go(void **state)
{
    struct world *w = need(state);
    struct conv_key conv = conv_key_channel(S("room")), empty = conv_key_channel(S("empty"));
    struct slice k = conv_key_slice(&conv);
    char gone[LAYOUT_HEAD_CHANNEL];
    w->o.keep_vacant = true;
    channel_put(w, &conv, 100, 0, LAYOUT_MADE);
    channel_put(w, &empty, 0, 0, LAYOUT_MADE);
    struct store *s = node(w, 0);
    pass_days(w, s, 91);
    EVENTUALLY(channel_fields(w, &conv) == 1 && channel_look(w, &empty) > (long long)(T0 + 91 * DAY));
    assert_int_equal(channel_fields(w, &empty), 1);
    w->o.keep_vacant = false;
    store_configure(s, &w->o);
    pass(w, DAY);
    EVENTUALLY(channel_fields(w, &empty) == 0);
    EVENTUALLY(channel_look(w, &conv) == 0);
    redisReply *v = RAW(&w->raw, S("HGET"), raw_key(&w->raw, 'm', partition_of(k), k), S("h"));
    assert_int_equal(v->len, LAYOUT_HEAD_CHANNEL);
    head_channel(gone, 100, 0, 0);
    assert_memory_equal(v->str + 4, gone + 4, 6); /* its numbers go on */
    assert_int_equal(v->str[1], 0);
    freeReplyObject(v);
    assert_int_equal(RAW_NUMBER(&w->raw, S("HGET"), raw_key(&w->raw, 'c', partition_of(k), SLICE_NONE), S("n")), 0);
    store_close(s);
}

/* A channel that is being deleted, and whose members are gone, is ended. */
static void wiping_goes_on(void **state)
{
    struct world *w = need(state);
    struct conv_key conv = conv_key_channel(S("room")), peopled = conv_key_channel(S("peopled"));
    channel_put(w, &conv, 100, 0, LAYOUT_MADE | LAYOUT_WIPING);
    channel_put(w, &peopled, 3, 1, LAYOUT_MADE | LAYOUT_WIPING);
    struct store *s = node(w, 0);
    EVENTUALLY(channel_fields(w, &conv) == 1);
    assert_int_equal(channel_fields(w, &peopled), 4);
    store_close(s);
}

struct putting {
    struct store_member_put op;
    bool done;
};

static void is_put(void *owner, struct store_op *op)
{
    (void)owner;
    ((struct putting *)op)->done = true;
}

/* The seq with which a channel begins that ann makes. */
static uint64_t made(struct store *s, const struct conv_key *conv)
{
    struct mailbox home;
    struct putting q = {.op = {.conv = conv_key_slice(conv), .user = S("ann"), .may_create = true}};
    mailbox_init(&home, NULL, NULL);
    q.op.op = (struct store_op){.home = &home, .done = is_put};
    store_member_put(s, &q.op);
    EVENTUALLY((mailbox_run(&home, NULL), q.done));
    mailbox_fini(&home);
    assert_int_equal(q.op.op.status, STORE_OK);
    assert_true(q.op.created);
    assert_int_equal(q.op.first, q.op.seq ? q.op.seq + 1 : 0);
    return q.op.seq;
}

/* Names of channels of partition 7. */
static void names_of_7(struct conv_key *out, unsigned n)
{
    char name[24];
    for (unsigned i = 0, found = 0; found < n; i++) {
        snprintf(name, sizeof name, "room %u", i);
        out[found] = conv_key_channel(S(name));
        found += partition_of(conv_key_slice(&out[found])) == 7;
    }
}

/* Names of channels that are gone are dropped, those that went first, when there are too many; and no number is given
 * twice all the same. */
static void names_are_few(void **state)
{
    enum { FEW = 4, BESIDE = 68, NAMES = 130 };
    struct world *w = need(state);
    struct conv_key names[NAMES];
    unsigned ending, kept = 0;
    w->names_max = FEW;
    user_put(w, "ann");
    names_of_7(names, NAMES);
    for (unsigned i = 0; i < NAMES; i++)
        channel_put(w, &names[i], 1 + i % 5, 0, LAYOUT_MADE | LAYOUT_WIPING);
    (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'c', 7, SLICE_NONE), S("n"), S("130"));
    struct store *s = node(w, 0);
    EVENTUALLY(raw_keys(&w->raw, 'e', &ending) == 0);
    EVENTUALLY(RAW_NUMBER(&w->raw, S("HLEN"), raw_key(&w->raw, 'c', 7, SLICE_NONE)) <= FEW + BESIDE);
    for (unsigned i = 0; i < NAMES; i++) {
        struct slice k = conv_key_slice(&names[i]);
        bool known = channel_fields(w, &names[i]) == 1;
        char field[CONV_KEY_MAX + 1] = "g";
        memcpy(field + 1, k.p, k.n);
        assert_int_equal(
            RAW_NUMBER(&w->raw, S("HEXISTS"), raw_key(&w->raw, 'c', 7, SLICE_NONE), slice_of(field, k.n + 1)), known);
        kept += known;
        uint64_t had = 1 + i % 5, seq = made(s, &names[i]);
        if (known)
            assert_int_equal(seq, had);
        else
            assert_in_range(seq, had, 5);
    }
    assert_in_range(kept, FEW, FEW + BESIDE);
    struct conv_key elsewhere = conv_key_channel(S("elsewhere"));
    assert_int_equal(made(s, &elsewhere), 0);
    store_close(s);
}

/* Dedup windows go once they are past, however long nobody has swept. */
static void windows_go(void **state)
{
    struct world *w = need(state);
    unsigned ending, kept;
    for (unsigned i = 0; i < 500; i++) {
        char window[24];
        snprintf(window, sizeof window, "%llu", (unsigned long long)(T0 / 600000 - 499 + i));
        (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'd', 5, S(window)), S("digest"), S("first"));
    }
    char oldest[24];
    snprintf(oldest, sizeof oldest, "%llu", (unsigned long long)(T0 / 600000 - 499));
    (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'c', 5, SLICE_NONE), S("w"), S(oldest));
    struct store *s = node(w, 0);
    EVENTUALLY((kept = raw_keys(&w->raw, 'd', &ending)) <= 3);
    assert_true(kept >= 2);
    pass(w, HOUR);
    EVENTUALLY(raw_keys(&w->raw, 'd', &ending) == 0);
    store_close(s);
}

/* --- Nodes -------------------------------------------------------------------------------------------------------- */

/* The number that an incarnation has, or 0. */
static unsigned number_of(struct world *w, const char *inc)
{
    redisReply *v = RAW(&w->raw, S("HGET"), raw_key(&w->raw, 'N', 0, SLICE_NONE), S(inc));
    unsigned n = v->type == REDIS_REPLY_STRING ? load_be16(v->str) : 0;
    freeReplyObject(v);
    return n;
}

/* What earlier times to live have ended, as all nodes know it. */
static uint64_t small_ended(struct world *w)
{
    struct clock_record record;
    redisReply *v = RAW(&w->raw, S("HGET"), raw_key(&w->raw, 'N', 0, SLICE_NONE), S("time"));
    assert_int_equal(clock_record_decode(slice_of(v->str, v->len), &record), 0);
    freeReplyObject(v);
    return record.limits[EXPIRY_SMALL - 1].ended_ms;
}

static void numbers(void **state)
{
    struct world *w = need(state);
    struct store *a = node(w, 3), *b, *c;
    assert_int_equal(try_node(w, &b, 3), ERR_EXISTS);
    char host[64] = "", want[128];
    gethostname(host, sizeof host - 1);
    snprintf(want, sizeof want, "node 3 is alive on %s", host);
    assert_string_equal(w->why, want);
    b = node(w, 0);
    c = node(w, 0);
    assert_int_equal(number_of(w, "i1"), 3);
    assert_int_equal(number_of(w, "i2"), 1);
    assert_int_equal(number_of(w, "i3"), 2);
    store_close(a);
    a = node(w, 3); /* free at once */
    store_close(a);
    store_close(b);
    store_close(c);
    struct slice key = raw_key(&w->raw, 'N', 0, SLICE_NONE);
    assert_int_equal(RAW_NUMBER(&w->raw, S("HGET"), key, S("#")), 4);
    assert_int_equal(RAW_NUMBER(&w->raw, S("HLEN"), key), 3); /* #, clock, time: no node is left */
}

static void another_format(void **state)
{
    struct world *w = need(state);
    struct store *s;
    (void)RAW_NUMBER(&w->raw, S("HSET"), raw_key(&w->raw, 'C', 0, SLICE_NONE), S("format"), S("2"));
    assert_int_equal(try_node(w, &s, 0), ERR_INVALID);
    assert_string_equal(w->why, "the data has format 2; this server knows 1");
}

/* Who was taken for dead and lives joins again, under a new incarnation and with the same clock. */
static void buried_alive(void **state)
{
    struct world *w = need(state);
    struct store *s = node(w, 9);
    uint64_t before = store_time_ms(s);
    struct slice key = raw_key(&w->raw, 'N', 0, SLICE_NONE);
    assert_int_equal(RAW_NUMBER(&w->raw, S("HDEL"), key, S("i1")), 1);
    EVENTUALLY(number_of(w, "i2") == 9);
    assert_int_equal(store_time_ms(s), before);
    pass(w, 500);
    assert_int_equal(store_time_ms(s), before + 500);
    store_close(s);
}

/* One clock for all, whatever the masters' clocks do meanwhile; and an operator's word, on any node. */
static void one_clock(void **state)
{
    struct world *w = need(state);
    struct store *a = node(w, 0);
    atomic_fetch_add(&w->wall, 10 * DAY);
    struct store *b = node(w, 0);
    assert_int_equal(store_time_ms(a), T0);
    assert_int_equal(store_time_ms(b), T0);
    uint64_t stamp = store_time_ms(b);
    store_clock_accept(b);
    EVENTUALLY(store_age_ms(b, stamp - 1) == 10 * DAY + 1);
    EVENTUALLY(store_age_ms(a, stamp - 1) == 10 * DAY + 1);
    assert_int_equal(store_age_ms(a, stamp), 0); /* that was in doubt */
    assert_int_equal(store_date_ms(a), T0 + 10 * DAY);
    assert_int_equal(store_time_ms(a), T0);
    pass(w, 5);
    assert_int_equal(store_time_ms(a), T0 + 5);
    store_close(a);
    store_close(b);
    /* All have ended, and the masters' clocks are a year ahead: nothing ends before somebody says so. */
    struct conv_key conv = conv_key_channel(S("room"));
    channel_put(w, &conv, 20, 1, LAYOUT_MADE);
    atomic_fetch_add(&w->wall, 365 * DAY);
    a = node(w, 0);
    struct store_stats stats;
    store_get_stats(a, &stats);
    assert_true(stats.clock_paused);
    assert_int_equal(store_date_ms(a), T0 + 375 * DAY + 5);
    assert_int_equal(store_time_ms(a), T0 + 5);
    EVENTUALLY(channel_look(w, &conv) > (long long)T0);
    assert_int_equal(channel_fields(w, &conv), 21);
    store_close(a);
    a = node(w, 0);
    b = node(w, 0);
    store_get_stats(b, &stats);
    assert_true(stats.clock_paused);
    store_clock_accept(a);
    EVENTUALLY((store_get_stats(a, &stats), !stats.clock_paused));
    EVENTUALLY((store_get_stats(b, &stats), !stats.clock_paused));
    EVENTUALLY(channel_fields(w, &conv) == 1);
    store_close(a);
    store_close(b);
}

/* A time to live that is longer after a restart brings nothing back. */
static void limits_are_kept(void **state)
{
    struct world *w = need(state);
    struct store *s = node(w, 0);
    store_close(s);
    s = node(w, 0);
    pass_days(w, s, 100);
    store_close(s);
    w->o.tiers[TIER_SMALL].ttl_ms = 0;
    s = node(w, 0);
    uint64_t ended = T0 + 10 * DAY + 1;
    EVENTUALLY(small_ended(w) == ended);
    store_close(s);
}

int main(void)
{
    hash_init();
    log_open(NULL, LOG_TEXT, getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR + 1);
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(private_messages), TEST(memberships),     TEST(rows_end),  TEST(channels_go),    TEST(names_are_few),
        TEST(wiping_goes_on),   TEST(windows_go),      TEST(numbers),   TEST(another_format), TEST(buried_alive),
        TEST(one_clock),        TEST(limits_are_kept), TEST(a_backlog),
    };
    return cmocka_run_group_tests_name("redis_sweep", tests, NULL, NULL);
}
