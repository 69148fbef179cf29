#include "tests/unit/http_kit.h"

/* On a claimed path messages are told whole, and the errors of our protocol do not exist. */
static void claimed(void **state)
{
    (void)state;
    struct kit k;
    struct buf b = BUF_INIT;
    char got[sizeof accepted - 1], *large = calloc(1, 150000);
    serve(&k);
    int fd = ask(&k, "GET /echo HTTP/1.1\r\n" ASK "\r\n");
    kit_take(&k, fd, got, sizeof got);
    ws_put(&b, 0x82, SLICE_LIT("ab"));
    ws_put(&b, 0x81, SLICE_LIT("text"));
    kit_put(fd, b.p, b.n);
    buf_reset(&b);
    KIT_UNTIL(&k, k.count == 2);
    assert_false(k.messages[0].text);
    assert_int_equal(k.messages[0].n, 2);
    assert_memory_equal(k.messages[0].head, "ab", 2);
    assert_true(k.messages[1].text);
    ws_put(&b, 0x82, slice_of(large, 150000)); /* over limits.frame */
    kit_put(fd, b.p, b.n);
    buf_reset(&b);
    KIT_UNTIL(&k, k.count == 3);
    assert_int_equal(k.messages[2].n, 150000);
    for (int i = 0; i < 20; i++) /* no login is awaited */
        net_tick(k.net);
    assert_int_equal(k.closing, 0);
    ws_put(&b, 0x83, SLICE_NONE);
    kit_put(fd, b.p, b.n);
    kit_take(&k, fd, got, 4);
    assert_memory_equal(got, "\x88", 1); /* nothing but the close frame */
    assert_int_equal(load_be16(got + 2), 1002);
    KIT_UNTIL(&k, k.closing == 1);
    close(fd);
    fd = ask(&k, "GET /echo HTTP/1.1\r\n" ASK "\r\n");
    kit_take(&k, fd, got, sizeof got);
    conn_close_raw(k.net, k.last, 4001, SLICE_LIT("enough"));
    kit_take(&k, fd, got, 10);
    assert_memory_equal(got,
                        "\x88\x08\x0f\xa1"
                        "enough",
                        10);
    close(fd);
    free(large);
    buf_free(&b);
    kit_stop(&k);
}

/* A client of /echo that has sent n bytes of a message of `whole` bytes, masked with zeros. */
static int unfinished(struct kit *k, uint32_t whole, uint32_t n)
{
    char got[sizeof accepted - 1], head[14] = {(char)0x82, (char)0xff};
    char *zeros = calloc(1, n);
    int fd = ask(k, "GET /echo HTTP/1.1\r\n" ASK "\r\n");
    kit_take(k, fd, got, sizeof got);
    store_be32(head + 6, whole);
    kit_put(fd, head, sizeof head);
    for (uint32_t sent = 0; sent < n; sent += 50000) {
        kit_put(fd, zeros + sent, n - sent < 50000 ? n - sent : 50000);
        kit_turn(k, 20);
    }
    free(zeros);
    return fd;
}

/* What clients of claimed paths, who never log in, have sent of a message is bounded, by address and in all, and
 * does not keep others from logging in; but one message always fits. */
static void claimed_input_is_bounded(void **state)
{
    (void)state;
    enum { N = 6, BYTES = 150000, CAP = 620000 }; /* a buffer may be a third larger than what is in it */
    static const struct {
        uint64_t total, per_ip;
    } caps[] = {{0, CAP}, {CAP, 0}};
    for (size_t i = 0; i < sizeof caps / sizeof *caps; i++) {
        struct kit k;
        int fds[N];
        serve(&k);
        net_configure(k.net, &(struct net_limits){.frame = 65536,
                                                  .output_queue = 1000,
                                                  .login_timeout = 10,
                                                  .early_total = caps[i].total,
                                                  .early_per_ip = caps[i].per_ip});
        for (int j = 0; j < N; j++)
            fds[j] = unfinished(&k, BYTES + 1, BYTES);
        unsigned fit = N - (unsigned)k.closing;
        assert_in_range(fit, 3, 4);
        assert_in_range(net_shared_claimed(k.shared), fit * BYTES, CAP);
        assert_int_equal(net_shared_early(k.shared), 0);
        for (unsigned j = 0; j < N; j++) {
            char got[4];
            if (j >= fit) {
                kit_take(&k, fds[j], got, sizeof got);
                assert_memory_equal(got, "\x88", 1);
                assert_int_equal(load_be16(got + 2), 1008);
            } else {
                kit_put(fds[j], "", 1);
                KIT_UNTIL(&k, k.count == j + 1);
            }
        }
        KIT_UNTIL(&k, net_shared_claimed(k.shared) == 0);
        /* Less than one message: room for one there is. */
        net_configure(
            k.net, &(struct net_limits){.frame = 65536, .output_queue = 1000, .early_total = 10, .early_per_ip = 10});
        int fd = unfinished(&k, 200000, 200000);
        KIT_UNTIL(&k, k.count == fit + 1);
        close(fd);
        for (int j = 0; j < N; j++)
            close(fds[j]);
        KIT_UNTIL(&k, net_count(k.net) == 0);
        kit_stop(&k);
    }
}

/* What they do not read is counted in the same way. */
static void claimed_output_is_bounded(void **state)
{
    (void)state;
    enum { N = 5, BYTES = 8 << 20, FITS = 2 };
    struct kit k;
    int fds[N];
    uint32_t conns[N];
    char *zeros = calloc(1, BYTES);
    serve(&k);
    net_configure(k.net, &(struct net_limits){.frame = 65536, .output_queue = 1000, .early_per_ip = FITS * BYTES});
    for (int j = 0; j < N; j++) {
        char got[sizeof accepted - 1];
        fds[j] = ask(&k, "GET /echo HTTP/1.1\r\n" ASK "\r\n");
        kit_take(&k, fds[j], got, sizeof got);
        conns[j] = k.last;
        (void)conn_send_claimed(k.net, k.last, false, slice_of(zeros, BYTES));
        kit_turn(&k, 20);
    }
    assert_true(k.closing >= 1 && k.closing <= N - FITS);
    assert_in_range(net_shared_claimed(k.shared), BYTES, FITS * BYTES);
    assert_int_equal(conn_at(k.net, conns[0])->flags & CONN_F_CLOSING, 0);
    /* Whoever reads is held against nobody. */
    uint64_t before = net_shared_claimed(k.shared);
    static char sink[65536];
    for (size_t n = 0; n < BYTES / 2; kit_turn(&k, 1)) {
        ssize_t r = recv(fds[0], sink, sizeof sink, MSG_DONTWAIT);
        n += r > 0 ? (size_t)r : 0;
    }
    KIT_UNTIL(&k, net_shared_claimed(k.shared) < before - BYTES / 4);
    for (int j = 0; j < N; j++)
        close(fds[j]);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    assert_int_equal(net_shared_claimed(k.shared), 0);
    free(zeros);
    kit_stop(&k);
}

static enum conn_verdict echo_back(struct kit *k, uint32_t conn, const struct net_message *m)
{
    assert_int_equal(conn_send_claimed(k->net, conn, m->text, m->body), 0);
    return CONN_CONTINUE;
}

/* The beginning of a frame behind a large message is counted as what it is, not as the buffer that the message was in:
 * else whoever echoes large messages would be refused while the echo is on its way. */
static void a_rest_behind_a_large_message(void **state)
{
    (void)state;
    enum { BYTES = 190000, FEW = 4096 };
    struct kit k;
    int few = FEW;
    char *zeros = calloc(1, BYTES);
    struct buf b = BUF_INIT;
    serve(&k);
    k.on_message = echo_back;
    net_configure(k.net, &(struct net_limits){.frame = 65536, .output_queue = 1000, .early_per_ip = 10});
    char got[sizeof accepted - 1];
    int fd = ask(&k, "GET /echo HTTP/1.1\r\n" ASK "\r\n");
    kit_take(&k, fd, got, sizeof got);
    assert_int_equal(setsockopt(conn_at(k.net, k.last)->fd, SOL_SOCKET, SO_SNDBUF, &few, sizeof few), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &few, sizeof few), 0);
    ws_put(&b, 0x82, slice_of(zeros, BYTES));
    buf_put(&b, "\x82", 1);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (size_t at = 0; at < b.n; kit_turn(&k, 1)) {
        ssize_t n = send(fd, b.p + at, b.n - at, MSG_NOSIGNAL);
        at += n > 0 ? (size_t)n : 0;
    }
    KIT_UNTIL(&k, k.count == 1);
    kit_turn(&k, 50);
    assert_int_equal(k.closing, 0);
    assert_in_range(net_shared_claimed(k.shared), BYTES / 2, BYTES); /* the echo is not read yet */
    assert_true(k.net->inbuf_memory < 4096);
    for (size_t n = 0; n < BYTES + 10; kit_turn(&k, 1)) {
        static char sink[65536];
        ssize_t r = recv(fd, sink, sizeof sink, MSG_DONTWAIT);
        n += r > 0 ? (size_t)r : 0;
    }
    assert_int_equal(k.closing, 0);
    close(fd);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    assert_int_equal(net_shared_claimed(k.shared), 0);
    buf_free(&b);
    free(zeros);
    kit_stop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claimed),
        cmocka_unit_test(claimed_input_is_bounded),
        cmocka_unit_test(claimed_output_is_bounded),
        cmocka_unit_test(a_rest_behind_a_large_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
