/* Lines of the console, taken apart into words. */
#include "core/console/console_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct console_line line;
static char text[1 << 17];

static const char *parse(const char *s)
{
    size_t n = strlen(s);
    memcpy(text, s, n);
    return console_line_parse(text, n, &line);
}

/* Words with | between them. */
static void expect(const char *s, bool json, const char *words)
{
    char joined[512] = "";
    const char *why = parse(s);
    if (why)
        fail_msg("%s: %s", s, why);
    for (unsigned i = 0; i < line.count; i++) {
        strcat(joined, i ? "|" : "");
        strncat(joined, line.words[i].p, line.words[i].n);
    }
    assert_string_equal(joined, words);
    assert_int_equal(line.json, json);
}

static void words(void **state)
{
    (void)state;
    expect("", false, "");
    expect(" \t ", false, "");
    expect("status", false, "status");
    expect("  kick \t user   ada ", false, "kick|user|ada");
    expect("json status", true, "status");
    expect("json json status", true, "json|status");
    assert_non_null(parse("json"));
    expect("\"json\" status", false, "json|status");
    expect("a\\b c", false, "a\\b|c");
    expect("\xc3\xbc", false, "\xc3\xbc");
}

static void quotes(void **state)
{
    (void)state;
    expect("\"\"", false, "");
    assert_int_equal(line.count, 1);
    expect("\"a b\" c", false, "a b|c");
    expect("\"a\\\"b\\\\c\\/d\"", false, "a\"b\\c/d");
    expect("\"\\b\\f\\n\\r\\t\"", false, "\b\f\n\r\t");
    expect("\"\\u0041\\u00fc\\u20AC\\ud83d\\ude00\"", false, "A\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80");
}

static void wrong(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "\"",          "\"a",         "\"a\\",       "\"a\\\"",      "\"\\x\"",     "\"\\u12\"",
        "\"\\u12g4\"", "\"\\u0000\"", "\"\\ud83d\"", "\"\\ud83dx\"", "\"\\ude00\"", "\"\\ud83d\\u0041\"",
        "a\"b",        "\"a\"b",      "\x1b[2J",     "a\x7f",        "\xff",        "\xc0\x80",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (!parse(lines[i]))
            fail_msg("taken: %s", lines[i]);
}

static void many_words(void **state)
{
    (void)state;
    static char s[4 * CONSOLE_WORDS];
    for (unsigned i = 0; i < CONSOLE_WORDS; i++)
        memcpy(s + 2 * i, "w ", 3);
    assert_null(parse(s));
    assert_int_equal(line.count, CONSOLE_WORDS);
    strcat(s, "x");
    assert_non_null(parse(s));
}

static void http(void **state)
{
    (void)state;
    static const char *const yes[] = {"GET / HTTP/1.1", "POST /x", "OPTIONS *", "PRI * HTTP/2.0", "FOO /x HTTP/1.1"};
    static const char *const no[] = {"", "status", "GETx", "get /", "announce read about HTTP", "POST"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        assert_true(console_line_is_http(slice_str(yes[i])));
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        assert_false(console_line_is_http(slice_str(no[i])));
}

/* Text, and what other protocols begin with. */
static void binary(void **state)
{
    (void)state;
    static const struct {
        struct slice line;
        bool part, whole; /* as a beginning; as a line */
    } cases[] = {
        {SLICE_LIT("status"), false, false}, {SLICE_LIT("\tstatus\r"), false, false},
        {SLICE_LIT(""), false, false},       {SLICE_LIT("\xc3\xbc"), false, false},
        {SLICE_LIT("\xc3"), false, true},    {SLICE_LIT("\xff\xfd\x03"), true, true},
        {SLICE_LIT("\x80"), false, true},    {SLICE_LIT("\x16\x03\x01\x02"), true, true},
        {SLICE_LIT("status\0"), true, true}, {SLICE_LIT("a\rb"), true, true},
        {SLICE_LIT("\x7f"), true, true},     {SLICE_LIT("\x1b[A"), true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(console_line_is_binary(cases[i].line, false), cases[i].part);
        assert_int_equal(console_line_is_binary(cases[i].line, true), cases[i].whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(words), cmocka_unit_test(quotes),
                                       cmocka_unit_test(wrong), cmocka_unit_test(many_words),
                                       cmocka_unit_test(http),  cmocka_unit_test(binary)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
