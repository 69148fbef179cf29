#include "tests/unit/net_kit.h"

static void one_frame_byte_by_byte(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, NULL);
    int fd = kit_client(&k);
    struct buf b = BUF_INIT;
    kit_frame(&b, 2, 7, SLICE_LIT("{\"a\":1}"));
    kit_frame(&b, 3, 8, SLICE_NONE);
    for (size_t i = 0; i < b.n; i++) {
        kit_put(fd, b.p + i, 1);
        kit_turn(&k, 2);
    }
    KIT_UNTIL(&k, k.count == 2);
    assert_int_equal(k.messages[0].action, 2);
    assert_int_equal(k.messages[0].seq, 7);
    assert_int_equal(k.messages[0].n, 7);
    assert_memory_equal(k.messages[0].head, "{\"a\":1}", 7);
    assert_int_equal(k.messages[1].action, 3);
    assert_int_equal(k.messages[1].n, 0);
    /* Idle again, it holds nothing. */
    const struct conn *c = conn_at(k.net, k.last);
    assert_null(c->in);
    assert_null(c->out);
    assert_int_equal(k.net->inbuf_memory, 0);
    buf_free(&b);
    close(fd);
    KIT_UNTIL(&k, k.closed == 1);
    assert_int_equal(k.closed_reason, CLOSE_PEER);
    kit_stop(&k);
}

static enum conn_verdict echo(struct kit *k, uint32_t conn, const struct net_message *m)
{
    struct wire *w = wire_new((enum wire_form)conn_at(k->net, conn)->form, m->action, m->seq, m->body, WIRE_TAG_NONE);
    assert_non_null(w);
    conn_send(k->net, conn, w, CONN_MUST);
    wire_unref(w);
    return CONN_CONTINUE;
}

static void many_in_a_packet(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, NULL);
    k.on_message = echo;
    int fd = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    struct buf b = BUF_INIT;
    for (uint16_t i = 0; i < 3000; i++)
        kit_frame(&b, 5, i, SLICE_LIT("{\"x\":\"0123456789\"}"));
    kit_put(fd, b.p, b.n);
    char *got = malloc(b.n);
    kit_take(&k, fd, got, b.n);
    assert_memory_equal(got, b.p, b.n);
    assert_int_equal(k.count, 3000);
    KIT_UNTIL(&k, conn_queued(k.net, k.last) == 0);
    free(got);
    buf_free(&b);
    close(fd);
    kit_stop(&k);
}

static void bad_lengths(void **state)
{
    (void)state;
    static const struct {
        uint32_t length;
        const char *error, *closing;
    } cases[] = {
        {0, "{\"error\":{\"code\":\"bad_request\",\"message\":\"length: at least 8, it counts itself\"}}",
         "{\"reason\":\"protocol\",\"message\":\"length: at least 8, it counts itself\"}"},
        {7, NULL, NULL},
        {65537, "{\"error\":{\"code\":\"too_large\",\"message\":\"length: at most 65536\"}}",
         "{\"reason\":\"protocol\",\"message\":\"length: at most 65536\"}"},
        {0xFFFFFFFF, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kit k;
        kit_start(&k, CONN_TCP, NULL);
        int fd = kit_client(&k);
        char p[5];
        store_be32(p, cases[i].length);
        p[4] = 'x';
        kit_put(fd, p, 5);
        kit_expect_frame(&k, fd, 0, cases[i].error);
        kit_expect_frame(&k, fd, 105, cases[i].closing);
        assert_int_equal(kit_drain(&k, fd, NULL, 0), 0);
        assert_int_equal(k.closing, 1);
        assert_int_equal(k.closing_reason, CLOSE_PROTOCOL);
        assert_int_equal(k.count, 0);
        close(fd);
        KIT_UNTIL(&k, k.closed == 1);
        assert_int_equal(k.closed_reason, CLOSE_PROTOCOL);
        kit_stop(&k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_frame_byte_by_byte),
        cmocka_unit_test(many_in_a_packet),
        cmocka_unit_test(bad_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
