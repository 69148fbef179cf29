#include "tests/unit/net_kit.h"
#include "core/net/accept.h"
#include "core/net/net.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>

/* Over the cap a TCP client is sent away at once, without a word. */
static void connections_cap(void **state)
{
    (void)state;
    struct kit k;
    struct net_limits limits = {.frame = 65536, .output_queue = 1 << 20, .connections = 2};
    kit_start(&k, CONN_TCP, &limits);
    int a = kit_client(&k), b = kit_client(&k), c = kit_connect(&k);
    assert_int_equal(kit_drain(&k, c, NULL, 0), 0);
    assert_int_equal(k.opened, 2);
    assert_int_equal(net_shared_connections(k.shared), 2);
    close(c);
    close(a);
    KIT_UNTIL(&k, k.closed == 1);
    a = kit_client(&k);
    assert_int_equal(k.opened, 3);
    close(a);
    close(b);
    kit_stop(&k);
}

static void per_address_cap(void **state)
{
    (void)state;
    struct kit k;
    struct net_limits limits = {.frame = 65536, .output_queue = 1 << 20, .connections_per_ip = 2};
    kit_start(&k, CONN_TCP, &limits);
    int a = kit_client(&k), b = kit_client(&k), c = kit_connect(&k);
    assert_int_equal(kit_drain(&k, c, NULL, 0), 0);
    close(c);
    /* Another address has its own. */
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002)};
    c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(c, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(c, (struct sockaddr *)&k.address, sizeof k.address), 0);
    KIT_UNTIL(&k, k.opened == 3);
    char peer[64];
    conn_peer(k.net, k.last, peer, sizeof peer);
    assert_string_equal(peer, "127.0.0.2");
    close(a);
    KIT_UNTIL(&k, k.closed == 1);
    a = kit_client(&k);
    close(a);
    close(b);
    close(c);
    kit_stop(&k);
}

/* A WebSocket client learns why, whether it has asked already or not; and nobody who says nothing stays. */
static void refused_with_503(void **state)
{
    (void)state;
    struct kit k;
    char got[512] = "";
    struct net_limits limits = {.frame = 65536, .output_queue = 1 << 20, .connections = 1, .login_timeout = 10};
    kit_start(&k, CONN_WEBSOCKET, &limits);
    int a = kit_connect(&k);
    KIT_UNTIL(&k, net_count(k.net) == 1);
    int b = kit_connect(&k), c = kit_connect(&k);
    kit_put(b, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27);
    assert_true(kit_drain(&k, b, got, sizeof got - 1) > 0);
    assert_memory_equal(got, "HTTP/1.1 503 ", 13);
    assert_non_null(strstr(got, "\r\nRetry-After: 5\r\n"));
    close(b);
    KIT_UNTIL(&k, net_count(k.net) == 2);
    assert_int_equal(k.net->waiting, 1);
    for (int i = 0; i < LINGER_TICKS; i++)
        net_tick(k.net);
    assert_int_equal(net_count(k.net), 1);
    assert_int_equal(k.net->waiting, 0);
    /* They do not count. */
    assert_int_equal(net_shared_connections(k.shared), 1);
    close(a);
    close(c);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    kit_stop(&k);
}

/* When very many are refused at once, the rest is told without being read. */
static void refused_in_masses(void **state)
{
    (void)state;
    struct kit k;
    struct net_limits limits = {.frame = 65536, .output_queue = 1 << 20, .connections = 1, .login_timeout = 10};
    int *fds = malloc((WAITING_MAX + 20) * sizeof *fds);
    kit_start(&k, CONN_WEBSOCKET, &limits);
    for (unsigned i = 0; i < WAITING_MAX + 20; i++) {
        fds[i] = kit_connect(&k);
        kit_turn(&k, 1);
    }
    KIT_UNTIL(&k, k.net->waiting == WAITING_MAX);
    assert_int_equal(net_count(k.net), WAITING_MAX + 1);
    char got[512] = "";
    assert_true(kit_drain(&k, fds[WAITING_MAX + 19], got, sizeof got - 1) > 0);
    assert_memory_equal(got, "HTTP/1.1 503 ", 13);
    for (unsigned i = 0; i < WAITING_MAX + 20; i++)
        close(fds[i]);
    free(fds);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    assert_int_equal(k.net->waiting, 0);
    kit_stop(&k);
}

/* Out of descriptors: those who knock wait, the loop sleeps, and when there are some again they are let in. */
static void descriptors_exhausted(void **state)
{
    (void)state;
    struct kit k;
    struct rlimit before, few;
    kit_start(&k, CONN_TCP, NULL);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int fds[40], probe = dup(0);
    close(probe);
    /* The clients' own descriptors are of this process too: made first. */
    for (int i = 0; i < 40; i++)
        fds[i] = kit_connect(&k);
    few = (struct rlimit){.rlim_cur = (rlim_t)probe + 40 + 10 + 4, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    KIT_UNTIL(&k, !k.net->accepting);
    uint32_t in = k.opened;
    assert_true(in > 0 && in <= 10);
    /* Some stay for the store, the console and the logs. */
    int spare = dup(0);
    assert_true(spare >= 0);
    close(spare);
    /* While it rests, the listening socket wakes nobody. */
    struct epoll_event e;
    assert_int_equal(epoll_wait(k.net->epoll_fd, &e, 1, 0), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    KIT_UNTIL(&k, k.opened >= 35);
    for (int i = 0; i < 40; i++)
        close(fds[i]);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    kit_stop(&k);
}

static void options_are_inherited(void **state)
{
    (void)state;
    struct kit k;
    int value = 0;
    socklen_t n = sizeof value;
    kit_start(&k, CONN_TCP, NULL);
    int fd = kit_client(&k), ours = conn_at(k.net, k.last)->fd;
    assert_int_equal(getsockopt(ours, IPPROTO_TCP, TCP_NODELAY, &value, &n), 0);
    assert_int_not_equal(value, 0);
    assert_int_equal(getsockopt(ours, SOL_SOCKET, SO_KEEPALIVE, &value, &n), 0);
    assert_int_not_equal(value, 0);
    assert_int_equal(getsockopt(ours, IPPROTO_TCP, TCP_KEEPIDLE, &value, &n), 0);
    assert_int_equal(value, 300);
    assert_true(fcntl(ours, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(ours, F_GETFD) & FD_CLOEXEC);
    close(fd);
    kit_stop(&k);
}

static void stops_listening(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, NULL);
    int a = kit_client(&k);
    net_stop_listening(k.net);
    int b = kit_connect(&k);
    kit_turn(&k, 50);
    assert_int_equal(k.opened, 1);
    close(a);
    KIT_UNTIL(&k, k.closed == 1);
    close(b);
    kit_stop(&k);
}

static void close_at_once(struct kit *k, uint32_t conn)
{
    conn_close(k->net, conn, CLOSE_SHUTDOWN, NULL, 1234);
}

static void closed_when_opened(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, NULL);
    k.on_opened = close_at_once;
    int fd = kit_connect(&k);
    kit_expect_frame(&k, fd, 105, "{\"reason\":\"shutdown\",\"retryAfter\":1234}");
    assert_int_equal(kit_drain(&k, fd, NULL, 0), 0);
    close(fd);
    KIT_UNTIL(&k, k.closed == 1);
    kit_stop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_cap),       cmocka_unit_test(per_address_cap),
        cmocka_unit_test(refused_with_503),      cmocka_unit_test(refused_in_masses),
        cmocka_unit_test(descriptors_exhausted), cmocka_unit_test(options_are_inherited),
        cmocka_unit_test(stops_listening),       cmocka_unit_test(closed_when_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
