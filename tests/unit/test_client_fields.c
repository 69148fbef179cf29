/* Members of JSON objects without a tree: core/client/client_fields.c. */
#include "core/client/client_fields.h"

#include "core/base/buf.h"
#include "core/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void assert_slice(struct slice s, const char *text)
{
    assert_int_equal(s.n, strlen(text));
    assert_memory_equal(s.p, text, s.n);
}

static void fields_are_found(void **state)
{
    struct slice text = slice_str(
        " { \"id\" : \"7\" , \"content\":\"a \\\"seq\\\":9} \\\\\",\"sender\":{\"id\":\"x\",\"deep\":[1,{\"}\":2}]},"
        "\"n\":-12,\"t\":true,\"none\":null,\"seq\":42 }");
    struct client_field fields[] = {CLIENT_FIELD("seq"), CLIENT_FIELD("content"), CLIENT_FIELD("sender"),
                                    CLIENT_FIELD("n"),   CLIENT_FIELD("none"),    CLIENT_FIELD("absent")};
    int64_t v;

    (void)state;
    assert_int_equal(client_fields_read(text, fields, 6), 4);
    assert_slice(fields[0].value, "42");
    assert_slice(fields[1].value, "\"a \\\"seq\\\":9} \\\\\"");
    assert_slice(fields[2].value, "{\"id\":\"x\",\"deep\":[1,{\"}\":2}]}");
    assert_int_equal(client_value_int(fields[3].value, &v), 0);
    assert_int_equal(v, -12);
    assert_null(fields[4].value.p);
    assert_null(fields[5].value.p);
    assert_int_equal(client_fields_read(slice_str("{}"), fields, 6), 0);
    assert_null(fields[0].value.p);
}

/* Every prefix of a good text is an error or incomplete, and no read leaves it (the copies are exact, for ASan's
 * sake). */
static void truncated_text_is_refused(void **state)
{
    const char *text = "{\"a\":[1,\"x\\\"\",{\"b\":null}],\"content\":\"\\u00e9\",\"seq\":42}";
    size_t n = strlen(text);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        struct client_field fields[] = {CLIENT_FIELD("seq"), CLIENT_FIELD("nothing")};
        char *copy = malloc(i + 1);
        int64_t v;
        assert_non_null(copy);
        memcpy(copy, text, i);
        assert_int_equal(client_fields_read(slice_of(copy, i), fields, 2), ERR_INVALID);
        (void)client_field_int(slice_of(copy, i), SLICE_LIT("seq"), &v);
        (void)client_body_refused(slice_of(copy, i));
        free(copy);
    }
    struct client_field field = CLIENT_FIELD("a");
    assert_int_equal(client_fields_read(slice_str("[1]"), &field, 1), ERR_INVALID);
    assert_int_equal(client_fields_read(slice_str("{\"b\" 1}"), &field, 1), ERR_INVALID);
    assert_int_equal(client_fields_read(slice_str("{\"b\":1 \"a\":2}"), &field, 1), ERR_INVALID);
}

static void integers_are_read(void **state)
{
    static const struct {
        const char *text;
        int status;
        int64_t value;
    } rows[] = {
        {"{\"id\":\"x\",\"seq\":42}", 0, 42},
        {"{\"seq\":42,\"id\":\"x\"}", 0, 42},
        {"{\"seq\":42}", 0, 42},
        {"{\"id\":\"x\",\"seq\": 42 }", 0, 42},
        {"{\"id\":\"x\",\"seq\":-1}", 0, -1},
        {"{\"id\":\"x\",\"xseq\":42}", ERR_NOTFOUND, 0},
        {"{\"sender\":{\"id\":1,\"seq\":42}}", ERR_NOTFOUND, 0},
        {"{\"content\":\"x,\\\"seq\\\":42}\"}", ERR_NOTFOUND, 0},
        {"{\"seq\":1,\"content\":\",\\\"seq\\\":42}\"}", 0, 1},
        {"{\"id\":1,\"seq\":1.5}", ERR_INVALID, 0},
        {"{\"id\":1,\"seq\":\"7\"}", ERR_INVALID, 0},
        {"{\"id\":1,\"seq\":9223372036854775808}", ERR_INVALID, 0},
        {"{\"id\":1,\"seq\":null}", ERR_NOTFOUND, 0},
        {"", ERR_INVALID, 0},
        {"}", ERR_INVALID, 0},
        {"4}", ERR_INVALID, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t v = 0;
        assert_int_equal(client_field_int(slice_str(rows[i].text), SLICE_LIT("seq"), &v), rows[i].status);
        assert_true(rows[i].status < 0 || v == rows[i].value);
    }
}

static void strings_are_unescaped(void **state)
{
    struct buf out = BUF_INIT;
    struct slice plain;

    (void)state;
    assert_int_equal(client_value_string(slice_str("\"a\\n\\\"\\\\\\/\\u0041\\u00e9\\u20ac\\ud83d\\ude00\""), &out), 0);
    assert_true(buf_ok(&out));
    assert_slice(buf_slice(&out), "a\n\"\\/A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    static const char *const bad[] = {"\"\\u12\"",   "\"\\ud83d\"",      "\"\\ude00\"", "\"\\ud83d\\u0041\"",
                                      "\"\\x\"",     "\"\\\"",           "\"",          "7",
                                      "\"\\u00g0\"", "\"\\ud83d\\ude0\""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(client_value_string(slice_str(bad[i]), &out), ERR_INVALID);
    buf_free(&out);
    assert_int_equal(client_value_plain(slice_str("\"abc\""), &plain), 0);
    assert_slice(plain, "abc");
    assert_int_equal(client_value_plain(slice_str("\"a\\n\""), &plain), ERR_INVALID);
    assert_int_equal(client_value_plain(slice_str("12"), &plain), ERR_INVALID);
    assert_int_equal(client_value_plain(SLICE_NONE, &plain), ERR_INVALID);
}

static void arrays_are_walked(void **state)
{
    struct slice array = slice_str("[ {\"seq\":1} , \"],\" ,[3],4 ]"), item;
    static const char *const items[] = {"{\"seq\":1}", "\"],\"", "[3]", "4"};
    size_t at = 0;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(client_array_next(array, &at, &item), 1);
        assert_slice(item, items[i]);
    }
    assert_int_equal(client_array_next(array, &at, &item), 0);
    assert_int_equal(client_array_next(array, &at, &item), 0);
    at = 0;
    assert_int_equal(client_array_next(slice_str("[]"), &at, &item), 0);
    at = 0;
    assert_int_equal(client_array_next(slice_str("{}"), &at, &item), ERR_INVALID);
    at = 0;
    assert_int_equal(client_array_next(slice_str("[1"), &at, &item), 1);
    assert_int_equal(client_array_next(slice_str("[1"), &at, &item), ERR_INVALID);
}

static void refusals_are_known(void **state)
{
    (void)state;
    assert_true(client_body_refused(slice_str("{\"error\":{\"code\":\"x\"}}")));
    assert_true(client_body_refused(slice_str("{ \"error\" : {\"code\":\"x\"}}")));
    assert_false(client_body_refused(slice_str("{\"errors\":1}")));
    assert_false(client_body_refused(slice_str("{\"id\":\"1\",\"error\":1}")));
    assert_false(client_body_refused(slice_str("{}")));
    assert_false(client_body_refused(SLICE_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_found),  cmocka_unit_test(truncated_text_is_refused),
        cmocka_unit_test(integers_are_read), cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(arrays_are_walked), cmocka_unit_test(refusals_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
