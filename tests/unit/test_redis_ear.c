/* What a node hears of others: two engines on one Redis Cluster, and what is published past them. */
#define UTIL_MAIN
#include "tests/unit/pair_kit.h"

#include "storage/redis/bus/ear.h"
#include "storage/redis/nodes/node.h"

/* What a hub would hear. */
struct hub {
    pthread_mutex_t lock;
    pthread_cond_t some; /* something was heard */
    uint64_t last;       /* seq of the newest news */
    unsigned n;          /* news */
    unsigned resets;     /* partitions */
};

struct pair {
    struct world a, b;
    struct hub hub; /* of a */
    struct raw raw;
};

static void hub_heard(void *ctx, struct bus_news *n)
{
    struct hub *h = ctx;
    pthread_mutex_lock(&h->lock);
    h->last = n->seq;
    h->n++;
    pthread_cond_broadcast(&h->some);
    pthread_mutex_unlock(&h->lock);
    free(n);
}

static void hub_reset(void *ctx, const uint8_t parts[BUS_PARTS])
{
    struct hub *h = ctx;
    pthread_mutex_lock(&h->lock);
    for (unsigned i = 0; i < PARTITIONS; i++)
        h->resets += redis_bus_part_in(parts, i);
    pthread_cond_broadcast(&h->some);
    pthread_mutex_unlock(&h->lock);
}

/* Waits until the newest news is of that seq. Returns how many were heard since `*n`, and sets that. */
static unsigned hub_expect(struct hub *h, uint64_t seq, unsigned *n)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&h->lock);
    while (h->last != seq && pthread_cond_timedwait(&h->some, &h->lock, &until) == 0)
        ;
    assert_int_equal(h->last, seq);
    unsigned more = h->n - *n;
    *n = h->n;
    pthread_mutex_unlock(&h->lock);
    return more;
}

static unsigned hub_count(struct hub *h)
{
    pthread_mutex_lock(&h->lock);
    unsigned n = h->n;
    pthread_mutex_unlock(&h->lock);
    return n;
}

static int setup(void **state)
{
    struct pair *p = calloc(1, sizeof *p);
    *state = p;
    if (!redis_kit_addresses())
        return 0;
    pair_open(&p->a, &p->b);
    pair_raw(&p->raw, &p->a);
    pthread_mutex_init(&p->hub.lock, NULL);
    pthread_cond_init(&p->hub.some, NULL);
    const struct bus_ears ears = {.ctx = &p->hub, .heard = hub_heard, .reset = hub_reset};
    bus_listen(store_bus(p->a.s), &ears);
    return 0;
}

static int teardown(void **state)
{
    struct pair *p = *state;
    if (redis_kit_addresses()) {
        bus_listen(store_bus(p->a.s), NULL);
        world_fini(&p->a);
        world_fini(&p->b);
        raw_fini(&p->raw);
        pthread_mutex_destroy(&p->hub.lock);
        pthread_cond_destroy(&p->hub.some);
    }
    free(p);
    return 0;
}

static struct bus_follow follow(struct world *w, struct conv_key *k)
{
    struct bus_follow f = {.conv = conv_key_slice(k)};
    assert_int_equal(BUS(w, bus_follow, &f), STORE_OK);
    return f;
}

static struct bus_news nudge(struct conv_key *k, uint64_t origin, uint64_t seq)
{
    return (struct bus_news){.kind = NEWS_NUDGE, .origin = origin, .conv = conv_key_slice(k), .seq = seq};
}

/* Publishes; returns how many have it: two, where a link that was lost is not missed yet. */
static long long publish(struct pair *p, struct slice channel, struct slice message)
{
    return RAW_NUMBER(&p->raw, SLICE_LIT("SPUBLISH"), channel, message);
}

static long long tell(struct pair *p, struct slice channel, const struct bus_news *n)
{
    struct buf b = BUF_INIT;
    news_put(&b, n);
    long long heard = publish(p, channel, buf_slice(&b));
    buf_free(&b);
    return heard;
}

static void a_followed_channel_is_heard(void **state)
{
    struct pair *p = *state;
    char name[BUS_CHANNEL_MAX];
    redis_kit_need();
    struct conv_key k = conv_key_channel(SLICE_LIT("room")), none = conv_key_channel(SLICE_LIT("none"));
    struct bus_follow f = follow(&p->a, &k);
    assert_false(f.exists);
    assert_int_equal(f.seq, 0);
    (void)join(&p->b, &k, "ann");
    assert_int_equal(say(&p->b, &k, TIER_SMALL, "ann", "one"), 1);
    f = follow(&p->a, &k); /* twice is once, and fresh */
    assert_true(f.exists);
    assert_int_equal(f.seq, 1);
    assert_int_equal(f.members, 1);
    assert_true(f.member_version > 0);
    struct slice channel = redis_bus_to_followers(redis_of(p->a.s), name, conv_key_slice(&k));
    struct bus_news n = nudge(&k, inc_of(&p->b), 7);
    unsigned heard = 0;
    (void)hub_expect(&p->hub, 1, &heard); /* the other engine has told of what it stored */
    assert_true(tell(p, channel, &n) > 0);
    assert_int_equal(hub_expect(&p->hub, 7, &heard), 1);
    n = nudge(&k, inc_of(&p->a), 8); /* its own */
    assert_true(tell(p, channel, &n) > 0);
    assert_true(publish(p, channel, SLICE_LIT("garbage")) > 0);
    n = nudge(&k, inc_of(&p->b) + 1000, 9); /* of a node that nobody knows yet */
    assert_true(tell(p, channel, &n) > 0);
    assert_int_equal(hub_expect(&p->hub, 9, &heard), 1);
    struct bus_unfollow u = {.conv = conv_key_slice(&k)};
    assert_int_equal(BUS(&p->a, bus_unfollow, &u), STORE_OK);
    long long has = 1;
    n.seq = 20;
    for (int i = 0; i < 20000 && has; i++, n.seq++, usleep(1000))
        has = tell(p, channel, &n);
    assert_int_equal(has, 0);
    if (n.seq > 21) /* the one before was heard by somebody still */
        (void)hub_expect(&p->hub, n.seq - 2, &heard);
    u.conv = conv_key_slice(&none); /* nobody has followed it */
    assert_int_equal(BUS(&p->a, bus_unfollow, &u), STORE_OK);
    for (int i = 0; i < 20; i++) { /* what is under way does not matter */
        struct bus_follow again = {.conv = conv_key_slice(&k)};
        util_prepare(&p->a, &u.op);
        util_prepare(&p->a, &again.op);
        u.conv = conv_key_slice(&k);
        bus_unfollow(store_bus(p->a.s), &u);
        bus_follow(store_bus(p->a.s), &again);
        util_wait(&p->a, &again.op);
        util_wait(&p->a, &u.op);
        assert_int_equal(again.op.status, STORE_OK);
        n.seq++;
        assert_true(tell(p, channel, &n) > 0);
        assert_int_equal(hub_expect(&p->hub, n.seq, &heard), 1);
    }
    f = (struct bus_follow){.conv = SLICE_LIT("pann")};
    assert_int_equal(BUS(&p->a, bus_follow, &f), STORE_FATAL);
}

/* Its own channel, in each partition. */
static void a_node_is_told(void **state)
{
    struct pair *p = *state;
    char name[BUS_CHANNEL_MAX];
    redis_kit_need();
    struct conv_key k = conv_key_pair(SLICE_LIT("ann"), SLICE_LIT("bob"));
    struct bus_news n = nudge(&k, inc_of(&p->b), 0);
    n.user = SLICE_LIT("ann");
    n.seq = 1000000;
    unsigned heard = hub_count(&p->hub);
    for (unsigned part = 0; part < PARTITIONS; part += 31, n.seq++) {
        struct slice channel = redis_bus_to_node(redis_of(p->a.s), name, part, inc_of(&p->a));
        for (int i = 0; i < 20000 && !tell(p, channel, &n); i++)
            usleep(1000); /* the engine has just been opened */
        assert_int_equal(hub_expect(&p->hub, n.seq, &heard), 1);
    }
    assert_int_equal(bus_part_user(store_bus(p->a.s), SLICE_LIT("ann")), partition_of_user(SLICE_LIT("ann")));
    assert_int_equal(bus_part_conv(store_bus(p->a.s), conv_key_slice(&k)), partition_of(conv_key_slice(&k)));
}

/* Several in one message, and nothing after bus_listen(NULL). */
static void nobody_listens(void **state)
{
    struct pair *p = *state;
    char name[BUS_CHANNEL_MAX];
    redis_kit_need();
    struct conv_key k = conv_key_channel(SLICE_LIT("quiet"));
    struct slice channel = redis_bus_to_followers(redis_of(p->a.s), name, conv_key_slice(&k));
    struct buf b = BUF_INIT;
    (void)follow(&p->a, &k);
    unsigned heard = hub_count(&p->hub);
    for (uint64_t seq = 2000001; seq <= 2000003; seq++) {
        struct bus_news n = nudge(&k, inc_of(&p->b), seq);
        news_put(&b, &n);
    }
    assert_true(publish(p, channel, buf_slice(&b)) > 0);
    assert_int_equal(hub_expect(&p->hub, 2000003, &heard), 3);
    bus_listen(store_bus(p->a.s), NULL);
    uint64_t in = atomic_load(&redis_of(p->a.s)->stats.news_in);
    assert_true(publish(p, channel, buf_slice(&b)) > 0);
    for (int i = 0; i < 20000 && atomic_load(&redis_of(p->a.s)->stats.news_in) < in + 3; i++)
        usleep(1000);
    const struct bus_ears ears = {.ctx = &p->hub, .heard = hub_heard, .reset = hub_reset};
    usleep(1000); /* it was counted just before somebody would have been told */
    assert_int_equal(hub_count(&p->hub), heard);
    bus_listen(store_bus(p->a.s), &ears);
    struct bus_news n = nudge(&k, inc_of(&p->b), 2000099);
    assert_true(tell(p, channel, &n) > 0);
    (void)hub_expect(&p->hub, 2000099, &heard);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_followed_channel_is_heard),
        cmocka_unit_test(a_node_is_told),
        cmocka_unit_test(nobody_listens),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
