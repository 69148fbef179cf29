/* Options of plugins: types, bounds, defaults, errors, what a reload may not change. */
#include "tests/unit/plugin_kit.h"
#include "core/plugin/options.h"

static const char *const colours[] = {"red", "green", NULL};
static const struct mp_option schema[] = {
    {.name = "text", .type = MP_OPT_TEXT, .min = 3, .fallback = "default", .help = "x"},
    {.name = "list", .type = MP_OPT_TEXTS, .help = "x"},
    {.name = "one", .type = MP_OPT_TEXTS, .choices = colours, .fallback = "green", .help = "x"},
    {.name = "number", .type = MP_OPT_NUMBER, .help = "x"},
    {.name = "count", .type = MP_OPT_COUNT, .min = 2, .max = 5, .fallback = "4", .help = "x"},
    {.name = "seconds", .type = MP_OPT_SECONDS, .fallback = "0.5", .help = "x"},
    {.name = "flag", .type = MP_OPT_BOOL, .fallback = "true", .flags = MP_OPT_F_RESTART, .help = "x"},
    {.name = "colour",
     .type = MP_OPT_ENUM,
     .choices = colours,
     .fallback = "red",
     .flags = MP_OPT_F_RESTART,
     .help = "x"},
    {.name = "secret", .type = MP_OPT_TEXT, .flags = MP_OPT_F_SECRET, .help = "x"},
    {.name = "secrets", .type = MP_OPT_TEXTS, .flags = MP_OPT_F_SECRET, .help = "x"},
    {.name = "brief", .type = MP_OPT_TEXT, .min = 1, .max = 4, .fallback = "ab", .help = "x"},
};

static struct mp_options *read_text(const char *json, struct buf *errors)
{
    struct mp_plugin d = kit_description();
    d.options = schema;
    d.option_count = sizeof schema / sizeof *schema;
    struct cJSON *tree = cJSON_Parse(json);
    assert_non_null(tree);
    struct mp_options *o = options_read(&d, tree, "p", errors);
    cJSON_Delete(tree);
    return o;
}

static void values(void **state)
{
    struct buf errors = BUF_INIT;
    (void)state;
    struct mp_options *o = read_text("{}", &errors);
    assert_non_null(o);
    assert_string_equal(options_text(o, "text"), "default");
    assert_null(options_item(o, "list", 0));
    assert_string_equal(options_item(o, "one", 0), "green");
    assert_null(options_item(o, "one", 1));
    assert_true(options_number(o, "number") == 0 && options_number(o, "count") == 4 &&
                options_number(o, "seconds") == 0.5);
    assert_true(options_bool(o, "flag"));
    assert_string_equal(options_text(o, "colour"), "red");
    assert_null(options_text(o, "secret"));
    options_free(o);
    o = read_text(
        "{\"text\":\"abc\",\"list\":[\"x\",\"y\"],\"one\":[],\"number\":-2.5,\"count\":5,\"flag\":false,\"colour\":"
        "\"green\",\"secret\":null,\"brief\":\"1234\",\"secrets\":[]}",
        &errors);
    assert_non_null(o);
    assert_string_equal(options_text(o, "text"), "abc");
    assert_string_equal(options_item(o, "list", 1), "y");
    assert_null(options_item(o, "one", 0));
    assert_true(options_number(o, "number") == -2.5 && options_number(o, "count") == 5 && !options_bool(o, "flag"));
    assert_string_equal(options_text(o, "colour"), "green");
    options_free(o);
    assert_int_equal(errors.n, 0);
}

#define SECRET_WORDS " that is not empty"

static void errors_of(const char *json, const char *expected)
{
    struct buf errors = BUF_INIT;
    assert_null(read_text(json, &errors));
    buf_byte(&errors, '\0');
    assert_string_equal(errors.p, expected);
    buf_free(&errors);
}

static void errors(void **state)
{
    (void)state;
    errors_of("{\"text\":\"ab\"}", "p.text: expected a text of at least 3 bytes, found \"ab\"\n");
    errors_of("{\"text\":{}}", "p.text: expected a text of at least 3 bytes, found a table\n");
    errors_of("{\"count\":2.5}", "p.count: expected a whole number (2 to 5), found 2.5\n");
    errors_of("{\"count\":1}", "p.count: expected a whole number (2 to 5), found 1\n");
    errors_of("{\"seconds\":-1}", "p.seconds: expected a duration in seconds (0 or more), found -1\n");
    errors_of("{\"list\":[\"a\",2]}", "p.list[2]: expected a text, found 2\n");
    errors_of("{\"one\":[\"blue\"]}", "p.one[1]: expected one of \"red\", \"green\", found \"blue\"\n");
    errors_of("{\"flag\":\"yes\"}", "p.flag: expected true or false, found \"yes\"\n");
    errors_of("{\"colour\":\"blue\"}", "p.colour: expected one of \"red\", \"green\", found \"blue\"\n");
    errors_of("{\"secret\":12345}", "p.secret: expected a text" SECRET_WORDS ", found a number\n");
    errors_of("{\"secret\":\"\"}", "p.secret: expected a text" SECRET_WORDS
                                   ", found a text of 0 bytes (an empty secret protects nothing)\n");
    errors_of("{\"secrets\":[\"a\",\"\"]}", "p.secrets[2]: expected a text" SECRET_WORDS
                                            ", found a text of 0 bytes (an empty secret protects nothing)\n");
    errors_of("{\"secrets\":\"a\"}", "p.secrets: expected a list of texts, found a text of 1 bytes\n");
    errors_of("{\"brief\":\"\"}", "p.brief: expected a text of 1 to 4 bytes, found \"\"\n");
    errors_of("{\"brief\":\"12345\"}", "p.brief: expected a text of 1 to 4 bytes, found \"12345\"\n");
    errors_of("{\"colr\":1,\"quite_other\":2}",
              "p.colr: unknown option; did you mean colour?\np.quite_other: unknown option\n");
    errors_of("{\"colour\":\"a\\u001b[2J\"}", "p.colour: expected one of \"red\", \"green\", found \"a\\x1b[2J\"\n");
    errors_of("[1]", "p.[1]: unknown option\n");
}

static void wrong_defaults(void **state)
{
    static const struct mp_option wrong[] = {
        {.name = "a", .type = MP_OPT_COUNT, .fallback = "many", .help = "x"},
        {.name = "b", .type = MP_OPT_BOOL, .fallback = "yes", .help = "x"},
        {.name = "c", .type = MP_OPT_ENUM, .choices = colours, .fallback = "blue", .help = "x"},
        {.name = "d", .type = MP_OPT_TEXT, .flags = MP_OPT_F_REQUIRED, .help = "x"},
    };
    struct mp_plugin d = kit_description();
    struct buf text = BUF_INIT;
    (void)state;
    d.options = wrong;
    d.option_count = 4;
    assert_null(options_read(&d, NULL, "p", &text));
    buf_byte(&text, '\0');
    assert_string_equal(
        text.p, "p.a: the plugin's own default is wrong: \"many\"\np.b: the plugin's own default is wrong: \"yes\"\n"
                "p.c: the plugin's own default is wrong: \"blue\"\np.d: must be given: a text\n");
    buf_free(&text);
}

static void what_a_reload_may_not_change(void **state)
{
    struct buf errors = BUF_INIT, kept = BUF_INIT;
    (void)state;
    struct mp_options *before = read_text("{\"flag\":true,\"colour\":\"red\",\"text\":\"old\"}", &errors);
    struct mp_options *same = read_text("{\"flag\":true,\"text\":\"new\"}", &errors);
    options_keep(same, before, &kept);
    assert_int_equal(kept.n, 0);
    options_free(same);
    struct mp_options *fresh = read_text("{\"flag\":false,\"colour\":\"green\",\"text\":\"new\"}", &errors);
    options_keep(fresh, before, &kept);
    assert_true(slice_eq(buf_slice(&kept), SLICE_LIT("flag, colour")));
    assert_true(options_bool(fresh, "flag"));
    assert_string_equal(options_text(fresh, "colour"), "red");
    assert_string_equal(options_text(fresh, "text"), "new");
    options_free(fresh);
    options_free(before);
    buf_free(&kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(values), cmocka_unit_test(errors),
                                       cmocka_unit_test(wrong_defaults),
                                       cmocka_unit_test(what_a_reload_may_not_change)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
