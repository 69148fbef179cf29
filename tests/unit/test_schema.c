#include "core/base/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const colours[] = {"red", "green", NULL};

static const char *expected(const struct schema_rule *r)
{
    static char text[200];
    struct buf b = BUF_INIT;
    schema_expected(r, &b);
    snprintf(text, sizeof text, "%.*s", (int)b.n, b.p);
    buf_free(&b);
    return text;
}

static const char *unexpected(const struct schema_rule *r, const char *json)
{
    static char text[200];
    struct buf b = BUF_INIT;
    cJSON *item = cJSON_Parse(json);
    assert_non_null(item);
    schema_unexpected(r, item, &b);
    snprintf(text, sizeof text, "%.*s", (int)b.n, b.p);
    buf_free(&b);
    cJSON_Delete(item);
    return text;
}

static void numbers_have_bounds(void **state)
{
    (void)state;
    const struct schema_rule count = {.type = SCHEMA_COUNT, .min = 2, .max = 5};
    assert_true(schema_number(&count, 2) && schema_number(&count, 5));
    assert_false(schema_number(&count, 1) || schema_number(&count, 6) || schema_number(&count, 2.5));
    assert_false(schema_number(&count, NAN) || schema_number(&count, INFINITY));
    const struct schema_rule seconds = {.type = SCHEMA_SECONDS, .max = HUGE_VAL};
    assert_true(schema_number(&seconds, 0.5));
    assert_false(schema_number(&seconds, -0.5) || schema_number(&seconds, INFINITY));
    const struct schema_rule any = {.type = SCHEMA_NUMBER, .min = -HUGE_VAL, .max = HUGE_VAL};
    assert_true(schema_number(&any, -1e300));
    assert_false(schema_number(&any, NAN));
}

static void it_says_what_must_be(void **state)
{
    (void)state;
    struct schema_rule r = {.type = SCHEMA_SIZE, .min = 65536, .max = 3.0 * 1024 * 1024};
    assert_string_equal(expected(&r), "a size in whole bytes (64*KiB to 3*MiB)");
    r = (struct schema_rule){.type = SCHEMA_MS, .max = 4e9};
    assert_string_equal(expected(&r), "a time in milliseconds (0 or more)");
    r = (struct schema_rule){.type = SCHEMA_NUMBER, .min = -HUGE_VAL, .max = HUGE_VAL};
    assert_string_equal(expected(&r), "a number");
    r = (struct schema_rule){.type = SCHEMA_NUMBER, .min = -HUGE_VAL, .max = 7};
    assert_string_equal(expected(&r), "a number (at most 7)");
    r = (struct schema_rule){.type = SCHEMA_ENUM, .choices = colours};
    assert_string_equal(expected(&r), "one of \"red\", \"green\"");
    assert_int_equal(schema_choice(&r, "green"), 1);
    assert_int_equal(schema_choice(&r, "blue"), -1);
    r = (struct schema_rule){.type = SCHEMA_TEXT, .min = 3, .optional = true};
    assert_string_equal(expected(&r), "a text of at least 3 bytes or nil");
    r = (struct schema_rule){.type = SCHEMA_TEXTS, .choices = colours};
    assert_string_equal(expected(&r), "a list of texts out of \"red\", \"green\"");
    r = (struct schema_rule){.type = SCHEMA_OTHER, .phrase = "an address"};
    assert_string_equal(expected(&r), "an address");
}

static void it_shows_what_is_found(void **state)
{
    (void)state;
    struct schema_rule r = {.type = SCHEMA_BOOL};
    assert_string_equal(unexpected(&r, "7.5"), "expected true or false, found 7.5");
    assert_string_equal(unexpected(&r, "[]"), "expected true or false, found a list");
    assert_string_equal(unexpected(&r, "{}"), "expected true or false, found a table");
    assert_string_equal(unexpected(&r, "\"a\\u001b[2J\""), "expected true or false, found \"a\\x1b[2J\"");
    assert_string_equal(unexpected(&r, "\"0123456789012345678901234567890123456789x\""),
                        "expected true or false, found \"0123456789012345678901234567890123456789…\"");
    r.secret = true;
    assert_string_equal(unexpected(&r, "7.5"), "expected true or false, found a number");
    assert_string_equal(unexpected(&r, "\"hush\""), "expected true or false, found a text of 4 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_bounds),
        cmocka_unit_test(it_says_what_must_be),
        cmocka_unit_test(it_shows_what_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
