/* Lines of the log that would be too long: they are cut, and stay well-formed. */
#include "core/base/json.h"
#include "core/base/log_line.h"

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { LONG = 3 * LOG_LINE_MAX };

/* A line feed at its end and nowhere else; as JSON it can be read. */
static void assert_well_formed(const struct log_line *l, enum log_format format)
{
    const char *why = NULL;
    assert_in_range(l->n, 1, LOG_LINE_MAX);
    assert_ptr_equal(memchr(l->p, '\n', l->n), l->p + l->n - 1);
    if (format == LOG_TEXT)
        return;
    struct cJSON *tree = json_parse(slice_of(l->p, l->n - 1), &why);
    if (!tree)
        fail_msg("%s: %.*s", why, (int)l->n, l->p);
    json_free(tree);
}

/* Values of any length, of bytes that are written as they are, as two and as six. */
static void long_values(void **state)
{
    static char value[LONG + 1];
    static const char bytes[] = {'x', '"', '\x01'};
    (void)state;
    for (size_t b = 0; b < sizeof bytes; b++) {
        memset(value, bytes[b], LONG);
        for (size_t n = 0; n <= LONG; n += n < 400 ? 1 : 37)
            for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
                struct log_line l;
                const struct log_field fields[] = {LOG_STR("first", "1"),
                                                   LOG_SLICE("value", slice_of(value, n)),
                                                   LOG_INT("last", 1),
                                                   {.type = LOG_F_END}};
                log_line_format(&l, LOG_INFO, "test.long", fields, (enum log_format)format);
                assert_well_formed(&l, (enum log_format)format);
                if (n < 500) /* all of it fits */
                    assert_non_null(memmem(l.p, l.n, "last", 4));
            }
    }
}

/* Fields without end: those that fit are there, each whole. */
static void many_fields(void **state)
{
    enum { MANY = 300 };
    struct log_field fields[MANY + 1];
    (void)state;
    for (int i = 0; i < MANY; i++)
        fields[i] = i % 2 ? LOG_INT("number", INT64_MIN) : LOG_STR("text", "some words of it");
    fields[MANY] = (struct log_field){.type = LOG_F_END};
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        struct log_line l;
        log_line_format(&l, LOG_ERROR, "test.many", fields, (enum log_format)format);
        assert_in_range(l.n, LOG_LINE_MAX - 600, LOG_LINE_MAX);
        assert_ptr_equal(memchr(l.p, '\n', l.n), l.p + l.n - 1);
        if (format == LOG_JSON) /* the keys come more than once, which our own reader refuses */
            assert_int_equal(l.p[l.n - 2], '}');
    }
}

static void levels_have_names(void **state)
{
    (void)state;
    assert_string_equal(log_level_name(LOG_DEBUG), "debug");
    assert_string_equal(log_level_name(LOG_ERROR), "error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_values),
        cmocka_unit_test(many_fields),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
