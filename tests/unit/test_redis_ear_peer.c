/* Subscriptions that are refused, end unasked, or move; and patrol. Against fake processes of a cluster. */
#include "redis_peer.h"

#include "storage/conv_key.h"
#include "storage/redis/bus/bus_private.h"
#include "storage/redis/bus/ear.h"
#include "storage/redis/bus/patrol.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/nodes/node_private.h"
#include "storage/redis/nodes/nodes.h"

/* What a hub would hear. */
static struct {
    unsigned resets[PARTITIONS]; /* of each */
    unsigned calls;              /* of reset() */
    uint64_t seq;                /* of the newest news */
    unsigned news;
    unsigned orders;
} hub;

static struct mailbox mb;
static char refuse[128]; /* what the peers say to a SSUBSCRIBE instead; "": nothing */

static void hub_heard(void *ctx, struct bus_news *n)
{
    (void)ctx;
    hub.seq = n->seq;
    hub.news++;
    free(n);
}

static void hub_ordered(void *ctx, struct bus_order *o)
{
    hub.orders++;
    bus_receipt(store_bus(&((struct world *)ctx)->r->base), o);
}

static void hub_reset(void *ctx, const uint8_t parts[BUS_PARTS])
{
    (void)ctx;
    hub.calls++;
    for (unsigned i = 0; i < PARTITIONS; i++)
        hub.resets[i] += redis_bus_part_in(parts, i);
}

/* Partitions that were reset. */
static unsigned resets(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < PARTITIONS; i++)
        n += hub.resets[i];
    return n;
}

static void forget(void)
{
    memset(&hub, 0, sizeof hub);
}

/* No channel is there; and subscriptions may be refused. */
static bool answer(struct peer *p, const struct reply *command, struct buf *out)
{
    static const char none[] = "*1\r\n$14\r\nN\0\0\0\0\0\0\0\0\0\0\0\0\0\r\n";
    struct slice name = command->list[0].text;
    (void)p;
    if (peer_is(name, "FCALL_RO"))
        buf_put(out, none, sizeof none - 1);
    else if (peer_is(name, "SSUBSCRIBE") && *refuse)
        buf_str(out, refuse);
    else
        return false;
    return true;
}

static void incarnation(struct world *w, uint64_t inc)
{
    ((struct nodes *)node_others(w->r))->inc = inc; /* as if it had joined */
}

static bool all_whole(struct world *w)
{
    for (uint16_t i = 0; i < PARTITIONS; i++)
        if (!ears_whole(w->r, i))
            return false;
    return !ears_busy(w->r);
}

static void no_wake(void *ctx)
{
    (void)ctx;
}

static int setup(void **state)
{
    struct bus_ears ears = {.heard = hub_heard, .reset = hub_reset, .ordered = hub_ordered};
    *refuse = '\0';
    (void)world_setup(state);
    struct world *w = *state;
    for (int i = 0; i < PEERS; i++)
        w->peers[i].answer = answer;
    mailbox_init(&mb, no_wake, NULL);
    ears.ctx = w;
    bus_listen(store_bus(&w->r->base), &ears);
    forget();
    incarnation(w, 7);
    UNTIL(w, all_whole(w));
    assert_int_equal(resets(), PARTITIONS); /* whoever was followed before now could have missed something */
    forget();
    memset(w->peers[0].commands, 0, sizeof w->peers[0].commands); /* which hold so much and no more */
    return 0;
}

static int teardown(void **state)
{
    return world_teardown(state);
}

static void follow_done(void *owner, struct store_op *op)
{
    (void)owner;
    op->home = NULL; /* the sign that it is done */
}

static struct conv_key key_of(const char *name)
{
    return conv_key_channel(slice_str(name));
}

static void follow_post(struct world *w, struct bus_follow *f, const struct conv_key *k)
{
    *f = (struct bus_follow){.op = {.home = &mb, .done = follow_done}, .conv = conv_key_slice(k)};
    bus_follow(store_bus(&w->r->base), f);
}

/* Whether it was answered. */
static bool done(struct bus_follow *f)
{
    mailbox_run(&mb, NULL);
    return !f->op.home;
}

static unsigned times(const char *log, const char *word)
{
    unsigned n = 0;
    for (; (log = strstr(log, word)); log++)
        n++;
    return n;
}

static struct link *ear_link(struct world *w)
{
    return (struct link *)w->r->parts[0].master->ear; /* its first member */
}

/* The engine ends in the middle: whoever waits for a subscription, or for another node, is answered. */
static void the_end_answers_who_waits(void **state)
{
    struct world *w = *state;
    struct conv_key k = key_of("room");
    struct bus_follow f;
    struct bus_order o = {.op = {.home = &mb, .done = follow_done},
                          .kind = ORDER_REPLACE,
                          .user = SLICE_LIT("ann"),
                          .conn = {.node = 99}}; /* which may live: it is newer than all that are known */
    snprintf(refuse, sizeof refuse, "-CLUSTERDOWN Hash slot not served\r\n");
    follow_post(w, &f, &k);
    bus_order(store_bus(&w->r->base), &o);
    SOON(w, times(w->peers[0].commands, "SSUBSCRIBE mb{") > 0);
    assert_true(!done(&f) && o.op.home);
    redis_io_end(w->r);
    assert_true(done(&f) && !o.op.home);
    assert_int_equal(f.op.status, STORE_RETRY);
    assert_int_equal(o.op.status, STORE_RETRY);
}

/* --- Refusals --- */

static void what_is_refused_is_asked_for_again(void **state)
{
    struct world *w = *state;
    struct conv_key k = key_of("room"), other = key_of("other");
    struct bus_follow f, g;
    snprintf(refuse, sizeof refuse, "-MOVED 16 127.0.0.1:%u\r\n", w->peers[0].port);
    follow_post(w, &f, &k);
    world_pass(w, 400);
    assert_false(done(&f));
    assert_true(times(w->peers[0].commands, "SSUBSCRIBE mb{") > 3);
    assert_false(ears_whole(w->r, partition_of(conv_key_slice(&k))));
    *refuse = '\0';
    follow_post(w, &g, &other); /* and one that never was */
    UNTIL(w, done(&f) && done(&g));
    assert_int_equal(f.op.status, STORE_OK);
    assert_int_equal(g.op.status, STORE_OK);
    assert_int_equal(resets(), 0);
    UNTIL(w, all_whole(w));
}

/* It is tried for as long as it is wanted. Whoever was told that it failed is told when it has not. */
static void patience_ends(void **state)
{
    struct world *w = *state;
    struct conv_key k = key_of("room");
    struct bus_follow f;
    strcpy(refuse, "-CLUSTERDOWN Hash slot not served\r\n");
    uint64_t begun = w->now;
    follow_post(w, &f, &k);
    UNTIL(w, done(&f));
    assert_int_equal(f.op.status, STORE_RETRY);
    assert_in_range(w->now - begun, 8000, 8500);
    assert_int_equal(resets(), 0);
    *refuse = '\0';
    UNTIL(w, resets());
    assert_int_equal(resets(), 1);
    assert_int_equal(hub.resets[partition_of(conv_key_slice(&k))], 1);
    follow_post(w, &f, &k); /* and it is subscribed to */
    UNTIL(w, done(&f));
    assert_int_equal(f.op.status, STORE_OK);
}

static void who_unfollows_waits_no_more(void **state)
{
    struct world *w = *state;
    struct conv_key k = key_of("room");
    struct bus_follow f, again;
    strcpy(refuse, "-CLUSTERDOWN Hash slot not served\r\n");
    follow_post(w, &f, &k);
    world_pass(w, 100);
    struct bus_unfollow u = {.op = {.home = &mb, .done = follow_done}, .conv = conv_key_slice(&k)};
    bus_unfollow(store_bus(&w->r->base), &u);
    SOON(w, done(&f) && !u.op.home);
    assert_int_equal(f.op.status, STORE_RETRY);
    assert_int_equal(u.op.status, STORE_OK);
    char name[BUS_CHANNEL_MAX];
    UNTIL(w, !ears_find(w->r, redis_bus_to_followers(w->r, name, conv_key_slice(&k))));
    *refuse = '\0';
    unsigned asked = times(w->peers[0].commands, "SSUBSCRIBE mb{");
    world_pass(w, 500);
    assert_int_equal(times(w->peers[0].commands, "SSUBSCRIBE mb{"), asked);
    /* Both under way at once: the last word counts. */
    u.op.home = &mb;
    follow_post(w, &f, &k);
    bus_unfollow(store_bus(&w->r->base), &u);
    follow_post(w, &again, &k);
    UNTIL(w, done(&again));
    assert_int_equal(again.op.status, STORE_OK);
    assert_int_equal(f.op.status, STORE_RETRY);
}

/* --- What ends unasked --- */

static void what_ends_unasked_begins_anew(void **state)
{
    struct world *w = *state;
    struct conv_key k = key_of("room");
    struct bus_follow f;
    char name[BUS_CHANNEL_MAX];
    struct slice channel = redis_bus_to_followers(w->r, name, conv_key_slice(&k));
    struct buf b = BUF_INIT;
    follow_post(w, &f, &k);
    UNTIL(w, done(&f));
    peer_event(&b, "sunsubscribe", channel);
    unsigned asked = times(w->peers[0].commands, "SSUBSCRIBE mb{");
    peer_push(&w->peers[0], &b);
    UNTIL(w, resets());
    assert_int_equal(times(w->peers[0].commands, "SSUBSCRIBE mb{"), asked + 1);
    assert_int_equal(resets(), 1);
    assert_int_equal(hub.resets[partition_of(conv_key_slice(&k))], 1);
    buf_reset(&b);
    peer_event(&b, "sunsubscribe", SLICE_LIT("mb{1}:nobody")); /* of one that is not ours: nothing */
    peer_push(&w->peers[0], &b);
    world_pass(w, 300);
    assert_int_equal(resets(), 1);
    buf_free(&b);
}

static void a_lost_link_is_made_again(void **state)
{
    struct world *w = *state;
    struct buf b = BUF_INIT;
    buf_lit(&b, "*2\r\n$5\r\nhello\r\n$5\r\nthere\r\n");
    peer_push(&w->peers[0], &b);
    SOON(w, ear_link(w)->state == LINK_DOWN);
    assert_false(ears_whole(w->r, 0));
    UNTIL(w, all_whole(w));
    assert_int_equal(resets(), PARTITIONS);
    assert_int_equal(hub.calls, 1);
    assert_int_equal(atomic_load(&w->r->stats.ear_resets), PARTITIONS); /* and not those of the beginning */
    buf_free(&b);
}

static void silence_ends_it(void **state)
{
    struct world *w = *state;
    world_pass(w, 5000); /* it asks for signs of life, and has them */
    assert_int_equal(ear_link(w)->state, LINK_READY);
    uint64_t heard = ear_link(w)->heard, opened = ear_link(w)->opened;
    w->peers[0].mute = true;
    world_pass(w, heard + EAR_SILENCE - w->now);
    assert_int_equal(ear_link(w)->opened, opened);
    world_pass(w, 60);
    assert_int_equal(ear_link(w)->opened, w->now - 20); /* it is tried at once */
    assert_int_equal(resets(), 0);
    w->peers[0].mute = false;
    UNTIL(w, all_whole(w));
    assert_int_equal(resets(), PARTITIONS);
}

/* One partition goes to another master: that one is reset, and asked for there. */
static void a_partition_moves(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < PEERS; i++) {
        struct peer *p = &w->peers[i];
        p->nodes[0] = '\0';
        peer_tell(p, &w->peers[0], i ? "master" : "myself,master", NULL, 1, "0-79 96-16383");
        peer_tell(p, &w->peers[1], "master", NULL, 2, "80-95");
        peer_tell(p, &w->peers[2], "slave", &w->peers[0], 1, "");
    }
    slots_doubt(w->r, SLICE_NONE);
    UNTIL(w, resets());
    UNTIL(w, all_whole(w));
    assert_int_equal(resets(), 1);
    assert_int_equal(hub.resets[5], 1);
    assert_int_equal(times(w->peers[1].commands, "SSUBSCRIBE mn{"), 1);
    world_tell(w); /* and back */
    for (int i = 0; i < PEERS; i++) {
        w->peers[i].nodes[0] = '\0';
        peer_tell(&w->peers[i], &w->peers[0], "master", NULL, 3, "0-16383");
    }
    slots_doubt(w->r, SLICE_NONE);
    UNTIL(w, hub.resets[5] == 2 && all_whole(w));
    assert_int_equal(resets(), 2);
}

static void another_incarnation_has_other_channels(void **state)
{
    struct world *w = *state;
    incarnation(w, 0); /* it was buried, and has none for now */
    world_pass(w, 500);
    assert_int_equal(ear_link(w)->state, LINK_DOWN);
    assert_false(ears_whole(w->r, 3));
    incarnation(w, 8);
    UNTIL(w, all_whole(w));
    assert_int_equal(resets(), PARTITIONS);
    assert_true(strstr(w->peers[0].commands, "}:8;"));
    assert_false(strstr(w->peers[0].commands, "}:7;"));
}

/* --- Messages --- */

static void news_come_through(void **state)
{
    struct world *w = *state;
    struct conv_key k = key_of("room");
    struct bus_news n = {.kind = NEWS_NUDGE, .origin = 9, .conv = conv_key_slice(&k)};
    struct buf news = BUF_INIT, b = BUF_INIT;
    for (n.seq = 1; n.seq <= 4; n.seq++) {
        n.origin = n.seq == 4 ? 7 : 9; /* the last one is its own */
        buf_reset(&news);
        news_put(&news, &n);
        struct slice message[3] = {SLICE_LIT("smessage"), SLICE_LIT("mb{5}:croom"), buf_slice(&news)};
        resp_command(&b, message, 3);
    }
    peer_push(&w->peers[0], &b);
    UNTIL(w, hub.news == 3);
    assert_int_equal(hub.seq, 3);
    assert_int_equal(ear_link(w)->state, LINK_READY);
    assert_int_equal(atomic_load(&w->r->stats.news_in), 3);
    buf_free(&news);
    buf_free(&b);
}

/* What it told before it was taken for dead is its own all the same; and what names no node is nobody's: in the hub it
 * would count as told by itself. */
static void news_of_nobody_are_not_heard(void **state)
{
    struct world *w = *state;
    struct conv_key k = key_of("room");
    struct bus_news n = {.kind = NEWS_NUDGE, .conv = conv_key_slice(&k)};
    struct buf news = BUF_INIT, b = BUF_INIT;
    static const uint64_t origins[] = {0, 5, 7, 9};
    w->r->node->was_inc = 5;
    for (unsigned i = 0; i < 4; i++) {
        n.origin = origins[i];
        n.seq = i + 1;
        news_put(&news, &n);
    }
    struct slice message[3] = {SLICE_LIT("smessage"), SLICE_LIT("mb{5}:croom"), buf_slice(&news)};
    resp_command(&b, message, 3);
    peer_push(&w->peers[0], &b);
    UNTIL(w, hub.news == 1);
    world_pass(w, 100);
    assert_int_equal(hub.news, 1);
    assert_int_equal(hub.seq, 4);
    buf_free(&news);
    buf_free(&b);
}

static void order_comes(struct world *w, uint64_t number)
{
    struct news_more order = {.kind = NEWS_ORDER,
                              .order = ORDER_KICK,
                              .origin = 9,
                              .number = number,
                              .time_ms = UINT64_C(1) << 47, /* never too late */
                              .user = SLICE_LIT("ann")};
    struct buf news = BUF_INIT, b = BUF_INIT;
    news_more_put(&news, &order);
    struct slice message[3] = {SLICE_LIT("smessage"), SLICE_LIT("mn{5}:7"), buf_slice(&news)};
    resp_command(&b, message, 3);
    uint64_t before = atomic_load(&w->r->stats.news_in);
    peer_push(&w->peers[0], &b);
    UNTIL(w, atomic_load(&w->r->stats.news_in) == before + 1);
    world_turn(w);
    buf_free(&news);
    buf_free(&b);
}

/* What a node tells again and again, perhaps because it hears no receipt, is known for as long; and what came behind it
 * is forgotten in its time all the same. */
static void orders_are_forgotten(void **state)
{
    struct world *w = *state;
    order_comes(w, 1);
    order_comes(w, 2);
    assert_int_equal(hub.orders, 2);
    order_comes(w, 2);
    assert_int_equal(hub.orders, 2);
    for (int i = 0; i < 5; i++) {
        world_pass(w, 9000);
        order_comes(w, 1);
    }
    assert_int_equal(hub.orders, 2);
    order_comes(w, 2); /* as if it were new */
    assert_int_equal(hub.orders, 3);
}

/* --- Patrol --- */

static void pass_in_steps(struct world *w, uint64_t ms, uint64_t step)
{
    for (uint64_t end = w->now + ms; w->now < end;) {
        w->now += step;
        ev_run(w->r->loop, EVRUN_NOWAIT);
        redis_io_tick(w->r);
        world_turn(w);
    }
}

static void all_are_looked_at_after_a_burial(void **state)
{
    struct world *w = *state;
    patrol_all(w->r);
    pass_in_steps(w, 2000, 200);
    for (unsigned i = 0; i < PARTITIONS; i++)
        assert_int_equal(hub.resets[i], 1);
    assert_in_range(hub.calls, 2, 20); /* and not all at once */
}

static void each_is_looked_at_in_a_round(void **state)
{
    struct world *w = *state;
    pass_in_steps(w, PATROL_ROUND + PATROL_ROUND / 16, 400);
    for (unsigned i = 0; i < PARTITIONS; i++)
        assert_in_range(hub.resets[i], 1, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_end_answers_who_waits),
        TEST(what_is_refused_is_asked_for_again),
        TEST(patience_ends),
        TEST(who_unfollows_waits_no_more),
        TEST(what_ends_unasked_begins_anew),
        TEST(a_lost_link_is_made_again),
        TEST(silence_ends_it),
        TEST(a_partition_moves),
        TEST(another_incarnation_has_other_channels),
        TEST(news_come_through),
        TEST(orders_are_forgotten),
        TEST(news_of_nobody_are_not_heard),
        TEST(all_are_looked_at_after_a_burial),
        TEST(each_is_looked_at_in_a_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
