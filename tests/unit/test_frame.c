/* Frames: encoded once per form, and the lengths of WebSocket. */
#include "core/base/buf.h"
#include "core/base/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void a_frame_is_encoded_once_per_form(void **state)
{
    (void)state;
    struct frame *f = frame_new(102, 0, SLICE_LIT("{\"a\":1}"), 7);
    struct wire *w = frame_wire(f, WIRE_TCP);
    assert_int_equal(w->len, 15);
    assert_int_equal(load_be32(w->data), 15);
    assert_int_equal(load_be16(w->data + 4), 102);
    assert_int_equal(w->tag, 7);
    assert_ptr_equal(frame_wire(f, WIRE_TCP), w);
    wire_ref(w); /* it outlives its frame */
    struct wire *text = frame_wire(f, WIRE_WS_TEXT);
    assert_int_equal(text->data[0], 0x81);
    assert_memory_equal(text->data + 2, "{\"action\":102,\"seq\":0,\"body\":{\"a\":1}}", text->len - 2);
    frame_unref(f);
    assert_memory_equal(w->data + 8, "{\"a\":1}", 7);
    wire_unref(w);
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
    struct wire *raw = wire_raw(SLICE_LIT("HTTP/1.1 101\r\n"), 9);
    assert_int_equal(raw->len, 14);
    assert_int_equal(raw->tag, 9);
    assert_memory_equal(raw->data, "HTTP/1.1 101\r\n", 14);
    wire_unref(raw);
    struct wire *empty = wire_new(WIRE_WS_TEXT, 9, 65535, SLICE_NONE, WIRE_TAG_NONE);
    assert_memory_equal(empty->data + 2, "{\"action\":9,\"seq\":65535,\"body\":{}}", empty->len - 2);
    wire_unref(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_encoded_once_per_form),
        cmocka_unit_test(lengths_over_websocket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
