/* What browsers accept and have already: plugins/web/accept.c, without the plugin around it. */
#include "plugins/web/accept.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void gzip_is_taken_where_it_is_wanted(void **state)
{
    static const struct {
        const char *field;
        bool good;
    } cases[] = {{NULL, false},
                 {"", false},
                 {"gzip", true},
                 {"GZip", true},
                 {"x-gzip", true},
                 {"br", false},
                 {"br, gzip", true},
                 {" br ,\tgzip ; q=0.5 ", true},
                 {"*", true},
                 {"gzip;q=0", false},
                 {"gzip; Q=0.000", false},
                 {"gzip;q=0.001", true},
                 {"gzip;q=", true},
                 {"gzip;q", true},
                 {"*;q=0", false},
                 {"*;q=0, gzip", true},
                 {"gzip;q=0, *", false},
                 {"gzipped", false},
                 {"gzi", false},
                 {",,;,", false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (accept_gzip(mp_str(cases[i].field)) != cases[i].good)
            fail_msg("\"%s\"", cases[i].field ? cases[i].field : "(absent)");
}

static void tags_are_found_in_lists(void **state)
{
    static const struct {
        const char *field;
        bool listed;
    } cases[] = {{NULL, false},
                 {"", false},
                 {"\"a\"", true},
                 {"W/\"a\"", true},
                 {"\"b\"", false},
                 {"\"b\",\"a\"", true},
                 {"\"b\" , W/\"a\"", true},
                 {"*", true},
                 {"a", false},
                 {"\"a", false},
                 {"W/", false},
                 {"w/\"a\"", false},
                 {"\"aa\"", false},
                 {",,", false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (etag_listed(mp_str(cases[i].field), "\"a\"") != cases[i].listed)
            fail_msg("%s", cases[i].field ? cases[i].field : "(absent)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gzip_is_taken_where_it_is_wanted),
                                       cmocka_unit_test(tags_are_found_in_lists)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
