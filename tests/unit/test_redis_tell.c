/* When operations are answered whose changes other nodes are told of, and how that is told: against fake masters
 * (tell.c, publish.c). */
#include "tell_kit.h"

#include "storage/redis/nodes/node_private.h"
#include "storage/redis/ops/marks.h"
#include "storage/redis/ops/settle.h"

/* --- When it is answered ------------------------------------------------------------------------------------------ */

static void a_channel_message_is_told_then_answered(void **state)
{
    struct world *w = *state;
    struct store_append a = to_room();
    append_replies('N', 5, false);
    redis_link_end(&news_lane(w)->link, "the test says so");
    run(w, &a, OP_APPEND);
    SOON(w, news_lane(w)->master->bytes > 0); /* what is told waits for the link */
    world_turn(w);
    assert_int_equal(answers(), 0);
    UNTIL(w, answers() == 1);
    assert_int_equal(a.op.status, STORE_OK);
    assert_int_equal(a.members, 7);
    SOON(w, heard_n == 1);
    const struct bus_news *n = only();
    assert_non_null(strstr(heard[0].channel, "}:croom"));
    assert_int_equal(strncmp(heard[0].channel, "mb{", 3), 0);
    assert_int_equal(n->kind, NEWS_MESSAGE);
    assert_int_equal(n->seq, 5);
    assert_int_equal(n->id, a.id);
    assert_int_equal(n->time, LAYOUT_YEAR_2020 + 1000);
    assert_int_equal(n->members, 7);
    assert_int_equal(n->tier, TIER_LARGE);
    TEXT(n->sender, "ann");
    TEXT(n->name, "Ann");
    TEXT(n->content, "{\"a\":1}");
    TEXT(n->advice, "advice");
}

static void patience_ends_the_wait_and_not_the_news(void **state)
{
    struct world *w = *state;
    struct store_append a = to_room();
    append_replies('N', 5, false);
    ev_io_stop(w->r->loop, &w->peers[0].acceptable); /* nobody greets it any more */
    redis_link_end(&news_lane(w)->link, "the test says so");
    uint64_t begun = w->now;
    run(w, &a, OP_APPEND);
    UNTIL(w, answers() == 1);
    assert_int_equal(a.op.status, STORE_OK);
    assert_in_range(w->now - begun, 8000, 8000 + 1000);
    assert_int_equal(heard_n, 0);
    world_pass(w, 10000);
    ev_io_start(w->r->loop, &w->peers[0].acceptable);
    UNTIL(w, heard_n == 1);
    world_pass(w, 3000);
    assert_int_equal(heard_n, 1);
}

static void news_are_forgotten_after_a_minute(void **state)
{
    struct world *w = *state;
    struct store_append a = to_room();
    append_replies('N', 5, false);
    ev_io_stop(w->r->loop, &w->peers[0].acceptable);
    redis_link_end(&news_lane(w)->link, "the test says so");
    run(w, &a, OP_APPEND);
    UNTIL(w, answers() == 1);
    assert_true(news_lane(w)->master->bytes > 0);
    world_pass(w, NEWS_KEEP);
    assert_int_equal(news_lane(w)->master->bytes, 0);
    ev_io_start(w->r->loop, &w->peers[0].acceptable);
    UNTIL(w, news_lane(w)->link.state == LINK_READY);
    assert_int_equal(heard_n, 0);
}

static void what_is_not_answered_is_told_again(void **state)
{
    struct world *w = *state;
    struct store_append a = to_room();
    append_replies('N', 5, false);
    silent = true;
    run(w, &a, OP_APPEND);
    SOON(w, heard_n == 1);
    SOON(w, answers() == 1);
    silent = false;
    redis_link_end(&news_lane(w)->link, "the test says so");
    UNTIL(w, heard_n == 2);
    world_pass(w, 2000);
    assert_int_equal(heard_n, 2);
    assert_int_equal(answers(), 1);
    assert_string_equal(heard[0].channel, heard[1].channel);
}

static void a_slow_redis_ends_the_link_and_is_told_again(void **state)
{
    struct world *w = *state;
    struct store_append a = to_room();
    append_replies('N', 5, false);
    silent = true;
    run(w, &a, OP_APPEND);
    SOON(w, heard_n == 1);
    world_pass(w, 3 * LINK_SILENCE);
    assert_true(heard_n > 1);
    silent = false;
    UNTIL(w, !news_lane(w)->group.sent.first && !news_lane(w)->master->bytes);
    assert_int_equal(answers(), 1);
}

static void what_is_refused_is_told_again_in_order(void **state)
{
    struct world *w = *state;
    static const char *const errors[] = {"MOVED 80 127.0.0.1:1", "CLUSTERDOWN The cluster is down",
                                         "LOADING Redis is loading the dataset in memory", "OOM used memory is large"};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct store_append a = to_room(), b = to_room();
        forget_heard();
        answered = 0;
        refuse = errors[i];
        refusals = 2;
        append_replies('N', 5, false);
        run(w, &a, OP_APPEND);
        SOON(w, a.op.status == STORE_OK);
        append_replies('N', 6, false);
        run(w, &b, OP_APPEND);
        UNTIL(w, answers() == 2); /* the partition pauses for a moment */
        UNTIL(w, heard_n == 2);
        assert_int_equal(heard[0].news[0]->seq + heard[1].news[0]->seq, 11);
    }
    /* One that Redis does not know, or forbids: it is not tried for ever, and harms no other. */
    struct store_append c = to_room();
    forget_heard();
    refuse = "NOPERM this user has no permissions to access one of the channels";
    refusals = 1;
    run(w, &c, OP_APPEND);
    UNTIL(w, !refusals && !news_lane(w)->master->bytes && !news_lane(w)->group.sent.first);
    assert_int_equal(heard_n, 0);
    assert_int_equal(answers(), 3);
}

static void news_of_one_turn_go_in_one_message(void **state)
{
    struct world *w = *state;
    struct bus_news n = {.kind = NEWS_NUDGE, .conv = ROOM};
    for (n.seq = 1; n.seq <= 3; n.seq++)
        tell_channel(w->r, NULL, &n);
    n.conv = SLICE_LIT("cother");
    tell_channel(w->r, NULL, &n);
    n.conv = ROOM;
    tell_channel(w->r, NULL, &n);
    SOON(w, heard_n == 2);
    unsigned room = strstr(heard[0].channel, "}:croom") ? 0 : 1;
    assert_non_null(strstr(heard[!room].channel, "}:cother"));
    assert_int_equal(heard[!room].n, 1);
    assert_int_equal(heard[room].n, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(heard[room].news[i]->seq, i + 1);
    tell_channel(w->r, NULL, &n); /* the next turn makes the next one */
    SOON(w, heard_n == 3);
}

/* It was taken for dead, and has no incarnation yet: what it stored before that is told by the one it had. */
static void news_have_an_origin(void **state)
{
    struct world *w = *state;
    struct bus_news n = {.kind = NEWS_NUDGE, .conv = ROOM, .seq = 1};
    ((struct nodes *)node_others(w->r))->inc = 0;
    w->r->node->was_inc = 5;
    tell_channel(w->r, NULL, &n);
    SOON(w, heard_n == 1);
    assert_int_equal(heard[0].news[0]->origin, 5);
    ((struct nodes *)node_others(w->r))->inc = 6;
    tell_channel(w->r, NULL, &n);
    SOON(w, heard_n == 2);
    assert_int_equal(heard[1].news[0]->origin, 6);
}

static void a_message_is_not_endless(void **state)
{
    struct world *w = *state;
    char *big = calloc(1, 50000);
    memset(big, 'x', 50000);
    struct bus_news n = {.kind = NEWS_MESSAGE,
                         .conv = ROOM,
                         .sender = SLICE_LIT("ann"),
                         .name = SLICE_LIT("Ann"),
                         .content = slice_of(big, 50000)};
    for (n.seq = 1; n.seq <= 60; n.seq++)
        tell_channel(w->r, NULL, &n);
    SOON(w, heard_n == 30); /* 3 MB: more than the kernel takes at once */
    uint64_t seq = 0;
    for (unsigned i = 0; i < heard_n; i++)
        for (unsigned j = 0; j < heard[i].n; j++)
            assert_int_equal(heard[i].news[j]->seq, ++seq);
    assert_int_equal(seq, 60);
    free(big);
}

/* The peer's end of a link. */
static int other_end(struct peer *p, const struct link *l)
{
    struct sockaddr_in own, other;
    socklen_t size = sizeof own;
    assert_int_equal(getsockname(l->fd, (struct sockaddr *)&own, &size), 0);
    for (unsigned i = 0; i < PEER_CONNS; i++) {
        size = sizeof other;
        if (p->conns[i].fd >= 0 && getpeername(p->conns[i].fd, (struct sockaddr *)&other, &size) == 0 &&
            other.sin_port == own.sin_port)
            return p->conns[i].fd;
    }
    fail_msg("it has no such connection");
    return -1;
}

/* What is no Redis replies before it has what it replies to. That goes to whoever is there next. */
static void replies_that_come_too_early_are_not_believed(void **state)
{
    struct world *w = *state;
    struct peer *p = &w->peers[0];
    struct link *l = &news_lane(w)->link;
    char *big = calloc(1, 50000);
    int small = 4096, fd = other_end(p, l);
    memset(big, 'x', 50000);
    struct bus_news n = {.kind = NEWS_MESSAGE, .conv = ROOM, .content = slice_of(big, 50000)};
    assert_int_equal(setsockopt(l->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    p->frozen = true;
    for (n.seq = 1; n.seq <= 16; n.seq++) /* less than PUBLISH_OUT */
        tell_channel(w->r, NULL, &n);
    world_turn(w);
    assert_non_null(news_lane(w)->fresh); /* the kernel has not taken them all */
    unsigned connects = p->connects;
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(send(fd, ":0\r\n", 4, MSG_NOSIGNAL), 4);
    SOON(w, l->state == LINK_DOWN);
    p->frozen = false;
    bool last = false;
    for (unsigned i = 0; i < 500 && !last; i++) {
        world_pass(w, 20);
        for (unsigned j = 0; j < heard_n; j++)
            last |= heard[j].n && heard[j].news[heard[j].n - 1]->seq == 16;
    }
    assert_true(last);
    assert_true(p->connects > connects);
    free(big);
}

/* What was told is sent or given up, and nothing is left: nor of what would have been done later. */
static void the_engine_ends_with_news_that_wait(void **state)
{
    struct world *w = *state;
    struct store_append a = to_room();
    append_replies('N', 5, false);
    redis_link_end(&news_lane(w)->link, "the test says so");
    run(w, &a, OP_APPEND);
    SOON(w, news_lane(w)->master->bytes > 0);
    struct bus_news n = {.kind = NEWS_NUDGE, .conv = ROOM, .seq = 1};
    tell_channel(w->r, NULL, &n);
    settle_later(w->r, 5, SLICE_LIT("pabcdefgh"), 0);
    marks_note(w->r, SLICE_LIT("ann"), ROOM, 5);
    assert_int_equal(w->r->background, 1);
    redis_io_end(w->r);
    assert_int_equal(answers(), 1);
    assert_null(tell_open(w->r, NULL, 'b', 0, ROOM));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_channel_message_is_told_then_answered),

        T(patience_ends_the_wait_and_not_the_news),
        T(news_are_forgotten_after_a_minute),
        T(what_is_not_answered_is_told_again),
        T(a_slow_redis_ends_the_link_and_is_told_again),
        T(what_is_refused_is_told_again_in_order),
        T(news_of_one_turn_go_in_one_message),
        T(news_have_an_origin),
        T(a_message_is_not_endless),
        T(replies_that_come_too_early_are_not_believed),
        T(the_engine_ends_with_news_that_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
