#include "tests/unit/net_kit.h"
#include "tests/unit/ws_kit.h"
#include "core/net/input.h"
#include "core/net/net.h"
#include "core/net/send.h"
#include "core/net/net_shared_private.h"

static const char request[] =
    "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/* An upgraded client; logged in when `ready`. */
static int client(struct kit *k, bool ready)
{
    char head[129];
    uint32_t before = k->opened;
    int fd = kit_connect(k);
    kit_put(fd, request, sizeof request - 1);
    kit_take(k, fd, head, sizeof head);
    assert_memory_equal(head, "HTTP/1.1 101 ", 13);
    assert_memory_equal(head + sizeof head - 4, "\r\n\r\n", 4);
    assert_int_equal(k->opened, before + 1);
    if (ready)
        conn_set(k->net, k->last, CONN_F_READY);
    return fd;
}

/* Reads a frame of the server; its first byte. The payload goes to `out`, ended with 0. */
static unsigned take(struct kit *k, int fd, char *out, size_t size, size_t *n)
{
    uint8_t head[10];
    kit_take(k, fd, head, 2);
    *n = head[1];
    if (head[1] == 126) {
        kit_take(k, fd, head + 2, 2);
        *n = load_be16(head + 2);
    } else if (head[1] == 127) {
        kit_take(k, fd, head + 2, 8);
        *n = (size_t)load_be64(head + 2);
    }
    assert_true(*n < size);
    kit_take(k, fd, out, *n);
    out[*n] = 0;
    return head[0];
}

static void expect(struct kit *k, int fd, unsigned first, const char *payload, size_t payload_n)
{
    char out[4096];
    size_t n;
    assert_int_equal(take(k, fd, out, sizeof out, &n), first);
    assert_int_equal(n, payload_n);
    assert_memory_equal(out, payload, n);
}
#define EXPECT(k, fd, first, payload) expect((k), (fd), (first), (payload), sizeof(payload) - 1)

static void put(int fd, unsigned first, struct slice payload)
{
    struct buf b = BUF_INIT;
    ws_put(&b, first, payload);
    kit_put(fd, b.p, b.n);
    buf_free(&b);
}

static void say(struct kit *k, uint16_t action, const char *body)
{
    struct wire *w =
        wire_new((enum wire_form)conn_at(k->net, k->last)->form, action, 5, slice_str(body), WIRE_TAG_NONE);
    assert_int_equal(conn_send(k->net, k->last, w, CONN_MUST), 0);
    wire_unref(w);
}

static void the_first_message_decides_the_form(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_WEBSOCKET, NULL);
    int fd = client(&k, false);
    put(fd, 0x82, slice_of("\0\1\0\7{\"name\":\"a\"}", 16));
    KIT_UNTIL(&k, k.count == 1);
    assert_false(k.messages[0].text);
    assert_int_equal(k.messages[0].action, 1);
    assert_int_equal(k.messages[0].seq, 7);
    assert_int_equal(k.messages[0].n, 12);
    say(&k, 9, "{}");
    EXPECT(&k, fd, 0x82, "\0\x09\0\5{}");
    put(fd, 0x81, SLICE_LIT("{\"action\":9}"));
    KIT_UNTIL(&k, k.count == 2);
    assert_true(k.messages[1].text);
    assert_memory_equal(k.messages[1].head, "{\"action\":9}", 12);
    say(&k, 9, "");
    EXPECT(&k, fd, 0x82, "\0\x09\0\5");
    close(fd);

    fd = client(&k, false);
    put(fd, 0x89, SLICE_LIT("a ping is no message"));
    EXPECT(&k, fd, 0x8A, "a ping is no message");
    put(fd, 0x81, SLICE_LIT("anything"));
    KIT_UNTIL(&k, k.count == 3);
    say(&k, 9, "");
    EXPECT(&k, fd, 0x81, "{\"action\":9,\"seq\":5,\"body\":{}}");
    put(fd, 0x82, slice_of("\0\2\0\3", 4));
    KIT_UNTIL(&k, k.count == 4);
    say(&k, 9, "{\"x\":1}");
    EXPECT(&k, fd, 0x81, "{\"action\":9,\"seq\":5,\"body\":{\"x\":1}}");
    close(fd);
    kit_stop(&k);
}

/* Errors of framing: an error frame, push 105, the close frame with its code, the end. */
static void errors(void **state)
{
    (void)state;
    static const struct {
        unsigned first;
        const char *payload;
        size_t n;
        const char *error;
        uint16_t code;
    } cases[] = {
        {0x82, "\0\1\0", 3, "bad_request", 1002},   {0x82, "", 0, "bad_request", 1002},
        {0xC2, "abcd", 4, "bad_request", 1002},     {0x83, "abcd", 4, "bad_request", 1002},
        {0x80, "abcd", 4, "bad_request", 1002},     {0x81, "\xff", 1, "bad_request", 1007},
        {0x88, "\x03\xed", 2, "bad_request", 1002},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kit k;
        char out[4096];
        size_t n;
        kit_start(&k, CONN_WEBSOCKET, NULL);
        int fd = client(&k, true);
        put(fd, cases[i].first, slice_of(cases[i].payload, cases[i].n));
        assert_int_equal(take(&k, fd, out, sizeof out, &n), 0x82);
        assert_memory_equal(out, "\0\0\0\0{\"error\":{\"code\":\"", 22);
        assert_non_null(strstr(out + 4, cases[i].error));
        assert_int_equal(take(&k, fd, out, sizeof out, &n), 0x82);
        assert_memory_equal(out, "\0\x69\0\0{\"reason\":\"protocol\",\"message\":", 34);
        assert_int_equal(take(&k, fd, out, sizeof out, &n), 0x88);
        assert_int_equal(n, 2);
        assert_int_equal(load_be16(out), cases[i].code);
        assert_int_equal(k.closing, 1);
        assert_int_equal(k.closing_reason, CLOSE_PROTOCOL);
        assert_int_equal(k.count, 0);
        put(fd, 0x88, slice_of(out, 2));
        assert_int_equal(kit_drain(&k, fd, NULL, 0), 0);
        close(fd);
        KIT_UNTIL(&k, k.closed == 1);
        kit_stop(&k);
    }
}

static void too_large(void **state)
{
    (void)state;
    struct kit k;
    char out[4096];
    size_t n;
    struct net_limits limits = {.frame = 1000, .output_queue = 1 << 20, .login_timeout = 10};
    kit_start(&k, CONN_WEBSOCKET, &limits);
    int fd = client(&k, true);
    char *message = calloc(1, 1001);
    put(fd, 0x82, slice_of(message, 1000));
    KIT_UNTIL(&k, k.count == 1);
    assert_int_equal(k.messages[0].n, 996);
    put(fd, 0x02, slice_of(message, 600));
    put(fd, 0x80, slice_of(message, 401));
    assert_int_equal(take(&k, fd, out, sizeof out, &n), 0x82);
    assert_string_equal(out + 4, "{\"error\":{\"code\":\"too_large\",\"message\":\"message: at most 1000 bytes\"}}");
    assert_int_equal(take(&k, fd, out, sizeof out, &n), 0x82);
    assert_int_equal(take(&k, fd, out, sizeof out, &n), 0x88);
    assert_int_equal(load_be16(out), 1009);
    assert_int_equal(k.count, 1);
    free(message);
    close(fd);
    kit_stop(&k);
}

/* The other side closes: its code comes back, then the end; what it says after that is not heard. */
static void closed_by_the_client(void **state)
{
    (void)state;
    struct kit k;
    struct buf b = BUF_INIT;
    kit_start(&k, CONN_WEBSOCKET, NULL);
    int fd = client(&k, true);
    ws_put(&b, 0x88,
           slice_of("\x0f\xa1"
                    "bye",
                    5));
    ws_put_message(&b, 9, 1, "");
    kit_put(fd, b.p, b.n);
    EXPECT(&k, fd, 0x88, "\x0f\xa1");
    assert_int_equal(kit_drain(&k, fd, NULL, 0), 0);
    assert_int_equal(k.count, 0);
    assert_int_equal(k.closing_reason, CLOSE_PEER);
    close(fd);
    KIT_UNTIL(&k, k.closed == 1);
    fd = client(&k, true);
    put(fd, 0x88, SLICE_NONE);
    EXPECT(&k, fd, 0x88, "");
    assert_int_equal(kit_drain(&k, fd, NULL, 0), 0);
    close(fd);
    buf_free(&b);
    kit_stop(&k);
}

static uint32_t ends, end_code;

static bool owes_answers(void *owner, uint32_t conn, uint16_t code)
{
    (void)owner, (void)conn;
    ends++;
    end_code = code;
    return true;
}

/* Requests and a close frame behind them: the answers come first, then the close frame with its code, then the end.
 * Whether the socket's half is closed too changes nothing, and what comes behind the close frame is not heard. */
static void answered_before_the_close_frame(void **state)
{
    (void)state;
    static const struct net_ops answering = {.opened = kit_opened,
                                             .message = kit_message,
                                             .closed = kit_closed,
                                             .closing = kit_closing,
                                             .ended = owes_answers,
                                             .drained = kit_drained};
    for (int how = 0; how < 3; how++) { /* a code; a code, and the end of the socket's half; no code, and no answer */
        struct kit k;
        struct buf b = BUF_INIT;
        kit_start(&k, CONN_WEBSOCKET, NULL);
        k.net->ops = &answering;
        ends = 0;
        int fd = client(&k, true);
        ws_put_message(&b, 4, 5, "");
        ws_put(&b, 0x88, how < 2 ? slice_of("\x0f\xa1", 2) : SLICE_NONE);
        ws_put_message(&b, 9, 1, "");
        kit_put(fd, b.p, b.n);
        if (how == 1)
            shutdown(fd, SHUT_WR);
        KIT_UNTIL(&k, ends == 1);
        assert_int_equal(end_code, how < 2 ? 4001 : WS_CODE_NONE);
        if (how != 1)
            kit_put(fd, "more", 4);
        kit_turn(&k, 20);
        assert_int_equal(k.count, 1);
        assert_int_equal(k.closing, 0);
        if (how < 2) {
            say(&k, 4, "{}");
            conn_hang_up(k.net, k.last, (uint16_t)end_code);
            EXPECT(&k, fd, 0x82, "\0\4\0\5{}");
        } else {
            for (int i = 0; i < ENDED_TICKS; i++)
                net_tick(k.net);
        }
        if (how < 2)
            EXPECT(&k, fd, 0x88, "\x0f\xa1");
        if (how == 2)
            EXPECT(&k, fd, 0x88, "");
        assert_int_equal(kit_drain(&k, fd, NULL, 0), 0);
        close(fd);
        KIT_UNTIL(&k, k.closed == 1);
        assert_int_equal(k.closed_reason, CLOSE_PEER);
        buf_free(&b);
        kit_stop(&k);
    }
}

static void closed_by_the_server(void **state)
{
    (void)state;
    static const struct {
        enum close_reason reason;
        const char *name;
        uint16_t code;
    } cases[] = {
        {CLOSE_KICKED, "kicked", 1008}, {CLOSE_SHUTDOWN, "shutdown", 1001}, {CLOSE_SLOW, "slow", 1008},
        {CLOSE_IDLE, "idle", 1008},     {CLOSE_REPLACED, "replaced", 1008}, {CLOSE_LOGOUT, NULL, 1000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kit k;
        char out[4096];
        size_t n;
        kit_start(&k, CONN_WEBSOCKET, NULL);
        int fd = client(&k, true);
        conn_close(k.net, k.last, cases[i].reason, "why", 0);
        if (cases[i].name) {
            char body[128];
            int m = snprintf(body, sizeof body, "{\"reason\":\"%s\",\"message\":\"why\"}", cases[i].name);
            assert_int_equal(take(&k, fd, out, sizeof out, &n), 0x82);
            assert_memory_equal(out, "\0\x69\0\0", 4);
            assert_int_equal(n, m + 4);
            assert_memory_equal(out + 4, body, (size_t)m);
        }
        assert_int_equal(take(&k, fd, out, sizeof out, &n), 0x88);
        assert_int_equal(load_be16(out), cases[i].code);
        /* Messages that were under way are not delivered; the answering close frame ends it. */
        struct buf b = BUF_INIT;
        ws_put_message(&b, 9, 1, "");
        ws_put(&b, 0x89, SLICE_LIT("x"));
        ws_put(&b, 0x88, slice_of(out, 2));
        kit_put(fd, b.p, b.n);
        buf_free(&b);
        assert_int_equal(kit_drain(&k, fd, NULL, 0), 0);
        assert_int_equal(k.count, 0);
        close(fd);
        KIT_UNTIL(&k, k.closed == 1);
        assert_int_equal(k.closed_reason, cases[i].reason);
        kit_stop(&k);
    }
}

/* One that does not answer the close frame is not waited for long. */
static void a_close_frame_unanswered(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_WEBSOCKET, NULL);
    int fd = client(&k, true);
    conn_close(k.net, k.last, CLOSE_KICKED, NULL, 0);
    kit_turn(&k, 20);
    assert_int_equal(k.closed, 0);
    for (int i = 0; i < LINGER_TICKS; i++)
        net_tick(k.net);
    assert_int_equal(k.closed, 1);
    close(fd);
    kit_stop(&k);
}

static void fragments_and_pings(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_WEBSOCKET, NULL);
    int fd = client(&k, true);
    put(fd, 0x02, slice_of("\0\4", 2));
    kit_turn(&k, 10);
    put(fd, 0x89, SLICE_LIT("in between"));
    EXPECT(&k, fd, 0x8A, "in between");
    for (int i = 0; i < 300; i++) {
        put(fd, 0x00, i % 3 ? SLICE_NONE : SLICE_LIT("ab"));
        kit_turn(&k, 1);
    }
    put(fd, 0x80, SLICE_LIT("\1\2"));
    KIT_UNTIL(&k, k.count == 1);
    assert_int_equal(k.messages[0].action, 4);
    assert_memory_equal(k.messages[0].head, "ababab", 6);
    assert_int_equal(k.messages[0].n, 200);
    KIT_UNTIL(&k, conn_at(k.net, k.last)->in == NULL);
    close(fd);
    kit_stop(&k);
}

static void every_ping_of_a_few_is_answered(void **state)
{
    (void)state;
    struct kit k;
    struct buf b = BUF_INIT;
    kit_start(&k, CONN_WEBSOCKET, NULL);
    int fd = client(&k, true);
    for (int i = 0; i < 50; i++) {
        char text[16];
        ws_put(&b, 0x89, slice_of(text, (size_t)snprintf(text, sizeof text, "%d", i)));
    }
    kit_put(fd, b.p, b.n);
    for (int i = 0; i < 50; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "%d", i);
        expect(&k, fd, 0x8A, text, (size_t)n);
    }
    buf_free(&b);
    close(fd);
    kit_stop(&k);
}

/* A client that pings without end and does not read costs no memory. */
static void a_flood_of_pings(void **state)
{
    (void)state;
    struct kit k;
    struct buf b = BUF_INIT;
    kit_start(&k, CONN_WEBSOCKET, NULL);
    int fd = client(&k, false), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    setsockopt(conn_at(k.net, k.last)->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 100; i++)
        ws_put(&b, 0x89, SLICE_LIT("flooooooooooooooooooooooooooooooooooood"));
    size_t at = 0, sent = 0;
    uint64_t most = 0;
    for (int i = 0; i < 20000 && sent < 8 << 20; i++) {
        ssize_t n = send(fd, b.p + at, b.n - at, MSG_NOSIGNAL);
        if (n > 0) {
            at = (at + (size_t)n) % b.n;
            sent += (size_t)n;
        }
        kit_turn(&k, 1);
        if (net_memory(k.net) > most)
            most = net_memory(k.net);
    }
    assert_true(sent > 1 << 20);
    assert_int_equal(k.closing, 0);
    assert_true(conn_queued(k.net, k.last) < 64 * 64);
    assert_true(most - k.net->inbuf_memory < sizeof *k.net + READ_BYTES + (256 << 10));
    buf_free(&b);
    close(fd);
    kit_stop(&k);
}

/* PING after ping_timeout; any answer counts; silence ends it. */
static void probes(void **state)
{
    (void)state;
    struct kit k;
    struct net_limits limits = {
        .frame = 1000, .output_queue = 1 << 20, .login_timeout = 10, .ping_timeout = 4, .idle_timeout = 10};
    kit_start(&k, CONN_WEBSOCKET, &limits);
    int fd = client(&k, true);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 5; i++) {
            assert_false(conn_at(k.net, k.last)->flags & CONN_F_PROBED);
            net_tick(k.net);
        }
        assert_true(conn_at(k.net, k.last)->flags & CONN_F_PROBED); /* now, and not when it would be closed */
        EXPECT(&k, fd, 0x89, "");
        put(fd, 0x8A, SLICE_NONE);
        KIT_UNTIL(&k, !(conn_at(k.net, k.last)->flags & CONN_F_PROBED));
    }
    for (int i = 0; i < 10; i++)
        net_tick(k.net);
    assert_int_equal(k.closing, 0);
    net_tick(k.net);
    assert_int_equal(k.closing, 1);
    assert_int_equal(k.closing_reason, CLOSE_IDLE);
    EXPECT(&k, fd, 0x89, "");
    EXPECT(&k, fd, 0x82, "\0\x69\0\0{\"reason\":\"idle\"}");
    EXPECT(&k, fd, 0x88, "\x03\xf0");
    close(fd);
    kit_stop(&k);
}

/* Without an idle timeout nobody is closed, and who is silent is asked again and again: for the proxies between. */
static void probes_for_ever(void **state)
{
    (void)state;
    struct kit k;
    struct net_limits limits = {.frame = 1000, .output_queue = 1 << 20, .login_timeout = 10, .ping_timeout = 4};
    kit_start(&k, CONN_WEBSOCKET, &limits);
    int fd = client(&k, true);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 5; i++)
            net_tick(k.net);
        EXPECT(&k, fd, 0x89, "");
    }
    assert_int_equal(k.closing, 0);
    /* One that is heard is not asked before its time. */
    net_tick(k.net);
    net_tick(k.net);
    put(fd, 0x8A, SLICE_NONE);
    KIT_UNTIL(&k, conn_at(k.net, k.last)->heard == k.net->tick);
    for (int i = 0; i < 4; i++)
        net_tick(k.net);
    put(fd, 0x89, SLICE_LIT("me"));
    EXPECT(&k, fd, 0x8A, "me");
    kit_turn(&k, 5);
    for (int i = 0; i < 5; i++)
        net_tick(k.net);
    EXPECT(&k, fd, 0x89, "");
    close(fd);
    kit_stop(&k);
}

/* Without probes silence ends it all the same. */
static void no_probes(void **state)
{
    (void)state;
    struct kit k;
    struct net_limits limits = {.frame = 1000, .output_queue = 1 << 20, .login_timeout = 10, .idle_timeout = 6};
    kit_start(&k, CONN_WEBSOCKET, &limits);
    int fd = client(&k, true);
    for (int i = 0; i < 6; i++)
        net_tick(k.net);
    assert_int_equal(k.closing, 0);
    net_tick(k.net);
    assert_int_equal(k.closing_reason, CLOSE_IDLE);
    EXPECT(&k, fd, 0x82, "\0\x69\0\0{\"reason\":\"idle\"}");
    close(fd);
    kit_stop(&k);
}

/* Only what the client has offered is answered, in the order of its wishes. */
static void subprotocols(void **state)
{
    (void)state;
    static const char *const known[] = {"chat.v2", "chat.v1", NULL};
    static const struct {
        const char *offer, *answer;
    } cases[] = {{"Sec-WebSocket-Protocol: chat.v1, chat.v2\r\n", "\r\nSec-WebSocket-Protocol: chat.v1\r\n\r\n"},
                 {"Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Protocol: , chat.v2\r\n",
                  "\r\nSec-WebSocket-Protocol: chat.v2\r\n\r\n"},
                 {"Sec-WebSocket-Protocol: mqtt, Chat.v2, chat\r\n", NULL},
                 {"Sec-WebSocket-Protocol:\r\n", NULL},
                 {"", NULL}};
    struct kit k;
    struct net_limits limits = {.frame = 1000, .output_queue = 1 << 20, .login_timeout = 10, .protocols = known};
    kit_start(&k, CONN_WEBSOCKET, &limits);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512], got[512] = "";
        int n = snprintf(text, sizeof text,
                         "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                         cases[i].offer),
            fd = kit_connect(&k);
        kit_put(fd, text, (size_t)n);
        KIT_UNTIL(&k, k.opened == i + 1);
        kit_turn(&k, 5);
        assert_true(recv(fd, got, sizeof got - 1, 0) > 0);
        assert_memory_equal(got, "HTTP/1.1 101 ", 13);
        if (cases[i].answer)
            assert_non_null(strstr(got, cases[i].answer));
        else
            assert_null(strstr(got, "Protocol: "));
        close(fd);
    }
    kit_stop(&k);
}

/* While its socket is full no PING can be sent; once it has taken what it owed, it gets one and the time to answer
 * it. */
static void a_probe_that_could_not_be_sent(void **state)
{
    (void)state;
    struct kit k;
    char *body = malloc(400001), out[256];
    struct net_limits limits = {
        .frame = 1000, .output_queue = 64 << 20, .login_timeout = 10, .ping_timeout = 4, .idle_timeout = 10};
    memset(body, 'x', 400000);
    body[400000] = 0;
    kit_start(&k, CONN_WEBSOCKET, &limits);
    int fd = client(&k, true);
    for (int i = 0; i < 30; i++)
        say(&k, 102, body);
    KIT_UNTIL(&k, conn_at(k.net, k.last)->flags & CONN_F_WRITABLE);
    for (int i = 0; i < 8; i++)
        net_tick(k.net);
    assert_true(conn_at(k.net, k.last)->flags & CONN_F_PROBED);
    char *sink = malloc(400014);
    for (int i = 0; i < 30; i++)
        kit_take(&k, fd, sink, 400014);
    KIT_UNTIL(&k, !(conn_at(k.net, k.last)->flags & CONN_F_WRITABLE));
    for (int i = 0; i < 5; i++)
        net_tick(k.net);
    size_t n;
    assert_int_equal(take(&k, fd, out, sizeof out, &n), 0x89);
    for (int i = 0; i < 5; i++)
        net_tick(k.net);
    assert_int_equal(k.closing, 0);
    put(fd, 0x8A, SLICE_NONE);
    KIT_UNTIL(&k, !(conn_at(k.net, k.last)->flags & CONN_F_PROBED));
    free(sink);
    free(body);
    close(fd);
    kit_stop(&k);
}

static enum conn_verdict pause_each(struct kit *k, uint32_t conn, const struct net_message *m)
{
    (void)k, (void)conn, (void)m;
    return CONN_PAUSE;
}

/* A paused one keeps what has come, and moves to another net with it, half a message included. */
static void moves_with_half_a_message(void **state)
{
    (void)state;
    struct kit k, other;
    struct conn_record r;
    struct buf b = BUF_INIT;
    kit_start(&k, CONN_WEBSOCKET, NULL);
    kit_start(&other, CONN_WEBSOCKET, NULL);
    k.on_message = pause_each;
    int fd = client(&k, true);
    ws_put(&b, 0x81, SLICE_LIT("first"));
    ws_put(&b, 0x81, SLICE_LIT("second"));
    ws_put(&b, 0x01, SLICE_LIT("thi"));
    kit_put(fd, b.p, b.n);
    buf_reset(&b);
    KIT_UNTIL(&k, k.count == 1);
    conn_resume(k.net, k.last);
    KIT_UNTIL(&k, k.count == 2);
    conn_resume(k.net, k.last);
    kit_turn(&k, 20);
    conn_at(k.net, k.last)->flags |= CONN_F_PAUSED;
    assert_int_equal(conn_detach(k.net, k.last, &r), 0);
    assert_int_equal(net_count(k.net), 0);
    assert_int_equal(k.net->inbuf_memory, 0);
    /* The two count for themselves here, as if each were a process of its own. */
    shared_connection_remove(k.shared);
    assert_true(shared_connection_add(other.shared, 0));
    other.last = conn_attach(other.net, &r);
    assert_true(other.last != CONN_NONE);
    ws_put(&b, 0x80, SLICE_LIT("rd"));
    kit_put(fd, b.p, b.n);
    kit_turn(&other, 20);
    assert_int_equal(other.count, 0);
    conn_resume(other.net, other.last);
    KIT_UNTIL(&other, other.count == 1);
    assert_int_equal(other.messages[0].n, 5);
    assert_memory_equal(other.messages[0].head, "third", 5);
    say(&other, 9, "");
    EXPECT(&other, fd, 0x81, "{\"action\":9,\"seq\":5,\"body\":{}}");
    buf_free(&b);
    close(fd);
    KIT_UNTIL(&other, other.closed == 1);
    kit_stop(&k);
    kit_stop(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_message_decides_the_form),
        cmocka_unit_test(errors),
        cmocka_unit_test(too_large),
        cmocka_unit_test(closed_by_the_client),
        cmocka_unit_test(answered_before_the_close_frame),
        cmocka_unit_test(closed_by_the_server),
        cmocka_unit_test(a_close_frame_unanswered),
        cmocka_unit_test(fragments_and_pings),
        cmocka_unit_test(every_ping_of_a_few_is_answered),
        cmocka_unit_test(a_flood_of_pings),
        cmocka_unit_test(probes),
        cmocka_unit_test(probes_for_ever),
        cmocka_unit_test(no_probes),
        cmocka_unit_test(subprotocols),
        cmocka_unit_test(a_probe_that_could_not_be_sent),
        cmocka_unit_test(moves_with_half_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
