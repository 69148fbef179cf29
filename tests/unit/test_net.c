#include "tests/unit/net_kit.h"

#include "core/base/clock.h"
#include "core/net/net.h"
#include "core/net/send.h"

/* What is queued in a turn of the loop leaves in that turn, in one piece. */
static void one_write_a_turn(void **state)
{
    (void)state;
    struct kit k;
    char got[4096];
    kit_start(&k, CONN_TCP, NULL);
    int fd = kit_client(&k);
    struct wire *w = wire_new(WIRE_TCP, 102, 0, SLICE_LIT("{}"), WIRE_TAG_NONE);
    for (int i = 0; i < 100; i++)
        assert_int_equal(conn_send(k.net, k.last, w, CONN_MUST), 0);
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), -1);
    kit_turn(&k, 1);
    assert_int_equal(recv(fd, got, sizeof got, 0), 1000);
    /* Or at once, when the owner wants it. */
    assert_int_equal(conn_send(k.net, k.last, w, CONN_MUST), 0);
    net_flush(k.net);
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), 10);
    wire_unref(w);
    close(fd);
    kit_stop(&k);
}

static void send_one(struct ev_loop *loop, ev_prepare *w, int events)
{
    struct kit *k = w->data;
    (void)events;
    struct wire *wire = wire_new(WIRE_TCP, 102, 0, SLICE_LIT("{}"), WIRE_TAG_NONE);
    assert_int_equal(conn_send(k->net, k->last, wire, CONN_MUST), 0);
    wire_unref(wire);
    ev_prepare_stop(loop, w);
}

static void stop_loop(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)w, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

/* Work that comes after the net has got ready to sleep wakes it. */
static void work_after_prepare(void **state)
{
    (void)state;
    struct kit k;
    char got[16];
    kit_start(&k, CONN_TCP, NULL);
    int fd = kit_client(&k);
    ev_prepare late;
    ev_timer limit;
    kit_turn(&k, 5);
    ev_prepare_init(&late, send_one);
    late.data = &k;
    ev_set_priority(&late, EV_MINPRI);
    ev_prepare_stop(k.loop, &k.net->prepare);
    ev_prepare_start(k.loop, &late); /* of two with the same priority the one that was started later runs first */
    ev_prepare_start(k.loop, &k.net->prepare);
    ev_timer_init(&limit, stop_loop, 0.3, 0.);
    ev_timer_start(k.loop, &limit);
    ev_run(k.loop, 0);
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), 10);
    close(fd);
    kit_stop(&k);
}

/* Without memory for the lists every connection is looked at. */
static void lists_without_memory(void **state)
{
    (void)state;
    struct kit k;
    int fds[3];
    uint32_t conns[3];
    char got[16];
    kit_start(&k, CONN_TCP, NULL);
    for (int i = 0; i < 3; i++) {
        fds[i] = kit_client(&k);
        conns[i] = k.last;
    }
    struct wire *w = wire_new(WIRE_TCP, 102, 0, SLICE_LIT("{}"), WIRE_TAG_NONE);
    for (int i = 0; i < 3; i++)
        assert_int_equal(conn_send(k.net, conns[i], w, CONN_MUST), 0);
    k.net->dirty.n = 0;
    k.net->dirty.scan = true;
    kit_turn(&k, 1);
    for (int i = 0; i < 3; i++) {
        kit_take(&k, fds[i], got, 10);
        close(fds[i]);
    }
    wire_unref(w);
    kit_stop(&k);
}

/* More at once than one epoll_wait() tells of. */
static void many_connections(void **state)
{
    (void)state;
    enum { N = 700 };
    struct kit k;
    static int fds[N];
    kit_start(&k, CONN_TCP, NULL);
    for (int i = 0; i < N; i++) {
        fds[i] = kit_connect(&k);
        kit_turn(&k, 1);
    }
    KIT_UNTIL(&k, k.opened == N);
    for (int i = 0; i < N; i++)
        kit_put_frame(fds[i], 9, (uint16_t)i, "");
    KIT_UNTIL(&k, k.count == N);
    struct frame *f = frame_new(102, 0, SLICE_LIT("{\"x\":1}"), 3);
    for (uint32_t i = net_next(k.net, 0); i != CONN_NONE; i = net_next(k.net, i + 1))
        assert_int_equal(conn_send_frame(k.net, i, f, CONN_MAY), 0);
    frame_unref(f);
    for (int i = 0; i < N; i++)
        kit_expect_frame(&k, fds[i], 102, "{\"x\":1}");
    for (int i = 0; i < N; i++)
        close(fds[i]);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    /* What a crowd needed goes back. */
    for (int i = 0; i < 20; i++)
        net_tick(k.net);
    assert_int_equal(k.net->outqs.memory, 0);
    kit_stop(&k);
}

/* Takes a while for each message, and answers it. */
static enum conn_verdict slow_answer(struct kit *k, uint32_t conn, const struct net_message *m)
{
    for (uint64_t end = clock_mono_us() + 50; clock_mono_us() < end;)
        continue;
    struct wire *w = wire_new(WIRE_TCP, m->action, m->seq, SLICE_LIT("{}"), WIRE_TAG_NONE);
    assert_int_equal(conn_send(k->net, conn, w, CONN_MUST), 0);
    wire_unref(w);
    return CONN_CONTINUE;
}

/* When many want something at once a turn ends by time: what was taken is answered before the others are asked. */
static void a_turn_ends(void **state)
{
    (void)state;
    enum { N = 300 };
    struct kit k;
    static int fds[N];
    kit_start(&k, CONN_TCP, NULL);
    for (int i = 0; i < N; i++)
        fds[i] = kit_client(&k);
    k.on_message = slow_answer;
    for (int i = 0; i < N; i++)
        kit_put_frame(fds[i], 9, 1, "");
    uint32_t turns = 0;
    for (uint32_t before = 0; k.count < N && turns < 3000; turns++, before = k.count) {
        kit_turn(&k, 1);
        assert_true(k.count - before <= TURN_US / 50 + EVENTS);
        assert_int_equal(net_unsent(k.net),
                         k.count - before); /* the next turn begins with these; the last one's are out */
    }
    assert_int_equal(k.count, N);
    assert_true(turns >= N / (TURN_US / 50 + EVENTS));
    for (int i = 0; i < N; i++) {
        kit_expect_frame(&k, fds[i], 9, "{}");
        close(fds[i]);
    }
    kit_stop(&k);
}

/* Thousands of requests in one packet: others are served between them, and the order stays. */
static void one_connection_has_its_part(void **state)
{
    (void)state;
    enum { N = 4000, MANY = TURN_US / 50 + (WORK_ROUNDS + 2) * MESSAGES };
    struct kit k;
    struct buf b = BUF_INIT;
    kit_start(&k, CONN_TCP, NULL);
    int hog = kit_client(&k), other = kit_client(&k);
    uint32_t others = k.last, served_after = 0;
    for (int i = 0; i < N; i++)
        kit_frame(&b, 9, (uint16_t)i, SLICE_NONE);
    assert_int_equal(send(hog, b.p, b.n, 0), (ssize_t)b.n);
    buf_free(&b);
    k.on_message = slow_answer;
    kit_turn(&k, 1);
    kit_put_frame(other, 9, 7, "");
    uint32_t seq = 0;
    for (uint32_t seen = 0, turns = 0; k.count < N + 1 && turns < 10000; turns++) {
        uint32_t before = k.count;
        kit_turn(&k, 1);
        assert_true(k.count - before <= 2 * MANY);
        for (; seen < k.count; seen++) {
            const struct kit_message *m = &k.messages[seen % KIT_MESSAGES];
            if (m->conn == others)
                served_after = seen;
            else
                assert_int_equal(m->seq, seq++);
        }
    }
    assert_int_equal(seq, N);
    assert_in_range(served_after, 1, N / 2);
    close(hog);
    close(other);
    kit_stop(&k);
}

/* Those whose time has come together are dealt with in parts. */
static void timeouts_in_parts(void **state)
{
    (void)state;
    enum { N = 3 * DUE_BATCH };
    static const struct net_limits limits = {
        .frame = 65536, .output_queue = 1 << 20, .login_timeout = 2, .idle_timeout = 300};
    struct kit k;
    static int fds[N];
    kit_start(&k, CONN_TCP, &limits);
    for (int i = 0; i < N; i++)
        fds[i] = kit_client(&k);
    for (int i = 0; i < 3; i++)
        net_tick(k.net);
    assert_in_range(k.closing, 1, DUE_BATCH);
    for (int i = 0; i < 3 && k.net->overdue; i++) {
        uint32_t before = k.closing;
        kit_turn(&k, 1);
        assert_true(k.closing - before <= DUE_BATCH);
    }
    assert_int_equal(k.closing, N);
    assert_false(k.net->overdue);
    for (int i = 0; i < N; i++)
        close(fds[i]);
    KIT_UNTIL(&k, k.closed == N);
    kit_stop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_write_a_turn),     cmocka_unit_test(work_after_prepare),
        cmocka_unit_test(lists_without_memory), cmocka_unit_test(many_connections),
        cmocka_unit_test(a_turn_ends),          cmocka_unit_test(one_connection_has_its_part),
        cmocka_unit_test(timeouts_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
