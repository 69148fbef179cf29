/* Frames: encoded once per form, and bundles of them. */
#include "core/base/buf.h"
#include "core/base/frame.h"
#include "core/net/encoder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void raw_bytes(void **state)
{
    (void)state;
    struct wire *raw = wire_raw(SLICE_LIT("HTTP/1.1 101\r\n"), 9);
    assert_int_equal(raw->len, 14);
    assert_int_equal(raw->tag, 9);
    assert_int_equal(raw->action, WIRE_NAMELESS);
    assert_memory_equal(raw->data, "HTTP/1.1 101\r\n", 14);
    wire_unref(raw);
    const struct slice parts[] = {SLICE_LIT("ab"), SLICE_NONE, SLICE_LIT("c")};
    struct wire *made = wire_make(parts, 3, 102, 7, 5);
    assert_int_equal(made->len, 3);
    assert_memory_equal(made->data, "abc", 3);
    assert_true(made->action == 102 && made->seq == 7 && made->tag == 5 && made->refs == 1);
    wire_unref(made);
}

static void a_frame_is_encoded_once_per_form(void **state)
{
    (void)state;
    struct frame *f = frame_new(102, 0, SLICE_LIT("{\"a\":1}"), 7);
    struct wire *w = frame_wire(f, WIRE_TCP, encoders_own[WIRE_TCP]);
    assert_int_equal(w->len, 15);
    assert_int_equal(load_be32(w->data), 15);
    assert_int_equal(load_be16(w->data + 4), 102);
    assert_int_equal(w->tag, 7);
    assert_ptr_equal(frame_wire(f, WIRE_TCP, encoders_own[WIRE_TCP]), w);
    wire_ref(w); /* it outlives its frame */
    struct wire *text = frame_wire(f, WIRE_WS_TEXT, encoders_own[WIRE_WS_TEXT]);
    assert_int_equal(text->data[0], 0x81);
    assert_memory_equal(text->data + 2, "{\"action\":102,\"seq\":0,\"body\":{\"a\":1}}", text->len - 2);
    frame_unref(f);
    assert_memory_equal(w->data + 8, "{\"a\":1}", 7);
    wire_unref(w);
}

/* A form that is asked for later is made from the owner's bytes; those that were made keep their own. */
static void a_borrowed_body_is_not_copied(void **state)
{
    (void)state;
    char body[] = "{\"a\":1}";
    struct frame *f = frame_borrow(102, 0, slice_str(body), 7);
    assert_ptr_equal(f->body, body);
    struct wire *w = frame_wire(f, WIRE_TCP, encoders_own[WIRE_TCP]);
    wire_ref(w);
    frame_unref(f);
    memset(body, 'x', sizeof body);
    assert_memory_equal(w->data + 8, "{\"a\":1}", 7);
    wire_unref(w);
}

/* Joined once per form, and what was joined outlives bundle and frames. */
static void frames_in_a_bundle(void **state)
{
    (void)state;
    struct bundle b = {.n = 0};
    assert_null(bundle_wire(&b, WIRE_TCP, encoders_own[WIRE_TCP]));
    struct frame *one = frame_new(102, 0, SLICE_LIT("{}"), 7), *two = frame_new(109, 0, SLICE_LIT("{\"a\":1}"), 7);
    assert_true(bundle_add(&b, one));
    assert_ptr_equal(bundle_wire(&b, WIRE_TCP, encoders_own[WIRE_TCP]),
                     frame_wire(one, WIRE_TCP, encoders_own[WIRE_TCP]));
    bundle_clear(&b);
    assert_true(bundle_add(&b, one));
    assert_true(bundle_add(&b, two));
    frame_unref(one);
    frame_unref(two);
    struct wire *w = bundle_wire(&b, WIRE_TCP, encoders_own[WIRE_TCP]),
                *text = bundle_wire(&b, WIRE_WS_TEXT, encoders_own[WIRE_WS_TEXT]);
    assert_ptr_equal(bundle_wire(&b, WIRE_TCP, encoders_own[WIRE_TCP]), w);
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
    assert_int_equal(bundle_wire(&b, WIRE_TCP, encoders_own[WIRE_TCP])->len, BUNDLE_BYTES + 1 + 8);
    bundle_clear(&b);
    assert_true(bundle_add(&b, small));
    assert_false(bundle_add(&b, large));
    for (int i = 1; i < BUNDLE_MAX; i++)
        assert_true(bundle_add(&b, small));
    assert_false(bundle_add(&b, small));
    assert_int_equal(bundle_wire(&b, WIRE_TCP, encoders_own[WIRE_TCP])->len, BUNDLE_MAX * 10);
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
        cmocka_unit_test(raw_bytes),
        cmocka_unit_test(a_frame_is_encoded_once_per_form),
        cmocka_unit_test(a_borrowed_body_is_not_copied),
        cmocka_unit_test(frames_in_a_bundle),
        cmocka_unit_test(a_bundle_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
