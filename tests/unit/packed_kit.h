/* Connections whose messages may be compressed. It is of one test program: its state is static. */
#ifndef MAGPIE_TEST_PACKED_KIT_H
#define MAGPIE_TEST_PACKED_KIT_H

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

static inline void fill(void)
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
static inline int client(struct kit *k, const char *lines, const char *expected, bool ready)
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
static inline unsigned take(struct kit *k, int fd, char *out, size_t size, size_t *n)
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
static inline size_t inflated(const char *p, size_t n, int bits, char *out, size_t size)
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
static inline char *deflated(const void *p, size_t n, int bits, size_t *out_n)
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

static inline void put(int fd, unsigned first, struct slice payload)
{
    struct buf b = BUF_INIT;
    ws_put(&b, first, payload);
    kit_put(fd, b.p, b.n);
    buf_free(&b);
}

static inline void put_deflated(int fd, unsigned first, struct slice payload)
{
    size_t n;
    char *p = deflated(payload.p, payload.n, -15, &n);
    put(fd, first, slice_of(p, n));
    free(p);
}

static inline void say(struct kit *k, uint32_t conn, struct slice body)
{
    struct wire *w = conn_wire(k->net, conn, 102, 0, body, WIRE_TAG_NONE);
    assert_int_equal(conn_send(k->net, conn, w, CONN_MUST), 0);
    wire_unref(w);
}

#endif
