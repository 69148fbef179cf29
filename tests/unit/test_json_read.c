/* JSON read without a tree. */
#include "core/base/buf.h"
#include "core/base/json.h"

#include <cjson/cJSON.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* What the sink was told, written as JSON of one form. */
struct told {
    struct buf text;
    bool comma;
    unsigned left; /* tokens until it has enough; 0: never */
};

static const char *token(struct told *t)
{
    if (t->comma)
        buf_byte(&t->text, ',');
    t->comma = true;
    return t->left && --t->left == 0 ? "enough" : NULL;
}

static const char *on_open(void *ctx, bool object)
{
    struct told *t = ctx;
    const char *why = token(t);
    buf_byte(&t->text, object ? '{' : '[');
    t->comma = false;
    return why;
}

static const char *on_close(void *ctx, bool object)
{
    struct told *t = ctx;
    buf_byte(&t->text, object ? '}' : ']');
    t->comma = true;
    return NULL;
}

static void put_string(struct told *t, struct slice raw)
{
    char out[200];
    assert_true(raw.n <= sizeof out);
    buf_json_string(&t->text, slice_of(out, json_unescape(raw, out)));
}

static const char *on_key(void *ctx, struct slice raw)
{
    struct told *t = ctx;
    const char *why = token(t);
    put_string(t, raw);
    buf_byte(&t->text, ':');
    t->comma = false;
    return why;
}

static const char *on_string(void *ctx, struct slice raw)
{
    const char *why = token(ctx);
    put_string(ctx, raw);
    return why;
}

static const char *on_number(void *ctx, double value)
{
    const char *why = token(ctx);
    buf_printf(&((struct told *)ctx)->text, "%.17g", value);
    return why;
}

static const char *on_word(void *ctx, char first)
{
    const char *why = token(ctx);
    buf_str(&((struct told *)ctx)->text, first == 't' ? "true" : first == 'f' ? "false" : "null");
    return why;
}

static const struct json_sink sink = {
    .open = on_open, .close = on_close, .key = on_key, .string = on_string, .number = on_number, .word = on_word};

static void reads_without_a_tree(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {" [ ] ", "[]"},
        {"{}", "{}"},
        {"[[],{},[[1]]]", "[[],{},[[1]]]"},
        {"{\"a\" : [1,2 , 3],\n\"b\":{\"c\":null}, \"d\":true,\"e\":false}",
         "{\"a\":[1,2,3],\"b\":{\"c\":null},\"d\":true,\"e\":false}"},
        {"[0,-0,-1,999999999999999,1234567890123456,9007199254740991,-9007199254740991]",
         "[0,-0,-1,999999999999999,1234567890123456,9007199254740991,-9007199254740991]"},
        {"[1.5,-2.25e2,1E-2,0.1]", "[1.5,-225,0.01,0.10000000000000001]"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
        {"[\"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\",\"\"]", "[\"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\",\"\"]"},
        {"{\"\\u0061\":1}", "{\"a\":1}"},
        {"null", "null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct told t = {.text = BUF_INIT};
        assert_null(json_read(slice_str(cases[i][0]), &sink, &t));
        buf_byte(&t.text, 0);
        assert_string_equal(t.text.p, cases[i][1]);
        /* The same as the tree says. */
        const char *why;
        struct cJSON *a = json_parse(slice_str(cases[i][0]), &why), *b = json_parse(slice_str(t.text.p), &why);
        assert_true(a && b && cJSON_Compare(a, b, true));
        json_free(a);
        json_free(b);
        buf_free(&t.text);
    }
    static const char *const wrong[] = {"",
                                        "[",
                                        "[1,]",
                                        "{\"a\"}",
                                        "[1] 2",
                                        "nul",
                                        "[\"\xff\"]",
                                        "\"\\u0000\"",
                                        "\"\\ud800\"",
                                        "1e999",
                                        "12345678901234567",
                                        "[01]"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct told t = {.text = BUF_INIT};
        const char *why, *why_not = json_read(slice_str(wrong[i]), &sink, &t);
        assert_non_null(why_not);
        assert_null(json_parse(slice_str(wrong[i]), &why));
        assert_string_equal(why, why_not);
        buf_free(&t.text);
    }
    /* The sink's own word counts. */
    for (unsigned n = 1; n <= 6; n++) {
        struct told t = {.text = BUF_INIT, .left = n};
        assert_string_equal(json_read(SLICE_LIT("{\"a\":[1,\"x\",true]}"), &sink, &t), "enough");
        buf_free(&t.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_without_a_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
