/* Connections of peers that speak for others: what becomes of the header, and that all accounts are the named one's. */
#include "tests/unit/net_kit.h"

#include "core/net/conn_private.h"
#include "core/net/net_shared_private.h"
#include "core/net/proxy_conn_private.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>

#define HELLO "\0\0\0\012\0\1\0\1{}"
#define V1(a) "PROXY TCP4 " a " 192.0.2.9 1000 2000\r\n"
#define REQUEST                                                                                                        \
    "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"          \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define PUT(fd, text) kit_put(fd, text, sizeof(text) - 1)

static const char *const loopback[] = {"127.0.0.1", "10.0.0.0/8", NULL};

static struct net_limits limits_of(const char *const *proxies)
{
    return (struct net_limits){.frame = 65536, .output_queue = 1 << 20, .login_timeout = 10, .proxies = proxies};
}

static void start(struct kit *k, enum conn_transport transport)
{
    struct net_limits limits = limits_of(loopback);
    kit_start(k, transport, &limits);
}

static void expect_peer(struct kit *k, const char *text)
{
    char peer[64];
    conn_peer(k->net, k->last, peer, sizeof peer);
    assert_string_equal(peer, text);
}

/* A client from 127.0.0.2, which is no proxy. */
static int stranger(struct kit *k)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&k->address, sizeof k->address), 0);
    return fd;
}

/* The header and what follows, in one piece and byte by byte. */
static void a_header_over_tcp(void **state)
{
    (void)state;
    static const char both[] = V1("192.0.2.1") HELLO;
    static const size_t header = sizeof V1("192.0.2.1") - 1;
    struct kit k;
    int on = 1;
    start(&k, CONN_TCP);
    int a = kit_connect(&k), b = kit_connect(&k);
    setsockopt(b, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    kit_put(a, both, sizeof both - 1);
    KIT_UNTIL(&k, k.count == 1);
    expect_peer(&k, "192.0.2.1");
    for (size_t i = 0; i < sizeof both - 1; i++) {
        assert_int_equal(k.opened, 1 + (i >= header));
        kit_put(b, both + i, 1);
        kit_turn(&k, 3);
        if (i + 1 == header)
            KIT_UNTIL(&k, k.opened == 2);
    }
    KIT_UNTIL(&k, k.count == 2);
    assert_int_equal(k.messages[1].n, 2);
    expect_peer(&k, "192.0.2.1");
    close(a);
    close(b);
    KIT_UNTIL(&k, k.closed == 2);
    kit_stop(&k);
}

/* Half a header waits, and costs nothing meanwhile: the descriptor tells of it once. */
static void half_a_header_is_no_work(void **state)
{
    (void)state;
    struct kit k;
    struct epoll_event e;
    start(&k, CONN_TCP);
    int a = kit_connect(&k);
    PUT(a, "PROXY TCP4 192.0");
    KIT_UNTIL(&k, net_count(k.net) == 1);
    kit_turn(&k, 5);
    assert_int_equal(epoll_wait(k.net->epoll_fd, &e, 1, 50), 0);
    assert_null(conn_at(k.net, net_next(k.net, 0))->in);
    for (int i = 0; i < 11; i++)
        net_tick(k.net);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    assert_int_equal(k.opened, 0);
    char got[64];
    assert_true(kit_drain(&k, a, got, sizeof got) <= 0);
    close(a);
    kit_stop(&k);
}

/* Cut by the proxy: nothing was opened, nothing is left. */
static void cut(void **state)
{
    (void)state;
    static const char *const parts[] = {"", "P", "PROXY TCP4 192.0.2.1", "\r\n\r\n"};
    struct kit k;
    start(&k, CONN_TCP);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (int how = 0; how < 2; how++) {
            int a = kit_connect(&k);
            KIT_UNTIL(&k, net_count(k.net) == 1);
            if (*parts[i])
                kit_put(a, parts[i], strlen(parts[i]));
            kit_turn(&k, how * 3);
            shutdown(a, SHUT_WR);
            KIT_UNTIL(&k, net_count(k.net) == 0);
            close(a);
        }
    assert_int_equal(k.opened, 0);
    kit_stop(&k);
}

/* Malformed ones and those that come twice end the connection; a second one is the client's. */
static void refused(void **state)
{
    (void)state;
    struct kit k;
    char got[256] = "";
    start(&k, CONN_TCP);
    int a = kit_connect(&k);
    PUT(a, "PROXY TCP4 localhost 192.0.2.9 1 2\r\n" HELLO);
    assert_true(kit_drain(&k, a, got, sizeof got) <= 0); /* unread bytes make it a reset */
    assert_int_equal(k.opened, 0);
    close(a);
    a = kit_connect(&k);
    PUT(a, V1("192.0.2.1") V1("192.0.2.2") HELLO);
    assert_true(kit_drain(&k, a, got, sizeof got - 1) > 16);
    assert_non_null(strstr(got + 8, "a PROXY header, from a peer that the config does not list"));
    assert_int_equal(k.count, 0);
    assert_int_equal(k.closing_reason, CLOSE_PROTOCOL);
    close(a);
    kit_stop(&k);
}

/* From a peer that is not listed. */
static void strangers(void **state)
{
    (void)state;
    struct kit k;
    char got[512] = "";
    start(&k, CONN_TCP);
    int a = stranger(&k);
    KIT_UNTIL(&k, k.opened == 1);
    PUT(a, V1("192.0.2.1") HELLO);
    assert_true(kit_drain(&k, a, got, sizeof got - 1) > 16);
    assert_non_null(strstr(got + 8, "listen.proxy"));
    assert_int_equal(k.count, 0);
    close(a);
    a = stranger(&k);
    KIT_UNTIL(&k, k.opened == 2);
    PUT(a, "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
           "123412341212" HELLO);
    memset(got, 0, sizeof got);
    assert_true(kit_drain(&k, a, got, sizeof got - 1) > 16);
    assert_non_null(strstr(got + 8, "listen.proxy"));
    close(a);
    kit_stop(&k);
    start(&k, CONN_WEBSOCKET);
    static const char *const requests[] = {V1("192.0.2.1") REQUEST "\r\n", "\r\n\r\n"};
    for (int i = 0; i < 2; i++) {
        a = stranger(&k);
        kit_put(a, requests[i], strlen(requests[i]));
        if (i)
            PUT(a, "\0\r\nQUIT\n\x20\0\0\0");
        memset(got, 0, sizeof got);
        assert_true(kit_drain(&k, a, got, sizeof got - 1) > 16);
        assert_memory_equal(got, "HTTP/1.1 400 ", 13);
        assert_non_null(strstr(got, "listen.proxy"));
        close(a);
    }
    /* Its fields are its own, and mean nothing. */
    a = stranger(&k);
    PUT(a, REQUEST "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=\"\r\n\r\n");
    KIT_UNTIL(&k, k.opened == 1);
    expect_peer(&k, "127.0.0.2");
    close(a);
    KIT_UNTIL(&k, k.closed == 1);
    kit_stop(&k);
}

/* A proxy that speaks for itself, or says nothing: it is the client. */
static void without_a_name(void **state)
{
    (void)state;
    static const char *const leads[] = {"", "PROXY UNKNOWN\r\n"};
    struct kit k;
    for (int ws = 0; ws < 2; ws++) {
        start(&k, ws ? CONN_WEBSOCKET : CONN_TCP);
        for (unsigned i = 0; i < 3; i++) {
            int a = kit_connect(&k);
            if (i == 2)
                PUT(a, "\r\n\r\n\0\r\nQUIT\n\x20\x11\0\x02xy");
            else if (*leads[i])
                kit_put(a, leads[i], strlen(leads[i]));
            if (ws)
                PUT(a, REQUEST "\r\n");
            else
                PUT(a, HELLO);
            KIT_UNTIL(&k, k.opened == i + 1);
            expect_peer(&k, "127.0.0.1");
            if (!ws)
                KIT_UNTIL(&k, k.count == i + 1);
            close(a);
            KIT_UNTIL(&k, k.closed == i + 1);
        }
        kit_stop(&k);
    }
}

/* In a request's head; behind a PROXY header only what a proxy says counts. */
static void in_the_head(void **state)
{
    (void)state;
    static const struct {
        const char *text, *peer; /* NULL: 400 */
    } cases[] = {
        {REQUEST "X-Forwarded-For: 198.51.100.7, 192.0.2.1\r\n\r\n", "192.0.2.1"},
        {REQUEST "Forwarded: for=\"[2001:db8::5]:99\"\r\n\r\n", "2001:db8::5"},
        {REQUEST "X-Forwarded-For: unknown\r\n\r\n", "127.0.0.1"},
        {V1("192.0.2.1") REQUEST "X-Forwarded-For: 198.51.100.7\r\n\r\n", "192.0.2.1"},
        {V1("10.1.1.1") REQUEST "X-Forwarded-For: 192.0.2.1\r\n\r\n", "192.0.2.1"},
        {V1("10.1.1.1") REQUEST "\r\n", "10.1.1.1"},
        {"PROXY TCP6 2001:db8::1 ::1 1 2\r\n" REQUEST "Forwarded: for=\r\n\r\n", "2001:db8::1"},
        {REQUEST "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n\r\n", NULL},
        {REQUEST "Forwarded: for=\"192.0.2.1\r\n\r\n", NULL},
    };
    struct kit k;
    start(&k, CONN_WEBSOCKET);
    uint32_t opened = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char got[1024] = "";
        int a = kit_connect(&k);
        /* In two pieces, as networks cut them. */
        kit_put(a, cases[i].text, 30);
        kit_turn(&k, 3);
        kit_put(a, cases[i].text + 30, strlen(cases[i].text) - 30);
        print_message("%s", cases[i].text);
        if (cases[i].peer) {
            KIT_UNTIL(&k, k.opened == opened + 1);
            opened++;
            expect_peer(&k, cases[i].peer);
        } else {
            assert_true(kit_drain(&k, a, got, sizeof got - 1) > 0);
            assert_memory_equal(got, "HTTP/1.1 400 ", 13);
        }
        close(a);
    }
    KIT_UNTIL(&k, net_count(k.net) == 0);
    kit_stop(&k);
}

/* limits.connections_per_ip counts the clients, not the proxy. */
static void the_cap_is_the_clients(void **state)
{
    (void)state;
    struct kit k;
    char got[512] = "";
    struct net_limits limits = limits_of(loopback);
    limits.connections_per_ip = 2;
    kit_start(&k, CONN_TCP, &limits);
    int fds[6];
    for (uint32_t i = 0; i < 6; i++) {
        char line[64];
        fds[i] = kit_connect(&k);
        snprintf(line, sizeof line, "PROXY TCP4 192.0.2.%u 192.0.2.9 1 2\r\n", i / 2);
        kit_put(fds[i], line, strlen(line));
        KIT_UNTIL(&k, k.opened == i + 1);
    }
    int a = kit_connect(&k);
    PUT(a, V1("192.0.2.1"));
    assert_int_equal(kit_drain(&k, a, got, sizeof got), 0);
    assert_int_equal(k.opened, 6);
    close(a);
    close(fds[2]);
    KIT_UNTIL(&k, k.closed == 1);
    a = kit_connect(&k);
    PUT(a, V1("192.0.2.1"));
    KIT_UNTIL(&k, k.opened == 7);
    close(a);
    for (int i = 0; i < 6; i++)
        close(fds[i]);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    kit_stop(&k);

    /* Over WebSocket it is told, by either way of naming; and who is refused is counted nowhere. */
    kit_start(&k, CONN_WEBSOCKET, &limits);
    for (uint32_t i = 0; i < 2; i++) {
        fds[i] = kit_connect(&k);
        PUT(fds[i], REQUEST "X-Forwarded-For: 192.0.2.1\r\n\r\n");
        KIT_UNTIL(&k, k.opened == i + 1);
    }
    static const char *const more[] = {V1("192.0.2.1") "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
                                       REQUEST "X-Forwarded-For: 192.0.2.1\r\n\r\n"};
    for (int i = 0; i < 2; i++) {
        a = kit_connect(&k);
        kit_put(a, more[i], strlen(more[i]));
        memset(got, 0, sizeof got);
        assert_true(kit_drain(&k, a, got, sizeof got - 1) > 0);
        assert_memory_equal(got, "HTTP/1.1 503 ", 13);
        close(a);
        KIT_UNTIL(&k, net_count(k.net) == 2);
        assert_int_equal(net_shared_connections(k.shared), 2);
        assert_int_equal(k.net->waiting, 0);
    }
    a = kit_connect(&k);
    PUT(a, REQUEST "X-Forwarded-For: 192.0.2.2\r\n\r\n");
    KIT_UNTIL(&k, k.opened == 3);
    close(a);
    close(fds[0]);
    close(fds[1]);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    kit_stop(&k);
}

/* What an address may hold before login is the client's as well, and goes with a connection that moves. */
static void accounts_and_moves(void **state)
{
    (void)state;
    struct kit k;
    struct net_limits limits = limits_of(loopback);
    limits.early_per_ip = 5000;
    kit_start(&k, CONN_TCP, &limits);
    static char half[3000] = "\0\0\x40\0\0\1\0\1";
    int a = kit_connect(&k), b = kit_connect(&k), c = kit_connect(&k);
    PUT(a, V1("192.0.2.1"));
    PUT(b, V1("192.0.2.2"));
    KIT_UNTIL(&k, k.opened == 2);
    kit_put(a, half, sizeof half);
    kit_put(b, half, sizeof half);
    KIT_UNTIL(&k, net_shared_early(k.shared) >= 6000);
    PUT(c, V1("192.0.2.2"));
    kit_put(c, half, sizeof half);
    KIT_UNTIL(&k, k.closing == 1);
    assert_int_equal(k.closing_reason, CLOSE_SLOW);
    expect_peer(&k, "192.0.2.2");
    struct conn_record r;
    uint32_t idx = net_next(k.net, 0);
    char before[64], after[64];
    conn_peer(k.net, idx, before, sizeof before);
    conn_at(k.net, idx)->flags |= CONN_F_PAUSED;
    assert_int_equal(conn_detach(k.net, idx, &r), 0);
    idx = conn_attach(k.net, &r);
    conn_peer(k.net, idx, after, sizeof after);
    assert_string_equal(before, after);
    assert_true(strncmp(after, "192.0.2.", 8) == 0);
    close(a);
    close(b);
    close(c);
    conn_at(k.net, idx)->flags &= (uint16_t)~CONN_F_PAUSED;
    KIT_UNTIL(&k, net_count(k.net) == 0);
    assert_int_equal(net_shared_early(k.shared), 0);
    kit_stop(&k);
}

/* The list may change while connections wait and are named. */
static void a_reload(void **state)
{
    (void)state;
    static const char *const unix_only[] = {"unix:", NULL};
    struct kit k;
    start(&k, CONN_TCP);
    int a = kit_connect(&k);
    KIT_UNTIL(&k, net_count(k.net) == 1);
    struct net_limits limits = limits_of(unix_only);
    net_configure(k.net, &limits);
    PUT(a, V1("192.0.2.1") HELLO);
    KIT_UNTIL(&k, k.count == 1);
    expect_peer(&k, "192.0.2.1");
    int b = kit_client(&k);
    expect_peer(&k, "127.0.0.1");
    close(a);
    close(b);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    kit_stop(&k);
}

/* What a Unix socket's peer says, when it is listed. */
static void unix_peers(void **state)
{
    (void)state;
    static const char *const unix_only[] = {"unix:", NULL};
    struct kit k;
    struct net_limits limits = limits_of(unix_only);
    int fds[2];
    kit_start(&k, CONN_TCP, &limits);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_true(shared_connection_add(k.shared, 0));
    uint32_t idx = conn_new(k.net, fds[0], CONN_TCP, STREAM_PLAIN);
    proxy_await(k.net, idx, conn_at(k.net, idx));
    for (size_t i = 0; i < sizeof V1("192.0.2.1") - 1; i++) {
        kit_put(fds[1], &V1("192.0.2.1")[i], 1);
        kit_turn(&k, 1);
    }
    PUT(fds[1], HELLO);
    KIT_UNTIL(&k, k.count == 1);
    expect_peer(&k, "192.0.2.1");
    close(fds[1]);
    KIT_UNTIL(&k, k.closed == 1);
    kit_stop(&k);
}

/* Closing all, as a drain does, reaches those that wait for their header. */
static void closed_while_waiting(void **state)
{
    (void)state;
    struct kit k;
    char got[16];
    start(&k, CONN_WEBSOCKET);
    int a = kit_connect(&k);
    KIT_UNTIL(&k, net_count(k.net) == 1);
    conn_close(k.net, net_next(k.net, 0), CLOSE_SHUTDOWN, NULL, 5);
    KIT_UNTIL(&k, net_count(k.net) == 0);
    assert_int_equal(kit_drain(&k, a, got, sizeof got), 0);
    close(a);
    kit_stop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_over_tcp),
        cmocka_unit_test(half_a_header_is_no_work),
        cmocka_unit_test(cut),
        cmocka_unit_test(refused),
        cmocka_unit_test(strangers),
        cmocka_unit_test(without_a_name),
        cmocka_unit_test(in_the_head),
        cmocka_unit_test(the_cap_is_the_clients),
        cmocka_unit_test(accounts_and_moves),
        cmocka_unit_test(a_reload),
        cmocka_unit_test(unix_peers),
        cmocka_unit_test(closed_while_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
