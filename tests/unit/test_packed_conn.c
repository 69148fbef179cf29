/* Connections whose messages may be compressed: permessage-deflate over WebSocket, gzip over TCP. What comes in, what
 * goes out, that it is made once for all its receivers, and what is refused. */
#include "tests/unit/net_kit.h"
#include "tests/unit/ws_kit.h"
#include "core/net/input.h"
#include "core/net/net.h"
#include "core/net/net_shared_private.h"
#include "core/net/send.h"

#include <zlib.h>

#define OFFER  "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
#define AGREED "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"

enum { FRAME = 100000 };

static const struct net_limits limits = {.frame = FRAME,
                                         .output_queue = 1 << 20,
                                         .login_timeout = 10,
                                         .idle_timeout = 300,
                                         .compress_threshold = 100,
                                         .compress_level = 6};

/* A body that becomes smaller, and one that does not. */
static char long_body[3000], noise[3000];

static void fill(void)
{
    uint32_t x = 3;
    for (size_t i = 0; i < sizeof long_body - 1; i++)
        long_body[i] = "{\"content\":\"magpie wagon tea\"}"[i % 30];
    for (size_t i = 0; i < sizeof noise; i++) {
        x = x * 1664525 + 1013904223;
        noise[i] = (char)(x >> 24);
    }
}

/* An upgraded client; `lines`: header lines of its own. */
static int client(struct kit *k, const char *lines, const char *expected, bool ready)
{
    char request[1024], head[1024] = "";
    size_t n = 0;
    uint32_t before = k->opened;
    int fd = kit_connect(k);
    snprintf(request, sizeof request,
             "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n\r\n",
             lines);
    kit_put(fd, request, strlen(request));
    while (!strstr(head, "\r\n\r\n") && n < sizeof head - 1)
        kit_take(k, fd, head + n++, 1);
    assert_memory_equal(head, "HTTP/1.1 101 ", 13);
    if (expected)
        assert_non_null(strstr(head, expected));
    else
        assert_null(strstr(head, "Sec-WebSocket-Extensions"));
    assert_int_equal(k->opened, before + 1);
    if (ready)
        conn_set(k->net, k->last, CONN_F_READY);
    return fd;
}

/* Reads a frame of the server; its first byte. */
static unsigned take(struct kit *k, int fd, char *out, size_t size, size_t *n)
{
    uint8_t head[4];
    kit_take(k, fd, head, 2);
    *n = head[1];
    if (head[1] == 126) {
        kit_take(k, fd, head + 2, 2);
        *n = load_be16(head + 2);
    }
    assert_true(*n < size);
    kit_take(k, fd, out, *n);
    out[*n] = 0;
    return head[0];
}

/* What is in a compressed message. */
static size_t inflated(const char *p, size_t n, int bits, char *out, size_t size)
{
    z_stream z = {0};
    char in[4096];
    assert_true(n + 4 < sizeof in);
    memcpy(in, p, n);
    memcpy(in + n, "\0\0\xff\xff", 4);
    assert_int_equal(inflateInit2(&z, bits), Z_OK);
    z.next_in = (Bytef *)in;
    z.avail_in = (uInt)(n + (bits < 0 ? 4 : 0));
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)size - 1;
    int rc = inflate(&z, Z_SYNC_FLUSH);
    assert_int_equal(rc, bits < 0 ? Z_OK : Z_STREAM_END);
    size_t got = size - 1 - z.avail_out;
    out[got] = 0;
    inflateEnd(&z);
    return got;
}

/* Compresses; the caller frees. */
static char *deflated(const void *p, size_t n, int bits, size_t *out_n)
{
    z_stream z = {0};
    size_t cap = n / 100 + 8192;
    char *out = malloc(cap);
    assert_non_null(out);
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)cap;
    (void)deflate(&z, bits < 0 ? Z_SYNC_FLUSH : Z_FINISH);
    assert_true(z.avail_in == 0 && z.avail_out > 0);
    *out_n = cap - z.avail_out - (bits < 0 ? 4 : 0);
    deflateEnd(&z);
    return out;
}

static void put(int fd, unsigned first, struct slice payload)
{
    struct buf b = BUF_INIT;
    ws_put(&b, first, payload);
    kit_put(fd, b.p, b.n);
    buf_free(&b);
}

static void put_deflated(int fd, unsigned first, struct slice payload)
{
    size_t n;
    char *p = deflated(payload.p, payload.n, -15, &n);
    put(fd, first, slice_of(p, n));
    free(p);
}

static void say(struct kit *k, uint32_t conn, struct slice body)
{
    struct wire *w = conn_wire(k->net, conn, 102, 0, body, WIRE_TAG_NONE);
    assert_int_equal(conn_send(k->net, conn, w, CONN_MUST), 0);
    wire_unref(w);
}

/* --- WebSocket ---------------------------------------------------------------------------------------------------- */

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

/* --- TCP ---------------------------------------------------------------------------------------------------------- */

static void put_gzip(int fd, uint16_t action, struct slice body)
{
    size_t n;
    struct buf b = BUF_INIT;
    char *p = deflated(body.p, body.n, 15 + 16, &n);
    kit_frame(&b, action, 3, slice_of(p, n));
    kit_put(fd, b.p, b.n);
    buf_free(&b);
    free(p);
}

static void gzip_both_ways(void **state)
{
    struct kit k;
    char head[8], out[4096], plain[4096];
    (void)state;
    kit_start(&k, CONN_TCP, &limits);
    int fd = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    put_gzip(fd, 0x8004, SLICE_LIT("{\"a\":1}")); /* not agreed upon: told as it came */
    KIT_UNTIL(&k, k.count == 1);
    assert_int_equal(k.messages[0].action, 0x8004);
    say(&k, k.last, slice_of(long_body, 2000));
    kit_take(&k, fd, out, 2008);
    assert_int_equal(load_be16(out + 4), 102);

    conn_set(k.net, k.last, CONN_F_PACKED);
    assert_string_equal(conn_form(k.net, k.last), "tcp");
    assert_string_equal(conn_compression(k.net, k.last), "gzip");
    put_gzip(fd, 0x8004, SLICE_LIT("{\"a\":1}"));
    KIT_UNTIL(&k, k.count == 2);
    assert_int_equal(k.messages[1].action, 4);
    assert_int_equal(k.messages[1].seq, 3);
    assert_int_equal(k.messages[1].n, 7);
    assert_memory_equal(k.messages[1].head, "{\"a\":1}", 7);
    kit_put_frame(fd, 4, 3, "{\"a\":2}");
    kit_put_frame(fd, 0x8004, 3, "{\"a\":3}"); /* no gzip: told as it came, and the next one is read */
    kit_put_frame(fd, 0x8004, 3, "");
    put_gzip(fd, 0x8004, SLICE_LIT("{\"a\":4}"));
    KIT_UNTIL(&k, k.count == 6);
    assert_int_equal(k.messages[2].action, 4);
    assert_int_equal(k.messages[3].action, 0x8004);
    assert_int_equal(k.messages[4].action, 0x8004);
    assert_int_equal(k.messages[5].action, 4);

    say(&k, k.last, SLICE_LIT("{}"));
    kit_expect_frame(&k, fd, 102, "{}");
    say(&k, k.last, slice_of(long_body, 2000));
    kit_take(&k, fd, head, 8);
    size_t n = load_be32(head) - 8;
    assert_int_equal(load_be16(head + 4), 0x8066);
    assert_true(n < 200);
    kit_take(&k, fd, out, n);
    assert_int_equal(inflated(out, n, 15 + 16, plain, sizeof plain), 2000);
    assert_memory_equal(plain, long_body, 2000);
    struct wire *w = conn_wire_plain(k.net, k.last, 1, 0, slice_of(long_body, 2000), WIRE_TAG_NONE);
    assert_true(w->len == 2008 && load_be16(w->data + 4) == 1);
    wire_unref(w);
    close(fd);
    kit_stop(&k);
}

static void gzip_bombs(void **state)
{
    char *zeros = calloc(1, 1 << 20);
    (void)state;
    for (int large = 0; large < 2; large++) {
        struct kit k;
        char text[512];
        kit_start(&k, CONN_TCP, &limits);
        int fd = kit_client(&k);
        conn_set(k.net, k.last, CONN_F_READY | CONN_F_PACKED);
        put_gzip(fd, 0x8004, slice_of(zeros, FRAME));
        KIT_UNTIL(&k, k.count == 1);
        assert_int_equal(k.messages[0].n, FRAME);
        put_gzip(fd, 0x8004, slice_of(zeros, large ? 1 << 20 : FRAME + 1));
        kit_put_frame(fd, 9, 0, "{}"); /* is not heard any more */
        ssize_t n = kit_drain(&k, fd, text, sizeof text - 1);
        assert_true(n > 8 && n < (ssize_t)sizeof text);
        text[n] = 0;
        assert_int_equal(load_be16(text + 4), 0);
        assert_non_null(strstr(text + 8, "too_large"));
        assert_int_equal(k.count, 1);
        assert_int_equal(k.closing_reason, CLOSE_PROTOCOL);
        assert_true(k.net->inflater.cap <= FRAME + 1);
        close(fd);
        kit_stop(&k);
    }
    free(zeros);
}

/* --- Many receivers ----------------------------------------------------------------------------------------------- */

/* Receivers of every form in one fan-out: a frame is compressed once for each form that is there, and at its first
 * receiver; one that nobody gets compressed costs nothing. */
static void once_for_all(void **state)
{
    enum { EACH = 3, KINDS = 4 };
    static const char *const offers[KINDS] = {"X: y", OFFER, OFFER "; server_max_window_bits=10", OFFER};
    struct kit k;
    int fds[KINDS][EACH];
    uint32_t conns[KINDS][EACH];
    char out[8192];
    size_t n;
    (void)state;
    kit_start(&k, CONN_WEBSOCKET, &limits);
    for (int i = 0; i < KINDS; i++) {
        for (int j = 0; j < EACH; j++) {
            uint32_t before = k.count;
            fds[i][j] = client(&k, offers[i], i ? AGREED : NULL, true);
            conns[i][j] = k.last;
            put(fds[i][j], i == 3 ? 0x81 : 0x82, i == 3 ? SLICE_LIT("{}") : slice_of("\0\x09\0\0", 4));
            KIT_UNTIL(&k, k.count == before + 1);
        }
    }
    struct slice body = slice_of(long_body, 1000);
    struct frame *f = frame_new(102, 0, body, 5), *small = frame_new(102, 0, SLICE_LIT("{}"), 5);
    struct bundle b = {.n = 0};
    assert_true(bundle_add(&b, f) && bundle_add(&b, small));
    const uint64_t size = body.n + 4, text_size = body.n + sizeof "{\"action\":102,\"seq\":0,\"body\":}" - 1;
    const uint64_t made[KINDS] = {0, size, size * 2, size * 2 + text_size};
    for (int i = 0; i < KINDS; i++) {
        for (int j = 0; j < EACH; j++) {
            if (j & 1)
                assert_true(conn_send_now(k.net, conns[i][j], &b));
            else
                assert_int_equal(conn_send_frames(k.net, conns[i][j], b.frames, 2, CONN_MAY), 0);
            assert_int_equal(k.net->deflater.before, made[i]);
        }
    }
    for (int i = 0; i < KINDS; i++) {
        for (int j = 0; j < EACH; j++) {
            unsigned first = take(&k, fds[i][j], out, sizeof out, &n);
            assert_int_equal(first, (i ? 0xC0 : 0x80) | (i == 3 ? 1 : 2));
            assert_true(i ? n < 200 : n == size);
            assert_int_equal(take(&k, fds[i][j], out, sizeof out, &n), i == 3 ? 0x81 : 0x82);
            close(fds[i][j]);
        }
    }
    bundle_clear(&b);
    frame_unref(f);
    frame_unref(small);
    kit_stop(&k);
}

/* What was agreed upon goes along when a connection moves to another net. */
static void moved(void **state)
{
    struct kit k, other;
    struct conn_record r;
    char out[4096];
    size_t n;
    (void)state;
    kit_start(&k, CONN_WEBSOCKET, &limits);
    kit_start(&other, CONN_WEBSOCKET, &limits);
    int fd = client(&k, OFFER "; server_max_window_bits=9", AGREED, true);
    conn_at(k.net, k.last)->flags |= CONN_F_PAUSED;
    assert_int_equal(conn_detach(k.net, k.last, &r), 0);
    shared_connection_remove(k.shared);
    assert_true(shared_connection_add(other.shared, 0));
    uint32_t idx = conn_attach(other.net, &r);
    conn_resume(other.net, idx);
    put_deflated(fd, 0xC2, slice_of("\0\x09\0\1{\"x\":1}", 11));
    KIT_UNTIL(&other, other.count == 1);
    assert_int_equal(other.messages[0].n, 7);
    say(&other, idx, slice_of(long_body, 1000));
    assert_int_equal(take(&other, fd, out, sizeof out, &n), 0xC2);
    char plain[4096];
    assert_int_equal(inflated(out, n, -9, plain, sizeof plain), 1004);
    assert_int_equal(k.net->deflater.before, 0);
    close(fd);
    kit_stop(&k);
    kit_stop(&other);
}

/* Other settings hold for what is sent from then on; who has agreed stays agreed. */
static void reconfigured(void **state)
{
    struct kit k;
    struct net_limits l = limits;
    char out[4096];
    size_t n;
    (void)state;
    kit_start(&k, CONN_WEBSOCKET, &limits);
    int fd = client(&k, OFFER, AGREED, true);
    static const struct {
        uint32_t threshold;
        int level;
        bool packed;
    } steps[] = {{100, 6, true}, {1001, 6, true}, {1005, 6, false}, {0, 1, true}, {0, 0, false}, {0, 9, true}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        l.compress_threshold = steps[i].threshold;
        l.compress_level = steps[i].level;
        net_configure(k.net, &l);
        say(&k, k.last, slice_of(long_body, 1000));
        assert_int_equal(take(&k, fd, out, sizeof out, &n), steps[i].packed ? 0xC2 : 0x82);
        put_deflated(fd, 0xC2, slice_of("\0\x09\0\1", 4));
        KIT_UNTIL(&k, k.count == i + 1);
    }
    close(fd);
    kit_stop(&k);
}

/* --- Claimed paths ------------------------------------------------------------------------------------------------ */

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
        cmocka_unit_test(both_ways),      cmocka_unit_test(not_agreed),     cmocka_unit_test(errors),
        cmocka_unit_test(fragments),      cmocka_unit_test(bombs),          cmocka_unit_test(many_that_are_large),
        cmocka_unit_test(incompressible), cmocka_unit_test(gzip_both_ways), cmocka_unit_test(gzip_bombs),
        cmocka_unit_test(once_for_all),   cmocka_unit_test(moved),          cmocka_unit_test(reconfigured),
        cmocka_unit_test(claimed_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
