/* permessage-deflate over WebSocket: what comes in, what goes out, and what is refused. */
#include "packed_kit.h"

static void both_ways(void **state)
{
    static const struct {
        const char *offer, *answer;
        int bits; /* window of the receiver */
        bool text;
    } cases[] = {
        {OFFER, AGREED "\r\n", -15, false},
        {OFFER, AGREED "\r\n", -15, true},
        {OFFER "; server_max_window_bits=12", AGREED "; server_max_window_bits=9\r\n", -9, false},
        {OFFER "; server_max_window_bits=9", AGREED "; server_max_window_bits=9\r\n", -9, true},
        {OFFER "; server_max_window_bits=8", AGREED "; server_max_window_bits=8\r\n", -8, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kit k;
        char out[8192], plain[8192], expected[8192];
        size_t n;
        bool text = cases[i].text;
        kit_start(&k, CONN_WEBSOCKET, &limits);
        int fd = client(&k, cases[i].offer, cases[i].answer, true);
        struct slice first = text ? SLICE_LIT("{\"action\":9,\"seq\":1}") : slice_of("\0\x09\0\1{\"x\":1}", 11);
        put_deflated(fd, text ? 0xC1 : 0xC2, first);
        KIT_UNTIL(&k, k.count == 1);
        assert_int_equal(k.messages[0].text, text);
        assert_int_equal(k.messages[0].action, text ? 0 : 9);
        assert_int_equal(k.messages[0].n, text ? first.n : first.n - 4);
        assert_string_equal(conn_form(k.net, k.last), text ? "text" : "binary");
        assert_string_equal(conn_compression(k.net, k.last), "deflate");
        put(fd, text ? 0x81 : 0x82, first); /* one that is not compressed */
        KIT_UNTIL(&k, k.count == 2);
        say(&k, k.last, SLICE_LIT("{}")); /* below the threshold */
        assert_int_equal(take(&k, fd, out, sizeof out, &n), text ? 0x81 : 0x82);
        say(&k, k.last, slice_of(long_body, strlen(long_body)));
        assert_int_equal(take(&k, fd, out, sizeof out, &n), text ? 0xC1 : 0xC2);
        assert_true(n < 300);
        size_t got = inflated(out, n, cases[i].bits, plain, sizeof plain);
        int all = text ? snprintf(expected, sizeof expected, "{\"action\":102,\"seq\":0,\"body\":%s}", long_body)
                       : snprintf(expected, sizeof expected, "    %s", long_body);
        if (!text)
            memcpy(expected, "\0\x66\0\0", 4);
        assert_int_equal(got, all);
        assert_memory_equal(plain, expected, got);
        say(&k, k.last, slice_of(noise, sizeof noise)); /* does not become smaller */
        assert_int_equal(take(&k, fd, out, sizeof out, &n), text ? 0x81 : 0x82);
        struct wire *w = conn_wire_plain(k.net, k.last, 1, 7, slice_of(long_body, 500), WIRE_TAG_NONE);
        assert_int_equal(w->data[0], text ? 0x81 : 0x82);
        wire_unref(w);
        struct net_packing p;
        net_packing(k.net, &p);
        assert_int_equal(p.deflate_in, text ? all : (int)strlen(long_body) + 4);
        assert_true(p.deflate_out < 300 && p.inflate_in > 0 && p.inflate_out == first.n);
        assert_null(conn_at(k.net, k.last)->in);
        close(fd);
        kit_stop(&k);
    }
}

/* Where it is not offered, not acceptable or switched off, bit RSV1 is an error. */
static void not_agreed(void **state)
{
    static const char *const offers[] = {"X: y", "Sec-WebSocket-Extensions: x-other",
                                         "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7",
                                         OFFER};
    (void)state;
    for (size_t i = 0; i < sizeof offers / sizeof *offers; i++) {
        struct kit k;
        struct net_limits l = limits;
        char out[8192];
        size_t n;
        if (i == 3)
            l.compress_level = 0;
        kit_start(&k, CONN_WEBSOCKET, &l);
        int fd = client(&k, offers[i], NULL, true);
        assert_string_equal(conn_compression(k.net, k.last), "none");
        say(&k, k.last, slice_of(long_body, 2000));
        assert_int_equal(take(&k, fd, out, sizeof out, &n), 0x82);
        assert_int_equal(n, 2004);
        put_deflated(fd, 0xC2, slice_of("\0\x09\0\1{}", 6));
        (void)take(&k, fd, out, sizeof out, &n);
        (void)take(&k, fd, out, sizeof out, &n);
        assert_int_equal(take(&k, fd, out, sizeof out, &n), 0x88);
        assert_int_equal(load_be16(out), 1002);
        close(fd);
        kit_stop(&k);
    }
    /* What is no list of extensions is refused (RFC 6455 9.1). */
    struct kit k;
    char answer[512] = "";
    kit_start(&k, CONN_WEBSOCKET, &limits);
    int fd = kit_connect(&k);
    const char *bad = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                      "Sec-WebSocket-Extensions: permessage-deflate; =1\r\n\r\n";
    kit_put(fd, bad, strlen(bad));
    assert_true(kit_drain(&k, fd, answer, sizeof answer - 1) > 0);
    assert_memory_equal(answer, "HTTP/1.1 400 ", 13);
    assert_non_null(strstr(answer, "Sec-WebSocket-Extensions"));
    close(fd);
    kit_stop(&k);
}

/* Expects an error frame, 105 and a Close with that code; the connection is told nothing. */
static void refused(struct kit *k, int fd, const char *code, const char *part, uint16_t ws_code)
{
    char out[4096];
    size_t n;
    uint32_t before = k->count;
    assert_int_equal(take(k, fd, out, sizeof out, &n) & 0x8F, 0x82);
    if (!strstr(out + 4, code) || !strstr(out + 4, part))
        fail_msg("%s", out + 4);
    (void)take(k, fd, out, sizeof out, &n);
    assert_int_equal(take(k, fd, out, sizeof out, &n), 0x88);
    assert_int_equal(load_be16(out), ws_code);
    assert_int_equal(k->count, before);
}

static void errors(void **state)
{
    static const struct {
        unsigned first;
        const char *payload;
        size_t n;
        unsigned second; /* a further frame, with the same payload; 0: none */
        const char *part;
        uint16_t code;
    } cases[] = {
        {0xC2, "\xff\xff\xff\xff", 4, 0, "inflated", 1002},
        {0xC2, "\xf2\x48\xcd", 3, 0, "inflated", 1002},         /* ends within a block */
        {0xC2, "\xf2\x00\x11\x00\x00", 5, 0, "inflated", 1002}, /* another message's context */
        {0xC1, "\xfa\x0f\x00", 3, 0, "UTF-8", 1007},            /* \xff */
        {0xC2, "\xf2\x48\xcd\x01\x00", 5, 0, "4 bytes", 1002},  /* less than action and seq: "He" */
        {0xC9, "ping", 4, 0, "reserved", 1002},                 /* a control frame */
        {0xC8, "\x03\xe8", 2, 0, "reserved", 1002},
        {0xC0, "\x00", 1, 0, "reserved", 1002},    /* a continuation */
        {0x42, "\x00", 1, 0xC0, "reserved", 1002}, /* of a compressed message, too */
        {0x02, "\x00", 1, 0xC0, "reserved", 1002},
        {0xA2, "\x00", 1, 0, "reserved", 1002}, /* RSV2, RSV3 */
        {0x92, "\x00", 1, 0, "reserved", 1002},
        {0xE2, "\x00", 1, 0, "reserved", 1002},
        {0x42, "\x00", 1, 0x82, "inside another", 1002},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kit k;
        struct net_limits l = limits;
        l.compress_threshold = 1000; /* so that errors can be read here */
        kit_start(&k, CONN_WEBSOCKET, &l);
        int fd = client(&k, OFFER, AGREED, true);
        put(fd, cases[i].first, slice_of(cases[i].payload, cases[i].n));
        if (cases[i].second)
            put(fd, cases[i].second, slice_of(cases[i].payload, cases[i].n));
        refused(&k, fd, "bad_request", cases[i].part, cases[i].code);
        close(fd);
        kit_stop(&k);
    }
}

/* A message in fragments of every size, control frames and empty ones between them, is one. */
static void fragments(void **state)
{
    char body[600] = "\0\x04\0\1";
    struct kit k;
    size_t n;
    (void)state;
    memcpy(body + 4, long_body, 500);
    char *p = deflated(body, 504, -15, &n);
    kit_start(&k, CONN_WEBSOCKET, &limits);
    int fd = client(&k, OFFER, AGREED, true);
    for (size_t piece = 1; piece < n + 7; piece += 7) {
        struct buf b = BUF_INIT;
        uint32_t before = k.count;
        ws_put(&b, 0x42, SLICE_NONE);
        for (size_t at = 0; at < n; at += piece) {
            ws_put(&b, 0x00, slice_of(p + at, at + piece < n ? piece : n - at));
            if (at % 3 == 0)
                ws_put(&b, 0x8A, SLICE_LIT("pong"));
        }
        ws_put(&b, 0x80, SLICE_NONE);
        for (size_t at = 0; at < b.n; at += 50) { /* in small packets too */
            kit_put(fd, b.p + at, at + 50 < b.n ? 50 : b.n - at);
            kit_turn(&k, 1);
        }
        KIT_UNTIL(&k, k.count == before + 1);
        assert_int_equal(k.messages[before].n, 500);
        assert_memory_equal(k.messages[before].head, body + 4, 128);
        buf_free(&b);
    }
    free(p);
    close(fd);
    kit_stop(&k);
}

/* Over the limit, by what it inflates to: at once, in fragments, and before login at less. */
static void bombs(void **state)
{
    char *zeros = calloc(1, 1 << 20), *p;
    size_t n;
    (void)state;
    p = deflated(zeros, 1 << 20, -15, &n);
    assert_true(n < 1200);
    for (int how = 0; how < 4; how++) { /* whole or in fragments, logged in or not */
        struct kit k;
        struct buf b = BUF_INIT;
        bool pieces = how & 1, ready = how & 2;
        kit_start(&k, CONN_WEBSOCKET, &limits);
        int fd = client(&k, OFFER, AGREED, ready);
        for (size_t at = 0; pieces && at < n; at++)
            ws_put(&b, at ? 0x00 : 0x42, slice_of(p + at, 1));
        ws_put(&b, pieces ? 0x80 : 0xC2, pieces ? SLICE_NONE : slice_of(p, n));
        kit_put(fd, b.p, b.n);
        refused(&k, fd, "too_large", ready ? "100000" : "65536", 1009);
        assert_true(k.net->inflater.cap <= (ready ? FRAME : KEEP_MAX_EARLY) + 1);
        buf_free(&b);
        close(fd);
        kit_stop(&k);
    }
    free(p);
    /* Where the line is. */
    struct kit k;
    kit_start(&k, CONN_WEBSOCKET, &limits);
    int fd = client(&k, OFFER, AGREED, true);
    put_deflated(fd, 0xC2, slice_of(zeros, FRAME));
    KIT_UNTIL(&k, k.count == 1);
    assert_int_equal(k.messages[0].n, FRAME - 4);
    put_deflated(fd, 0xC2, slice_of(zeros, FRAME + 1));
    refused(&k, fd, "too_large", "100000", 1009);
    free(zeros);
    close(fd);
    kit_stop(&k);
}

static enum conn_verdict take_long(struct kit *k, uint32_t conn, const struct net_message *m)
{
    (void)k, (void)conn, (void)m;
    usleep(TURN_US + 500);
    return CONN_CONTINUE;
}

/* Messages that are few bytes as they come and many when they are inflated: a packet full of them does not keep the
 * others waiting until all are dealt with. */
static void many_that_are_large(void **state)
{
    enum { N = 30, A_TURN = 1 + WORK_ROUNDS };
    char *zeros = calloc(1, 60000);
    (void)state;
    for (int way = 0; way < 2; way++) {
        struct kit k;
        struct buf b = BUF_INIT;
        size_t n;
        kit_start(&k, way ? CONN_TCP : CONN_WEBSOCKET, &limits);
        int fd = way ? kit_client(&k) : client(&k, OFFER, AGREED, true);
        conn_set(k.net, k.last, CONN_F_READY | CONN_F_PACKED);
        char *p = deflated(zeros, 60000, way ? 15 + 16 : -15, &n);
        for (int i = 0; i < N && way; i++)
            kit_frame(&b, 0x8004, 1, slice_of(p, n));
        for (int i = 0; i < N && !way; i++)
            ws_put(&b, 0xC2, slice_of(p, n));
        assert_true(b.n < READ_BYTES / 8);
        k.on_message = take_long;
        kit_put(fd, b.p, b.n);
        KIT_UNTIL(&k, k.count > 0);
        assert_in_range(k.count, 1, A_TURN);
        KIT_UNTIL(&k, k.count == N);
        free(p);
        buf_free(&b);
        close(fd);
        kit_stop(&k);
    }
    free(zeros);
}

/* Bytes that cannot be made fewer are a little more when they are compressed all the same: a message of the limit's
 * size is taken in that way too, and one that is larger even so is not waited for. */
static void incompressible(void **state)
{
    static uint8_t bytes[FRAME];
    struct buf b = BUF_INIT;
    struct kit k;
    uint32_t x = 9;
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(x >> 24);
    }
    for (size_t at = 0; at < FRAME; at += 50000) { /* blocks that are not compressed */
        buf_put(&b, "\x00\x50\xc3\xaf\x3c", 5);
        buf_put(&b, bytes + at, 50000);
    }
    buf_byte(&b, 0);
    kit_start(&k, CONN_WEBSOCKET, &limits);
    int fd = client(&k, OFFER, AGREED, true);
    put(fd, 0xC2, buf_slice(&b));
    KIT_UNTIL(&k, k.count == 1);
    assert_int_equal(k.messages[0].n, FRAME - 4);
    uint8_t head[14] = {0xC2, 0xFF};
    store_be64(head + 2, ws_packed_max(FRAME) + 1);
    kit_put(fd, head, sizeof head);
    refused(&k, fd, "too_large", "100000", 1009);
    buf_free(&b);
    close(fd);
    kit_stop(&k);
}

static bool claims(void *owner, uint32_t conn, struct slice path)
{
    (void)owner, (void)conn, (void)path;
    return true;
}

static uint32_t claim_limit(void *owner, const struct conn *c)
{
    (void)owner, (void)c;
    return 1 << 20;
}

static void claimed_paths(void **state)
{
    static const struct net_ops claiming = {.opened = kit_opened,
                                            .message = kit_message,
                                            .closed = kit_closed,
                                            .closing = kit_closing,
                                            .claim = claims,
                                            .claim_limit = claim_limit,
                                            .drained = kit_drained};
    struct kit k;
    char out[8192], plain[8192];
    size_t n;
    (void)state;
    kit_start(&k, CONN_WEBSOCKET, &limits);
    k.net->ops = &claiming;
    int fd = client(&k, OFFER "; server_max_window_bits=10", AGREED "; server_max_window_bits=9", false);
    assert_string_equal(conn_compression(k.net, k.last), "deflate");
    put_deflated(fd, 0xC1, SLICE_LIT("hello hello hello"));
    KIT_UNTIL(&k, k.count == 1);
    assert_true(k.messages[0].text && k.messages[0].n == 17);
    assert_int_equal(conn_send_claimed(k.net, k.last, true, slice_of(long_body, 2000)), 0);
    assert_int_equal(take(&k, fd, out, sizeof out, &n), 0xC1);
    assert_int_equal(inflated(out, n, -9, plain, sizeof plain), 2000);
    assert_int_equal(conn_send_claimed(k.net, k.last, false, SLICE_LIT("short")), 0);
    assert_int_equal(take(&k, fd, out, sizeof out, &n), 0x82);
    put(fd, 0xC2, SLICE_LIT("\xff\xff\xff"));
    assert_int_equal(take(&k, fd, out, sizeof out, &n), 0x88); /* nothing of our protocol */
    assert_int_equal(load_be16(out), 1002);
    close(fd);
    kit_stop(&k);
}

int main(void)
{
    fill();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways),      cmocka_unit_test(not_agreed),    cmocka_unit_test(errors),
        cmocka_unit_test(fragments),      cmocka_unit_test(bombs),         cmocka_unit_test(many_that_are_large),
        cmocka_unit_test(incompressible), cmocka_unit_test(claimed_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
