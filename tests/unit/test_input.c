#include "tests/unit/net_kit.h"
#include "core/net/input.h"
#include "core/net/net.h"
#include "core/net/send.h"

#include <sys/epoll.h>

static enum conn_verdict pause_each(struct kit *k, uint32_t conn, const struct net_message *m)
{
    (void)k, (void)conn, (void)m;
    return CONN_PAUSE;
}

/* One message at a time, what has arrived is kept, and beyond that nothing is read. */
static void paused(void **state)
{
    (void)state;
    struct kit k;
    struct buf b = BUF_INIT;
    kit_start(&k, CONN_TCP, NULL);
    k.on_message = pause_each;
    int fd = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    for (uint16_t i = 0; i < 5; i++)
        kit_frame(&b, 4, i, SLICE_LIT("{\"content\":\"hello\"}"));
    kit_put(fd, b.p, b.n);
    for (uint32_t i = 0; i < 5; i++) {
        KIT_UNTIL(&k, k.count == i + 1);
        kit_turn(&k, 20);
        assert_int_equal(k.count, i + 1);
        assert_int_equal(k.messages[i].seq, i);
        conn_resume(k.net, k.last);
    }
    kit_turn(&k, 20);
    assert_null(conn_at(k.net, k.last)->in);
    /* Megabytes that come while it is paused stay in the sockets. */
    kit_put(fd, b.p, b.n);
    KIT_UNTIL(&k, k.count == 6);
    char *flood = calloc(1, 1 << 20);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 50; i++) {
        (void)!send(fd, flood, 1 << 20, MSG_NOSIGNAL);
        kit_turn(&k, 2);
    }
    free(flood);
    assert_true(k.net->inbuf_memory < READ_BYTES + 65536 + 1024);
    assert_int_equal(k.count, 6);
    assert_true(conn_at(k.net, k.last)->inner & CONN_I_MUTED);
    buf_free(&b);
    close(fd);
    kit_stop(&k);
}

static enum conn_verdict resume_inside(struct kit *k, uint32_t conn, const struct net_message *m)
{
    (void)m;
    conn_resume(k->net, conn);
    return CONN_PAUSE;
}

static void resumed_inside_the_callback(void **state)
{
    (void)state;
    struct kit k;
    struct buf b = BUF_INIT;
    kit_start(&k, CONN_TCP, NULL);
    k.on_message = resume_inside;
    int fd = kit_client(&k);
    for (uint16_t i = 0; i < 10; i++)
        kit_frame(&b, 4, i, SLICE_NONE);
    kit_put(fd, b.p, b.n);
    KIT_UNTIL(&k, k.count == 10);
    assert_false(conn_at(k.net, k.last)->flags & CONN_F_PAUSED);
    buf_free(&b);
    close(fd);
    kit_stop(&k);
}

/* A paused one whose client is gone: a reset is seen at once, and a plain end when it goes on; neither keeps the loop
 * busy. */
static void ends_while_paused(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        struct kit k;
        kit_start(&k, CONN_TCP, NULL);
        k.on_message = pause_each;
        int fd = kit_client(&k);
        kit_put_frame(fd, 4, 1, "");
        KIT_UNTIL(&k, k.count == 1);
        if (reset)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
        close(fd);
        if (!reset) {
            KIT_UNTIL(&k, conn_at(k.net, k.last)->inner & CONN_I_MUTED);
            struct epoll_event e;
            assert_int_equal(epoll_wait(k.net->epoll_fd, &e, 1, 0), 0);
            assert_int_equal(k.closed, 0);
            conn_resume(k.net, k.last);
        }
        KIT_UNTIL(&k, k.closed == 1);
        assert_int_equal(k.closed_reason, CLOSE_PEER);
        kit_stop(&k);
    }
}

/* A frame that comes in small pieces takes memory only as it comes; idle again it holds none. */
static void nothing_reserved_ahead(void **state)
{
    (void)state;
    struct kit k;
    char head[8], piece[1000];
    kit_start(&k, CONN_TCP, NULL);
    int fd = kit_client(&k);
    conn_set(k.net, k.last, CONN_F_READY);
    store_be32(head, 65536);
    store_be16(head + 4, 4);
    store_be16(head + 6, 1);
    kit_put(fd, head, 8);
    KIT_UNTIL(&k, conn_at(k.net, k.last)->in != NULL);
    assert_int_equal(k.net->inbuf_memory, 8);
    memset(piece, 'x', sizeof piece);
    for (size_t sent = 8; sent < 65536; sent += sizeof piece) {
        size_t n = 65536 - sent < sizeof piece ? 65536 - sent : sizeof piece;
        kit_put(fd, piece, n);
        if (sent + n < 65536) {
            KIT_UNTIL(&k, conn_at(k.net, k.last)->in && conn_at(k.net, k.last)->in->end == sent + n);
            assert_true(k.net->inbuf_memory <= (sent + n) * 3 / 2 + 1024);
        }
    }
    KIT_UNTIL(&k, k.count == 1);
    assert_int_equal(k.messages[0].n, 65528);
    assert_int_equal(k.net->inbuf_memory, 0);
    close(fd);
    kit_stop(&k);
}

/* Before login a client makes the server keep one message at most. */
static void bounded_before_login(void **state)
{
    (void)state;
    struct kit k;
    struct net_limits limits = {.frame = 1 << 20, .output_queue = 1 << 20, .login_timeout = 10};
    kit_start(&k, CONN_TCP, &limits);
    k.on_message = pause_each;
    int fd = kit_client(&k);
    struct buf b = BUF_INIT;
    char *body = malloc(60001);
    memset(body, 'x', 60000);
    body[60000] = 0;
    kit_frame(&b, 1, 1, slice_str(body));
    for (int i = 0; i < 10; i++)
        kit_frame(&b, 9, 2, slice_str("{}"));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (size_t at = 0; at < b.n;) {
        ssize_t n = send(fd, b.p + at, b.n - at, MSG_NOSIGNAL);
        at += n > 0 ? (size_t)n : 0;
        kit_turn(&k, 1);
        assert_true(k.net->inbuf_memory <= KEEP_MAX_EARLY + 1024);
    }
    KIT_UNTIL(&k, k.count == 1);
    conn_set(k.net, k.last, CONN_F_READY);
    for (uint32_t i = 2; i <= 11; i++) {
        conn_resume(k.net, k.last);
        KIT_UNTIL(&k, k.count == i);
    }
    free(body);
    buf_free(&b);
    close(fd);
    /* A larger one is refused as long as nobody has logged in, whatever limits.frame says. */
    k.on_message = NULL;
    fd = kit_client(&k);
    kit_put(fd, "\0\1\0\1", 4);
    kit_expect_frame(&k, fd, 0, "{\"error\":{\"code\":\"too_large\",\"message\":\"length: at most 65536\"}}");
    close(fd);
    kit_stop(&k);
}

static enum conn_verdict close_each(struct kit *k, uint32_t conn, const struct net_message *m)
{
    (void)m;
    conn_close(k->net, conn, *(enum close_reason *)k->extra, NULL, 0);
    return CONN_CONTINUE;
}

/* Closing inside the callback: nothing more is delivered. */
static void closed_inside_the_callback(void **state)
{
    (void)state;
    enum close_reason reasons[] = {CLOSE_KICKED, CLOSE_LOGOUT, CLOSE_PEER};
    for (int i = 0; i < 3; i++) {
        struct kit k;
        struct buf b = BUF_INIT;
        kit_start(&k, CONN_TCP, NULL);
        k.on_message = close_each;
        k.extra = &reasons[i];
        int fd = kit_client(&k);
        for (uint16_t j = 0; j < 3; j++)
            kit_frame(&b, 4, j, SLICE_LIT("{}"));
        kit_put(fd, b.p, b.n);
        ssize_t n = kit_drain(&k, fd, NULL, 0);
        if (reasons[i] == CLOSE_KICKED)
            assert_int_equal(n, 8 + strlen("{\"reason\":\"kicked\"}"));
        else
            assert_true(n <= 0);
        assert_int_equal(k.count, 1);
        close(fd);
        KIT_UNTIL(&k, k.closed == 1);
        assert_int_equal(k.closed_reason, reasons[i]);
        buf_free(&b);
        kit_stop(&k);
    }
}

static enum conn_verdict detach_first(struct kit *k, uint32_t conn, const struct net_message *m)
{
    (void)m;
    assert_int_equal(conn_detach(k->net, conn, k->extra), 0);
    assert_int_equal(m->body.n, 2);
    assert_memory_equal(m->body.p, "{}", 2); /* still there */
    return CONN_PAUSE;
}

/* Taken away in its own callback: the rest of the packet goes along. */
static void detached_inside_the_callback(void **state)
{
    (void)state;
    struct kit k;
    struct conn_record r;
    struct buf b = BUF_INIT;
    kit_start(&k, CONN_TCP, NULL);
    k.on_message = detach_first;
    k.extra = &r;
    int fd = kit_client(&k);
    for (uint16_t i = 0; i < 3; i++)
        kit_frame(&b, 4, i, SLICE_LIT("{}"));
    kit_put(fd, b.p, b.n - 1);
    KIT_UNTIL(&k, k.count == 1);
    assert_int_equal(net_count(k.net), 0);
    k.on_message = NULL;
    k.last = conn_attach(k.net, &r);
    assert_true(k.last != CONN_NONE);
    kit_turn(&k, 10);
    assert_int_equal(k.count, 1);
    conn_resume(k.net, k.last);
    KIT_UNTIL(&k, k.count == 2);
    kit_put(fd, b.p + b.n - 1, 1);
    KIT_UNTIL(&k, k.count == 3);
    assert_int_equal(k.messages[2].seq, 2);
    assert_int_equal(k.opened, 1);
    buf_free(&b);
    close(fd);
    KIT_UNTIL(&k, k.closed == 1);
    kit_stop(&k);
}

/* A record that finds no net. */
static void a_record_discarded(void **state)
{
    (void)state;
    struct kit k;
    struct conn_record r;
    struct buf b = BUF_INIT;
    kit_start(&k, CONN_TCP, NULL);
    k.on_message = detach_first;
    k.extra = &r;
    int fd = kit_client(&k);
    struct wire *w = wire_new(WIRE_TCP, 9, 0, SLICE_LIT("{}"), WIRE_TAG_NONE);
    assert_int_equal(conn_send(k.net, k.last, w, CONN_MUST), 0);
    /* Somebody else has it too: it cannot go to another thread. */
    conn_at(k.net, k.last)->flags |= CONN_F_PAUSED;
    assert_int_equal(conn_detach(k.net, k.last, &r), ERR_AGAIN);
    conn_resume(k.net, k.last);
    wire_unref(w);
    kit_frame(&b, 4, 1, SLICE_LIT("{}"));
    kit_frame(&b, 4, 1, SLICE_LIT("{}"));
    kit_put(fd, b.p, b.n);
    KIT_UNTIL(&k, k.count == 1);
    conn_record_discard(k.shared, &r);
    assert_true(kit_drain(&k, fd, NULL, 0) <= 10);
    buf_free(&b);
    close(fd);
    kit_stop(&k);
}

/* What a client said before it closed its side is answered if the answer is at hand. */
static enum conn_verdict echo(struct kit *k, uint32_t conn, const struct net_message *m)
{
    struct wire *w = wire_new(WIRE_TCP, m->action, m->seq, m->body, WIRE_TAG_NONE);
    conn_send(k->net, conn, w, CONN_MUST);
    wire_unref(w);
    return CONN_CONTINUE;
}

static void half_closed(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, NULL);
    k.on_message = echo;
    int fd = kit_connect(&k);
    kit_put_frame(fd, 9, 1, "{}");
    shutdown(fd, SHUT_WR);
    kit_expect_frame(&k, fd, 9, "{}");
    assert_int_equal(kit_drain(&k, fd, NULL, 0), 0);
    KIT_UNTIL(&k, k.closed == 1);
    close(fd);
    kit_stop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paused),
        cmocka_unit_test(resumed_inside_the_callback),
        cmocka_unit_test(ends_while_paused),
        cmocka_unit_test(nothing_reserved_ahead),
        cmocka_unit_test(bounded_before_login),
        cmocka_unit_test(closed_inside_the_callback),
        cmocka_unit_test(detached_inside_the_callback),
        cmocka_unit_test(a_record_discarded),
        cmocka_unit_test(half_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
