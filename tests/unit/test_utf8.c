/* Texts that were cut. The rest of utf8.c: test_base.c. */
#include "core/base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void cut_texts_end_between_characters(void **state)
{
    static const struct {
        const char *text, *prefix;
    } cases[] = {{"", ""},
                 {"abc", "abc"},
                 {"a\xC3", "a"},
                 {"a\xC3\xBC", "a\xC3\xBC"},
                 {"\xE2\x82", ""},
                 {"x\xF0\x9F\x98", "x"},
                 {"\xF0\x9F\x98\x80!", "\xF0\x9F\x98\x80!"},
                 {"ab\xFF"
                  "cd",
                  "ab"},
                 {"ab\xED\xA0\x80", "ab"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slice p = utf8_prefix(slice_str(cases[i].text));
        assert_true(utf8_valid(p));
        assert_true(slice_eq(p, slice_str(cases[i].prefix)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_texts_end_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
