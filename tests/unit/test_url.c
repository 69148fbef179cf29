#include "core/net/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void decoding(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool form;
        int rc;
        const char *out;
    } cases[] = {
        {"", false, 0, ""},
        {"plain", false, 5, "plain"},
        {"a%20b", false, 3, "a b"},
        {"a+b", false, 3, "a+b"},
        {"a+b", true, 3, "a b"},
        {"%2b%2B", true, 2, "++"},
        {"%252f", false, 3, "%2f"}, /* once */
        {"%c3%A4", false, 2, "\xc3\xa4"},
        {"\xc3\xa4", false, 2, "\xc3\xa4"},
        {"%2e%2e%2f", false, 3, "../"},
        {"0123456", false, 7, "0123456"},
        {"01234567", false, ERR_FULL, NULL},
        {"%30%31%32%33%34%35%36", false, 7, "0123456"},
        {"%30%31%32%33%34%35%36%37", false, ERR_FULL, NULL},
        {"%", false, ERR_INVALID, NULL},
        {"a%4", false, ERR_INVALID, NULL},
        {"%4g", false, ERR_INVALID, NULL},
        {"%g4", false, ERR_INVALID, NULL},
        {"%%41", false, ERR_INVALID, NULL},
        {"%u002e", false, ERR_INVALID, NULL},
        {"a%00", false, ERR_INVALID, NULL},
        {"%c3", false, ERR_INVALID, NULL},
        {"%c0%ae", false, ERR_INVALID, NULL}, /* a point, overlong */
        {"%ed%a0%80", false, ERR_INVALID, NULL},
        {"\xff", false, ERR_INVALID, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[9];
        out[8] = '#';
        print_message("%s\n", cases[i].text);
        assert_int_equal(url_decode(slice_str(cases[i].text), cases[i].form, out, 8), cases[i].rc);
        assert_string_equal(out, cases[i].out ? cases[i].out : "");
        assert_int_equal(out[8], '#');
    }
    assert_int_equal(url_decode(SLICE_NONE, false, NULL, 0), ERR_FULL);
    /* A NUL that stands there as it is. */
    char out[8];
    assert_int_equal(url_decode(SLICE_LIT("a\0b"), false, out, sizeof out), ERR_INVALID);
}

static void parameters(void **state)
{
    (void)state;
    static const struct {
        const char *query, *name;
        int rc;
        const char *out;
    } cases[] = {
        {"", "a", ERR_NOTFOUND, NULL},
        {"a=1", "a", 1, "1"},
        {"a=1&a=2", "a", 1, "1"},
        {"b=1&a=2", "a", 1, "2"},
        {"ab=1&xa=2", "a", ERR_NOTFOUND, NULL},
        {"ab=1&a=2", "a", 1, "2"},
        {"a", "a", 0, ""},
        {"a=", "a", 0, ""},
        {"b&a&c", "a", 0, ""},
        {"a=x=y", "a", 3, "x=y"},
        {"a=1+%2b%26", "a", 4, "1 +&"},
        {"&&a=1", "a", 1, "1"},
        {"b=%26a=7", "a", ERR_NOTFOUND, NULL},
        {"%61=1", "a", ERR_NOTFOUND, NULL}, /* names as they came */
        {"A=1", "a", ERR_NOTFOUND, NULL},
        {"a=%&a=1", "a", ERR_INVALID, NULL}, /* the first one counts */
        {"a=12345678", "a", ERR_FULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[8] = "";
        print_message("%s in %s\n", cases[i].name, cases[i].query);
        assert_int_equal(url_param(slice_str(cases[i].query), slice_str(cases[i].name), out, sizeof out), cases[i].rc);
        assert_string_equal(out, cases[i].out ? cases[i].out : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding),
        cmocka_unit_test(parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
