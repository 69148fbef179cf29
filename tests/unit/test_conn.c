#include "tests/unit/net_kit.h"
#include "core/net/net.h"
#include "core/net/send.h"
#include "core/net/net_shared_private.h"

static void one_frame_byte_by_byte(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, NULL);
    int fd = kit_client(&k);
    struct buf b = BUF_INIT;
    kit_frame(&b, 2, 7, SLICE_LIT("{\"a\":1}"));
    kit_frame(&b, 3, 8, SLICE_NONE);
    for (size_t i = 0; i < b.n; i++) {
        kit_put(fd, b.p + i, 1);
        kit_turn(&k, 2);
    }
    KIT_UNTIL(&k, k.count == 2);
    assert_int_equal(k.messages[0].action, 2);
    assert_int_equal(k.messages[0].seq, 7);
    assert_int_equal(k.messages[0].n, 7);
    assert_memory_equal(k.messages[0].head, "{\"a\":1}", 7);
    assert_int_equal(k.messages[1].action, 3);
    assert_int_equal(k.messages[1].n, 0);
    /* Idle again, it holds nothing. */
    const struct conn *c = conn_at(k.net, k.last);
    assert_null(c->in);
    assert_null(c->out);
    assert_int_equal(k.net->inbuf_memory, 0);
    buf_free(&b);
    close(fd);
    KIT_UNTIL(&k, k.closed == 1);
    assert_int_equal(k.closed_reason, CLOSE_PEER);
    kit_stop(&k);
}

static enum conn_verdict echo(struct kit *k, uint32_t conn, const struct net_message *m)
{
    struct wire *w = wire_new((enum wire_form)conn_at(k->net, conn)->form, m->action, m->seq, m->body, WIRE_TAG_NONE);
    assert_non_null(w);
    conn_send(k->net, conn, w, CONN_MUST);
    wire_unref(w);
    return CONN_CONTINUE;
}

static void many_in_a_packet(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, NULL);
    k.on_message = echo;
    int fd = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    struct buf b = BUF_INIT;
    for (uint16_t i = 0; i < 3000; i++)
        kit_frame(&b, 5, i, SLICE_LIT("{\"x\":\"0123456789\"}"));
    kit_put(fd, b.p, b.n);
    char *got = malloc(b.n);
    kit_take(&k, fd, got, b.n);
    assert_memory_equal(got, b.p, b.n);
    assert_int_equal(k.count, 3000);
    KIT_UNTIL(&k, conn_queued(k.net, k.last) == 0);
    free(got);
    buf_free(&b);
    close(fd);
    kit_stop(&k);
}

static void bad_lengths(void **state)
{
    (void)state;
    static const struct {
        uint32_t length;
        const char *error, *closing;
    } cases[] = {
        {0, "{\"error\":{\"code\":\"bad_request\",\"message\":\"length: at least 8, it counts itself\"}}",
         "{\"reason\":\"protocol\",\"message\":\"length: at least 8, it counts itself\"}"},
        {7, NULL, NULL},
        {65537, "{\"error\":{\"code\":\"too_large\",\"message\":\"length: at most 65536\"}}",
         "{\"reason\":\"protocol\",\"message\":\"length: at most 65536\"}"},
        {0xFFFFFFFF, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kit k;
        kit_start(&k, CONN_TCP, NULL);
        int fd = kit_client(&k);
        char p[5];
        store_be32(p, cases[i].length);
        p[4] = 'x';
        kit_put(fd, p, 5);
        kit_expect_frame(&k, fd, 0, cases[i].error);
        kit_expect_frame(&k, fd, 105, cases[i].closing);
        assert_int_equal(kit_drain(&k, fd, NULL, 0), 0);
        assert_int_equal(k.closing, 1);
        assert_int_equal(k.closing_reason, CLOSE_PROTOCOL);
        assert_int_equal(k.count, 0);
        close(fd);
        KIT_UNTIL(&k, k.closed == 1);
        assert_int_equal(k.closed_reason, CLOSE_PROTOCOL);
        kit_stop(&k);
    }
}

static void tick(struct kit *k, int n)
{
    while (n-- > 0)
        net_tick(k->net);
}

static void login_timeout(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, NULL);
    int fd = kit_client(&k);
    tick(&k, 5);
    kit_put_frame(fd, 9, 1, ""); /* chatting is no login */
    KIT_UNTIL(&k, k.count == 1);
    tick(&k, 5);
    assert_int_equal(k.closing, 0);
    tick(&k, 1);
    assert_int_equal(k.closing_reason, CLOSE_IDLE);
    kit_expect_frame(&k, fd, 105, "{\"reason\":\"idle\",\"message\":\"no login in time\"}");
    close(fd);
    kit_stop(&k);
}

/* A TCP client that never pings may listen for ever; one that has pinged has an idle timeout from then on. */
static void idle_timeout(void **state)
{
    (void)state;
    struct kit k;
    struct net_limits limits = {.frame = 65536, .output_queue = 1 << 20, .login_timeout = 2, .idle_timeout = 5};
    kit_start(&k, CONN_TCP, &limits);
    int fd = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    tick(&k, 1000);
    assert_int_equal(k.closing, 0);
    kit_put_frame(fd, 9, 1, "");
    KIT_UNTIL(&k, k.count == 1);
    conn_set(k.net, k.last, CONN_F_PINGS);
    tick(&k, 5);
    kit_put_frame(fd, 2, 1, "");
    KIT_UNTIL(&k, k.count == 2);
    tick(&k, 5);
    assert_int_equal(k.closing, 0);
    conn_clear(k.net, k.last, CONN_F_PINGS);
    tick(&k, 50);
    assert_int_equal(k.closing, 0);
    conn_set(k.net, k.last, CONN_F_PINGS);
    tick(&k, 1);
    assert_int_equal(k.closing_reason, CLOSE_IDLE);
    assert_int_equal(k.closing, 1);
    kit_expect_frame(&k, fd, 105, "{\"reason\":\"idle\"}");
    close(fd);
    kit_stop(&k);
}

static void reloaded_timeouts(void **state)
{
    (void)state;
    struct kit k;
    struct net_limits limits = {.frame = 65536, .output_queue = 1 << 20, .login_timeout = 100, .idle_timeout = 0};
    kit_start(&k, CONN_TCP, &limits);
    int fd = kit_client(&k);
    tick(&k, 50);
    limits.login_timeout = 60;
    net_configure(k.net, &limits);
    tick(&k, 10);
    assert_int_equal(k.closing, 0);
    tick(&k, 1);
    assert_int_equal(k.closing, 1);
    close(fd);
    KIT_UNTIL(&k, k.closed == 1);
    limits.login_timeout = 0;
    net_configure(k.net, &limits);
    fd = kit_client(&k);
    tick(&k, 2000);
    assert_int_equal(k.closing, 1);
    close(fd);
    kit_stop(&k);
}

static void closing(void **state)
{
    (void)state;
    static const struct {
        enum close_reason reason;
        const char *message;
        uint32_t retry_after;
        const char *body; /* NULL: nothing is said */
    } cases[] = {
        {CLOSE_KICKED, "be \"nice\"\n", 0, "{\"reason\":\"kicked\",\"message\":\"be \\\"nice\\\"\\n\"}"},
        {CLOSE_SHUTDOWN, NULL, 1500, "{\"reason\":\"shutdown\",\"retryAfter\":1500}"},
        {CLOSE_REPLACED, "m", 7, "{\"reason\":\"replaced\",\"message\":\"m\",\"retryAfter\":7}"},
        {CLOSE_LOGOUT, NULL, 0, NULL},
        {CLOSE_PEER, NULL, 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kit k;
        kit_start(&k, CONN_TCP, NULL);
        int fd = kit_client(&k);
        conn_close(k.net, k.last, cases[i].reason, cases[i].message, cases[i].retry_after);
        assert_int_equal(k.closing, 1); /* inside the call */
        assert_int_equal(k.closed, 0);  /* never inside it */
        conn_close(k.net, k.last, CLOSE_KICKED, "again", 0);
        assert_int_equal(k.closing, 1);
        if (cases[i].body)
            kit_expect_frame(&k, fd, 105, cases[i].body);
        assert_int_equal(kit_drain(&k, fd, NULL, 0), 0);
        close(fd);
        KIT_UNTIL(&k, k.closed == 1);
        assert_int_equal(k.closed_reason, cases[i].reason);
        kit_stop(&k);
    }
    assert_string_equal(close_reason_name(CLOSE_SLOW), "slow");
    assert_string_equal(close_reason_name((enum close_reason)99), "?");
}

/* A client that neither reads nor closes does not keep a closing connection for long. */
static void closing_ends_by_itself(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, NULL);
    int fd = kit_client(&k);
    conn_close(k.net, k.last, CLOSE_KICKED, NULL, 0);
    KIT_UNTIL(&k, conn_at(k.net, k.last)->state == CONN_ST_LINGER);
    tick(&k, LINGER_TICKS);
    assert_int_equal(k.closed, 1);
    close(fd);
    /* With output that nobody takes. */
    fd = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    char *zeros = calloc(1, 1 << 20);
    struct wire *w = wire_raw(slice_of(zeros, 1 << 20), WIRE_TAG_NONE);
    free(zeros);
    while (!(conn_at(k.net, k.last)->flags & CONN_F_WRITABLE)) {
        assert_int_equal(conn_send(k.net, k.last, w, CONN_MUST), 0);
        kit_turn(&k, 5);
    }
    wire_unref(w);
    conn_close(k.net, k.last, CLOSE_KICKED, NULL, 0);
    kit_turn(&k, 5);
    assert_int_equal(conn_at(k.net, k.last)->state, CONN_ST_DRAIN);
    tick(&k, DRAIN_TICKS);
    assert_int_equal(k.closed, 2);
    close(fd);
    kit_stop(&k);
}

/* A handle is of one connection, whoever has its slot now. */
static void handles(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, NULL);
    k.net->generation = UINT32_MAX - 1; /* 0 is skipped: in the epoll set it means a listening socket */
    int fd = kit_client(&k);
    uint32_t conn = k.last, generation = conn_at(k.net, conn)->generation;
    assert_int_equal(generation, UINT32_MAX);
    assert_ptr_equal(conn_find(k.net, conn, generation), conn_at(k.net, conn));
    close(fd);
    KIT_UNTIL(&k, k.closed == 1);
    assert_null(conn_find(k.net, conn, generation));
    fd = kit_client(&k);
    assert_int_equal(k.last, conn);
    assert_int_equal(conn_at(k.net, conn)->generation, 1);
    assert_null(conn_find(k.net, conn, generation));
    assert_null(conn_find(k.net, 12345678, 1));
    kit_put_frame(fd, 9, 1, "");
    KIT_UNTIL(&k, k.count == 1);
    close(fd);
    kit_stop(&k);
}

/* A connection that is older than the net it comes to keeps its age. */
static void moves_to_a_younger_net(void **state)
{
    (void)state;
    struct kit k, young;
    struct conn_record r;
    struct net_limits limits = {.frame = 65536, .output_queue = 1 << 20, .login_timeout = 10, .idle_timeout = 300};
    kit_start(&k, CONN_TCP, &limits);
    kit_start(&young, CONN_TCP, &limits);
    int fd = kit_client(&k);
    tick(&k, 6);
    conn_at(k.net, k.last)->flags |= CONN_F_PAUSED;
    assert_int_equal(conn_detach(k.net, k.last, &r), 0);
    assert_int_equal(r.heard_ago, 6);
    shared_connection_remove(k.shared);
    assert_true(shared_connection_add(young.shared, 0));
    young.last = conn_attach(young.net, &r);
    tick(&young, 4);
    assert_int_equal(young.closing, 0);
    tick(&young, 1);
    assert_int_equal(young.closing, 1);
    close(fd);
    KIT_UNTIL(&young, young.closed == 1);
    kit_stop(&k);
    kit_stop(&young);
}

static void a_walk(void **state)
{
    (void)state;
    struct kit k;
    int fds[5];
    kit_start(&k, CONN_TCP, NULL);
    for (int i = 0; i < 5; i++)
        fds[i] = kit_client(&k);
    unsigned n = 0;
    for (uint32_t i = net_next(k.net, 0); i != CONN_NONE; i = net_next(k.net, i + 1))
        n++;
    assert_int_equal(n, 5);
    assert_int_equal(net_count(k.net), 5);
    assert_true(net_memory(k.net) > 5 * sizeof(struct conn));
    for (int i = 0; i < 5; i++)
        close(fds[i]);
    kit_stop(&k); /* with connections that were not heard to end: each is told closing and closed */
    assert_int_equal(k.closed, 5);
}

/* --- The other side has said its last ----------------------------------------------------------------------------- */

/* What the owner is told, and whether it owes answers. */
static struct {
    uint32_t calls, code;
    bool owes;
} ended;

static bool has_ended(void *owner, uint32_t conn, uint16_t code)
{
    (void)owner, (void)conn;
    ended.calls++;
    ended.code = code;
    return ended.owes;
}

static const struct net_ops answering = {.opened = kit_opened,
                                         .message = kit_message,
                                         .closed = kit_closed,
                                         .closing = kit_closing,
                                         .ended = has_ended,
                                         .drained = kit_drained};

static void start_answering(struct kit *k, enum conn_transport transport, bool owes)
{
    kit_start(k, transport, NULL);
    k->net->ops = &answering;
    memset(&ended, 0, sizeof ended);
    ended.owes = owes;
}

static void answer(struct kit *k, uint16_t seq)
{
    struct wire *w =
        wire_new((enum wire_form)conn_at(k->net, k->last)->form, 4, seq, SLICE_LIT("{\"late\":true}"), WIRE_TAG_NONE);
    assert_int_equal(conn_send(k->net, k->last, w, CONN_MUST), 0);
    wire_unref(w);
}

/* Who closes its half after its requests is answered, and then the connection ends. */
static void answers_after_a_half_close(void **state)
{
    (void)state;
    struct kit k;
    char got[256];
    start_answering(&k, CONN_TCP, true);
    int fd = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    struct buf b = BUF_INIT;
    kit_frame(&b, 4, 1, SLICE_LIT("{}"));
    kit_frame(&b, 4, 2, SLICE_LIT("{}"));
    kit_put(fd, b.p, b.n);
    kit_put(fd, b.p, 5); /* a frame that is never finished */
    shutdown(fd, SHUT_WR);
    KIT_UNTIL(&k, ended.calls == 1);
    assert_int_equal(k.count, 2);
    for (int i = 0; i < 8; i++) /* ticks that are not the end of its time */
        net_tick(k.net);
    kit_turn(&k, 20);
    assert_int_equal(k.closing + k.closed, 0);
    assert_null(conn_at(k.net, k.last)->in);
    answer(&k, 1);
    kit_expect_frame(&k, fd, 4, "{\"late\":true}");
    answer(&k, 2);
    conn_hang_up(k.net, k.last, 0);
    assert_int_equal(k.closing, 1);
    assert_int_equal(k.closing_reason, CLOSE_PEER);
    assert_int_equal(kit_drain(&k, fd, got, sizeof got), 8 + 13);
    KIT_UNTIL(&k, k.closed == 1);
    close(fd);
    buf_free(&b);
    kit_stop(&k);
}

/* An answer that does not come keeps nobody for ever; who waits for none is closed at once. */
static void answers_are_awaited_for_some_time(void **state)
{
    (void)state;
    for (int owes = 0; owes < 2; owes++) {
        struct kit k;
        char got[64];
        start_answering(&k, CONN_TCP, owes);
        int fd = kit_client(&k);
        conn_set(k.net, k.last, CONN_F_READY);
        kit_put_frame(fd, 4, 1, "{}");
        shutdown(fd, SHUT_WR);
        KIT_UNTIL(&k, ended.calls == 1);
        for (int i = 0; owes && i < ENDED_TICKS; i++) {
            assert_int_equal(k.closing, 0);
            net_tick(k.net);
        }
        assert_int_equal(kit_drain(&k, fd, got, sizeof got), 0);
        KIT_UNTIL(&k, k.closed == 1);
        close(fd);
        kit_stop(&k);
    }
}

/* What is queued is written to who reads slowly, though it has closed its half and nothing is under way. */
static void queued_answers_after_a_half_close(void **state)
{
    (void)state;
    enum { N = 40, SIZE = 10000 };
    struct kit k;
    int small = 4096;
    start_answering(&k, CONN_TCP, false);
    k.on_message = echo;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_int_equal(connect(fd, (struct sockaddr *)&k.address, sizeof k.address), 0);
    KIT_UNTIL(&k, k.opened == 1);
    setsockopt(conn_at(k.net, k.last)->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    conn_set(k.net, k.last, CONN_F_READY);
    static char body[SIZE - 8];
    memset(body, 'x', sizeof body);
    struct buf b = BUF_INIT;
    for (uint16_t i = 0; i < N; i++)
        kit_frame(&b, 5, i, slice_of(body, sizeof body));
    for (size_t at = 0; at < b.n;) {
        ssize_t n = send(fd, b.p + at, b.n - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        at += n > 0 ? (size_t)n : 0;
        kit_turn(&k, 1);
    }
    shutdown(fd, SHUT_WR);
    KIT_UNTIL(&k, k.closing == 1);
    assert_true(conn_queued(k.net, k.last) > 0);
    assert_int_equal(kit_drain(&k, fd, NULL, 0), N * SIZE);
    KIT_UNTIL(&k, k.closed == 1);
    buf_free(&b);
    close(fd);
    kit_stop(&k);
}

/* Who is gone altogether is noticed while its answers are awaited. */
static void a_reset_while_answers_are_awaited(void **state)
{
    (void)state;
    struct kit k;
    start_answering(&k, CONN_TCP, true);
    int fd = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    kit_put_frame(fd, 4, 1, "{}");
    shutdown(fd, SHUT_WR);
    KIT_UNTIL(&k, ended.calls == 1);
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
    KIT_UNTIL(&k, k.closed == 1);
    assert_int_equal(k.closed_reason, CLOSE_PEER);
    kit_stop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_frame_byte_by_byte),
        cmocka_unit_test(many_in_a_packet),
        cmocka_unit_test(bad_lengths),
        cmocka_unit_test(login_timeout),
        cmocka_unit_test(idle_timeout),
        cmocka_unit_test(reloaded_timeouts),
        cmocka_unit_test(closing),
        cmocka_unit_test(closing_ends_by_itself),
        cmocka_unit_test(handles),
        cmocka_unit_test(moves_to_a_younger_net),
        cmocka_unit_test(a_walk),
        cmocka_unit_test(answers_after_a_half_close),
        cmocka_unit_test(answers_are_awaited_for_some_time),
        cmocka_unit_test(queued_answers_after_a_half_close),
        cmocka_unit_test(a_reset_while_answers_are_awaited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
