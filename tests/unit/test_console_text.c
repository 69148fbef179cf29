/* Answers as text: strings, objects, tables; what acts on a terminal is escaped. */
#include "core/console/console_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void value(const char *json, const char *text)
{
    struct buf out = BUF_INIT;
    assert_true(console_text_value(&out, slice_str(json)));
    buf_byte(&out, '\0');
    assert_string_equal(out.p, text);
    buf_free(&out);
}

static void values(void **state)
{
    (void)state;
    value("", "");
    value("null", "");
    value("12.5", "12.5\n");
    value("true", "true\n");
    value("\"\"", "");
    value("\"one\\ntwo\\n\"", "one\ntwo\n");
    value("\"one\"", "one\n");
    value("{\"a\":1,\"b\":\"x y\",\"c\":null,\"d\":true}", "a: 1\nb: x y\nc: -\nd: true\n");
    value(" { \"a\" : { \"b\" : [ 1 , \"x y\" ] , \"c\":[] } } ", "a:\n  b: 1 \"x y\"\n  c: -\n");
    value("[1,\"a b\",null]", "1\na b\n-\n");
    value("{\"big\":9007199254740991}", "big: 9007199254740991\n");
}

static void tables(void **state)
{
    (void)state;
    value("[]", "");
    value("[{\"id\":\"a\",\"name\":\"Ada L\"},{\"id\":\"bob\",\"name\":\"\"}]",
          "id   name\na    \"Ada L\"\nbob  \"\"\n");
    value("[{\"a\":1},{\"b\":2}]", "a  b\n1  -\n-  2\n");
    value("[{\"a\":\"q\\\" b\"}]", "a\n\"q\\\" b\"\n");
    value("{\"rows\":[{\"x\":1}]}", "rows:\n  x\n  1\n");
    value("[{\"a\":{\"b\":1}}]", "a\n{\"b\":1}\n");
    value("[{\"n\":\"\\u00e9\"},{\"n\":\"xx\"}]", "n\n\xc3\xa9\nxx\n");
}

/* Columns stay as the first piece had them. */
static void pieces(void **state)
{
    (void)state;
    struct console_table t = {.count = 0};
    struct buf out = BUF_INIT;
    assert_true(console_text_rows(&out, slice_str("{\"a\":\"xx\",\"b\":1}"), &t));
    assert_true(console_text_rows(&out, SLICE_NONE, &t));
    assert_true(console_text_rows(&out, slice_str("{\"b\":2,\"a\":\"yyyy\",\"c\":3},{\"a\":\"z\",\"b\":4}"), &t));
    assert_false(console_text_rows(&out, slice_str("{\"a\":1}}"), &t));
    assert_false(console_text_rows(&out, slice_str("{\"a\":1}{"), &t));
    buf_byte(&out, '\0');
    assert_string_equal(out.p, "a   b\nxx  1\nyyyy  2\nz   4\n");
    buf_free(&out);
}

static void nothing_acts(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *shown;
    } cases[] = {
        {"\x1b[2J", "\\u001b[2J"},
        {"a\nb", "a\\nb"},
        {"a\tb", "a\\tb"},
        {"\x7f", "\\u007f"},
        {"\xc2\x9b"
         "31m",
         "\\u009b31m"},
        {"\xe2\x80\xae", "\\u202e"},
        {"\xe2\x81\xa6", "\\u2066"},
        {"\xe2\x80\xa8", "\\u2028"},
        {"\xef\xbb\xbf", "\\ufeff"},
        {"\xd8\x9c", "\\u061c"},
        {"\xf3\xa0\x80\x81", "\\udb40\\udc01"},
        {"\xff", "\\u00ff"},
        {"\xc3\xbc \xf0\x9f\x98\x80", "\xc3\xbc \xf0\x9f\x98\x80"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out = BUF_INIT;
        console_text_safe(&out, slice_str(cases[i].raw), false);
        buf_byte(&out, '\0');
        assert_string_equal(out.p, cases[i].shown);
        buf_free(&out);
    }
    value("\"a\\u001b[2J\\nb\"", "a\\u001b[2J\nb\n");
    value("{\"n\":\"x\\ny\\u202e\"}", "n: x\\ny\\u202e\n");
}

static void json_stays_json(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    console_text_json(&out, slice_str("{\"a\":\"\xe2\x80\xaex\xc2\x85\xc3\xbc\"}"));
    buf_byte(&out, '\0');
    assert_string_equal(out.p, "{\"a\":\"\\u202ex\\u0085\xc3\xbc\"}");
    buf_free(&out);
}

static void no_json(void **state)
{
    (void)state;
    static const char *const wrong[] = {"{", "x", "{\"a\":}", "[1,]", "\"", "1 2"};
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(console_text_value(&out, slice_str(wrong[i])));
    assert_int_equal(out.n, 0);
    buf_free(&out);
}

static void dates(void **state)
{
    (void)state;
    value("{\"createdAt\":1796036262810,\"until\":1796038154715,\"mutedUntil\":1796038154715}",
          "createdAt: 2026-11-30T10:57:42Z\nuntil: 2026-11-30T11:29:14Z\nmutedUntil: 2026-11-30T11:29:14Z\n");
    value("[{\"until\":1796038154715,\"id\":1796038154715},{\"until\":null,\"id\":2}]",
          "until                 id\n2026-11-30T11:29:14Z  1796038154715\n-                     2\n");
    /* No moments of this age, and what is no moment. */
    value("{\"until\":0,\"At\":17,\"sentAt\":\"x\",\"until_ms\":1796038154715,\"meat\":1796038154715}",
          "until: 0\nAt: 17\nsentAt: x\nuntil_ms: 1796038154715\nmeat: 1796038154715\n");
    value("{\"until\":-1796038154715,\"openedAt\":179603815471500}",
          "until: -1796038154715\nopenedAt: 179603815471500\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),       cmocka_unit_test(tables),          cmocka_unit_test(pieces),
        cmocka_unit_test(nothing_acts), cmocka_unit_test(json_stays_json), cmocka_unit_test(no_json),
        cmocka_unit_test(dates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
