/* Buffers: what is appended, what happens without memory, escapes. */
#include "core/base/buf.h"
#include "core/base/json.h"

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void is(const struct buf *b, const char *text)
{
    assert_true(buf_ok(b));
    if (!slice_eq(buf_slice(b), slice_str(text)))
        fail_msg("expected %s, got %.*s", text, (int)b->n, b->p);
}

static void appends(void **state)
{
    struct buf b = BUF_INIT;
    (void)state;
    is(&b, "");
    buf_put(&b, NULL, 0);
    buf_slice_put(&b, SLICE_NONE);
    is(&b, "");
    buf_lit(&b, "lit ");
    buf_str(&b, "str ");
    buf_byte(&b, 'c');
    buf_dec(&b, 0);
    buf_dec(&b, UINT64_MAX);
    buf_printf(&b, " %s-%d", "fmt", 5);
    is(&b, "lit str c018446744073709551615 fmt-5");
    buf_reset(&b);
    is(&b, "");
    buf_u16(&b, 0x0102);
    buf_u32(&b, 0x03040506);
    char eight[8];
    store_be64(eight, 0x0708090a0b0c0d0eull);
    buf_put(&b, eight, sizeof eight);
    static const char bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    assert_int_equal(b.n, sizeof bytes);
    assert_memory_equal(b.p, bytes, sizeof bytes);
    assert_int_equal(load_be16(b.p), 0x0102);
    assert_int_equal(load_be32(b.p + 2), 0x03040506);
    assert_true(load_be64(b.p + 6) == 0x0708090a0b0c0d0eull);
    char *at = buf_reserve(&b, 1000);
    assert_non_null(at);
    assert_true(b.cap >= b.n + 1000);
    buf_free(&b);
    assert_null(b.p);
    buf_lit(&b, "usable again");
    is(&b, "usable again");
    buf_free(&b);
}

static void long_formats(void **state)
{
    struct buf b = BUF_INIT;
    char *text = calloc(1, 100001);
    (void)state;
    memset(text, 'x', 100000);
    buf_printf(&b, "<%s>", text);
    assert_int_equal(b.n, 100002);
    assert_int_equal(b.p[100001], '>');
    buf_free(&b);
    free(text);
}

/* More than there can be: nothing is appended any more, and that shows. */
static void without_memory(void **state)
{
    struct buf b = BUF_INIT;
    (void)state;
    buf_lit(&b, "kept");
    assert_null(buf_reserve(&b, SIZE_MAX / 2));
    assert_false(buf_ok(&b));
    buf_lit(&b, "more");
    buf_dec(&b, 5);
    buf_printf(&b, "%d", 5);
    buf_json_string(&b, SLICE_LIT("x"));
    assert_int_equal(b.n, 4);
    assert_false(buf_ok(&b));
    assert_null(buf_reserve(&b, 1));
    buf_reset(&b);
    buf_lit(&b, "fine");
    is(&b, "fine");
    buf_free(&b);
    assert_null(buf_reserve(&b, SIZE_MAX - 3)); /* sums that wrap */
    assert_false(buf_ok(&b));
    buf_free(&b);
}

static void json_strings(void **state)
{
    struct buf b = BUF_INIT;
    char all[0x80];
    const char *why = NULL;
    struct slice s;
    (void)state;
    for (int i = 1; i < 0x80; i++)
        all[i - 1] = (char)i;
    buf_lit(&b, "{\"v\":");
    buf_json_string(&b, slice_of(all, 0x7F));
    buf_lit(&b, "}");
    struct cJSON *tree = json_parse(buf_slice(&b), &why);
    if (!tree)
        fail_msg("%s", why);
    assert_int_equal(json_get_string(tree, "v", &s), 1);
    assert_true(slice_eq(s, slice_of(all, 0x7F)));
    json_free(tree);
    buf_reset(&b);
    buf_json_string(&b, SLICE_LIT("a\"b\\c\n\x01 \x7f gr\xC3\xBC\xC3\x9F </script>"));
    is(&b, "\"a\\\"b\\\\c\\n\\u0001 \x7f gr\xC3\xBC\xC3\x9F </script>\"");
    buf_reset(&b);
    buf_json_string(&b, SLICE_NONE);
    is(&b, "\"\"");
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends),
        cmocka_unit_test(long_formats),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(json_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
