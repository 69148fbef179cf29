/* How messages leave: kinds that go first or not at all, several together, what is written past the queues. */
#include "send_kit.h"

/* Over the soft half channel pushes are skipped and nothing is read; drained, the owner is told once for each tag, and
 * reading goes on. */
static void soft_half(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, &small_queue);
    int fd = silent(&k);
    stuff(&k);
    assert_int_equal(k.net->blocked, 1);
    uint32_t sent = 0;
    while (say(&k, 1000, 5, CONN_MAY) == 0)
        sent++;
    assert_true(sent > 10 && sent < 40);
    assert_true(conn_at(k.net, k.last)->flags & CONN_F_SOFT);
    assert_true(conn_queued(k.net, k.last) > (32 << 10) - 2000);
    assert_int_equal(say(&k, 100, 7, CONN_MAY), ERR_AGAIN);
    assert_int_equal(say(&k, 100, 5, CONN_MAY), ERR_AGAIN);
    assert_int_equal(say(&k, 100, WIRE_TAG_NONE, CONN_MUST), 0); /* answers still fit */
    kit_put_frame(fd, 9, 1, "{}");
    kit_turn(&k, 50);
    assert_int_equal(k.count, 0);
    assert_int_equal(k.drained, 0);
    /* It reads again. */
    char sink[4096];
    for (int i = 0; i < 5000 && k.drained == 0; i++) {
        while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0)
            ;
        kit_turn(&k, 1);
    }
    assert_int_equal(k.drained, 1);
    assert_int_equal(k.tag_count, 2);
    assert_int_equal(k.tags[0], 5);
    assert_int_equal(k.tags[1], 7);
    KIT_UNTIL(&k, k.count == 1);
    assert_int_equal(k.net->blocked, 0);
    assert_int_equal(k.closing, 0);
    assert_int_equal(say(&k, 100, 5, CONN_MAY), 0);
    close(fd);
    kit_stop(&k);
}

/* Many messages in one turn of the loop make no slow receiver of one that reads. */
static void a_burst(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, &small_queue);
    int fd = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    for (int i = 0; i < 150; i++)
        assert_int_equal(say(&k, 1000, 5, CONN_MAY), 0);
    char *got = malloc(150000);
    kit_take(&k, fd, got, 150000);
    free(got);
    close(fd);
    kit_stop(&k);
}

/* One message larger than the whole queue still goes to an empty one. */
static void one_large_message(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, &small_queue);
    int fd = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    assert_int_equal(say(&k, 200000, WIRE_TAG_NONE, CONN_MUST), 0);
    char *got = malloc(200000);
    kit_take(&k, fd, got, 200000);
    assert_int_equal(load_be32(got), 200000);
    free(got);
    close(fd);
    kit_stop(&k);
}

/* Before login a client gets little to say and little to owe. */
static void before_login(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, NULL);
    int fd = silent(&k);
    conn_clear(k.net, k.last, CONN_F_READY);
    int rc = 0;
    for (int i = 0; i < 10000 && rc == 0; i++) {
        rc = say(&k, 500, WIRE_TAG_NONE, CONN_MUST);
        kit_turn(&k, 1);
        assert_true(conn_queued(k.net, k.last) <= OUTPUT_MAX_EARLY);
    }
    assert_int_equal(rc, ERR_CLOSED);
    close(fd);
    kit_stop(&k);
}

static void purged(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, &small_queue);
    int fd = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    assert_int_equal(say(&k, 108, 5, CONN_MAY), 0);
    assert_int_equal(say(&k, 208, 6, CONN_MAY), 0);
    assert_int_equal(say(&k, 308, 5, CONN_MAY), 0);
    conn_purge(k.net, k.last, 5);
    assert_int_equal(conn_queued(k.net, k.last), 208);
    char got[208];
    kit_take(&k, fd, got, sizeof got);
    assert_int_equal(load_be32(got), 208);
    /* All of it: the queue is given back. */
    assert_int_equal(say(&k, 108, 5, CONN_MAY), 0);
    conn_purge(k.net, k.last, 5);
    KIT_UNTIL(&k, conn_at(k.net, k.last)->out == NULL);
    conn_purge(k.net, k.last, 5);
    close(fd);
    kit_stop(&k);
}

/* Frames that belong together: all of them or none. */
static void together(void **state)
{
    (void)state;
    struct kit k;
    struct frame *f[3];
    kit_start(&k, CONN_TCP, &small_queue);
    int fd = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    for (int i = 0; i < 3; i++) {
        f[i] = frame_new(102, 0, SLICE_LIT("{\"x\":1}"), 5);
        assert_non_null(f[i]);
    }
    assert_int_equal(conn_send_frames(k.net, k.last, f, 3, CONN_MAY), 0);
    assert_int_equal(conn_send_frames(k.net, k.last, f, 0, CONN_MAY), 0);
    assert_int_equal(conn_send_frame(k.net, k.last, f[0], CONN_MUST), 0);
    for (int i = 0; i < 4; i++)
        kit_expect_frame(&k, fd, 102, "{\"x\":1}");
    stuff(&k);
    while (say(&k, 1000, 6, CONN_MAY) == 0)
        ;
    uint32_t before = conn_queued(k.net, k.last);
    assert_int_equal(conn_send_frames(k.net, k.last, f, 3, CONN_MAY), ERR_AGAIN);
    assert_int_equal(conn_queued(k.net, k.last), before);
    for (int i = 0; i < 3; i++)
        frame_unref(f[i]);
    close(fd);
    kit_stop(&k);
}

/* Frames of n bytes over TCP that say which they are. */
static struct frame *numbered(uint32_t number, uint32_t n)
{
    char *body = malloc(n - 8);
    memset(body, 'x', n - 8);
    store_be32((uint8_t *)body, number);
    struct frame *f = frame_new(102, 0, slice_of(body, n - 8), 5);
    assert_non_null(f);
    free(body);
    return f;
}

/* Without a turn of the loop, and whoever has something unsent is left to the queue. */
static void at_once(void **state)
{
    (void)state;
    struct kit k;
    struct bundle b = {.n = 0};
    char got[1000];
    kit_start(&k, CONN_TCP, &small_queue);
    int fd = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    for (uint32_t i = 0; i < 10; i++) {
        struct frame *f = numbered(i, 100);
        assert_true(bundle_add(&b, f));
        frame_unref(f);
    }
    uint64_t in, before, after;
    net_traffic(k.net, &in, &before);
    assert_true(conn_send_now(k.net, k.last, &b));
    assert_int_equal(recv(fd, got, sizeof got, MSG_WAITALL), sizeof got);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(load_be32((uint8_t *)got + 100 * i + 8), i);
    net_traffic(k.net, &in, &after);
    assert_int_equal(after - before, sizeof got);
    assert_null(conn_at(k.net, k.last)->out);
    conn_set(k.net, k.last, CONN_F_TRACE);
    assert_false(conn_send_now(k.net, k.last, &b));
    conn_clear(k.net, k.last, CONN_F_TRACE);
    assert_int_equal(say(&k, 100, WIRE_TAG_NONE, CONN_MUST), 0);
    assert_false(conn_send_now(k.net, k.last, &b));
    kit_turn(&k, 1);
    assert_int_equal(recv(fd, got, 100, MSG_WAITALL), 100);
    assert_true(conn_send_now(k.net, k.last, &b));
    assert_int_equal(recv(fd, got, sizeof got, MSG_WAITALL), sizeof got);
    struct bundle large = {.n = 0};
    struct frame *f = numbered(0, small_queue.output_queue / 2 + 1);
    assert_true(bundle_add(&large, f));
    frame_unref(f);
    assert_false(conn_send_now(k.net, k.last, &large));
    bundle_clear(&large);
    conn_close(k.net, k.last, CLOSE_KICKED, NULL, 0);
    assert_false(conn_send_now(k.net, k.last, &b));
    bundle_clear(&b);
    close(fd);
    KIT_UNTIL(&k, k.closed == 1);
    kit_stop(&k);
}

/* What a full socket does not take comes later, in order. */
static void the_rest_later(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, &small_queue);
    int fd = silent(&k);
    uint32_t sent = 0;
    for (bool goes = true; goes; sent += goes ? 4 : 0) {
        struct bundle b = {.n = 0};
        for (uint32_t i = 0; i < 4; i++) {
            struct frame *f = numbered(sent + i, 1000);
            assert_true(bundle_add(&b, f));
            frame_unref(f);
        }
        goes = conn_send_now(k.net, k.last, &b);
        assert_true(sent < 100000);
        bundle_clear(&b);
    }
    assert_true(sent > 0);
    assert_in_range(conn_queued(k.net, k.last), 1, 4000);
    kit_turn(&k, 3);
    assert_true(conn_at(k.net, k.last)->flags & CONN_F_WRITABLE);
    assert_int_equal(net_shared_queued(k.shared), conn_queued(k.net, k.last));
    for (uint32_t i = 0; i < sent; i++) {
        char got[1000];
        for (size_t n = 0; n < sizeof got; kit_turn(&k, 1)) {
            ssize_t more = recv(fd, got + n, sizeof got - n, MSG_DONTWAIT);
            n += more > 0 ? (size_t)more : 0;
        }
        assert_int_equal(load_be32((uint8_t *)got + 8), i);
    }
    KIT_UNTIL(&k, !conn_at(k.net, k.last)->out);
    assert_int_equal(net_shared_queued(k.shared), 0);
    close(fd);
    kit_stop(&k);
}

/* A socket that has failed is found out by the flush: the send itself closes nobody. */
static void nobody_there(void **state)
{
    (void)state;
    struct kit k;
    struct bundle b = {.n = 0};
    kit_start(&k, CONN_TCP, NULL);
    int fd = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    assert_int_equal(shutdown(conn_at(k.net, k.last)->fd, SHUT_WR), 0);
    struct frame *f = numbered(0, 100);
    assert_true(bundle_add(&b, f));
    frame_unref(f);
    assert_true(conn_send_now(k.net, k.last, &b));
    assert_int_equal(k.closing, 0);
    bundle_clear(&b);
    kit_turn(&k, 1);
    assert_int_equal(k.closed, 1);
    assert_int_equal(k.closed_reason, CLOSE_PEER);
    close(fd);
    kit_stop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(soft_half),    cmocka_unit_test(full),
        cmocka_unit_test(a_burst),      cmocka_unit_test(one_large_message),
        cmocka_unit_test(before_login), cmocka_unit_test(purged),
        cmocka_unit_test(kicked),       cmocka_unit_test(together),
        cmocka_unit_test(at_once),      cmocka_unit_test(the_rest_later),
        cmocka_unit_test(nobody_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
