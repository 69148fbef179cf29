/* Connections that must agree with the other side first: by a row of the tests' own, whose steps are counted, go a
 * prescribed number of rounds, and fail on demand. */
#include "core/net/accept.h"
#include "core/net/net.h"
#include "core/net/net_shared_private.h"
#include "core/net/shake_private.h"
#include "tests/unit/net_kit.h"

enum { CLIENTS = 400, FDS = 4096 };

/* By descriptor: how many steps there were, and what is counted. */
static struct {
    unsigned steps;
    uint32_t counted;
} at[FDS];
static struct {
    unsigned rounds;       /* steps that one takes until it agrees */
    unsigned steps, begun; /* in all */
    unsigned agreed;       /* connections */
    unsigned most;         /* begun and not agreed, at a time */
    int fail;              /* 1: hear() fails; 2: step() does */
    size_t held;           /* bytes of each that has begun */
} row;

static int shy_hear(const struct stream *self, int fd)
{
    char c[16];
    (void)self;
    assert_true(fd < FDS);
    ssize_t n = recv(fd, c, sizeof c, 0);
    return n > 0 && row.fail != 1 ? 0 : n < 0 && errno == EAGAIN ? ERR_AGAIN : ERR_CLOSED;
}

static int shy_step(const struct stream *self, int fd)
{
    (void)self;
    row.steps++;
    if (row.fail == 2)
        return ERR_CLOSED;
    if (at[fd].steps++ == 0)
        row.begun++;
    if (at[fd].steps < row.rounds) {
        row.most = row.begun - row.agreed > row.most ? row.begun - row.agreed : row.most;
        return ERR_AGAIN;
    }
    row.agreed++;
    return 0;
}

static size_t shy_held(const struct stream *self, int fd, uint32_t **counted)
{
    (void)self;
    *counted = &at[fd].counted;
    return at[fd].steps && at[fd].steps < row.rounds ? row.held : 0;
}

static void shy_close(const struct stream *self, int fd)
{
    (void)self;
    assert_int_equal(at[fd].counted, 0);
    at[fd].steps = 0;
    close(fd);
}

static size_t shy_pending(const struct stream *self, int fd)
{
    (void)self, (void)fd;
    return 0;
}

static struct stream shy;

static void start(struct kit *k, enum conn_transport transport, const struct net_limits *limits)
{
    memset(&row, 0, sizeof row);
    memset(at, 0, sizeof at);
    row.rounds = 2;
    row.held = 56 << 10;
    shy = stream_plain;
    shy.hear = shy_hear;
    shy.step = shy_step;
    shy.held = shy_held;
    shy.close = shy_close;
    shy.pending = shy_pending;
    kit_start(k, transport, limits);
    assert_int_equal(net_set_stream(k->net, STREAM_PLAIN, &shy), ERR_INVALID);
    assert_int_equal(net_set_stream(k->net, STREAM_TLS, &shy), 0);
    assert_int_equal(net_listen(k->net, k->listening, transport, STREAM_TLS_WEB), ERR_INVALID);
    k->net->listening[0].stream = STREAM_TLS;
}

/* The owner hears of a connection when it agrees, and the protocol begins with the next byte. */
static void one(void **state)
{
    (void)state;
    struct kit k;
    start(&k, CONN_TCP, NULL);
    int fd = kit_connect(&k);
    KIT_UNTIL(&k, net_count(k.net) == 1);
    kit_turn(&k, 20);
    assert_int_equal(k.opened + row.steps, 0);
    kit_put(fd, "a", 1);
    KIT_UNTIL(&k, row.steps == 1);
    assert_int_equal(net_shared_early(k.shared), 56 << 10);
    kit_turn(&k, 20);
    assert_int_equal(k.opened, 0);
    kit_put(fd, "b", 1);
    KIT_UNTIL(&k, k.opened == 1);
    assert_int_equal(net_shared_early(k.shared), 0);
    kit_put(fd, "\0\0\0\x0a\0\5\0\1{}", 10);
    KIT_UNTIL(&k, k.count == 1);
    close(fd);
    KIT_UNTIL(&k, k.closed == 1);
    kit_stop(&k);
}

/* Who fails, or goes, in between: the owner never hears of it, and nothing stays counted. */
static void failures(void **state)
{
    (void)state;
    for (int fail = 0; fail < 4; fail++) {
        struct kit k;
        start(&k, fail % 2 ? CONN_WEBSOCKET : CONN_TCP, NULL);
        int fd = kit_connect(&k);
        KIT_UNTIL(&k, net_count(k.net) == 1);
        row.fail = fail;
        kit_put(fd, "a", 1);
        if (fail == 0 || fail == 3)
            KIT_UNTIL(&k, row.steps == 1);
        if (fail == 3) /* as a drain does */
            conn_close(k.net, net_next(k.net, 0), CLOSE_SHUTDOWN, NULL, 0);
        else if (fail == 0)
            close(fd);
        KIT_UNTIL(&k, net_count(k.net) == 0);
        assert_int_equal(k.opened + k.closed + k.closing, 0);
        assert_int_equal(net_shared_early(k.shared), 0);
        assert_int_equal(k.net->shakes.count, 0);
        if (fail)
            close(fd);
        kit_stop(&k);
    }
}

/* Ten seconds, whatever timeouts.login says. */
static void in_time(void **state)
{
    (void)state;
    static const struct {
        uint32_t login, ticks;
    } cases[] = {{0, 11}, {3, 4}, {60, 11}};
    for (int begun = 0; begun < 2; begun++) {
        for (int i = 0; i < 3; i++) {
            const struct net_limits limits = {
                .frame = 65536, .output_queue = 1 << 20, .login_timeout = cases[i].login, .idle_timeout = 300};
            struct kit k;
            start(&k, CONN_TCP, &limits);
            int fd = kit_connect(&k);
            KIT_UNTIL(&k, net_count(k.net) == 1);
            if (begun) {
                kit_put(fd, "a", 1);
                KIT_UNTIL(&k, row.steps == 1);
            }
            for (uint32_t tick = 0; tick < cases[i].ticks - 1; tick++)
                net_tick(k.net);
            kit_turn(&k, 3);
            assert_int_equal(net_count(k.net), 1);
            net_tick(k.net);
            KIT_UNTIL(&k, net_count(k.net) == 0);
            assert_int_equal(k.net->shakes.count, 0);
            close(fd);
            kit_stop(&k);
        }
    }
}

/* A herd: few steps a turn of the loop, and everybody gets through. */
static void few_a_turn(void **state)
{
    (void)state;
    struct kit k;
    int fds[CLIENTS];
    start(&k, CONN_TCP, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = kit_connect(&k);
        kit_put(fds[i], "a", 1);
    }
    for (int turn = 0; turn < 3000 && row.begun < SHAKES_MAX; turn++) {
        unsigned before = row.steps;
        kit_turn(&k, 1);
        assert_true(row.steps - before <= 4);
    }
    assert_int_equal(row.begun, SHAKES_MAX);
    kit_turn(&k, 50);
    assert_int_equal(row.begun, SHAKES_MAX); /* the others wait for room */
    assert_true(k.net->shakes.stuck);
    for (int i = 0; i < CLIENTS; i++)
        kit_put(fds[i], "b", 1);
    KIT_UNTIL(&k, k.opened > 0);
    for (int round = 0; round < CLIENTS && k.opened < CLIENTS; round++) {
        for (int i = 0; i < CLIENTS; i++)
            (void)!send(fds[i], "\0\0\0\x08\0\5\0\1", 8, MSG_NOSIGNAL);
        kit_turn(&k, 30);
    }
    assert_int_equal(k.opened, CLIENTS);
    assert_true(row.most <= SHAKES_MAX);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    kit_stop(&k);
}

/* One after the other, until the queue has gone round. */
static void round_the_ring(void **state)
{
    (void)state;
    struct kit k;
    start(&k, CONN_TCP, NULL);
    row.rounds = 3;
    for (unsigned i = 0; i < 200; i++) {
        int fd = kit_connect(&k);
        for (unsigned round = 1; round <= 3; round++) {
            kit_put(fd, "a", 1);
            KIT_UNTIL(&k, row.steps == 3 * i + round);
        }
        assert_int_equal(k.opened, i + 1);
        close(fd);
        KIT_UNTIL(&k, net_count(k.net) == 0);
    }
    kit_stop(&k);
}

/* Those that begin and say no more give way to who comes later, and no sooner than they had time. */
static void the_slow_give_way(void **state)
{
    (void)state;
    const struct net_limits limits = {.frame = 65536,
                                      .output_queue = 1 << 20,
                                      .login_timeout = 10,
                                      .early_total = 64 << 20,
                                      .early_per_ip = 10 * (56 << 10)};
    struct kit k;
    int fds[CLIENTS];
    start(&k, CONN_TCP, &limits);
    for (int i = 0; i < 30; i++) {
        fds[i] = kit_connect(&k);
        kit_put(fds[i], "a", 1);
    }
    KIT_UNTIL(&k, row.begun == 10 && k.net->shakes.stuck);
    assert_int_equal(k.net->shakes.parked.n, 20);
    int honest = kit_connect(&k);
    kit_put(honest, "a", 1);
    kit_turn(&k, 50);
    assert_int_equal(row.begun, 10); /* an address has its share */
    assert_int_equal(net_count(k.net), 31);
    net_tick(k.net);
    net_tick(k.net);
    kit_turn(&k, 60);
    kit_put(honest, "b", 1); /* the newest was the first to find room */
    KIT_UNTIL(&k, k.opened == 1);
    for (int second = 0; second < 6; second++) {
        net_tick(k.net);
        kit_turn(&k, 60);
        assert_true(k.net->shakes.count <= 10);
        assert_true(net_shared_early(k.shared) <= limits.early_per_ip);
    }
    assert_true(row.begun > 25);
    for (int i = 0; i < 30; i++)
        close(fds[i]);
    close(honest);
    kit_stop(&k);
    assert_int_equal(k.opened, 1);
}

/* Nobody gives way whose answer has come and is only not read yet. */
static void who_has_answered_stays(void **state)
{
    (void)state;
    const struct net_limits limits = {.frame = 65536,
                                      .output_queue = 1 << 20,
                                      .login_timeout = 10,
                                      .early_total = 64 << 20,
                                      .early_per_ip = 10 * (56 << 10)};
    struct kit k;
    int fds[11];
    start(&k, CONN_TCP, &limits);
    for (int i = 0; i < 11; i++) {
        fds[i] = kit_connect(&k);
        kit_put(fds[i], "a", 1);
        KIT_UNTIL(&k, i < 10 ? row.begun == (unsigned)i + 1 : k.net->shakes.parked.n == 1);
    }
    for (int i = 0; i < 10; i++)
        kit_put(fds[i], "b", 1);
    net_tick(k.net);
    net_tick(k.net);
    KIT_UNTIL(&k, row.agreed == 10 && row.begun == 11);
    kit_put(fds[10], "b", 1);
    KIT_UNTIL(&k, k.opened == 11);
    for (int i = 0; i < 11; i++)
        close(fds[i]);
    kit_stop(&k);
}

/* Over a cap nobody speaks TLS to be told so. */
static void refused(void **state)
{
    (void)state;
    static const struct net_limits limits = {.frame = 65536, .output_queue = 1 << 20, .connections = 1};
    struct kit k;
    char c;
    start(&k, CONN_WEBSOCKET, &limits);
    int fd = kit_connect(&k), second = kit_connect(&k);
    KIT_UNTIL(&k, net_count(k.net) == 1);
    kit_turn(&k, 5);
    assert_int_equal(recv(second, &c, 1, 0), 0);
    close(fd);
    close(second);
    kit_stop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one),        cmocka_unit_test(failures),          cmocka_unit_test(in_time),
        cmocka_unit_test(few_a_turn), cmocka_unit_test(the_slow_give_way), cmocka_unit_test(who_has_answered_stays),
        cmocka_unit_test(refused),    cmocka_unit_test(round_the_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
