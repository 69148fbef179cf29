/* The hub as a whole (hub.c, shard.c): threads, reload of options, work on every shard, draining, stopping at any
 * moment, figures. */
#include "hub_kit.h"

#include "core/net/listener.h"
#include "core/hub/shard/shards.h"
#include "core/hub/host/host.h"
#include "core/hub/host/host_member.h"
#include "core/hub/host/host_send.h"
#include "core/hub/hub.h"
#include "core/hub/shard/figures.h"
#include "core/net/net.h"

static void threaded(struct kit *k, unsigned shards)
{
    kit_open(k, shards);
    k->threads = true;
    kit_start(k);
}

static void begin_and_end(void **state)
{
    struct kit k;
    (void)state;
    for (unsigned n = 1; n <= 4; n++) {
        kit_begin(&k, n); /* never started */
        kit_end(&k);
        threaded(&k, n);
        kit_end(&k);
    }
    hub_free(NULL);
}

/* --- On every shard ----------------------------------------------------------------------------------------------- */

struct tour {
    _Atomic unsigned visited[KIT_SHARDS];
    pthread_t main;
    unsigned done;
};

static void visit(struct shard *s, void *ctx)
{
    struct tour *t = ctx;
    atomic_fetch_add(&t->visited[s->index], 1);
}

static void toured(void *ctx)
{
    struct tour *t = ctx;
    assert_true(pthread_equal(pthread_self(), t->main));
    for (int i = 0; i < KIT_SHARDS; i++)
        assert_int_equal(atomic_load(&t->visited[i]), t->done + 1);
    t->done++;
}

static void each_shard_in_turn(void **state)
{
    struct kit k;
    struct tour t = {.main = pthread_self()};
    (void)state;
    kit_open(&k, KIT_SHARDS);
    kit_start(&k);
    assert_int_equal(hub_each(k.hub, visit, toured, &t), 0);
    assert_int_equal(t.done, 1); /* before the start at once */
    k.threads = true;
    assert_int_equal(hub_start(k.hub), 0);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(hub_each(k.hub, visit, toured, &t), 0);
        KIT_UNTIL(&k, t.done == i + 2);
    }
    assert_int_equal(hub_each(k.hub, visit, NULL, &t), 0);
    hub_stop(k.hub); /* under way: it is run all the same */
    mailbox_run(&k.main, &k);
    for (int i = 0; i < KIT_SHARDS; i++)
        assert_int_equal(atomic_load(&t.visited[i]), 22);
    t.done = 22;
    assert_int_equal(hub_each(k.hub, visit, toured, &t), 0); /* and after the end at once again */
    assert_int_equal(t.done, 23);
    assert_int_equal(hub_shard_count(k.hub), KIT_SHARDS);
    assert_ptr_equal(hub_store(k.hub), k.store);
    assert_ptr_equal(hub_main(k.hub), &k.main);
    kit_end(&k);
}

/* --- Options ------------------------------------------------------------------------------------------------------ */

static void options_are_swapped_while_it_runs(void **state)
{
    struct kit k;
    struct peer *p[4];
    (void)state;
    threaded(&k, 4);
    for (unsigned i = 0; i < 4; i++) {
        char id[8];
        snprintf(id, sizeof id, "u%u", i);
        p[i] = peer_login(&k, id, i);
    }
    for (unsigned round = 0; round < 40; round++) {
        char origin[32];
        snprintf(origin, sizeof origin, "https://host%u", round);
        const char *const origins[] = {origin, "https://other", NULL};
        struct hub_options o = k.opt;
        o.content_max = round % 2 ? 10 : 1000;
        o.net.origins = origins; /* copied */
        assert_int_equal(hub_reconfigure(k.hub, &o), 0);
        memset(origin, 0, sizeof origin);
        for (unsigned i = 0; i < 4; i++)
            peer_put(p[i], 2, "{\"receiverId\":\"u%u\",\"content\":\"0123456789abcdef\"}", i);
    }
    for (unsigned i = 0; i < 4; i++) {
        const char *answer = "{\"error\"";
        for (uint16_t seq = 2; seq <= 41; seq++)
            answer = peer_answer(p[i], 2, seq);
        (void)answer;
        fails(peer_ask(p[i], 2, "{\"receiverId\":\"u%u\",\"content\":\"0123456789abcdef\"}", i),
              "too_large"); /* the last one is in force */
        peer_close(p[i]);
    }
    kit_end(&k);
}

static void reconfigured_before_the_start(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct hub_options o = k.opt;
    o.content_max = 5;
    assert_int_equal(hub_reconfigure(k.hub, &o), 0);
    struct peer *p = peer_login(&k, "ann", 0);
    fails(peer_ask(p, 2, "{\"receiverId\":\"ann\",\"content\":\"123456\"}"), "too_large");
    assert_int_equal(hub_reconfigure(k.hub, &o), 0); /* and one that nobody takes up before the end */
    kit_end(&k);
    peer_close(p);
}

/* --- Draining ----------------------------------------------------------------------------------------------------- */

static void drained(void *ctx)
{
    atomic_fetch_add((_Atomic unsigned *)ctx, 1);
}

static void everybody_is_told_and_what_is_under_way_is_finished(void **state)
{
    struct kit k;
    _Atomic unsigned done = 0;
    (void)state;
    kit_begin(&k, 2);
    struct peer *idle = peer_login(&k, kit_id(&k, "idle", 0), 0), *busy = peer_login(&k, kit_id(&k, "busy", 1), 0);
    struct peer *stranger = peer_open(&k, 1), *late = peer_open(&k, 0);
    works(peer_ask(busy, 3, "{\"name\":\"room\"}"));
    gate_hold(OP_APPEND);
    uint16_t seq = peer_put(busy, 4, "{\"channel\":\"room\",\"content\":\"last words\"}");
    kit_settle(&k);
    gate_hold(OP_USER_LOAD);
    peer_put(late, 1, "{\"token\":\"late\"}");
    kit_settle(&k);
    hub_drain(k.hub, 1000, drained, &done);
    uint64_t wait = number(peer_push(idle, 105), "retryAfter");
    assert_in_range(wait, 1, 1001);
    has(peer_push(stranger, 105), "\"reason\":\"shutdown\"");
    has(peer_push(late, 105), "shutdown");
    peer_end(idle);
    peer_end(stranger);
    peer_end(late);
    peer_close(idle);
    peer_close(stranger);
    peer_close(late);
    KIT_UNTIL(&k, net_count(kit_shard(&k, 0)->net) == 0);
    assert_int_equal(atomic_load(&done), 0);
    assert_false(busy->ended);
    gate_open(OP_APPEND);
    gate_open(OP_USER_LOAD);
    assert_int_equal(number(peer_answer(busy, 4, seq), "seq"), 1); /* answered before it is told */
    has(peer_push(busy, 105), "shutdown");
    peer_end(busy);
    peer_close(busy);
    KIT_UNTIL(&k, atomic_load(&done) == 1);
    /* Nobody comes in any more. */
    struct sockaddr_in *a = &k.address[0][0];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)a, sizeof *a), 0); /* the kernel's queue, which main closes */
    kit_settle(&k);
    assert_int_equal(net_count(kit_shard(&k, 0)->net), 0);
    close(fd);
    for (int i = 0; i < 100; i++) {
        kit_turn(&k);
        usleep(3000);
    }
    assert_int_equal(atomic_load(&done), 1); /* once */
    kit_end(&k);
}

static void draining_with_threads(void **state)
{
    enum { MANY = 24 };
    struct kit k;
    struct peer *p[MANY];
    _Atomic unsigned done = 0;
    (void)state;
    threaded(&k, 4);
    for (unsigned i = 0; i < MANY; i++) {
        char id[8];
        snprintf(id, sizeof id, "u%u", i);
        p[i] = peer_login(&k, id, i % 4);
        works(peer_ask(p[i], 3, "{\"name\":\"room\"}"));
    }
    for (unsigned i = 0; i < MANY; i++)
        for (int n = 0; n < 20; n++)
            peer_put(p[i], 4, "{\"channel\":\"room\",\"content\":\"%d\"}", n);
    hub_drain(k.hub, 10, drained, &done);
    unsigned acknowledged = 0;
    for (unsigned i = 0; i < MANY; i++) {
        peer_end(p[i]);
        for (uint32_t n = 0; n < p[i]->count; n++)
            acknowledged += p[i]->frames[n].action == 4 && !strstr(p[i]->frames[n].body, "error");
        assert_non_null(peer_look(p[i], 105, -1));
        peer_close(p[i]);
    }
    KIT_UNTIL(&k, atomic_load(&done) == 1);
    struct hub_stats st;
    hub_get_stats(k.hub, &st);
    assert_int_equal(st.messages, acknowledged); /* nothing is stored that was not answered, nor the reverse */
    kit_end(&k);
}

static unsigned parting(const struct shard *s)
{
    unsigned n = 0;
    for (uint32_t i = net_next(s->net, 0); i != CONN_NONE; i = net_next(s->net, i + 1))
        n += (conn_at(s->net, i)->flags & CONN_F_CLOSING) != 0;
    return n;
}

/* A crowd is told over several turns, so that what others wait for gets out between. */
static void a_crowd_is_told_in_parts(void **state)
{
    enum { CROWD = 300, MOST = 128 };
    struct kit k;
    static int fds[CROWD];
    _Atomic unsigned done = 0;
    (void)state;
    kit_begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    for (int i = 0; i < CROWD; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&k.address[0][0], sizeof k.address[0][0]), 0);
        KIT_UNTIL(&k, net_count(s->net) == (uint32_t)i + 1);
    }
    hub_drain(k.hub, 10, drained, &done);
    unsigned told = 0, turns = 0;
    for (; told<CROWD; turns += told> 0) {
        kit_turn(&k);
        unsigned now = parting(s);
        assert_true(now <= told + MOST);
        told = now;
        if (!told)
            usleep(1000); /* the first are told at a tick */
    }
    assert_true(turns >= CROWD / MOST);
    for (int i = 0; i < CROWD; i++)
        close(fds[i]);
    KIT_UNTIL(&k, atomic_load(&done) == 1);
    kit_end(&k);
}

/* --- Stopping ----------------------------------------------------------------------------------------------------- */

/* At any moment, with everything under way at once: nothing is left, and whoever asked from above is answered. */
static void stopping_under_load(void **state)
{
    enum { MANY = 16, ROUNDS = 6 };
    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct kit k;
        struct peer *p[MANY];
        struct host_send send[8];
        struct host_kick kick[4];
        struct host_member member[4];
        char id[MANY][8];
        kit_open(&k, 1 + round % 4);
        k.threads = true;
        k.opt.slice_ms = 1;
        kit_start(&k);
        for (unsigned i = 0; i < MANY; i++) {
            snprintf(id[i], sizeof id[i], "u%u", i);
            p[i] = peer_open(&k, i % k.shards);
            peer_put(p[i], 1, "{\"token\":\"%s\"}", id[i]);
            peer_put(p[i], 3, "{\"name\":\"room\",\"push\":\"%s\"}", i % 2 ? "all" : "merged");
            for (unsigned n = 0; n < 10; n++) {
                peer_put(p[i], 4, "{\"channel\":\"room\",\"content\":\"%u\"}", n);
                peer_put(p[i], 2, "{\"receiverId\":\"u%u\",\"content\":\"%u\"}", (i + 1) % MANY, n);
            }
        }
        usleep(round * 4000);
        for (unsigned i = 0; i < 8; i++) {
            send[i] =
                (struct host_send){.channel = S("room"), .content = S("x"), .sender = i % 2 ? S(id[i]) : SLICE_NONE};
            KIT_HOST_BEGIN(&k, host_send, &send[i]);
        }
        for (unsigned i = 0; i < 4; i++) {
            kick[i] = (struct host_kick){.user = S(id[i]), .revoke = i % 2};
            member[i] =
                (struct host_member){.user = S(id[i + 4]), .channel = S("room"), .leave = i % 2, .may_create = true};
            KIT_HOST_BEGIN(&k, host_kick, &kick[i]);
            KIT_HOST_BEGIN(&k, host_member, &member[i]);
        }
        assert_int_equal(host_announce(k.hub, NULL, S("the end is near")), 0);
        usleep(round % 3 * 1500);
        kit_end(&k);
        for (unsigned i = 0; i < 8; i++)
            assert_null(send[i].op.home);
        for (unsigned i = 0; i < 4; i++) {
            assert_null(kick[i].op.home);
            assert_null(member[i].op.home);
        }
        for (unsigned i = 0; i < MANY; i++)
            peer_close(p[i]);
    }
}

static enum hook_verdict last_words(struct hook_call *h, void *ctx)
{
    struct kit *k = ctx;
    /* A layer above may do anything in the last hook of a connection. */
    (void)host_push(k->hub, h->shard, S("ann"), 300, S("{}"));
    (void)host_push(k->hub, h->shard, S("bob"), 300, S("{}"));
    (void)host_announce(k->hub, h->shard, S("gone"));
    return HOOK_PASS;
}

static void hooks_during_the_stop(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    kit_hook(&k, HOOK_CLOSE, 0, last_words, &k);
    struct peer *a = peer_login(&k, kit_id(&k, "ann", 0), 0), *b = peer_login(&k, kit_id(&k, "bob", 1), 0),
                *c = peer_login(&k, "ann", 1);
    kit_end(&k);
    peer_close(a);
    peer_close(b);
    peer_close(c);
}

/* --- Figures ------------------------------------------------------------------------------------------------------ */

static void figures(void **state)
{
    struct kit k;
    struct hub_stats st;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 1);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    gate_hold(OP_APPEND);
    uint16_t one = peer_put(a, 4, "{\"channel\":\"room\",\"content\":\"x\"}"),
             two = peer_put(a, 5, "{\"channel\":\"room\"}");
    kit_settle(&k);
    gate_open(OP_APPEND);
    works(peer_answer(a, 4, one));
    works(peer_answer(a, 5, two));
    kit_settle(&k);
    hub_get_stats(k.hub, &st);
    assert_int_equal(st.connections, 2);
    assert_int_equal(st.users, 2);
    assert_in_range(st.channels, 1, 2); /* as many as shards have members of it */
    assert_int_equal(st.requests, 6);   /* the one that was held counts once */
    assert_int_equal(st.messages, 1);
    assert_int_equal(st.deliveries, 2);
    KIT_UNTIL(&k, (hub_get_stats(k.hub, &st), st.memory > 0));
    peer_close(a);
    peer_close(b);
    kit_settle(&k);
    hub_get_stats(k.hub, &st);
    assert_int_equal(st.connections + st.users + st.channels, 0);
    kit_end(&k);
}

/* --- Turns -------------------------------------------------------------------------------------------------------- */

struct burden {
    struct mail mail;
    unsigned number, *ran; /* in the order of posting */
};

/* A mail that takes a while. */
static void bear(void *owner, struct mail *m)
{
    struct burden *b = (struct burden *)m;
    (void)owner;
    for (uint64_t end = clock_mono_us() + 100; clock_mono_us() < end;)
        continue;
    assert_int_equal(b->number, (*b->ran)++);
    free(b);
}

/* However much mail there is, a turn ends by time, and what is left has its turn soon; at the stop all of it is run. */
static void a_turn_of_mail_ends(void **state)
{
    enum { N = 400, MOST = 1000 / 100 + 16 };
    struct kit k;
    unsigned ran = 0, turns = 0;
    (void)state;
    kit_begin(&k, 1);
    for (unsigned i = 0; i < N; i++) {
        struct burden *b = calloc(1, sizeof *b);
        assert_non_null(b);
        *b = (struct burden){.mail.run = bear, .number = i, .ran = &ran};
        mailbox_post(&kit_shard(&k, 0)->mailbox, &b->mail);
    }
    for (; ran < N / 2; turns++) {
        unsigned before = ran;
        kit_turn(&k);
        assert_true(ran - before <= MOST);
        assert_true(turns < N);
    }
    assert_true(turns >= N / 2 / MOST);
    hub_stop(k.hub);
    assert_int_equal(ran, N);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begin_and_end),
        cmocka_unit_test(each_shard_in_turn),
        cmocka_unit_test(options_are_swapped_while_it_runs),
        cmocka_unit_test(reconfigured_before_the_start),
        cmocka_unit_test(everybody_is_told_and_what_is_under_way_is_finished),
        cmocka_unit_test(draining_with_threads),
        cmocka_unit_test(a_crowd_is_told_in_parts),
        cmocka_unit_test(stopping_under_load),
        cmocka_unit_test(hooks_during_the_stop),
        cmocka_unit_test(figures),
        cmocka_unit_test(a_turn_of_mail_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
