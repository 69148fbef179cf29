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

/* Joined once per form, and what was joined outlives bundle and frames. */
static void frames_in_a_bundle(void **state)
{
    (void)state;
    struct bundle b = {.n = 0};
    assert_null(bundle_wire(&b, WIRE_TCP));
    struct frame *one = frame_new(102, 0, SLICE_LIT("{}"), 7), *two = frame_new(109, 0, SLICE_LIT("{\"a\":1}"), 7);
    assert_true(bundle_add(&b, one));
    assert_ptr_equal(bundle_wire(&b, WIRE_TCP), frame_wire(one, WIRE_TCP));
    bundle_clear(&b);
    assert_true(bundle_add(&b, one));
    assert_true(bundle_add(&b, two));
    frame_unref(one);
    frame_unref(two);
    struct wire *w = bundle_wire(&b, WIRE_TCP), *text = bundle_wire(&b, WIRE_WS_TEXT);
    assert_ptr_equal(bundle_wire(&b, WIRE_TCP), w);
    assert_int_equal(w->len, 10 + 15);
    assert_int_equal(w->tag, 7);
    assert_memory_equal(w->data + 8, "{}", 2);
    assert_int_equal(load_be16(w->data + 10 + 4), 109);
    assert_memory_equal(w->data + 18, "{\"a\":1}", 7);
    assert_int_equal(text->data[0], 0x81);
    assert_int_equal(text->data[2 + text->data[1]], 0x81);
    wire_ref(w);
    bundle_clear(&b);
    assert_int_equal(b.n, 0);
    assert_memory_equal(w->data + 18, "{\"a\":1}", 7);
    wire_unref(w);
}

/* One may be of any size; more than one are no more than a copy is worth. */
static void a_bundle_is_full(void **state)
{
    (void)state;
    struct bundle b = {.n = 0};
    char *body = calloc(1, BUNDLE_BYTES + 1);
    struct frame *large = frame_new(102, 0, slice_of(body, BUNDLE_BYTES + 1), 0),
                 *small = frame_new(102, 0, SLICE_LIT("{}"), 0);
    assert_true(bundle_add(&b, large));
    assert_false(bundle_add(&b, small));
    assert_int_equal(bundle_wire(&b, WIRE_TCP)->len, BUNDLE_BYTES + 1 + 8);
    bundle_clear(&b);
    assert_true(bundle_add(&b, small));
    assert_false(bundle_add(&b, large));
    for (int i = 1; i < BUNDLE_MAX; i++)
        assert_true(bundle_add(&b, small));
    assert_false(bundle_add(&b, small));
    assert_int_equal(bundle_wire(&b, WIRE_TCP)->len, BUNDLE_MAX * 10);
    bundle_clear(&b);
    assert_int_equal(large->refs, 1);
    assert_int_equal(small->refs, 1);
    frame_unref(large);
    frame_unref(small);
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_encoded_once_per_form),
        cmocka_unit_test(lengths_over_websocket),
        cmocka_unit_test(frames_in_a_bundle),
        cmocka_unit_test(a_bundle_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
