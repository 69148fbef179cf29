/* gzip over TCP, and what is compressed once for all its receivers. */
#include "packed_kit.h"

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

int main(void)
{
    fill();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gzip_both_ways), cmocka_unit_test(gzip_bombs),   cmocka_unit_test(once_for_all),
        cmocka_unit_test(moved),          cmocka_unit_test(reconfigured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
