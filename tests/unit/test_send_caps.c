/* How much of what is not read is kept: in all, by address, by user; and who is told. */
#include "send_kit.h"

/* Over the total cap: who owes most has no more room, who owes little goes on, and those who owe nothing notice
 * nothing. */
static void total_cap(void **state)
{
    (void)state;
    static const struct net_limits limits = {
        .frame = 65536, .output_queue = 1 << 20, .output_total = 600 << 10, .login_timeout = 10, .idle_timeout = 300};
    struct kit k;
    uint32_t conns[4];
    int fds[4];
    kit_start(&k, CONN_TCP, &limits);
    for (int i = 0; i < 3; i++) {
        fds[i] = silent(&k);
        conns[i] = k.last;
    }
    fds[3] = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    conns[3] = k.last;
    /* On a busy machine the kernel may still take more from one while the next is stuffed. */
    for (int i = 0; i < 30 && (i < 3 || k.net->blocked < 3); i++) {
        k.last = conns[i % 3];
        stuff(&k);
    }
    assert_int_equal(k.net->blocked, 3);
    int rc = 0;
    for (int turn = 0; turn < 500 && rc == 0; turn++) {
        k.last = conns[turn % 2];
        rc = say(&k, 8192, WIRE_TAG_NONE, CONN_MUST);
        kit_turn(&k, 1);
    }
    assert_int_equal(rc, ERR_CLOSED);
    assert_int_equal(k.closing, 1);
    assert_int_equal(k.closing_reason, CLOSE_SLOW);
    uint32_t slow = k.last, other = conns[slow == conns[0]];
    /* The cap is where it began, and not far beyond; each queue alone was far from full. */
    assert_true(net_shared_queued(k.shared) < (600 << 10) + (16 << 10));
    /* The closed one's queue is gone, so there is room again for the others. */
    kit_turn(&k, 5);
    k.last = other;
    assert_int_equal(say(&k, 8192, WIRE_TAG_NONE, CONN_MUST), 0);
    /* Over it again by answers to one that holds less than its share: channel pushes are skipped, for those with an
     * unsent rest only. */
    for (int turn = 0; turn < 500 && net_shared_queued(k.shared) <= 600 << 10; turn++) {
        k.last = turn % 2 ? other : conns[2];
        if (say(&k, 8192, WIRE_TAG_NONE, CONN_MUST) != 0)
            break;
        kit_turn(&k, 1);
    }
    assert_true(net_shared_queued(k.shared) > 600 << 10);
    k.last = conns[2];
    rc = say(&k, 100, 5,
             CONN_MAY); /* its socket is offered what it has once more: that may bring the sum below the cap */
    assert_true(rc == ERR_AGAIN || k.net->queued <= (600 << 10) + 100);
    k.last = conns[3];
    assert_int_equal(say(&k, 100, 5, CONN_MAY), 0);
    assert_int_equal(say(&k, 100, WIRE_TAG_NONE, CONN_MUST), 0);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    kit_stop(&k);
}

/* What the owner counts for a user, and how much it lets one hold. */
static struct {
    int64_t bytes;
    uint32_t share;
} account;

static uint32_t count_unsent(void *owner, uint32_t conn, int32_t bytes)
{
    const struct kit *k = owner;
    account.bytes += bytes;
    assert_true(account.bytes >= 0);
    assert_int_equal(conn_at(k->net, conn)->user, 7);
    return account.share;
}

static const struct net_ops counting = {.opened = kit_opened,
                                        .message = kit_message,
                                        .closed = kit_closed,
                                        .closing = kit_closing,
                                        .unsent = count_unsent,
                                        .drained = kit_drained};

/* Over what an address may hold: channel pushes to its slow connections are skipped and who holds more than its share
 * is closed; those of it that read, and other addresses, notice nothing. */
static void address_cap(void **state)
{
    (void)state;
    enum { LIMIT = 300 << 10 };
    static const struct net_limits limits = {
        .frame = 65536, .output_queue = 1 << 20, .output_per_ip = LIMIT, .login_timeout = 10, .idle_timeout = 300};
    struct kit k;
    uint32_t conns[3];
    int fds[4], other[2];
    kit_start(&k, CONN_TCP, &limits);
    for (int i = 0; i < 2; i++) {
        fds[i] = silent(&k);
        conns[i] = k.last;
        stuff(&k);
    }
    fds[2] = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    conns[2] = k.last;
    int rc = 0;
    for (int turn = 0; turn < 500 && rc == 0; turn++) {
        k.last = conns[0];
        rc = say(&k, 8192, WIRE_TAG_NONE, CONN_MUST);
        kit_turn(&k, 1);
    }
    assert_int_equal(rc, ERR_CLOSED);
    assert_int_equal(k.closing_reason, CLOSE_SLOW);
    assert_true(net_shared_queued(k.shared) < LIMIT + (64 << 10));
    /* Its queue is dropped: the other one has room again, up to the same point. */
    kit_turn(&k, 5);
    k.last = conns[1];
    assert_int_equal(say(&k, 8192, WIRE_TAG_NONE, CONN_MUST), 0);
    while (conn_queued(k.net, k.last) < LIMIT + 8192) {
        rc = say(&k, 8192, WIRE_TAG_NONE, CONN_MUST);
        kit_turn(&k, 1);
        if (rc != 0)
            break;
    }
    if (rc == 0)
        assert_int_equal(say(&k, 100, 5, CONN_MAY), ERR_AGAIN);
    k.last = conns[2];
    assert_int_equal(say(&k, 100, 5, CONN_MAY), 0);
    assert_int_equal(say(&k, 100, WIRE_TAG_NONE, CONN_MUST), 0);
    /* Another address: a Unix socket has none. */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, other), 0);
    uint32_t idx = conn_new(k.net, other[0], CONN_TCP, STREAM_PLAIN);
    assert_true(shared_connection_add(k.shared, 0));
    conn_tell_opened(k.net, idx, conn_at(k.net, idx));
    conn_set(k.net, idx, CONN_F_READY);
    k.last = idx;
    for (uint32_t n = 0; n < LIMIT * 2; n += 8192) {
        assert_int_equal(say(&k, 8192, WIRE_TAG_NONE, CONN_MUST), 0);
        kit_turn(&k, 1);
    }
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    close(other[1]);
    kit_stop(&k);
}

/* The owner is told what a user's connections hold while their sockets are full, to the byte in the end, and may say
 * that it is too much. */
static void user_cap(void **state)
{
    (void)state;
    struct kit k;
    char sink[65536];
    kit_start(&k, CONN_TCP, NULL);
    k.net->ops = &counting;
    account.bytes = 0;
    account.share = UINT32_MAX;
    int fd = silent(&k);
    conn_at(k.net, k.last)->user = 7;
    stuff(&k);
    for (int i = 0; i < 20; i++)
        assert_int_equal(say(&k, 8192, WIRE_TAG_NONE, CONN_MUST), 0);
    assert_in_range(account.bytes, conn_queued(k.net, k.last) - 3 * 8192, conn_queued(k.net, k.last));
    account.share = 0;
    (void)say(&k, 8192, 5, CONN_MAY); /* the owner is asked when it has grown by this */
    assert_int_equal(say(&k, 8192, 5, CONN_MAY), ERR_AGAIN);
    account.share = UINT32_MAX;
    assert_int_equal(say(&k, 8192, 5, CONN_MAY), 0);
    /* It reads: nothing is left. */
    while (conn_queued(k.net, k.last)) {
        (void)!recv(fd, sink, sizeof sink, MSG_DONTWAIT);
        kit_turn(&k, 1);
    }
    assert_int_equal(account.bytes, 0);
    stuff(&k);
    for (int i = 0; i < 20; i++)
        assert_int_equal(say(&k, 8192, WIRE_TAG_NONE, CONN_MUST), 0);
    assert_true(account.bytes > 0);
    account.share = 0;
    (void)say(&k, 8192, WIRE_TAG_NONE, CONN_MUST);
    assert_int_equal(say(&k, 8192, WIRE_TAG_NONE, CONN_MUST), ERR_CLOSED);
    assert_int_equal(k.closing_reason, CLOSE_SLOW);
    assert_int_equal(account.bytes, 0); /* before the owner lets go of the user */
    close(fd);
    KIT_UNTIL(&k, k.closed == 1);
    kit_stop(&k);
}

/* A slow reader is no silent one: as long as its socket takes something, it is alive. */
static void slow_readers_are_alive(void **state)
{
    (void)state;
    static const struct net_limits limits = {
        .frame = 65536, .output_queue = 8 << 20, .login_timeout = 10, .idle_timeout = 5};
    struct kit k;
    char sink[65536];
    kit_start(&k, CONN_TCP, &limits);
    int fd = silent(&k);
    conn_set(k.net, k.last, CONN_F_PINGS);
    for (int i = 0; i < 900; i++)
        assert_int_equal(say(&k, 8192, WIRE_TAG_NONE, CONN_MUST), 0);
    kit_turn(&k, 2);
    assert_true(conn_at(k.net, k.last)->flags & CONN_F_SOFT);
    for (int second = 0; second < 20; second++) {
        uint32_t before = conn_queued(k.net, k.last);
        for (int i = 0; i < 3000 && conn_queued(k.net, k.last) == before; i++) {
            (void)!recv(fd, sink, sizeof sink, MSG_DONTWAIT);
            kit_turn(&k, 1);
        }
        assert_true(conn_queued(k.net, k.last) < before);
        net_tick(k.net);
    }
    assert_int_equal(k.closing, 0);
    for (int second = 0; second < 7; second++)
        net_tick(k.net);
    assert_int_equal(k.closing_reason, CLOSE_IDLE);
    assert_int_equal(k.closing, 1);
    close(fd);
    kit_stop(&k);
}

static void when_the_owner_is_told(struct kit *k, uint32_t conn)
{
    struct wire *w = wire_new(WIRE_TCP, 107, 0, SLICE_LIT("{}"), 5);
    assert_int_equal(conn_send(k->net, conn, w, CONN_MUST), 0);
    wire_unref(w);
    if (k->extra)
        conn_close(k->net, conn, CLOSE_KICKED, NULL, 0);
}

/* The owner may send and close from within `drained`. */
static void sending_when_drained(void **state)
{
    (void)state;
    for (int closes = 0; closes < 2; closes++) {
        struct kit k;
        char sink[4096], got[4096];
        kit_start(&k, CONN_TCP, &small_queue);
        k.on_drained = when_the_owner_is_told;
        k.extra = closes ? &k : NULL;
        int fd = silent(&k);
        stuff(&k);
        while (say(&k, 1000, 5, CONN_MAY) == 0)
            ;
        while (k.drained == 0) {
            while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0)
                ;
            kit_turn(&k, 1);
        }
        if (!closes) {
            close(fd);
            kit_stop(&k);
            continue;
        }
        assert_int_equal(k.closing, 1);
        ssize_t n = kit_drain(&k, fd, got, sizeof got);
        static const char end[] = "{\"reason\":\"kicked\"}";
        assert_true(n >= (ssize_t)sizeof end);
        close(fd);
        KIT_UNTIL(&k, k.closed == 1);
        kit_stop(&k);
    }
}

/* Near the cap in all, who has taken nothing for some time gives way; who takes something stays. */
static void idle_ones_give_way(void **state)
{
    (void)state;
    static const struct net_limits limits = {
        .frame = 65536, .output_queue = 1 << 20, .output_total = 400 << 10, .login_timeout = 10};
    struct kit k;
    char sink[4096];
    kit_start(&k, CONN_TCP, &limits);
    int fd = silent(&k);
    uint32_t conn = k.last;
    stuff(&k);
    while (conn_queued(k.net, conn) < 300 << 10)
        assert_int_equal(say(&k, 8192, WIRE_TAG_NONE, CONN_MUST), 0);
    kit_turn(&k, 5);
    for (int i = 0; i < 2 * EVICT_TICKS; i++) /* not near it */
        net_tick(k.net);
    assert_int_equal(k.closing, 0);
    while (conn_queued(k.net, conn) < 370 << 10)
        assert_int_equal(say(&k, 8192, WIRE_TAG_NONE, CONN_MUST), 0);
    conn_at(k.net, conn)->heard = k.net->tick;
    for (int i = 0; i < EVICT_TICKS; i++)
        net_tick(k.net);
    assert_int_equal(k.closing, 0);
    for (int i = 0; i < 200 && conn_at(k.net, conn)->heard != k.net->tick; i++) { /* it takes something */
        (void)!recv(fd, sink, sizeof sink, MSG_DONTWAIT);
        kit_turn(&k, 5);
        usleep(200);
    }
    assert_int_equal(conn_at(k.net, conn)->heard, k.net->tick);
    assert_true(conn_queued(k.net, conn) > 350 << 10);
    for (int i = 0; i < EVICT_TICKS; i++)
        net_tick(k.net);
    assert_int_equal(k.closing, 0);
    net_tick(k.net);
    assert_int_equal(k.closing, 1);
    assert_int_equal(k.closing_reason, CLOSE_SLOW);
    close(fd);
    kit_stop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(total_cap),
        cmocka_unit_test(address_cap),
        cmocka_unit_test(user_cap),
        cmocka_unit_test(idle_ones_give_way),
        cmocka_unit_test(slow_readers_are_alive),
        cmocka_unit_test(sending_when_drained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
