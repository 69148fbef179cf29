/* The reader of JSON objects of plugins/auth_jwt. */
#include "plugins/auth_jwt/object.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Reads a copy of the text, which is only as long as the text, so that a sanitizer sees a step beyond it. */
static const char *read_copy(struct object *o, char **copy, const char *text)
{
    size_t n = strlen(text);
    *copy = malloc(n + !n);
    assert_non_null(*copy);
    memcpy(*copy, text, n);
    return object_read(o, *copy, n);
}

static void reads_objects(void **state)
{
    (void)state;
    struct object o;
    char *copy;
    double x = 0;
    const char *text =
        " {\"a\":\"x\\n\\u00e9\\ud83d\\ude00\",\"b\\u0062\" : -12.5e1 "
        ",\"\":true,\"n\":null,\"big\":123456789012345678901,"
        "\"list\":[1,{\"a\":[\"]\"]},\"\\\"\"],\"o\":{\"x\":1,\"x\":2},\"f\":false,\"big\\u0000\":1e999}\n";
    assert_null(read_copy(&o, &copy, text));
    assert_int_equal(o.count, 9);
    assert_true(part_is(object_get(&o, "a").text, "x\n\xc3\xa9\xf0\x9f\x98\x80"));
    assert_int_equal(object_get(&o, "a").kind, VALUE_TEXT);
    assert_true(number_value(object_get(&o, "bb"), &x) && x == -125.0);
    assert_true(part_is(object_get(&o, "bb").text, "-12.5e1"));
    assert_int_equal(object_get(&o, "").kind, VALUE_TRUE);
    assert_int_equal(object_get(&o, "f").kind, VALUE_FALSE);
    assert_int_equal(object_get(&o, "n").kind, VALUE_ABSENT);
    assert_int_equal(object_get(&o, "none").kind, VALUE_ABSENT);
    assert_true(part_is(object_get(&o, "big").text, "123456789012345678901"));
    assert_int_equal(object_get(&o, "o").kind, VALUE_OBJECT);
    assert_true(array_has(object_get(&o, "list"), "\""));
    assert_false(number_value(o.list[8].value, &x)); /* too large for any double */
    free(copy);
}

static void asks_arrays(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool has;
    } cases[] = {
        {"[]", false},
        {"[ ]", false},
        {"[\"x\"]", true},
        {"[ \"y\" , \"x\" ]", true},
        {"[[\"x\"]]", false},
        {"[{\"x\":1}]", false},
        {"[\"\\u0078\"]", true},
        {"[\"x\\u0000\"]", false},
        {"[1,null,true,\"xx\",\"\"]", false},
        {"[1,null,true,\"x\"]", true},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct object o;
        char text[80], *copy;
        snprintf(text, sizeof text, "{\"aud\":%s}", cases[i].text);
        assert_null(read_copy(&o, &copy, text));
        assert_int_equal(array_has(object_get(&o, "aud"), "x"), cases[i].has);
        free(copy);
    }
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "no object"},
        {"[]", "no object"},
        {"null", "no object"},
        {"\"a\"", "no object"},
        {"{", "a text is missing"},
        {"{}x", "something behind the object"},
        {"{}{}", "something behind the object"},
        {"{\"a\"}", "no colon behind a name"},
        {"{\"a\":}", "no value"},
        {"{\"a\":1,}", "a text is missing"},
        {"{,\"a\":1}", "a text is missing"},
        {"{a:1}", "a text is missing"},
        {"{'a':1}", "a text is missing"},
        {"{\"a\":1 \"b\":2}", "a comma or a bracket is missing"},
        {"{\"a\":01}", "a comma or a bracket is missing"},
        {"{\"a\":1", "a comma or a bracket is missing"},
        {"{\"a\":[1,]}", "no value"},
        {"{\"a\":[1}", "a comma or a bracket is missing"},
        {"{\"a\":{\"b\":1]}", "a comma or a bracket is missing"},
        {"{\"a\":tru}", "no value"},
        {"{\"a\":NaN}", "no value"},
        {"{\"a\":+1}", "no value"},
        {"{\"a\":.5}", "no value"},
        {"{\"a\":1.}", "a bad number"},
        {"{\"a\":1e}", "a bad number"},
        {"{\"a\":-}", "a bad number"},
        {"{\"a\":1e+}", "a bad number"},
        {"{\"a\":0x1}", "a comma or a bracket is missing"},
        {"{\"a\":\"x}", "a text without an end"},
        {"{\"a\":\"\n\"}", "a control character in a text"},
        {"{\"a\":\"\\x\"}", "a bad escape"},
        {"{\"a\":\"\\u12g4\"}", "a bad escape"},
        {"{\"a\":\"\\u12", "a bad escape"},
        {"{\"a\":\"\\", "a bad escape"},
        {"{\"a\":\"\\ud83d\"}", "half a character"},
        {"{\"a\":\"\\ud83dx\"}", "half a character"},
        {"{\"a\":\"\\ud83d\\u0041\"}", "half a character"},
        {"{\"a\":\"\\ude00\"}", "half a character"},
        {"{\"a\":\"\xff\"}", "no valid UTF-8"},
        {"{\"a\":\"\xc0\x80\"}", "no valid UTF-8"},
        {"{\"a\":\"\xed\xa0\x80\"}", "no valid UTF-8"},
        {"{\"a\":\"\xf4\x90\x80\x80\"}", "no valid UTF-8"},
        {"{\"a\":\"\xe2\x82", "no valid UTF-8"},
        {"\xef\xbb\xbf{}", "no object"},
        {"{\"a\":1,\"a\":1}", "a name stands twice"},
        {"{\"a\":1,\"\\u0061\":1}", "a name stands twice"},
        {"{\"a\":{\"b\":\"\\ud83d\"}}", "half a character"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct object o;
        char *copy;
        const char *why = read_copy(&o, &copy, cases[i].text);
        assert_non_null(why);
        assert_string_equal(why, cases[i].why);
        free(copy);
    }
}

/* `open` so many times around nothing, closed again. */
static const char *nested(unsigned levels)
{
    struct object o;
    char text[256] = "{\"a\":", *copy;
    size_t n = strlen(text);
    memset(text + n, '[', levels);
    memset(text + n + levels, ']', levels);
    strcpy(text + n + 2 * levels, "}");
    const char *why = read_copy(&o, &copy, text);
    free(copy);
    return why;
}

static void has_limits(void **state)
{
    (void)state;
    assert_null(nested(DEPTH_MAX - 1));
    assert_string_equal(nested(DEPTH_MAX), "too many levels");
    for (unsigned count = MEMBERS_MAX; count <= MEMBERS_MAX + 1; count++) {
        struct object o;
        char text[4096] = "{", *copy;
        for (unsigned i = 0; i < count; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s\"%u\":0", i ? "," : "", i);
        strcat(text, "}");
        const char *why = read_copy(&o, &copy, text);
        free(copy);
        if (count == MEMBERS_MAX)
            assert_null(why);
        else
            assert_string_equal(why, "too many members");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_objects),
        cmocka_unit_test(asks_arrays),
        cmocka_unit_test(refuses),
        cmocka_unit_test(has_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
