/* What another node is told of each change: two engines on one Redis Cluster (tell.c, and who calls it). */
#define UTIL_MAIN
#include "tests/unit/pair_kit.h"

#include "storage/redis/bus/tell.h"
#include "storage/redis/nodes/nodes.h"

enum { HEARD = 256 };

/* What the other node's hub would hear. */
struct hub {
    pthread_mutex_t lock;
    pthread_cond_t some;           /* something was heard */
    struct bus_news *heard[HEARD]; /* owned */
    bool taken[HEARD];             /* it has been looked at */
    unsigned n, takes;
};

struct pair {
    struct world a, b; /* b changes things, and a hears of it */
    struct hub hub;
    struct raw raw;
};

static void hub_heard(void *ctx, struct bus_news *n)
{
    struct hub *h = ctx;
    pthread_mutex_lock(&h->lock);
    assert_true(h->n < HEARD);
    h->heard[h->n++] = n;
    pthread_cond_broadcast(&h->some);
    pthread_mutex_unlock(&h->lock);
}

static void hub_reset(void *ctx, const uint8_t parts[BUS_PARTS])
{
    (void)ctx, (void)parts;
}

static void hub_event(void *ctx, enum bus_event what, uint64_t node)
{
    (void)ctx, (void)what, (void)node;
}

/* The next one of that kind, which is not looked at again; NULL: none came for that long. News of several masters come
 * in no order. */
static const struct bus_news *hub_wait(struct hub *h, unsigned kind, unsigned seconds)
{
    struct timespec until;
    const struct bus_news *found = NULL;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&h->lock);
    while (!found) {
        for (unsigned i = 0; i < h->n && !found; i++)
            if (!h->taken[i] && h->heard[i]->kind == kind) {
                h->taken[i] = true;
                h->takes++;
                found = h->heard[i];
            }
        if (!found && pthread_cond_timedwait(&h->some, &h->lock, &until) != 0)
            break;
    }
    pthread_mutex_unlock(&h->lock);
    return found;
}

static const struct bus_news *next(struct pair *p, enum bus_news_kind kind)
{
    const struct bus_news *n = hub_wait(&p->hub, kind, 60);
    if (!n)
        fail_msg("nothing of kind %d was heard", kind);
    assert_int_equal(n->origin, inc_of(&p->b));
    return n;
}

/* Whatever was heard has been looked at. */
static void nothing_more(struct pair *p)
{
    assert_int_equal(p->hub.takes, p->hub.n);
}

#define TEXT(slice, text) assert_true(slice_eq(slice, S(text)))

static void follow(struct pair *p, const struct conv_key *k)
{
    struct bus_follow f = {.conv = conv_key_slice(k)};
    assert_int_equal(BUS(&p->a, bus_follow, &f), STORE_OK);
}

/* The user is connected to the node of that incarnation; and that node is told what is published to it there. */
static void connect_to(struct pair *p, const char *user, uint64_t inc, bool wait)
{
    char digits[24], name[BUS_CHANNEL_MAX];
    unsigned part = partition_of_user(S(user));
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)inc);
    assert_int_equal(RAW_NUMBER(&p->raw, S("HSET"), raw_key(&p->raw, 'S', part, S(user)), S(digits), S("1")), 1);
    struct slice channel = redis_bus_to_node(redis_of(p->a.s), name, part, inc);
    long long has = !wait;
    for (int i = 0; i < 20000 && !has; i++, usleep(1000))
        has = RAW_NUMBER(&p->raw, S("SPUBLISH"), channel, S(""));
    assert_int_equal(has, 1);
}

static void connect_a(struct pair *p, const char *user)
{
    connect_to(p, user, inc_of(&p->a), true);
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
    const struct bus_ears ears = {.ctx = &p->hub, .heard = hub_heard, .reset = hub_reset, .event = hub_event};
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
        for (unsigned i = 0; i < p->hub.n; i++)
            free(p->hub.heard[i]);
    }
    free(p);
    return 0;
}

static void messages_of_a_channel(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    struct conv_key k = util_made(&p->b, "talk");
    follow(p, &k);
    for (uint64_t seq = 1; seq <= 5; seq++)
        assert_int_equal(say(&p->b, &k, TIER_SMALL, "ann", "{}"), seq);
    for (uint64_t seq = 1; seq <= 5; seq++) {
        const struct bus_news *n = next(p, NEWS_MESSAGE);
        assert_int_equal(n->seq, seq);
        assert_int_equal(n->members, 1);
        assert_int_equal(n->tier, TIER_SMALL);
        TEXT(n->sender, "ann");
        TEXT(n->name, "Name");
        TEXT(n->content, "{}");
        assert_true(slice_eq(n->conv, conv_key_slice(&k)));
    }
    struct store_append a = append_of(&k, TIER_SMALL, "ann", "{\"once\":1}");
    a.client_id = S("c1");
    a.advice = S("as you like");
    assert_int_equal(CALL(&p->b, store_append, &a), STORE_OK);
    assert_int_equal(a.members, 1);
    TEXT(next(p, NEWS_MESSAGE)->advice, "as you like");
    a.content = S("{\"another\":1}"); /* not what is stored under that clientId */
    assert_int_equal(CALL(&p->b, store_append, &a), STORE_OK);
    assert_true(a.duplicate);
    const struct bus_news *n = next(p, NEWS_NUDGE);
    assert_int_equal(n->seq, 6);
    assert_int_equal(n->content.n, 0);
    /* Who is no member may not, where the hub says so. */
    struct store_append out = append_of(&k, TIER_SMALL, "ann", "{}");
    out.check = CHECK_MEMBER;
    assert_int_equal(CALL(&p->b, store_append, &out), STORE_DENIED);
    assert_int_equal(out.refused, CHECK_MEMBER);
    out.sender = S("maker");
    assert_int_equal(CALL(&p->b, store_append, &out), STORE_OK);
    assert_int_equal(next(p, NEWS_MESSAGE)->seq, 7);
    /* Changes. */
    struct store_edit e = {.conv = conv_key_slice(&k), .sender = S("ann"), .seq = 2, .content = S("{\"x\":2}")};
    assert_int_equal(CALL(&p->b, store_edit, &e), STORE_OK);
    n = next(p, NEWS_EDITED);
    assert_int_equal(n->seq, 2);
    assert_int_equal(n->id, e.id);
    assert_int_equal(n->time, e.edited_ms);
    assert_int_equal(n->created, e.created_ms);
    TEXT(n->content, "{\"x\":2}");
    struct store_recall q = {.conv = conv_key_slice(&k), .sender = S("ann"), .seq = 2};
    assert_int_equal(CALL(&p->b, store_recall, &q), STORE_OK);
    assert_int_equal(next(p, NEWS_RECALLED)->id, q.id);
    assert_int_equal(CALL(&p->b, store_recall, &q), STORE_OK); /* again: it was told */
    assert_int_equal(say(&p->b, &k, TIER_SMALL, "ann", "{}"), 8);
    assert_int_equal(next(p, NEWS_MESSAGE)->seq, 8);
    nothing_more(p);
}

static void a_channel_and_its_members(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    assert_int_equal(user_make(&p->b, "cid", "Cid"), STORE_OK);
    struct conv_key k = util_made(&p->b, "club");
    connect_a(p, "cid");
    follow(p, &k);
    struct store_user_load before = {.id = S("cid")}, after = {.id = S("cid")};
    assert_int_equal(CALL(&p->b, store_user_load, &before), STORE_OK);
    struct store_member_put m = {.conv = conv_key_slice(&k),
                                 .user = S("cid"),
                                 .name = S("Cid"),
                                 .change = 7,
                                 .set_events = true,
                                 .events = true};
    assert_int_equal(CALL(&p->b, store_member_put, &m), STORE_OK);
    const struct bus_news *n = next(p, NEWS_CHANNEL);
    assert_int_equal(n->members, 2);
    assert_int_equal(n->version, m.version);
    assert_int_equal(n->tier, TIER_SMALL);
    assert_int_equal(n->change, 7);
    TEXT(n->sender, "cid");
    TEXT(n->name, "Cid");
    n = next(p, NEWS_MEMBER);
    assert_int_equal(CALL(&p->b, store_user_load, &after), STORE_OK);
    assert_int_equal(after.version, before.version + 1);
    assert_int_equal(n->version, after.version);
    assert_true(n->events && !n->gone);
    TEXT(n->user, "cid");
    assert_true(slice_eq(n->conv, conv_key_slice(&k)));
    store_user_load_free(&before);
    store_user_load_free(&after);
    assert_int_equal(CALL(&p->b, store_member_put, &m), STORE_OK); /* its subscription is the same: nothing changes */
    n = next(p, NEWS_CHANNEL);                                     /* but that the membership is newer */
    assert_int_equal(n->sender.n, 0);
    struct store_conv_load load = util_load_of(&p->b, &k);
    assert_int_equal(load.version, m.version);
    struct store_channel_save t = {.conv = conv_key_slice(&k), .tier = TIER_LARGE};
    assert_int_equal(CALL(&p->b, store_channel_save, &t), STORE_OK);
    n = next(p, NEWS_CHANNEL);
    assert_int_equal(n->tier, TIER_LARGE);
    assert_int_equal(n->members, 2);
    assert_int_equal(n->version, m.version); /* its members are the same */
    struct store_member_del d = {.conv = conv_key_slice(&k), .user = S("cid"), .name = S("Cid"), .change = 8};
    assert_int_equal(CALL(&p->b, store_member_del, &d), STORE_OK);
    n = next(p, NEWS_CHANNEL);
    assert_int_equal(n->members, 1);
    assert_int_equal(n->version, d.version);
    TEXT(n->sender, "cid"); /* each node sees for itself whether the channel is small enough to say so */
    n = next(p, NEWS_MEMBER);
    assert_true(n->gone);
    struct store_channel_close c = {.conv = conv_key_slice(&k)};
    assert_int_equal(CALL(&p->b, store_channel_close, &c), STORE_OK);
    n = next(p, NEWS_CHANNEL);
    assert_true(n->gone);
    assert_int_equal(n->members, 1);
    struct store_member_del maker = {.conv = conv_key_slice(&k), .user = S("maker")};
    assert_int_equal(CALL(&p->b, store_member_del, &maker), STORE_OK);
    assert_int_equal(next(p, NEWS_CHANNEL)->members, 0);
    struct store_channel_wipe w = {.conv = conv_key_slice(&k)};
    enum store_status status = CALL(&p->b, store_channel_wipe, &w);
    assert_true(status == STORE_OK || status == STORE_NOTFOUND); /* the sweep may have been quicker */
    assert_true(next(p, NEWS_CHANNEL)->gone);
    nothing_more(p);
}

static void what_concerns_a_user(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    assert_int_equal(user_make(&p->b, "dan", "Dan"), STORE_OK);
    assert_int_equal(user_make(&p->b, "eve", "Eve"), STORE_OK);
    connect_a(p, "dan");
    struct store_append a = dm(&p->b, "eve", "dan", "{}", "x1");
    assert_int_equal(a.op.status, STORE_OK);
    assert_int_equal(a.arrival, 1);
    const struct bus_news *n = next(p, NEWS_MESSAGE);
    assert_int_equal(n->seq, 1);
    assert_int_equal(n->id, a.id);
    assert_int_equal(n->arrival, 1);
    TEXT(n->user, "dan");
    TEXT(n->sender, "eve");
    a = dm(&p->b, "dan", "eve", "{}", "x2"); /* dan's other devices */
    n = next(p, NEWS_MESSAGE);
    assert_int_equal(n->seq, 2);
    assert_int_equal(n->arrival, 0);
    TEXT(n->user, "dan");
    TEXT(n->sender, "dan");
    struct conv_key k = util_pair("dan", "eve");
    struct store_edit e = {.conv = conv_key_slice(&k), .sender = S("eve"), .seq = 1, .content = S("{\"x\":2}")};
    assert_int_equal(CALL(&p->b, store_edit, &e), STORE_OK);
    n = next(p, NEWS_EDITED);
    assert_int_equal(n->seq, 1);
    TEXT(n->user, "dan");
    struct store_recall q = {.conv = conv_key_slice(&k), .seq = 1};
    assert_int_equal(CALL(&p->b, store_recall, &q), STORE_OK);
    TEXT(next(p, NEWS_RECALLED)->user, "dan");
    struct store_mark_read m = {.conv = conv_key_slice(&k), .user = S("dan"), .seq = 1};
    assert_int_equal(CALL(&p->b, store_mark_read, &m), STORE_OK);
    assert_false(m.moved); /* it has sent the second one */
    (void)dm(&p->b, "eve", "dan", "{}", "x3");
    assert_int_equal(next(p, NEWS_MESSAGE)->arrival, 2);
    m.seq = 3;
    assert_int_equal(CALL(&p->b, store_mark_read, &m), STORE_OK);
    n = next(p, NEWS_READ);
    assert_int_equal(n->seq, 3);
    assert_true(slice_eq(n->conv, conv_key_slice(&k)));
    struct store_inbox_ack ack = {.user = S("dan"), .up_to = UINT64_MAX};
    assert_int_equal(CALL(&p->b, store_inbox_ack, &ack), STORE_OK);
    assert_int_equal(next(p, NEWS_INBOX)->count, 0);
    /* Blocked, where the hub says that it is to be looked at once more. */
    struct store_block block = {.user = S("dan"), .target = S("eve"), .blocked = true};
    assert_int_equal(CALL(&p->a, store_block, &block), STORE_OK);
    struct store_append blocked = append_of(&k, TIER_DM, "eve", "{}");
    blocked.receiver = S("dan");
    blocked.check = CHECK_BLOCK;
    assert_int_equal(CALL(&p->b, store_append, &blocked), STORE_DENIED);
    assert_int_equal(blocked.refused, CHECK_BLOCK);
    assert_int_equal(user_make(&p->b, "dan", "Daniel"), STORE_OK);
    n = next(p, NEWS_USER);
    TEXT(n->name, "Daniel");
    struct store_user_load load = {.id = S("dan")};
    assert_int_equal(CALL(&p->a, store_user_load, &load), STORE_OK);
    assert_int_equal(load.version, n->version);
    assert_int_equal(load.arrivals, 2);
    store_user_load_free(&load);
    struct store_user_forget f = {.id = S("dan"), .force = true, .step = FORGET_BEGIN};
    assert_int_equal(CALL(&p->b, store_user_forget, &f), STORE_OK);
    n = next(p, NEWS_USER);
    assert_true(n->gone && n->epoch >= 1);
    nothing_more(p);
    /* All nodes are told, and take nothing for it from then on. */
    assert_int_equal(user_make(&p->b, "gil", "Gil"), STORE_OK);
    assert_int_equal(dm(&p->a, "eve", "gil", "{}", "").op.status, STORE_OK);
    struct store_user_forget gil = {.id = S("gil"), .force = true, .step = FORGET_BEGIN};
    assert_int_equal(CALL(&p->b, store_user_forget, &gil), STORE_OK);
    assert_true(next(p, NEWS_USER)->gone);
    assert_int_equal(dm(&p->a, "eve", "gil", "{}", "").op.status, STORE_DENIED);
}

/* A user with whom fay has a pair that b sweeps, and not a. */
static void whom_b_sweeps(struct pair *p, char out[16])
{
    struct node list[] = {{.inc = inc_of(&p->a), .about = {.state = NODE_UP}},
                          {.inc = inc_of(&p->b), .about = {.state = NODE_UP}}};
    struct nodes ns = {.list = list, .n = 2, .inc = list[1].inc};
    struct conv_key k;
    unsigned i = 0;
    do {
        snprintf(out, 16, "gus%u", i++);
        k = util_pair("fay", out);
    } while (!nodes_sweeps(&ns, (uint16_t)partition_of(conv_key_slice(&k))));
}

/* What another server left undone is done by the sweep, which tells that it is there. */
static void the_sweep_tells_too(void **state)
{
    struct pair *p = *state;
    char gus[16], field[9] = {'p'}, value[25 + CONV_KEY_MAX];
    redis_kit_need();
    whom_b_sweeps(p, gus);
    struct conv_key k = util_pair("fay", gus);
    assert_int_equal(user_make(&p->b, "fay", "Fay"), STORE_OK);
    assert_int_equal(user_make(&p->b, gus, "Gus"), STORE_OK);
    (void)dm(&p->b, "fay", gus, "{}", "y1");
    connect_a(p, gus);
    struct store_append a = dm(&p->b, "fay", gus, "{}", "y2");
    assert_int_equal(next(p, NEWS_MESSAGE)->arrival, 2);
    store_be64(field + 1, a.id); /* as if the halves of the second one were not known to be done */
    layout_put48(value, T0 - 60000);
    layout_put48(value + 6, 2);
    layout_put48(value + 12, 2);
    layout_put48(value + 18, 0);
    value[24] = 0;
    memcpy(value + 25, k.p, k.n);
    const struct bus_news *n = NULL;
    for (int i = 0; i < 30 && !n; i++) { /* a sweeps it, too, until it has seen that b is up */
        (void)RAW_NUMBER(&p->raw, S("HSET"), raw_key(&p->raw, 'o', partition_of(conv_key_slice(&k)), SLICE_NONE),
                         slice_of(field, sizeof field), slice_of(value, 25u + k.n));
        n = hub_wait(&p->hub, NEWS_NUDGE, 4);
    }
    assert_non_null(n);
    assert_int_equal(n->arrival, 2);
    assert_int_equal(n->seq, 2);
    TEXT(n->user, gus);
    assert_true(slice_eq(n->conv, conv_key_slice(&k)));
}

/* A node that lives no more is not told, and not named any longer. One that is newer than all that are known is. */
static void the_dead_and_the_new(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    assert_int_equal(user_make(&p->b, "hal", "Hal"), STORE_OK);
    uint64_t was = inc_of(&p->b);
    world_restart(&p->b);
    uint64_t now = inc_of(&p->b);
    assert_true(now > was);
    connect_a(p, "hal");
    connect_to(p, "hal", was, false);
    connect_to(p, "hal", now, false);
    connect_to(p, "hal", now + 1000, false);
    struct slice key = raw_key(&p->raw, 'S', partition_of_user(S("hal")), S("hal"));
    assert_int_equal(RAW_NUMBER(&p->raw, S("HLEN"), key), 4);
    assert_int_equal(user_make(&p->b, "hal", "Hallo"), STORE_OK);
    TEXT(next(p, NEWS_USER)->name, "Hallo");
    long long left = 4;
    for (int i = 0; i < 20000 && left == 4; i++, usleep(1000))
        left = RAW_NUMBER(&p->raw, S("HLEN"), key);
    assert_int_equal(left, 3);
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)was);
    assert_int_equal(RAW_NUMBER(&p->raw, S("HEXISTS"), key, S(digits)), 0);
    nothing_more(p);
}

static uint64_t told(struct world *w)
{
    struct tell_stats s;
    tell_get_stats(redis_of(w->s), &s);
    return s.out;
}

/* The only node tells nobody; and whoever comes is told of all that is stored from the moment on when it serves. */
static void the_only_node(void **state)
{
    struct pair *p = *state;
    redis_kit_need();
    struct conv_key k = util_made(&p->a, "alone");
    assert_int_equal(user_make(&p->a, "ida", "Ida"), STORE_OK);
    world_close(&p->b);
    for (unsigned round = 0; round < 3; round++) {
        uint64_t before, seq;
        int tries = 0;
        do { /* it knows of b until the next beat */
            usleep(20000);
            before = told(&p->a);
            seq = say(&p->a, &k, TIER_SMALL, "ann", "{}");
        } while (told(&p->a) != before && ++tries < 1000);
        assert_int_equal(told(&p->a), before);
        (void)dm(&p->a, "ann", "ida", "{}", "");
        assert_int_equal(user_make(&p->a, "ida", round ? "Ida" : "Ada"), STORE_OK);
        assert_int_equal(told(&p->a), before);
        world_open(&p->b);
        struct hub hub = {.n = 0};
        pthread_mutex_init(&hub.lock, NULL);
        pthread_cond_init(&hub.some, NULL);
        const struct bus_ears ears = {.ctx = &hub, .heard = hub_heard, .reset = hub_reset, .event = hub_event};
        bus_listen(store_bus(p->b.s), &ears);
        struct bus_follow f = {.conv = conv_key_slice(&k)};
        assert_int_equal(BUS(&p->b, bus_follow, &f), STORE_OK);
        assert_int_equal(f.seq, seq);
        assert_int_equal(say(&p->a, &k, TIER_SMALL, "ann", "{}"), seq + 1);
        const struct bus_news *n = hub_wait(&hub, NEWS_MESSAGE, 60);
        assert_non_null(n);
        assert_int_equal(n->seq, seq + 1);
        bus_listen(store_bus(p->b.s), NULL);
        world_close(&p->b);
        for (unsigned i = 0; i < hub.n; i++)
            free(hub.heard[i]);
        pthread_mutex_destroy(&hub.lock);
        pthread_cond_destroy(&hub.some);
    }
    world_open(&p->b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(messages_of_a_channel), T(a_channel_and_its_members), T(what_concerns_a_user),
        T(the_sweep_tells_too),   T(the_dead_and_the_new),      T(the_only_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
