/* The forms that frames are said in, and forms of others: rows that a connection points to. */
#include "core/net/encoder.h"
#include "tests/unit/net_kit.h"
#include "core/net/send.h"
#include "core/net/net_shared_private.h"

/* What each form makes of a frame. */
static void forms(void **state)
{
    (void)state;
    static const struct {
        enum wire_form form;
        const char *bytes;
        size_t n;
    } cases[] = {
        {WIRE_TCP, "\0\0\0\x0f\0\x66\0\x07{\"a\":1}", 15},
        {WIRE_WS_BINARY, "\x82\x0b\0\x66\0\x07{\"a\":1}", 13},
        {WIRE_WS_TEXT, "\x81\x25{\"action\":102,\"seq\":7,\"body\":{\"a\":1}}", 39},
        {WIRE_SILENT, "", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wire *w = wire_new(cases[i].form, 102, 7, SLICE_LIT("{\"a\":1}"), 3);
        assert_int_equal(w->len, cases[i].n);
        assert_memory_equal(w->data, cases[i].bytes, cases[i].n);
        assert_true(w->action == 102 && w->seq == 7 && w->tag == 3 && w->refs == 1);
        wire_unref(w);
    }
    struct wire *m = wire_message(true, SLICE_LIT("hello"));
    assert_int_equal(m->len, 7);
    assert_memory_equal(m->data, "\x81\5hello", 7);
    assert_int_equal(m->action, WIRE_NAMELESS);
    wire_unref(m);
}

/* WebSocket's three ways to tell a length. */
static void lengths_over_websocket(void **state)
{
    static const struct {
        size_t body, head;
    } cases[] = {{0, 2}, {121, 2}, {122, 4}, {65531, 4}, {65532, 10}, {100000, 10}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *body = calloc(1, cases[i].body + 1);
        memset(body, ' ', cases[i].body);
        struct wire *w = wire_new(WIRE_WS_BINARY, 1, 2, slice_of(body, cases[i].body), WIRE_TAG_NONE);
        size_t payload = cases[i].body + 4;
        assert_int_equal(w->len, cases[i].head + payload);
        assert_int_equal(w->data[0], 0x82);
        if (cases[i].head == 2)
            assert_int_equal(w->data[1], payload);
        else if (cases[i].head == 4)
            assert_true(w->data[1] == 126 && load_be16(w->data + 2) == payload);
        else
            assert_true(w->data[1] == 127 && load_be64(w->data + 2) == payload);
        assert_int_equal(load_be16(w->data + cases[i].head), 1);
        assert_int_equal(load_be16(w->data + cases[i].head + 2), 2);
        wire_unref(w);
        free(body);
    }
    struct wire *empty = wire_new(WIRE_WS_TEXT, 9, 65535, SLICE_NONE, WIRE_TAG_NONE);
    assert_memory_equal(empty->data + 2, "{\"action\":9,\"seq\":65535,\"body\":{}}", empty->len - 2);
    wire_unref(empty);
}

/* --- A form of somebody else -------------------------------------------------------------------------------------- */

enum { FOREIGN = WIRE_FORMS };

static unsigned encoded;

/* Lines; requests are answered in another way there, so that there are no words for answers. */
static struct wire *lines(const struct encoder *self, uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    char head[32];
    int n = snprintf(head, sizeof head, "%s %u ", (const char *)self->ctx, action);
    const struct slice parts[] = {slice_of(head, (size_t)n), body, SLICE_LIT("\n")};
    encoded++;
    return wire_make(parts, action < 100 ? 0 : 3, action, seq, tag);
}

static const struct encoder foreign = {.name = "lines", .encode = lines, .ctx = (void *)(uintptr_t) "PUSH"};

static void a_row_of_ones_own(void **state)
{
    (void)state;
    enum { N = 3 };
    struct kit k;
    int fds[N], other;
    uint32_t conns[N];
    char got[128];
    kit_start(&k, CONN_TCP, NULL);
    assert_int_equal(net_set_encoder(k.net, WIRE_TCP, &foreign), ERR_INVALID);
    assert_int_equal(net_set_encoder(k.net, WIRE_ROWS, &foreign), ERR_INVALID);
    assert_int_equal(net_set_encoder(k.net, FOREIGN, &foreign), 0);
    assert_int_equal(net_set_encoder(k.net, FOREIGN, &foreign), ERR_EXISTS);
    for (int i = 0; i < N; i++) {
        fds[i] = kit_client(&k);
        conns[i] = k.last;
        conn_set(k.net, conns[i], CONN_F_READY);
        conn_set_form(k.net, conns[i], FOREIGN);
        assert_string_equal(conn_form(k.net, conns[i]), "lines");
    }
    other = kit_client(&k);
    uint32_t tcp = k.last;
    conn_set(k.net, tcp, CONN_F_READY);
    assert_string_equal(conn_form(k.net, tcp), "tcp");
    /* One frame to all: encoded once for the row. */
    struct frame *f[3];
    for (uint16_t i = 0; i < 3; i++)
        f[i] = frame_new(i == 1 ? 9 : 102, 0, SLICE_LIT("{}"), 5);
    encoded = 0;
    for (int i = 0; i < N; i++)
        assert_int_equal(conn_send_frame(k.net, conns[i], f[0], CONN_MAY), 0);
    assert_int_equal(conn_send_frame(k.net, tcp, f[0], CONN_MAY), 0);
    assert_int_equal(encoded, 1);
    for (int i = 0; i < N; i++) {
        kit_take(&k, fds[i], got, 12);
        assert_memory_equal(got, "PUSH 102 {}\n", 12);
    }
    kit_expect_frame(&k, other, 102, "{}");
    /* What it has no words for is passed over, alone and among others, and leaves nothing behind. */
    assert_int_equal(conn_send_frame(k.net, conns[0], f[1], CONN_MUST), 0);
    assert_int_equal(conn_send_frames(k.net, conns[0], &f[1], 1, CONN_MUST), 0);
    KIT_UNTIL(&k, conn_at(k.net, conns[0])->out == NULL);
    assert_int_equal(conn_send_frames(k.net, conns[0], f, 3, CONN_MUST), 0);
    assert_int_equal(conn_queued(k.net, conns[0]), 24);
    kit_take(&k, fds[0], got, 24);
    assert_memory_equal(got, "PUSH 102 {}\nPUSH 102 {}\n", 24);
    KIT_UNTIL(&k, conn_at(k.net, conns[0])->out == NULL);
    struct bundle b = {.n = 0};
    assert_true(bundle_add(&b, f[1]));
    assert_true(conn_send_now(k.net, conns[1], &b));
    assert_true(bundle_add(&b, f[2]));
    bundle_clear(&b);
    assert_true(bundle_add(&b, f[1]) && bundle_add(&b, f[2]));
    assert_true(conn_send_now(k.net, conns[1], &b));
    kit_take(&k, fds[1], got, 12);
    assert_memory_equal(got, "PUSH 102 {}\n", 12);
    bundle_clear(&b);
    /* An answer to it alone, and its last words. */
    struct wire *w = conn_wire(k.net, conns[2], 107, 0, SLICE_LIT("{\"seq\":1}"), WIRE_TAG_NONE);
    assert_int_equal(conn_send(k.net, conns[2], w, CONN_MUST), 0);
    wire_unref(w);
    conn_close(k.net, conns[2], CLOSE_KICKED, NULL, 0);
    const char last[] = "PUSH 107 {\"seq\":1}\nPUSH 105 {\"reason\":\"kicked\"}\n";
    assert_int_equal(kit_drain(&k, fds[2], got, sizeof got), sizeof last - 1);
    assert_memory_equal(got, last, sizeof last - 1);
    for (int i = 0; i < 3; i++)
        frame_unref(f[i]);
    for (int i = 0; i < N; i++)
        close(fds[i]);
    close(other);
    kit_stop(&k);
}

/* The row goes along when the connection moves. */
static void rows_move(void **state)
{
    (void)state;
    struct kit k, other;
    struct conn_record r;
    char got[16];
    kit_start(&k, CONN_TCP, NULL);
    kit_start(&other, CONN_TCP, NULL);
    assert_int_equal(net_set_encoder(k.net, FOREIGN, &foreign), 0);
    assert_int_equal(net_set_encoder(other.net, FOREIGN, &foreign), 0);
    int fd = kit_client(&k);
    conn_set_form(k.net, k.last, FOREIGN);
    conn_at(k.net, k.last)->flags |= CONN_F_PAUSED;
    assert_int_equal(conn_detach(k.net, k.last, &r), 0);
    shared_connection_remove(k.shared);
    assert_true(shared_connection_add(other.shared, 0));
    uint32_t idx = conn_attach(other.net, &r);
    struct frame *f = frame_new(102, 0, SLICE_LIT("{}"), WIRE_TAG_NONE);
    assert_int_equal(conn_send_frame(other.net, idx, f, CONN_MUST), 0);
    frame_unref(f);
    kit_take(&other, fd, got, 12);
    assert_memory_equal(got, "PUSH 102 {}\n", 12);
    close(fd);
    kit_stop(&k);
    kit_stop(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(lengths_over_websocket),
        cmocka_unit_test(a_row_of_ones_own),
        cmocka_unit_test(rows_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
